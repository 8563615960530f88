/*
 * One outgoing connection: walks the list of hosts, feeds the engine from the stream and the stream
 * from the engine, keeps one timer. Driven by the queue through delivery.h.
 *
 * START -> CONNECTING -> TALKING -> CLOSING -> START (next host) or the end. Everything that the
 * owner asks for is a flag, looked at in delivery_conn_run. A host ends with `next_step` saying
 * what follows when its stream is closed: the same host without TLS, the next one, or nothing. The
 * memory goes in on_timer_closed, after stream and file reads are gone.
 */
#include "pipe/delivery/delivery_impl.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <stdio.h>

enum conn_state { CONN_START, CONN_CONNECTING, CONN_TALKING, CONN_CLOSING, CONN_DONE };
enum conn_next { NEXT_HOST, NEXT_CLEAR, NEXT_END };

struct delivery_conn {
    struct delivery *d;
    struct list run; /* in d->runnable */
    const struct delivery_ops *ops;
    void *owner;
    struct delivery_params params;
    struct delivery_host *hosts; /* copies, names too */
    struct sockaddr_storage source;
    char *queue;
    char *helo;
    enum conn_state state;
    enum conn_next next_step;
    size_t host;
    struct stream *stream;
    struct smtp_client client;
    struct content_reader *content;
    size_t readers; /* content readers not released */
    uv_timer_t timer;
    int64_t armed_ms;      /* when the timer fires, monotonic; INT64_MAX: not armed */
    int64_t wait_until_ms; /* of CONNECTING and CLOSING */
    int64_t connect_start_ms;
    int64_t opened_ms;
    uint64_t queued_bytes; /* handed to the stream */
    uint64_t taken_bytes;  /* by the kernel, when last looked at */
    uint64_t messages;
    bool client_open; /* client is initialised */
    bool established;
    bool want_wakeup, want_close, want_abort;
    struct list among_all; /* d->all */
    struct smtp_hearing hearing;
    unsigned heard_jobs; /* slots whose message was begun while somebody listens */
    bool heard_one;      /* there was such a message */
    bool needs_roots; /* before the first host is tried */
    struct tls_files_waiter roots_waiter;
    struct tls_roots *roots; /* references, or NULL */
    struct tls_identity *identity;
    bool in_clear;              /* TLS failed on this host a moment ago */
    bool tls_failed;            /* the handshake: in clear it may work */
    enum tls_result tls_result; /* of this host */
    char tls_text[200];
    struct arena arena; /* needs of the hosts */
    bool has_outcome;
    bool some_may_do;       /* a host was passed over, or did not say no for good */
    struct outcome outcome; /* of the last host, or of the end */
    struct buf text;
    char tls[80];
    char tls_verify[40]; /* of this host */
    char peer_ip[INET6_ADDRSTRLEN];
    char source_ip[INET6_ADDRSTRLEN];
};

static void on_timer(uv_timer_t *t);
static const struct stream_ops stream_callbacks;
static const struct smtp_client_ops client_ops;
static const struct content_ops content_callbacks;

/* Tells who listens what happens; costs nothing when nobody does. */
#define NOTE(c, ...)                                        \
    do {                                                    \
        if (smtp_is_heard(&(c)->hearing))                   \
            smtp_hear_event(&(c)->hearing, __VA_ARGS__);    \
    } while (0)

static void schedule(struct delivery_conn *c)
{
    if (c->state != CONN_DONE)
        delivery_schedule(c->d, &c->run);
}

static void address_text(const struct sockaddr_storage *a, char *out)
{
    out[0] = '\0';
    if (a->ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr, out, INET6_ADDRSTRLEN);
    else if (a->ss_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, out, INET6_ADDRSTRLEN);
}

/* --- the timer: re-armed only when it would fire too late --- */

static void rearm(struct delivery_conn *c)
{
    int64_t at = c->state == CONN_TALKING ? smtp_client_deadline(&c->client) : c->wait_until_ms;

    if (c->state == CONN_DONE || at >= c->armed_ms)
        return;
    int64_t now = clock_mono_ms();
    c->armed_ms = at;
    uv_timer_start(&c->timer, on_timer, at > now ? (uint64_t)(at - now) : 0, 0);
}

/* Bytes that the peer still takes are a reason to wait on. */
static bool output_moved(struct delivery_conn *c)
{
    uint64_t taken = c->queued_bytes - stream_pending(c->stream);
    bool moved = stream_pending(c->stream) && taken > c->taken_bytes;
    c->taken_bytes = taken;
    return moved;
}

static void keep_outcome(struct delivery_conn *c, const struct outcome *o)
{
    c->has_outcome = o != NULL;
    if (!o)
        return;
    c->outcome = *o;
    buf_reset(&c->text);
    buf_append_sv(&c->text, o->text);
    c->outcome.text = buf_view(&c->text);
    memcpy(c->tls, c->client_open ? c->client.tls : "", c->client_open ? sizeof(c->tls) : 1);
    c->outcome.tls = c->tls;
    c->outcome.tls_verify = c->tls_verify;
    c->some_may_do |= o->class_ != OUTCOME_BOUNCED;
}

/* --- who listens --- */

static void find_listener(struct delivery_conn *c)
{
    const struct delivery_watcher *w = c->d->watcher;

    if (!w || c->hearing.to)
        return;
    c->hearing.to = w->listens(w->owner, c, c->queue);
    c->heard_jobs = 0;
    c->heard_one = false;
}

static void find_debugging(struct delivery_conn *c)
{
    const struct delivery_watcher *w = c->d->watcher;
    c->hearing.debugged = w && w->debugs(w->owner, c->queue);
}

void delivery_watch(struct delivery *d, const struct delivery_watcher *watcher)
{
    d->watcher = watcher;
    list_for_each (n, &d->all)
        find_debugging(list_entry(n, struct delivery_conn, among_all));
}

void delivery_listen(struct delivery_conn *c, const struct dialogue *to)
{
    c->hearing.to = to;
    c->heard_jobs = 0;
    c->heard_one = false;
}

/* Of a message of this connection. */
static unsigned slot_bit(const struct delivery_conn *c, const struct delivery_job *job)
{
    return 1u << (container_of(job, struct smtp_job, job) - c->client.slots);
}

static void attempt_over(struct delivery_conn *c)
{
    const struct dialogue *to = c->hearing.to;

    c->heard_one = true;
    if (to)
        to->attempt_over(to->arg);
}

static void stop_listening(struct delivery_conn *c)
{
    if (c->hearing.to && !c->heard_one)
        attempt_over(c);
    if (c->hearing.to)
        c->hearing.to->closed(c->hearing.to->arg);
    c->hearing.to = NULL;
}

static void note_hosts(struct delivery_conn *c)
{
    struct buf text = {0};
    char ip[INET6_ADDRSTRLEN];

    if (!smtp_is_heard(&c->hearing))
        return;
    for (size_t i = 0; i < c->params.host_count && i < 20; i++) {
        address_text(&c->hosts[i].addr, ip);
        buf_printf(&text, "%s%s [%s]", i ? ", " : "", c->hosts[i].name, ip);
    }
    NOTE(c, "resolved, %zu address%s to try: %s%s", c->params.host_count,
         c->params.host_count == 1 ? "" : "es", buf_data(&text),
         c->params.host_count > 20 ? " ..." : "");
    buf_free(&text);
}

static unsigned port_of(const struct sockaddr_storage *a)
{
    return ntohs(a->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)a)->sin6_port
                                          : ((const struct sockaddr_in *)a)->sin_port);
}

/* --- hosts --- */

static void start_host(struct delivery_conn *c)
{
    const struct stream_limits limits = {INPUT_MAX_BYTES, OUTPUT_HIGH_BYTES};
    struct delivery_host *h = &c->hosts[c->host];

    address_text(&h->addr, c->peer_ip);
    c->source_ip[0] = '\0';
    if (c->params.source)
        address_text(&c->source, c->source_ip);
    c->connect_start_ms = clock_mono_ms();
    c->queued_bytes = c->taken_bytes = 0;
    c->tls_failed = false;
    c->tls_result = TLS_RESULT_NO_STARTTLS;
    c->tls_text[0] = c->tls_verify[0] = '\0';
    c->in_clear = c->next_step == NEXT_CLEAR;
    c->next_step = NEXT_HOST;
    c->state = CONN_CONNECTING;
    c->wait_until_ms = c->connect_start_ms + c->params.connect_timeout_ms;
    NOTE(c, "connecting to %s [%s]:%u%s%s%s", h->name, c->peer_ip, port_of(&h->addr),
         *c->source_ip ? " from " : "", c->source_ip, c->in_clear ? ", without TLS this time" : "");
    c->stream = stream_connect(c->d->loop, c->params.source, (const struct sockaddr *)&h->addr,
                               &limits, &stream_callbacks, c);
}

static void start_closing(struct delivery_conn *c, bool polite)
{
    c->state = CONN_CLOSING;
    c->wait_until_ms = clock_mono_ms() + CLOSE_WAIT_MS;
    content_close(c->content);
    c->content = NULL;
    if (polite)
        stream_close(c->stream);
    else
        stream_abort(c->stream);
}

static void connect_failed(struct delivery_conn *c, const char *why)
{
    struct outcome o = {
        .class_ = OUTCOME_DEFERRED,
        .phase = PHASE_CONNECT,
        .enhanced = {4, 4, 1},
        .peer_host = sv_of(c->hosts[c->host].name),
        .peer_ip = sv_of(c->peer_ip),
        .tls = "",
        .tls_verify = "",
        .connect_ms = -1,
        .transmit_ms = -1,
    };
    struct buf text = {0};

    buf_printf(&text, "cannot connect to %s: %s", c->peer_ip, why);
    o.text = buf_view(&text);
    keep_outcome(c, &o);
    NOTE(c, "%s", buf_data(&text));
    buf_free(&text);
    start_closing(c, false);
    c->ops->host_failed(c->owner, c, &c->hosts[c->host], &c->outcome);
}

static void on_timer_closed(uv_handle_t *h)
{
    struct delivery_conn *c = h->data;

    for (size_t i = 0; i < c->params.host_count; i++)
        free((void *)(uintptr_t)c->hosts[i].name);
    free(c->hosts);
    arena_free(&c->arena);
    tls_roots_unref(c->roots);
    tls_identity_unref(c->identity);
    free(c->queue);
    free(c->helo);
    buf_free(&c->text);
    free(c);
}

static void finish(struct delivery_conn *c)
{
    list_remove(&c->roots_waiter.link);
    c->state = CONN_DONE;
    if (!c->established && c->outcome.class_ == OUTCOME_BOUNCED && c->some_may_do) {
        c->outcome.class_ = OUTCOME_DEFERRED;
        c->outcome.enhanced.class_digit = 4;
    }
    NOTE(c, "the connection is over%s%.*s", c->has_outcome ? ": " : "",
         c->has_outcome ? (int)c->outcome.text.len : 0, c->has_outcome ? c->outcome.text.ptr : "");
    stop_listening(c);
    list_remove(&c->among_all);
    list_remove(&c->run);
    c->d->connections--; /* closed() of the last one may free d */
    c->ops->closed(c->owner, c, c->has_outcome ? &c->outcome : NULL);
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

/* The stream of this host is gone: what follows, once its file reads are gone too. */
static void after_close(struct delivery_conn *c)
{
    if (c->state != CONN_CLOSING || c->stream || c->readers)
        return;
    if (c->client_open)
        smtp_client_fini(&c->client);
    c->client_open = false;
    if (c->next_step == NEXT_HOST)
        c->host++;
    if (c->want_close || c->want_abort)
        c->has_outcome = false;
    if (c->next_step == NEXT_END || c->want_close || c->want_abort ||
        c->host >= c->params.host_count) {
        finish(c);
        return;
    }
    c->state = CONN_START;
    c->wait_until_ms = INT64_MAX;
    schedule(c);
}

/* Hosts that have no room for this connection are passed over. */
static void skip_full_hosts(struct delivery_conn *c)
{
    while (c->ops->may_use && c->host < c->params.host_count &&
           !c->ops->may_use(c->owner, c, &c->hosts[c->host])) {
        c->some_may_do = true;
        c->host++;
    }
}

/* The root certificates that hosts are checked against. False: they are being read. */
static bool have_roots(struct delivery_conn *c)
{
    list_remove(&c->roots_waiter.link);
    if (!c->needs_roots)
        return true;
    if (!tls_files_load_roots(c->d->files, c->d->loop, c->params.tls_ca_file, &c->roots_waiter))
        return false;
    struct tls_roots *roots = tls_files_roots(c->d->files, c->params.tls_ca_file);
    c->roots = roots ? tls_roots_ref(roots) : NULL;
    c->needs_roots = false;
    return true;
}

void delivery_conn_run(struct list *node)
{
    struct delivery_conn *c = list_entry(node, struct delivery_conn, run);

    if (c->state == CONN_START && !c->want_close && !c->want_abort) {
        if (!have_roots(c))
            return;
        skip_full_hosts(c);
    }
    if (c->state == CONN_START &&
        (c->want_close || c->want_abort || c->host >= c->params.host_count)) {
        finish(c);
        return;
    }
    if (c->state == CONN_START)
        start_host(c);
    else if (c->state == CONN_CONNECTING && (c->want_close || c->want_abort))
        start_closing(c, false);
    else if (c->state == CONN_TALKING && (c->want_abort || (c->want_close && !c->established)))
        smtp_client_fail(&c->client, "the connection was closed on our side");
    else if (c->state == CONN_TALKING && c->want_close)
        smtp_client_quit(&c->client);
    else if (c->state == CONN_TALKING && c->want_wakeup)
        smtp_client_wakeup(&c->client);
    else if (c->state == CONN_TALKING && c->client.again)
        smtp_client_step(&c->client);
    c->want_wakeup = false;
    if (c->state == CONN_TALKING)
        stream_flush(c->stream);
    rearm(c);
}

/* The handshake did not come to its end. */
static void note_broken_tls(struct delivery_conn *c, const char *why)
{
    c->tls_failed = true;
    c->tls_result = TLS_RESULT_FAILURE;
    snprintf(c->tls_text, sizeof(c->tls_text), "TLS handshake failed: %s", why);
}

/* After every event of the engine outside of a read callback. */
static void settle(struct delivery_conn *c)
{
    if (c->state == CONN_TALKING) {
        stream_flush(c->stream);
        if (c->client.again)
            schedule(c);
    }
    rearm(c);
}

static void on_timer(uv_timer_t *t)
{
    struct delivery_conn *c = t->data;

    c->armed_ms = INT64_MAX;
    if (c->state == CONN_TALKING && smtp_client_deadline(&c->client) <= clock_mono_ms()) {
        if (c->client.handshaking)
            note_broken_tls(c, "timed out");
        if (!c->client.handshaking && output_moved(c))
            smtp_client_touch(&c->client);
        else
            smtp_client_timeout(&c->client);
    } else if (c->state == CONN_CONNECTING && c->wait_until_ms <= clock_mono_ms()) {
        connect_failed(c, "timed out");
    } else if (c->state == CONN_CLOSING && c->wait_until_ms <= clock_mono_ms()) {
        c->wait_until_ms = INT64_MAX;
        stream_abort(c->stream);
    }
    settle(c);
}

/* --- what the stream tells --- */

static void on_connected(void *owner, struct stream *s, int status)
{
    struct delivery_conn *c = owner;
    struct sockaddr_storage local;

    if (c->state != CONN_CONNECTING)
        return;
    if (status < 0) {
        connect_failed(c, err_name(status));
        rearm(c);
        return;
    }
    const struct delivery_host *h = &c->hosts[c->host];
    bool required = h->tls && h->tls->required;
    bool broken = !required && (c->in_clear || delivery_tls_is_broken(c->d, &h->addr));
    if (broken) {
        c->tls_result = TLS_RESULT_FAILURE;
        snprintf(c->tls_text, sizeof(c->tls_text), "the TLS handshake failed lately");
    }
    struct smtp_client_params p = {
        .hearing = &c->hearing,
        .queue = c->queue,
        .helo_name = c->helo,
        .peer_host = h->name,
        .peer_ip = c->peer_ip,
        .local_ip = c->source_ip,
        .connect_start_ms = c->connect_start_ms,
        .greeting_timeout_ms = c->params.greeting_timeout_ms,
        .command_timeout_ms = c->params.command_timeout_ms,
        .data_timeout_ms = c->params.data_timeout_ms,
        .idle_timeout_ms = c->params.idle_timeout_ms,
        .max_messages = c->params.max_messages,
        .use_starttls = required || (c->params.use_starttls && !broken),
        .require_tls = required,
        .requiretls = c->params.requiretls,
        .tls_verify = c->tls_verify,
        .use_pipelining = c->params.use_pipelining,
    };
    stream_local(s, &local);
    address_text(&local, c->source_ip);
    NOTE(c, "connected, from %s%s", c->source_ip,
         broken ? "; no TLS, its handshake failed lately" : "");
    smtp_client_init(&c->client, &p, &client_ops, c);
    c->client_open = true;
    c->state = CONN_TALKING;
    stream_read_start(s);
    rearm(c);
}

static void on_read(void *owner, struct stream *s)
{
    struct delivery_conn *c = owner;
    struct buf *in = stream_input(s);

    if (c->state != CONN_TALKING) {
        buf_consume(in, buf_len(in));
        return;
    }
    /* taken out first: STARTTLS inside of this call must find the input empty */
    struct buf mine = *in;
    *in = (struct buf){0};
    smtp_client_input(&c->client, buf_data(&mine), buf_len(&mine));
    if (in->mem) {
        buf_free(&mine);
    } else {
        buf_reset(&mine);
        *in = mine;
    }
    settle(c);
}

static void on_ended(void *owner, struct stream *s, int status)
{
    struct delivery_conn *c = owner;
    (void)s;
    if (c->state == CONN_TALKING) {
        if (c->client.handshaking)
            note_broken_tls(c, "the connection ended");
        smtp_client_eof(&c->client, status);
    }
    rearm(c);
}

/* The peer is who it has to be, or nothing depends on it. */
static bool check_peer(struct delivery_conn *c)
{
    const struct tls_need *need = c->hosts[c->host].tls;
    char why[160];

    c->tls_result = tls_need_check(need, c->stream, c->roots, why, sizeof(why));
    c->client.params.proven = tls_need_proves(need, c->tls_result);
    if (c->tls_result == TLS_RESULT_VERIFIED)
        c->tls_text[0] = '\0';
    else
        snprintf(c->tls_text, sizeof(c->tls_text), "%s (%s)", why, need->policy);
    snprintf(c->tls_verify, sizeof(c->tls_verify), "%s", tls_need_word(need, c->tls_result));
    return c->tls_result == TLS_RESULT_VERIFIED || !need->enforced;
}

static void on_tls(void *owner, struct stream *s, int status)
{
    struct delivery_conn *c = owner;
    char name[80];

    if (c->state != CONN_TALKING)
        return;
    if (status < 0) {
        note_broken_tls(c, stream_tls_trouble(s));
        NOTE(c, "%s", c->tls_text);
        smtp_client_tls(&c->client, false, c->tls_text);
    } else if (check_peer(c)) {
        snprintf(name, sizeof(name), "%s/%s", stream_tls_version(s), stream_tls_cipher(s));
        NOTE(c, "TLS is up: %s, peer %s%s%s", name, *c->tls_verify ? c->tls_verify : "unchecked",
             *c->tls_text ? ": " : "", c->tls_text);
        smtp_client_tls(&c->client, true, name);
    } else {
        NOTE(c, "TLS is up, and the peer is not who it has to be: %s", c->tls_text);
        smtp_client_tls(&c->client, false, c->tls_text);
    }
    settle(c);
}

static void on_drained(void *owner, struct stream *s)
{
    struct delivery_conn *c = owner;
    (void)s;
    if (c->content)
        content_read(c->content);
}

static void on_closed(void *owner, struct stream *s)
{
    struct delivery_conn *c = owner;
    (void)s;
    c->stream = NULL;
    after_close(c);
}

static const struct stream_ops stream_callbacks = {
    .connected = on_connected,
    .read = on_read,
    .ended = on_ended,
    .tls = on_tls,
    .drained = on_drained,
    .closed = on_closed,
};

/* --- what the engine asks for --- */

static void put(void *owner, const void *data, size_t len)
{
    struct delivery_conn *c = owner;
    c->queued_bytes += len;
    stream_write(c->stream, data, len);
}

static void on_content_written(void *arg)
{
    struct smtp_job *j = arg;
    struct delivery_conn *c = container_of(j->client, struct delivery_conn, client);

    smtp_job_unhold(j);
    if (c->client.again)
        schedule(c);
}

static void put_ref(struct delivery_conn *c, struct smtp_job *j, struct strview s)
{
    if (s.len == 0)
        return;
    c->queued_bytes += s.len;
    smtp_job_hold(j);
    stream_write_ref(c->stream, s.ptr, s.len, on_content_written, j);
}

static bool put_content(void *owner, struct smtp_job *j)
{
    struct delivery_conn *c = owner;

    NOTE(c, "content of %llu bytes%s, not shown",
         (unsigned long long)(j->job.content_fd >= 0 ? j->job.content_bytes : j->job.content.len),
         j->job.prefix.len ? " behind signatures" : "");
    put_ref(c, j, j->job.prefix);
    if (j->job.content_fd < 0 || j->job.content_bytes == 0) {
        put_ref(c, j, j->job.content);
        return true;
    }
    c->content = content_open(c->d->loop, j, &content_callbacks, c);
    c->readers++;
    content_read(c->content);
    return false;
}

/* Whatever the peer has to prove, and what we show it. */
static uint64_t session_scope(const struct delivery_conn *c)
{
    const char *ca = c->params.tls_ca_file, *cert = c->params.tls_certificate;
    uint64_t scope = tls_need_scope(c->hosts[c->host].tls);

    if (scope && ca)
        scope ^= hash_bytes(ca, strlen(ca));
    if (c->identity)
        scope = (scope << 1 | scope >> 63) ^ hash_bytes(cert, strlen(cert));
    return scope ^ (uint64_t)c->params.tls_min_version << 60;
}

static void start_tls(void *owner)
{
    struct delivery_conn *c = owner;
    const struct delivery_host *h = &c->hosts[c->host];
    const char *name = h->tls && h->tls->sni ? h->tls->sni : h->name;

    NOTE(c, "TLS handshake begins%s%s", name && name[0] != '[' ? ", for " : "",
         name && name[0] != '[' ? name : "");
    stream_tls_connect_as(c->stream, c->d->tls,
                          &(struct tls_connect){
                              .sni_host = name && name[0] != '[' ? name : NULL,
                              .min_version = c->params.tls_min_version,
                              .identity = c->identity,
                              .scope = session_scope(c),
                          });
}

static void note_message(struct delivery_conn *c, const struct delivery_job *job)
{
    c->heard_jobs |= slot_bit(c, job);
    NOTE(c, "message %s for %u recipient%s%s", job->id ? job->id : "?", job->rcpt_count,
         job->rcpt_count == 1 ? "" : "s",
         c->messages > 1 ? ", on a connection that is open already" : "");
}

static enum delivery_next ask_next(void *owner, struct delivery_job *ret)
{
    struct delivery_conn *c = owner;
    enum delivery_next r = c->ops->next(c->owner, c, ret);
    c->messages += r == DELIVERY_JOB;
    if (r == DELIVERY_JOB && c->d->watcher)
        find_listener(c);
    if (r == DELIVERY_JOB && smtp_is_heard(&c->hearing))
        note_message(c, ret);
    return r;
}

static void note_outcome(struct delivery_conn *c, const struct delivery_job *job, uint32_t position,
                         const struct outcome *o)
{
    struct strview rcpt = job->env->rcpts[job->rcpts[position]].address;
    char status[16];

    NOTE(c, "%s to %.*s: %s%s%.*s", outcome_class_name(o->class_),
         (int)MIN_OF(rcpt.len, (size_t)320), rcpt.ptr, o->code ? "" : outcome_status(o, status),
         o->code ? "" : " ", (int)MIN_OF(o->text.len, (size_t)500), o->text.ptr);
}

static void tell_rcpt(void *owner, const struct delivery_job *job, uint32_t position,
                      const struct outcome *outcome)
{
    struct delivery_conn *c = owner;
    if (c->heard_jobs & slot_bit(c, job))
        note_outcome(c, job, position, outcome);
    c->ops->rcpt_done(c->owner, c, job, position, outcome);
}

static void tell_job(void *owner, const struct delivery_job *job)
{
    struct delivery_conn *c = owner;
    unsigned bit = slot_bit(c, job);

    if (c->heard_jobs & bit) {
        c->heard_jobs &= ~bit;
        attempt_over(c);
    }
    c->ops->job_done(c->owner, c, job);
}

static void tell_tls(struct delivery_conn *c)
{
    const struct delivery_host *h = &c->hosts[c->host];
    const struct tls_need *need = h->tls;
    bool known = need && need->known != TLS_RESULT_VERIFIED && c->tls_result == TLS_RESULT_VERIFIED;

    if (c->ops->tls_done)
        c->ops->tls_done(c->owner, c, h, known ? need->known : c->tls_result, c->client.tls,
                         known ? need->known_text : c->tls_text);
}

static void tell_established(void *owner)
{
    struct delivery_conn *c = owner;
    c->established = true;
    tell_tls(c);
    c->ops->established(c->owner, c, &c->hosts[c->host]);
}

static void tell_ended(void *owner, const struct outcome *outcome, bool polite)
{
    struct delivery_conn *c = owner;
    const struct delivery_host *h = &c->hosts[c->host];

    keep_outcome(c, outcome);
    if (c->established) {
        c->next_step = NEXT_END;
    } else if (c->tls_failed && !(h->tls && h->tls->required)) {
        tell_tls(c);
        /* opportunistic (RFC 7435): in clear rather than not at all */
        delivery_tls_broken(c->d, &h->addr, c->params.tls_broken_ms);
        log_info(LOG_DELIVERY, "TLS failed, trying again without queue=%s host=%s peer=%s: %.*s",
                 c->queue, h->name, c->peer_ip, SV_ARG(c->outcome.text));
        c->next_step = NEXT_CLEAR;
    } else if (outcome && !c->want_close && !c->want_abort) {
        if (outcome->phase == PHASE_STARTTLS || outcome->phase == PHASE_HELO)
            tell_tls(c);
        c->ops->host_failed(c->owner, c, h, &c->outcome);
    }
    start_closing(c, polite || !outcome);
}

static const struct smtp_client_ops client_ops = {
    .write = put,
    .content = put_content,
    .start_tls = start_tls,
    .next = ask_next,
    .rcpt_done = tell_rcpt,
    .job_done = tell_job,
    .established = tell_established,
    .ended = tell_ended,
};

/* --- what the content reader tells --- */

static void on_chunk(void *owner, void *chunk, const char *data, size_t len)
{
    struct delivery_conn *c = owner;

    c->queued_bytes += len;
    stream_write_ref(c->stream, data, len, content_chunk_release, chunk);
    stream_flush(c->stream);
    smtp_client_touch(&c->client);
    if (!stream_congested(c->stream))
        content_read(c->content);
}

static void on_content_done(void *owner, bool ends_with_crlf)
{
    struct delivery_conn *c = owner;

    content_close(c->content);
    c->content = NULL;
    smtp_client_content_done(&c->client, ends_with_crlf);
    settle(c);
}

static void on_content_failed(void *owner, int status)
{
    struct delivery_conn *c = owner;
    smtp_client_content_failed(&c->client, status);
    rearm(c);
}

static void on_content_released(void *owner, struct smtp_job *job)
{
    struct delivery_conn *c = owner;

    smtp_job_unhold(job);
    c->readers--;
    after_close(c);
}

static const struct content_ops content_callbacks = {
    .chunk = on_chunk,
    .done = on_content_done,
    .failed = on_content_failed,
    .released = on_content_released,
};

/* --- delivery.h --- */

static void copy_params(struct delivery_conn *c, const struct delivery_params *p)
{
    c->params = *p;
    for (size_t i = 0; i < p->host_count; i++)
        if (p->hosts[i].tls && p->hosts[i].tls->check == TLS_CHECK_ROOTS)
            c->needs_roots = true;
    struct tls_identity *identity = tls_files_identity(c->d->files, p->tls_certificate, p->tls_key);
    c->identity = identity ? tls_identity_ref(identity) : NULL;
    c->params.tls_ca_file = p->tls_ca_file ? arena_strdup(&c->arena, p->tls_ca_file) : NULL;
    c->params.tls_certificate =
        p->tls_certificate ? arena_strdup(&c->arena, p->tls_certificate) : NULL;
    c->params.tls_key = NULL;
    c->queue = xstrdup(p->queue);
    c->helo = xstrdup(p->helo_name);
    c->hosts = xcalloc(p->host_count + 1, sizeof(*c->hosts));
    for (size_t i = 0; i < p->host_count; i++) {
        c->hosts[i] = p->hosts[i];
        c->hosts[i].name = xstrdup(p->hosts[i].name ? p->hosts[i].name : "");
        if (p->hosts[i].tls)
            c->hosts[i].tls = tls_need_copy(p->hosts[i].tls, &c->arena);
    }
    if (p->source) {
        memcpy(&c->source, p->source,
               p->source->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                : sizeof(struct sockaddr_in));
        c->params.source = (const struct sockaddr *)&c->source;
    }
}

static void on_roots(struct tls_files_waiter *w)
{
    schedule(container_of(w, struct delivery_conn, roots_waiter));
}

struct delivery_conn *delivery_open(struct delivery *d, const struct delivery_params *params,
                                    const struct delivery_ops *ops, void *owner)
{
    struct delivery_conn *c = xcalloc(1, sizeof(*c));

    c->d = d;
    c->ops = ops;
    c->owner = owner;
    copy_params(c, params);
    list_init(&c->run);
    list_init(&c->roots_waiter.link);
    c->roots_waiter.ready = on_roots;
    uv_timer_init(d->loop, &c->timer);
    c->timer.data = c;
    c->armed_ms = c->wait_until_ms = INT64_MAX;
    c->opened_ms = clock_wall_ms();
    d->connections++;
    list_push_back(&d->all, &c->among_all);
    c->hearing.queue = c->queue;
    c->hearing.peer_ip = c->peer_ip;
    if (d->watcher) {
        find_debugging(c);
        find_listener(c);
        note_hosts(c);
    }
    schedule(c);
    return c;
}

void delivery_wakeup(struct delivery_conn *c)
{
    c->want_wakeup = true;
    schedule(c);
}

void delivery_close(struct delivery_conn *c)
{
    c->want_close = true;
    schedule(c);
}

void delivery_abort(struct delivery_conn *c)
{
    c->want_abort = true;
    schedule(c);
}

void delivery_info(const struct delivery_conn *c, struct delivery_info *ret)
{
    static const char *const phases[] = {"start", "connect", "", "closing", "closed"};

    *ret = (struct delivery_info){
        .queue = c->queue,
        .host = c->host < c->params.host_count ? c->hosts[c->host].name : "",
        .peer_ip = sv_of(c->peer_ip),
        .source_ip = sv_of(c->source_ip),
        .phase = c->state == CONN_TALKING ? smtp_client_phase(&c->client) : phases[c->state],
        .tls = c->client_open ? c->client.tls : "",
        .tls_verify = c->tls_verify,
        .messages = c->messages,
        .opened_ms = c->opened_ms,
    };
}

void delivery_keywords(const struct delivery_conn *c, struct buf *out)
{
    if (c->client_open)
        smtp_client_keywords(&c->client, out);
}
