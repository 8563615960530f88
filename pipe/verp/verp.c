/*
 * Bounce and unsubscribe addresses; see verp.h. Called by the sender for each message of a queue with
 * verp, and by inbound processing for recipients. Addresses are read as the configuration of now
 * says: one whose base is not configured any more is an ordinary address.
 *
 * Owns the origins and the table of inbound addresses; results are in the caller's arena.
 */
#include "verp/verp.h"

#include "base/clock.h"
#include "base/log.h"
#include "mail/address.h"
#include "verp/origins.h"

struct verp {
    char *pipe;
    struct origins *origins;
    struct config *config;
    struct inbound_table *table;
    struct mail_token_key key;
    bool has_key, told_no_key;
    int64_t bounce_age_ms, unsubscribe_age_ms; /* 0: never */
    uint16_t swept_day;
    struct buf scratch;
};

enum { DAY_MS = 24 * 3600 * 1000, ORIGIN_AGE_MAX_DAYS = 400 };

struct verp *verp_new(const char *pipe, void (*changed)(void *arg), void *arg)
{
    struct verp *v = xcalloc(1, sizeof(*v));

    v->pipe = xstrdup(pipe);
    v->origins = origins_new(changed, arg);
    return v;
}

void verp_free(struct verp *v)
{
    if (!v)
        return;
    inbound_table_free(v->table);
    config_unref(v->config);
    origins_free(v->origins);
    buf_free(&v->scratch);
    free(v->pipe);
    free(v);
}

void verp_set_key(struct verp *v, const struct mail_token_key *key)
{
    v->key = *key;
    v->has_key = true;
}

void verp_configure(struct verp *v, struct config *cfg)
{
    struct inbound_table *table = inbound_table_new(cfg);

    inbound_table_free(v->table);
    config_unref(v->config);
    v->config = config_ref(cfg);
    v->table = table;
    v->bounce_age_ms = config_number(cfg, NULL, DIR_BOUNCE_ADDRESS_EXPIRE_AFTER);
    v->unsubscribe_age_ms = config_number(cfg, NULL, DIR_UNSUBSCRIBE_EXPIRE_AFTER);
}

const struct inbound_table *verp_table(const struct verp *v)
{
    return v->table;
}

void verp_write(const struct verp *v, struct buf *out)
{
    origins_write(v->origins, out);
}

void verp_restore(struct verp *v, struct strview text)
{
    origins_read(v->origins, text);
}

size_t verp_origins(const struct verp *v)
{
    return origins_count(v->origins);
}

/* --- making --- */

struct verp_base verp_base_of(const char *text)
{
    struct verp_base b = {{NULL, 0}, {NULL, 0}};

    if (!text || inbound_base_parse(sv_of(text), &b.local, &b.domain, NULL) < 0)
        b.local.len = 0;
    return b;
}

/* How long what an address says may be asked for. */
static int64_t origin_age_ms(const struct verp *v)
{
    int64_t ages[] = {v->bounce_age_ms,
                      config_is_set(v->config, DIR_UNSUBSCRIBE_ADDRESS) ? v->unsubscribe_age_ms : 1};
    int64_t age = 0;

    for (size_t i = 0; i < ARRAY_LEN(ages); i++)
        age = MAX_OF(age, ages[i] ? ages[i] : ORIGIN_AGE_MAX_DAYS * (int64_t)DAY_MS);
    return age;
}

/* Once a day, with the first address that is made on it. */
static void sweep(struct verp *v, uint16_t today)
{
    if (v->swept_day == today || !v->config)
        return;
    v->swept_day = today;
    int64_t days = MIN_OF(origin_age_ms(v) / DAY_MS + 2, (int64_t)ORIGIN_AGE_MAX_DAYS);
    if (days < today)
        origins_forget(v->origins, (uint16_t)(today - days));
}

const struct mail_token_key *verp_key(struct verp *v)
{
    if (!v->has_key && !v->told_no_key)
        log_error(LOG_MAIN, "no secret was handed over: mail goes out without bounce addresses and "
                            "unsubscribe links of our own");
    v->told_no_key = !v->has_key;
    return v->has_key ? &v->key : NULL;
}

void verp_token(struct verp *v, const struct verp_mail *m, struct mail_token *ret)
{
    const struct origin what = {m->job, m->vmta, m->sender};
    uint16_t today = mail_token_day(clock_wall_ms());

    sweep(v, today);
    ret->day = today;
    ret->pipe = mail_token_pipe(sv_of(v->pipe));
    ret->origin = origins_number(v->origins, &what, today);
}

bool verp_address(struct verp *v, const struct verp_base *base, struct mail_token *t,
                  struct strview rcpt, struct buf *out)
{
    const struct mail_token_key *key = verp_key(v);
    size_t from = buf_len(out);

    if (!key)
        return false;
    buf_append_sv(out, base->local);
    buf_append_char(out, INBOUND_DELIMITER);
    if (mail_token_make(key, t, rcpt, inbound_token_room(base->local), out) < 0) {
        buf_truncate(out, from);
        return false;
    }
    buf_append_char(out, '@');
    buf_append_sv(out, base->domain);
    return true;
}

bool verp_sender(struct verp *v, const struct verp_base *base, const struct verp_mail *m,
                 struct arena *a, struct strview *ret)
{
    struct mail_token t = {.use = MAIL_TOKEN_BOUNCE};

    if (!m->sender.len || !base->local.len)
        return false;
    verp_token(v, m, &t);
    buf_reset(&v->scratch);
    if (!verp_address(v, base, &t, m->rcpt, &v->scratch))
        return false;
    *ret = arena_sv(a, buf_view(&v->scratch));
    return true;
}

bool verp_plain_sender(struct strview sender, struct strview rcpt, struct arena *a,
                       struct strview *ret)
{
    struct strview to = address_domain(rcpt), from = address_domain(sender);
    struct buf b = {0};

    if (!to.len || !from.len || sender.ptr[0] == '"' || rcpt.ptr[0] == '"')
        return false;
    buf_append(&b, sender.ptr, sender.len - from.len - 1);
    buf_append_char(&b, '-');
    buf_append(&b, rcpt.ptr, (size_t)(to.ptr - rcpt.ptr) - 1);
    buf_append_char(&b, '=');
    buf_append_sv(&b, to);
    bool fits = buf_len(&b) <= ADDRESS_LOCAL_MAX && address_is_domain(to, ADDRESS_UTF8);
    buf_append_char(&b, '@');
    buf_append_sv(&b, from);
    if (fits)
        *ret = arena_sv(a, buf_view(&b));
    buf_free(&b);
    return fits;
}

/* --- reading --- */

/* The pipe that the token names, by the configuration. */
static struct strview pipe_of(const struct verp *v, uint16_t hash)
{
    const char *name;

    if (mail_token_pipe(sv_of(v->pipe)) == hash)
        return sv_of(v->pipe);
    for (size_t i = 0; v->config && (name = config_section_name(v->config, KIND_PIPE, i)); i++)
        if (mail_token_pipe(sv_of(name)) == hash)
            return sv_of(name);
    return sv(NULL, 0);
}

static void say_origin(const struct verp *v, struct arena *a, struct verp_origin *o)
{
    struct origin what;

    o->pipe = arena_sv(a, pipe_of(v, o->token.pipe));
    o->rcpt = arena_sv(a, sv_of(o->token.rcpt));
    o->known = o->token.pipe == mail_token_pipe(sv_of(v->pipe)) &&
               origins_find(v->origins, o->token.origin, &what);
    if (!o->known)
        return;
    o->job = arena_sv(a, what.job);
    o->vmta = arena_sv(a, what.vmta);
    o->sender = arena_sv(a, what.sender);
}

int verp_read(struct verp *v, struct strview address, struct arena *a, struct verp_origin *ret)
{
    struct inbound_match match;

    *ret = (struct verp_origin){0};
    if (!v->table || !inbound_table_find(v->table, address, &match) || !match.token_use)
        return ERR_NOT_FOUND;
    if (!v->has_key || mail_token_read(&v->key, match.token, &ret->token) < 0 ||
        ret->token.use != match.token_use)
        return ERR_AUTH;
    say_origin(v, a, ret);
    bool bounce = ret->token.use == MAIL_TOKEN_BOUNCE;
    int64_t age = bounce ? v->bounce_age_ms : v->unsubscribe_age_ms;
    return mail_token_is_old(&ret->token, clock_wall_ms(), age) ? ERR_TIMEOUT : 0;
}

bool verp_is_rcpt(const struct verp *v, const struct verp_origin *o, struct strview candidate)
{
    return v->has_key && mail_token_is_rcpt(&v->key, &o->token, candidate);
}

/* The name that goes with the scope; empty: not known. */
static struct strview scope_name(const struct verp_origin *o, enum suppress_scope scope)
{
    switch (scope) {
    case SUPPRESS_DOMAIN:
        return o->known ? address_domain(o->sender) : sv(NULL, 0);
    case SUPPRESS_JOB:
        return o->known ? o->job : sv(NULL, 0);
    case SUPPRESS_PIPE:
        return o->pipe;
    default:
        return sv(NULL, 0);
    }
}

bool verp_unsubscribes(const struct verp_origin *o, struct strview address,
                       struct suppress_entry *ret)
{
    enum suppress_scope scope = o->token.scope;

    if (o->token.use != MAIL_TOKEN_UNSUBSCRIBE || !address.len)
        return false;
    *ret = (struct suppress_entry){
        .reason = SUPPRESS_BY_UNSUBSCRIBE, .address = address, .scope_name = scope_name(o, scope)};
    if (scope != SUPPRESS_GLOBAL && !ret->scope_name.len) {
        scope = SUPPRESS_PIPE; /* rather more than asked for than nothing */
        ret->scope_name = o->pipe;
    }
    ret->scope = scope;
    return scope == SUPPRESS_GLOBAL || ret->scope_name.len;
}
