/*
 * Recipients that are for ourselves; see inbound.h. An address with a token is refused when its hash
 * is not ours or it is too old, before anything of the message is read: it counts for nothing. The
 * token also says which pipe sent the mail that bounced, which is the one that can make something of
 * it; else the processor's section says the pipe, else it is the default.
 */
#include "inbound.h"

#include "base/clock.h"

static const char no_such[] = "550 5.1.1 No such recipient here";
static const char too_old[] = "550 5.1.1 This address is not in use any more";
static const char no_key[] = "451 4.3.0 The address cannot be checked now, try again later";

void inbound_set_key(struct inbound *in, const struct mail_token_key *key)
{
    in->key = *key;
    in->has_key = true;
}

void inbound_configure(struct inbound *in, struct config *cfg)
{
    inbound_table_free(in->table);
    config_unref(in->config);
    in->config = config_ref(cfg);
    in->table = inbound_table_new(cfg);
    in->bounce_age_ms = config_number(cfg, NULL, DIR_BOUNCE_ADDRESS_EXPIRE_AFTER);
    in->unsubscribe_age_ms = config_number(cfg, NULL, DIR_UNSUBSCRIBE_EXPIRE_AFTER);
}

void inbound_fini(struct inbound *in)
{
    inbound_table_free(in->table);
    config_unref(in->config);
    *in = (struct inbound){0};
}

bool inbound_is_open(const struct inbound *in)
{
    return in->table && inbound_table_takes_mail(in->table);
}

static const char *default_pipe(const struct config *cfg)
{
    const char *name = config_text(cfg, NULL, DIR_DEFAULT_PIPE);
    return name && *name ? name : config_section_name(cfg, KIND_PIPE, 0);
}

static const char *pipe_of_token(const struct config *cfg, uint16_t hash)
{
    const char *name;

    for (size_t i = 0; (name = config_section_name(cfg, KIND_PIPE, i)); i++)
        if (mail_token_pipe(sv_of(name)) == hash)
            return name;
    return NULL;
}

/* NULL: it is ours, and *ret_pipe is its pipe or NULL. */
static const char *check_token(struct inbound *in, const struct inbound_match *m,
                               const char **ret_pipe)
{
    bool bounce = m->token_use == MAIL_TOKEN_BOUNCE;
    struct mail_token t;

    if (!in->has_key)
        return no_key;
    if (mail_token_read(&in->key, m->token, &t) < 0 || t.use != m->token_use) {
        in->forged++;
        return no_such;
    }
    if (mail_token_is_old(&t, clock_wall_ms(),
                          bounce ? in->bounce_age_ms : in->unsubscribe_age_ms)) {
        in->expired++;
        return too_old;
    }
    *ret_pipe = pipe_of_token(in->config, t.pipe);
    return NULL;
}

bool inbound_find(struct inbound *in, struct strview address, struct smtp_inbound *ret)
{
    struct inbound_match m;
    const char *pipe = NULL;

    *ret = (struct smtp_inbound){0};
    if (!in->table || !inbound_table_find(in->table, address, &m) || m.use == INBOUND_NONE)
        return false;
    if (m.token_use)
        ret->refuse = check_token(in, &m, &pipe);
    if (!pipe)
        pipe = m.pipe ? m.pipe : default_pipe(in->config);
    ret->pipe = sv_of(pipe);
    if (!ret->refuse)
        in->recipients++;
    return true;
}
