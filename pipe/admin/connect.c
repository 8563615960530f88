/*
 * Test connections; see connect.h. Used by resolve.c. Each address is a connection of pipe/delivery to
 * that one host, with what the TLS rules make of settings and policies; it is told to quit when it asks
 * for mail. They share a struct delivery of their own, so that neither limits nor the memory of hosts
 * with broken TLS are touched. Memory: all of it goes in connects_free, after the last has closed.
 */
#include "admin/connect.h"

#include "admin/verbs.h"
#include "base/clock.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { STEP_MS = 10 * 1000 };

struct connect_one {
    struct connects *all;
    struct delivery_conn *conn;
    struct delivery_host host;
    enum tls_result rule; /* other than VERIFIED: not to be used */
    char why[TLS_WHY_SIZE];
    json_t *result;
    int64_t started_ms;
    bool talked;
};

struct connects {
    struct pipe *pipe;
    struct delivery *delivery;
    struct tls_settings tls;
    struct sockaddr_storage source;
    char *helo;
    struct arena arena;
    struct connect_one items[CONNECT_MAX_HOSTS];
    size_t count, open;
    uv_idle_t soon; /* done is never called inside connects_start */
    bool closing;
    void (*done)(void *arg);
    void *arg;
};

/* --- in words --- */

static void by_roots(const struct tls_need *n, struct buf *out)
{
    buf_append_str(out, "TLS, and a valid certificate for ");
    for (size_t i = 0; i < n->name_count; i++)
        buf_printf(out, "%s%s", i ? " or " : "", n->names[i]);
}

static void need_words(const struct tls_settings *s, const struct tls_need *n, struct buf *out)
{
    if (!n && !s->use_starttls)
        buf_append_str(out, "nothing: TLS is switched off (use-starttls = no)");
    else if (!n)
        buf_append_str(out, "nothing");
    else if (n->check == TLS_CHECK_DANE)
        buf_append_str(out, "TLS, and a certificate that a TLSA record matches");
    else if (n->check == TLS_CHECK_ROOTS && n->enforced)
        by_roots(n, out);
    else if (n->check == TLS_CHECK_ROOTS)
        buf_printf(out, "%s: the MTA-STS policy is tested only%s",
                   n->required ? "TLS, with any certificate (require-starttls)" : "nothing",
                   n->known ? ", and does not list it" : "");
    else if (strcmp(n->policy, "dane") == 0)
        buf_append_str(out, "TLS, with any certificate: no TLSA record is usable");
    else
        buf_append_str(out, "TLS, with any certificate (require-starttls)");
}

void connects_asks(const struct tls_host *host, char *out, size_t size)
{
    const struct tls_need *need;
    struct arena arena = {0};
    struct buf text = {0};
    char why[TLS_WHY_SIZE];

    if (tls_rules_host(host, &arena, &need, why) == TLS_RESULT_VERIFIED)
        need_words(host->settings, need, &text);
    else
        buf_printf(&text, "not to be used: %s", why);
    snprintf(out, size, "%s", buf_data(&text));
    buf_free(&text);
    arena_free(&arena);
}

/* --- what a connection tells --- */

static void set(struct connect_one *o, const char *name, const char *text)
{
    json_object_set_new(o->result, name, admin_json_text(sv_of(text ? text : "")));
}

static enum delivery_next on_next(void *owner, struct delivery_conn *c, struct delivery_job *ret)
{
    (void)owner, (void)c, (void)ret;
    return DELIVERY_QUIT;
}

/* Without jobs neither is called. */
static void on_rcpt_done(void *owner, struct delivery_conn *c, const struct delivery_job *job,
                         uint32_t position, const struct outcome *o)
{
    (void)owner, (void)c, (void)job, (void)position, (void)o;
}

static void on_job_done(void *owner, struct delivery_conn *c, const struct delivery_job *job)
{
    (void)owner, (void)c, (void)job;
}

static void on_established(void *owner, struct delivery_conn *c, const struct delivery_host *host)
{
    struct connect_one *o = owner;
    struct delivery_info i;
    struct buf words = {0};
    json_t *keywords = json_array();
    struct strview rest, one;

    (void)host;
    delivery_info(c, &i);
    delivery_keywords(c, &words);
    rest = buf_view(&words);
    while (sv_split(&rest, '\n', &one))
        if (one.len)
            json_array_append_new(keywords, admin_json_text(one));
    buf_free(&words);
    o->talked = true;
    json_object_set_new(o->result, "status", json_string("ok"));
    set(o, "tls", i.tls);
    set(o, "tls_verify", i.tls_verify);
    json_object_set_new(o->result, "keywords", keywords);
    json_object_set_new(o->result, "ms", json_integer(clock_mono_ms() - o->started_ms));
}

static void on_host_failed(void *owner, struct delivery_conn *c, const struct delivery_host *host,
                           const struct outcome *outcome)
{
    struct connect_one *o = owner;

    (void)c, (void)host;
    json_object_set_new(o->result, "status", json_string("failed"));
    json_object_set_new(o->result, "phase", json_string(outcome_phase_name(outcome->phase)));
    json_object_set_new(o->result, "text", admin_json_text(outcome->text));
}

static void on_tls_done(void *owner, struct delivery_conn *c, const struct delivery_host *host,
                        enum tls_result result, const char *tls, const char *text)
{
    struct connect_one *o = owner;

    (void)c, (void)host, (void)tls;
    /* a handshake that failed is what there is to say, also when the second try in clear succeeds */
    if (json_object_get(o->result, "tls_result") && result == TLS_RESULT_VERIFIED)
        return;
    set(o, "tls_result", result == TLS_RESULT_VERIFIED ? "ok" : tls_result_text(result));
    set(o, "tls_text", text);
}

static void on_idle_closed(uv_handle_t *h)
{
    struct connects *c = h->data;
    c->done(c->arg);
}

static void end_when_all_closed(struct connects *c)
{
    if (c->open || c->closing)
        return;
    c->closing = true;
    uv_close((uv_handle_t *)&c->soon, on_idle_closed);
}

static void on_closed(void *owner, struct delivery_conn *conn, const struct outcome *outcome)
{
    struct connect_one *o = owner;

    (void)conn;
    o->conn = NULL;
    if (!o->talked && outcome && !json_object_get(o->result, "text"))
        json_object_set_new(o->result, "text", admin_json_text(outcome->text));
    o->all->open--;
    end_when_all_closed(o->all);
}

static const struct delivery_ops ops = {
    .next = on_next,
    .rcpt_done = on_rcpt_done,
    .job_done = on_job_done,
    .established = on_established,
    .host_failed = on_host_failed,
    .tls_done = on_tls_done,
    .closed = on_closed,
};

/* --- life --- */

struct connects *connects_new(struct pipe *p, const struct config *cfg,
                              const struct config_query *query, const struct vmta_source *source)
{
    struct connects *c = xcalloc(1, sizeof(*c));
    const char *host = config_text(cfg, NULL, DIR_HOST_NAME);

    c->pipe = p;
    tls_settings_resolve(&c->tls, cfg, query, TLS_ASK_NOTHING);
    if (source)
        c->source = source->addr;
    c->helo = xstrdup(source && source->helo_name ? source->helo_name : host ? host : "localhost");
    return c;
}

bool connects_add(struct connects *c, const struct tls_host *host,
                  const struct sockaddr_storage *addr, uint16_t port)
{
    if (c->count == CONNECT_MAX_HOSTS)
        return false;
    struct connect_one *o = &c->items[c->count++];
    char ip[INET6_ADDRSTRLEN] = "?";
    o->all = c;
    o->rule = tls_rules_host(host, &c->arena, &o->host.tls, o->why);
    o->host.name = arena_strdup(&c->arena, host->name);
    o->host.addr = *addr;
    if (addr->ss_family == AF_INET6) {
        struct sockaddr_in6 *a = (struct sockaddr_in6 *)&o->host.addr;
        a->sin6_port = htons(port);
        inet_ntop(AF_INET6, &a->sin6_addr, ip, sizeof(ip));
    } else {
        struct sockaddr_in *a = (struct sockaddr_in *)&o->host.addr;
        a->sin_port = htons(port);
        inet_ntop(AF_INET, &a->sin_addr, ip, sizeof(ip));
    }
    o->result = json_pack("{s:o, s:s, s:s}", "host", admin_json_text(sv_of(host->name)), "address",
                          ip, "status", "no answer");
    if (o->rule != TLS_RESULT_VERIFIED)
        set(o, "not_used", o->why);
    return true;
}

static void open_one(struct connects *c, struct connect_one *o)
{
    bool source_fits = c->source.ss_family == o->host.addr.ss_family;

    o->started_ms = clock_mono_ms();
    o->conn = delivery_open(c->delivery,
                            &(struct delivery_params){
                                .queue = "resolve --connect",
                                .helo_name = c->helo,
                                .source = source_fits ? (const struct sockaddr *)&c->source : NULL,
                                .hosts = &o->host,
                                .host_count = 1,
                                .max_messages = 1,
                                .max_rcpts = 1,
                                .connect_timeout_ms = STEP_MS,
                                .greeting_timeout_ms = STEP_MS,
                                .command_timeout_ms = STEP_MS,
                                .data_timeout_ms = STEP_MS,
                                .idle_timeout_ms = STEP_MS,
                                .use_starttls = c->tls.use_starttls,
                                .use_pipelining = true,
                                .tls_min_version = c->tls.min_version,
                                .tls_ca_file = c->tls.ca_file,
                                .tls_certificate = c->tls.certificate,
                                .tls_key = c->tls.key,
                            },
                            &ops, o);
    c->open++;
}

static void on_soon(uv_idle_t *h)
{
    uv_idle_stop(h);
    end_when_all_closed(h->data);
}

void connects_start(struct connects *c, void (*done)(void *arg), void *arg)
{
    uv_loop_t *loop = child_loop(c->pipe->child);
    struct err e = {0};

    c->done = done;
    c->arg = arg;
    uv_idle_init(loop, &c->soon);
    c->soon.data = c;
    if (delivery_new(&c->delivery, loop, c->pipe->tls_files, &e) < 0)
        c->delivery = NULL;
    for (size_t i = 0; c->delivery && i < c->count; i++)
        open_one(c, &c->items[i]);
    uv_idle_start(&c->soon, on_soon); /* when there is none */
}

void connects_abort(struct connects *c)
{
    for (size_t i = 0; c && i < c->count; i++)
        if (c->items[i].conn)
            delivery_abort(c->items[i].conn);
}

json_t *connects_result(const struct connects *c, size_t i)
{
    return i < c->count ? c->items[i].result : NULL;
}

void connects_free(struct connects *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++)
        json_decref(c->items[i].result);
    delivery_free(c->delivery);
    arena_free(&c->arena);
    free(c->helo);
    free(c);
}
