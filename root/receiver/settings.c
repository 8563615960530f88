/*
 * From the configuration to the plain settings of one client. Precedence of the source: the user's,
 * the client certificate's, the listener's, then the one found by address; of the pipe: user, source, listener, default.
 */
#include "receiver.h"

#include "net/tls_verify.h"

static uint32_t number(const struct config *cfg, const struct config_query *q, enum directive d)
{
    return (uint32_t)config_number(cfg, q, d);
}

static const char *text_of(const struct config *cfg, const struct config_query *q, enum directive d)
{
    const char *text = config_text(cfg, q, d);
    return text && text[0] ? text : NULL;
}

/* The source that the user or else the listener names; empty: by address. */
static struct strview named_source(const struct config *cfg, const char *listener,
                                   struct strview source, struct strview user)
{
    struct config_query by_user = {.user = user}, by_listener = {.listener = sv_of(listener)};
    const char *name = user.len ? text_of(cfg, &by_user, DIR_SOURCE_NAME) : NULL;

    if (!name && source.len)
        return source;
    if (!name)
        name = text_of(cfg, &by_listener, DIR_SOURCE_NAME);
    return sv_of(name);
}

static const char *choose_pipe(const struct config *cfg, const struct config_query *source,
                               const char *listener, struct strview user)
{
    struct config_query by_user = {.user = user}, by_listener = {.listener = sv_of(listener)};
    const char *name = user.len ? text_of(cfg, &by_user, DIR_PIPE) : NULL;

    if (!name)
        name = text_of(cfg, source, DIR_PIPE);
    if (!name)
        name = text_of(cfg, &by_listener, DIR_PIPE);
    if (!name)
        name = text_of(cfg, NULL, DIR_DEFAULT_PIPE);
    return name ? name : config_section_name(cfg, KIND_PIPE, 0);
}

static void fill_limits(struct smtp_server_settings *s, const struct config *cfg,
                        const struct config_query *q)
{
    s->max_message_bytes = (uint64_t)config_number(cfg, q, DIR_MAX_MESSAGE_SIZE);
    s->max_inbound_bytes = (uint64_t)config_number(cfg, q, DIR_INBOUND_MAX_MESSAGE_SIZE);
    s->max_rcpts = number(cfg, q, DIR_MAX_RCPT_PER_MESSAGE);
    s->max_header_bytes = number(cfg, q, DIR_MAX_HEADER_SIZE);
    s->max_line_bytes = number(cfg, q, DIR_MAX_LINE_LENGTH);
    s->max_commands = number(cfg, q, DIR_MAX_COMMANDS_IN);
    s->max_errors = number(cfg, q, DIR_MAX_ERRORS_IN);
    s->idle_timeout_ms = config_number(cfg, q, DIR_IDLE_TIMEOUT_IN);
    s->session_timeout_ms = config_number(cfg, q, DIR_SESSION_TIMEOUT_IN);
}

/* A client may still show who it is when TLS is up. */
static bool asks_certificate(const struct config *cfg, const char *listener)
{
    const struct config_value *v =
        config_section_get(cfg, KIND_LISTENER, sv_of(listener), DIR_TLS_CLIENT_CA);
    return v && v->text;
}

/* Refused at RCPT only when nothing that the message will say can change it: with X-Pipe, when no pipe
 * has a word of its own that counts. The pipe looks again in any case. */
static bool refuses_suppressed(const struct config *cfg, const struct config_query *q,
                               const struct smtp_server_settings *s, struct strview user)
{
    struct config_query own = *q;
    const char *name;

    own.user = user;
    if (!s->process_x_pipe) {
        own.pipe = sv_of(s->pipe);
        return config_number(cfg, &own, DIR_SUPPRESSION) == 0;
    }
    for (size_t i = 0; (name = config_section_name(cfg, KIND_PIPE, i)); i++) {
        own.pipe = sv_of(name);
        if (config_number(cfg, &own, DIR_SUPPRESSION) != 0)
            return false;
    }
    return true;
}

struct client_settings *client_settings_new(struct receiver *r, const char *listener, bool has_tls,
                                            const struct sockaddr *client, struct strview source,
                                            struct strview user)
{
    struct client_settings *c = xcalloc(1, sizeof(*c));
    struct config *cfg = c->config = config_ref(r->config);
    struct config_query q = {.source = named_source(cfg, listener, source, user), .client = client};
    struct config_query by_listener = {.listener = sv_of(listener)};
    struct smtp_server_settings *s = &c->smtp;
    const char *host = text_of(cfg, NULL, DIR_HOST_NAME);

    s->host_name = host ? host : r->host_name;
    s->source = config_source_name(cfg, &q);
    s->pipe = choose_pipe(cfg, &q, listener, user);
    fill_limits(s, cfg, &q);
    s->offer_auth = config_section_name(cfg, KIND_SMTP_USER, 0) != NULL;
    s->offer_starttls = has_tls;
    s->allow_plain_auth = config_bool(cfg, &by_listener, DIR_ALLOW_PLAIN_AUTH) ||
                          config_bool(cfg, &q, DIR_ALLOW_PLAIN_AUTH);
    s->accept_inbound =
        inbound_is_open(&r->inbound) && config_bool(cfg, &by_listener, DIR_INBOUND_MAIL);
    /* Without a source nothing is trusted, whatever [pmta] says for all of them. */
    if (s->source) {
        s->allow_relaying = config_bool(cfg, &q, DIR_ALWAYS_ALLOW_RELAYING);
        s->process_x_pipe = config_bool(cfg, &q, DIR_PROCESS_X_PIPE);
        s->process_x_virtual_mta = config_bool(cfg, &q, DIR_PROCESS_X_VIRTUAL_MTA);
        s->process_x_job = config_bool(cfg, &q, DIR_PROCESS_X_JOB);
        s->process_x_dkim_options = config_bool(cfg, &q, DIR_PROCESS_X_DKIM_OPTIONS);
        s->process_x_envid = config_bool(cfg, &q, DIR_PROCESS_X_ENVID);
        s->process_x_schedule = config_bool(cfg, &q, DIR_PROCESS_X_SCHEDULE);
        s->process_x_delivery_priority = config_bool(cfg, &q, DIR_PROCESS_X_DELIVERY_PRIORITY);
        s->process_x_remote_mta_name = config_bool(cfg, &q, DIR_PROCESS_X_REMOTE_MTA_NAME);
    } else if (!s->offer_auth && !s->accept_inbound &&
               !(has_tls && asks_certificate(cfg, listener))) {
        s->refuse = "554 5.7.1 No mail is accepted from your address";
    }
    s->pipe_is_certain = !s->process_x_pipe;
    s->refuse_suppressed = refuses_suppressed(cfg, &q, s, user);
    s->verp = config_bool(cfg, &q, DIR_VERP_DEFAULT);
    s->fix_lone_lf = config_number(cfg, &q, DIR_LONE_LF) == 1;
    return c;
}

const char *client_settings_source(struct receiver *r, const struct stream *s)
{
    const char *name;

    for (size_t i = 0; (name = config_section_name(r->config, KIND_SOURCE, i)); i++) {
        const struct config_value *v =
            config_section_get(r->config, KIND_SOURCE, sv_of(name), DIR_TLS_CLIENT_NAME);
        for (; v && v->text; v = v->next)
            if (stream_tls_client_is(s, v->text))
                return name;
    }
    return NULL;
}

void client_settings_free(struct client_settings *c)
{
    if (!c)
        return;
    config_unref(c->config);
    free(c);
}
