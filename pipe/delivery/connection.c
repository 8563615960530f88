/*
 * One outgoing connection: walks the list of hosts, feeds the engine from the stream and the stream
 * from the engine, keeps one timer. Driven by the queue through delivery.h. Its parts: TLS in
 * conn_tls.c, content in conn_content.c, who listens in conn_hear.c.
 *
 * START -> CONNECTING -> TALKING -> CLOSING -> START (next host) or the end. Everything that the
 * owner asks for is a flag, looked at in delivery_conn_run. A host ends with `next_step` saying
 * what follows when its stream is closed: the same host without TLS, the next one, or nothing. The
 * memory goes in on_timer_closed, after stream and file reads are gone.
 */
#include "pipe/delivery/connection.h"

#include "base/clock.h"
#include "base/log.h"
#include "pipe/delivery/conn_content.h"
#include "pipe/delivery/conn_hear.h"
#include "pipe/delivery/conn_tls.h"

static void on_timer(uv_timer_t *t);
static const struct stream_ops stream_callbacks;
static const struct smtp_client_ops client_ops;

void conn_address_text(const struct sockaddr_storage *a, char *out)
{
    out[0] = '\0';
    if (a->ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr, out, INET6_ADDRSTRLEN);
    else if (a->ss_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, out, INET6_ADDRSTRLEN);
}

static unsigned port_of(const struct sockaddr_storage *a)
{
    return ntohs(a->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)a)->sin6_port
                                          : ((const struct sockaddr_in *)a)->sin_port);
}

/* --- the timer: re-armed only when it would fire too late --- */

void conn_rearm(struct delivery_conn *c)
{
    int64_t at = c->state == CONN_TALKING ? smtp_client_deadline(&c->client) : c->wait_until_ms;

    if (c->state == CONN_DONE || at >= c->armed_ms)
        return;
    int64_t now = clock_mono_ms();
    c->armed_ms = at;
    uv_timer_start(&c->timer, on_timer, at > now ? (uint64_t)(at - now) : 0, 0);
}

void conn_settle(struct delivery_conn *c)
{
    if (c->state == CONN_TALKING) {
        stream_flush(c->stream);
        if (c->client.again)
            conn_schedule(c);
    }
    conn_rearm(c);
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

/* --- hosts --- */

static void start_host(struct delivery_conn *c)
{
    const struct stream_limits limits = {INPUT_MAX_BYTES, OUTPUT_HIGH_BYTES};
    struct delivery_host *h = &c->hosts[c->host];

    conn_address_text(&h->addr, c->peer_ip);
    c->source_ip[0] = '\0';
    if (c->params.source)
        conn_address_text(&c->source, c->source_ip);
    c->connect_start_ms = clock_mono_ms();
    c->queued_bytes = c->taken_bytes = 0;
    conn_tls_begin_host(c, c->next_step == NEXT_CLEAR);
    c->next_step = NEXT_HOST;
    c->state = CONN_CONNECTING;
    c->wait_until_ms = c->connect_start_ms + c->params.connect_timeout_ms;
    CONN_NOTE(c, "connecting to %s [%s]:%u%s%s%s", h->name, c->peer_ip, port_of(&h->addr),
              *c->source_ip ? " from " : "", c->source_ip,
              c->in_clear ? ", without TLS this time" : "");
    c->stream = stream_connect(c->d->loop, c->params.source, (const struct sockaddr *)&h->addr,
                               &limits, &stream_callbacks, c);
    stream_share_turn(c->stream, &c->d->turn);
}

static void start_closing(struct delivery_conn *c, bool polite)
{
    c->state = CONN_CLOSING;
    c->wait_until_ms = clock_mono_ms() + CLOSE_WAIT_MS;
    conn_content_stop(c);
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
    CONN_NOTE(c, "%s", buf_data(&text));
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
    conn_tls_fini(c);
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
    CONN_NOTE(c, "the connection is over%s%.*s", c->has_outcome ? ": " : "",
              c->has_outcome ? (int)c->outcome.text.len : 0,
              c->has_outcome ? c->outcome.text.ptr : "");
    conn_hear_end(c);
    list_remove(&c->among_all);
    list_remove(&c->run);
    c->d->connections--; /* closed() of the last one may free d */
    c->ops->closed(c->owner, c, c->has_outcome ? &c->outcome : NULL);
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

/* The stream of this host is gone: what follows, once its file reads are gone too. */
void conn_after_close(struct delivery_conn *c)
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
    conn_schedule(c);
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

void delivery_conn_run(struct list *node)
{
    struct delivery_conn *c = list_entry(node, struct delivery_conn, run);

    if (c->state == CONN_START && !c->want_close && !c->want_abort) {
        if (!conn_tls_have_roots(c))
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
    conn_rearm(c);
}

static void on_timer(uv_timer_t *t)
{
    struct delivery_conn *c = t->data;

    c->armed_ms = INT64_MAX;
    if (c->state == CONN_TALKING && smtp_client_deadline(&c->client) <= clock_mono_ms()) {
        if (c->client.handshaking)
            conn_tls_broke(c, "timed out");
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
    conn_settle(c);
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
        conn_rearm(c);
        return;
    }
    const struct delivery_host *h = &c->hosts[c->host];
    bool required = h->tls && h->tls->required;
    bool broken = conn_tls_avoided(c);
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
    conn_address_text(&local, c->source_ip);
    CONN_NOTE(c, "connected, from %s%s", c->source_ip,
              broken ? "; no TLS, its handshake failed lately" : "");
    smtp_client_init(&c->client, &p, &client_ops, c);
    c->client_open = true;
    c->state = CONN_TALKING;
    stream_read_start(s);
    conn_rearm(c);
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
    conn_settle(c);
}

static void on_ended(void *owner, struct stream *s, int status)
{
    struct delivery_conn *c = owner;
    (void)s;
    if (c->state == CONN_TALKING) {
        if (c->client.handshaking)
            conn_tls_broke(c, "the connection ended");
        smtp_client_eof(&c->client, status);
    }
    conn_rearm(c);
}

static void on_drained(void *owner, struct stream *s)
{
    (void)s;
    conn_content_resume(owner);
}

static void on_closed(void *owner, struct stream *s)
{
    struct delivery_conn *c = owner;
    (void)s;
    c->stream = NULL;
    conn_after_close(c);
}

static const struct stream_ops stream_callbacks = {
    .connected = on_connected,
    .read = on_read,
    .ended = on_ended,
    .tls = conn_tls_done,
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

static enum delivery_next ask_next(void *owner, struct delivery_job *ret)
{
    struct delivery_conn *c = owner;
    enum delivery_next r = c->ops->next(c->owner, c, ret);

    if (r == DELIVERY_JOB) {
        c->messages++;
        conn_hear_job(c, ret);
    }
    return r;
}

static void tell_rcpt(void *owner, const struct delivery_job *job, uint32_t position,
                      const struct outcome *outcome)
{
    struct delivery_conn *c = owner;
    conn_hear_rcpt(c, job, position, outcome);
    c->ops->rcpt_done(c->owner, c, job, position, outcome);
}

static void tell_job(void *owner, const struct delivery_job *job)
{
    struct delivery_conn *c = owner;
    conn_hear_job_done(c, job);
    c->ops->job_done(c->owner, c, job);
}

static void tell_established(void *owner)
{
    struct delivery_conn *c = owner;
    c->established = true;
    conn_tls_tell(c);
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
        conn_tls_tell(c);
        /* opportunistic (RFC 7435): in clear rather than not at all */
        delivery_tls_broken(c->d, &h->addr, c->params.tls_broken_ms);
        log_info(LOG_DELIVERY, "TLS failed, trying again without queue=%s host=%s peer=%s: %.*s",
                 c->queue, h->name, c->peer_ip, SV_ARG(c->outcome.text));
        c->next_step = NEXT_CLEAR;
    } else if (outcome && !c->want_close && !c->want_abort) {
        if (outcome->phase == PHASE_STARTTLS || outcome->phase == PHASE_HELO)
            conn_tls_tell(c);
        c->ops->host_failed(c->owner, c, h, &c->outcome);
    }
    start_closing(c, polite || !outcome);
}

static const struct smtp_client_ops client_ops = {
    .write = put,
    .content = conn_content_put,
    .start_tls = conn_tls_start,
    .next = ask_next,
    .rcpt_done = tell_rcpt,
    .job_done = tell_job,
    .established = tell_established,
    .ended = tell_ended,
};

/* --- delivery.h --- */

static void copy_params(struct delivery_conn *c, const struct delivery_params *p)
{
    c->params = *p;
    conn_tls_init(c, p);
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

struct delivery_conn *delivery_open(struct delivery *d, const struct delivery_params *params,
                                    const struct delivery_ops *ops, void *owner)
{
    struct delivery_conn *c = xcalloc(1, sizeof(*c));

    c->d = d;
    c->ops = ops;
    c->owner = owner;
    copy_params(c, params);
    list_init(&c->run);
    uv_timer_init(d->loop, &c->timer);
    c->timer.data = c;
    c->armed_ms = c->wait_until_ms = INT64_MAX;
    c->opened_ms = clock_wall_ms();
    d->connections++;
    list_push_back(&d->all, &c->among_all);
    conn_hear_begin(c);
    conn_schedule(c);
    return c;
}

void delivery_wakeup(struct delivery_conn *c)
{
    c->want_wakeup = true;
    conn_schedule(c);
}

void delivery_close(struct delivery_conn *c)
{
    c->want_close = true;
    conn_schedule(c);
}

void delivery_abort(struct delivery_conn *c)
{
    c->want_abort = true;
    conn_schedule(c);
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
