/*
 * One client connection: a stream, an engine, and what the engine wants done. Opened by listener.c.
 *
 * Happy path: input goes to the engine, pump() does what it wants, the replies go out in one write.
 * Everything asynchronous (TLS handshake, password, file, submit) ends in a callback that tells the
 * engine and pumps again. What can go wrong: the connection breaks (all open requests are
 * cancelled), the pipe goes away (its request is answered 451). A client that ends its side alone,
 * as Exim does behind a pipelined QUIT, still gets the replies to what it sent. A session that does
 * not take its last reply is cut off after LINGER_MS. Memory goes in on_closed, when the stream is
 * done.
 */
#include "auth_check.h"
#include "base/clock.h"
#include "base/log.h"
#include "body_file.h"
#include "net/tls_verify.h"
#include "pipe_edge.h"
#include "tracer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

enum {
    INPUT_MAX = 64 * 1024,
    OUTPUT_HIGH = 64 * 1024,
    LINGER_MS = 10 * 1000,
};

struct session {
    struct list link;
    struct receiver *receiver;
    struct stream *stream;
    struct smtp_server *engine;
    struct client_settings *settings;
    struct admission_place place;
    struct tls_context *tls;
    struct auth_job *auth;
    char tls_source[128]; /* the [source] that a client certificate gave, or "" */
    struct pipe_request request;
    struct body_file *file;
    struct trace *trace; /* that listens, or NULL */
    bool submitting;   /* the last piece is on its way to the file */
    bool handshaking;  /* input belongs to what comes after TLS is up */
    bool implicit_tls; /* the greeting waits for the handshake */
    bool client_ended; /* no more input; what there is is still answered */
    bool closing;
    bool pumping;
    int64_t opened_ms;
    int64_t abort_ms; /* when closing: cut off at this time */
    struct sockaddr_storage addr;
    char listener[128];
    char id[24];
    char client[INET6_ADDRSTRLEN];
};

static void pump(struct session *s);

/* --- life --- */

static void cancel_all(struct session *s)
{
    pipe_request_cancel(&s->request);
    auth_job_cancel(s->auth);
    s->auth = NULL;
    body_file_close(s->file);
    s->file = NULL;
}

/* Idempotent. The engine gets nothing more. */
static void session_close(struct session *s, bool at_once)
{
    if (!s->closing) {
        s->closing = true;
        s->abort_ms = clock_mono_ms() + LINGER_MS;
        cancel_all(s);
    }
    if (at_once)
        stream_abort(s->stream);
    else
        stream_close(s->stream);
}

static void on_closed(void *owner, struct stream *stream)
{
    struct session *s = owner;
    struct receiver *r = s->receiver;

    (void)stream;
    cancel_all(s);
    if (s->trace)
        trace_session_over(s->trace);
    list_remove(&s->link);
    admission_leave(&r->admission, &s->place);
    smtp_server_free(s->engine);
    client_settings_free(s->settings);
    tls_context_unref(s->tls);
    free(s);
    receiver_session_ended(r);
}

/* --- what the engine wants --- */

static void send_submit(struct pipe_request *q, struct pipe_edge *p)
{
    struct session *s = container_of(q, struct session, request);
    int fd = smtp_server_has_file(s->engine) ? body_file_fd(s->file) : -1;

    pipe_edge_send_submit(p, q, smtp_server_envelope(s->engine), smtp_server_content(s->engine),
                          fd);
    smtp_server_content_sent(s->engine);
}

static void on_submit_answer(struct pipe_request *q, unsigned code, struct strview text, int fd)
{
    struct session *s = container_of(q, struct session, request);

    (void)fd;
    smtp_server_submitted(s->engine, code, text);
    pump(s);
}

#define PIPE_IS_DOWN SV("4.3.2 This pipe is not available now, try again later")

static void submit_now(struct session *s)
{
    s->request.answer = on_submit_answer;
    s->request.send = send_submit;
    if (!pipe_edge_submit(s->receiver, smtp_server_pipe(s->engine), &s->request))
        smtp_server_submitted(s->engine, 451, PIPE_IS_DOWN);
}

static void do_submit(struct session *s)
{
    struct buf rest = {0};

    if (!smtp_server_has_file(s->engine) || smtp_server_content(s->engine).len == 0) {
        submit_now(s);
        return;
    }
    s->submitting = true;
    smtp_server_content_take(s->engine, &rest);
    body_file_write(s->file, &rest);
}

static void write_failed(int status, unsigned *ret_code, struct strview *ret_text)
{
    bool full = status == UV_ENOSPC || status == -EDQUOT;
    *ret_code = full ? 452 : 451;
    *ret_text = full ? SV("4.3.1 No space for the message, try again later")
                     : SV("4.3.0 Cannot store the message, try again later");
}

static void on_piece_written(void *owner, int status)
{
    struct session *s = owner;
    unsigned code = 0;
    struct strview text = {NULL, 0};

    if (status < 0) {
        log_error(LOG_SMTP_IN, "session=%s client=%s cannot write a large message: %s", s->id,
                  s->client, uv_strerror(status));
        write_failed(status, &code, &text);
    }
    if (!s->submitting) {
        smtp_server_content_done(s->engine, code, text);
    } else {
        s->submitting = false;
        if (code)
            smtp_server_submitted(s->engine, code, text);
        else
            submit_now(s);
    }
    pump(s);
}

static void on_file_answer(struct pipe_request *q, unsigned code, struct strview text, int fd)
{
    struct session *s = container_of(q, struct session, request);

    if (code == 0 && fd < 0) {
        code = 451;
        text = PIPE_IS_DOWN;
    } else if (fd >= 0 && code != 0) {
        close(fd);
    }
    if (code == 0)
        s->file = body_file_new(child_loop(s->receiver->child), fd, on_piece_written, s);
    smtp_server_file_done(s->engine, code, text);
    pump(s);
}

static void ask_file(struct session *s)
{
    s->request.answer = on_file_answer;
    s->request.send = NULL;
    if (!pipe_edge_ask_file(s->receiver, smtp_server_pipe(s->engine), &s->request))
        smtp_server_file_done(s->engine, 451, PIPE_IS_DOWN);
}

static void write_piece(struct session *s)
{
    struct buf piece = {0};
    smtp_server_content_take(s->engine, &piece);
    body_file_write(s->file, &piece);
}

static void take_auth(struct session *s, enum smtp_auth_result result)
{
    struct strview user, password;
    struct client_settings *c = NULL;

    if (result == SMTP_AUTH_OK) {
        smtp_server_credentials(s->engine, &user, &password);
        c = client_settings_new(s->receiver, s->listener, s->tls != NULL,
                                (const struct sockaddr *)&s->addr, sv_of(s->tls_source), user);
    }
    smtp_server_auth_done(s->engine, result, c ? &c->smtp : NULL);
    if (c) { /* the engine uses the new ones now */
        client_settings_free(s->settings);
        s->settings = c;
    }
}

static void on_auth(void *owner, enum smtp_auth_result result)
{
    struct session *s = owner;
    s->auth = NULL;
    take_auth(s, result);
    pump(s);
}

static void start_auth(struct session *s)
{
    struct strview user, password;
    bool known;

    smtp_server_credentials(s->engine, &user, &password);
    struct config *cfg = s->receiver->config;
    struct config_query q = {.user = user};
    const char *hash = NULL;
    if (config_has_section(cfg, KIND_SMTP_USER, user))
        hash = config_text(cfg, &q, DIR_PASSWORD);
    s->auth = auth_check_start(s->receiver->auth, user, password, hash, &known, on_auth, s);
    if (!s->auth)
        take_auth(s, known ? SMTP_AUTH_OK : SMTP_AUTH_LATER);
}

static void write_output(struct session *s)
{
    struct buf *out = smtp_server_output(s->engine);
    if (buf_len(out) == 0)
        return;
    stream_write(s->stream, buf_data(out), buf_len(out));
    buf_reset(out);
}

static void start_tls(struct session *s)
{
    struct buf *in = stream_input(s->stream);

    write_output(s);
    if (buf_len(in))
        smtp_server_hear_event(s->engine, "%zu bytes behind STARTTLS are thrown away", buf_len(in));
    buf_consume(in, buf_len(in));
    s->handshaking = true;
    stream_tls_accept(s->stream, s->tls);
}

static void do_want(struct session *s, enum smtp_want want)
{
    switch (want) {
    case SMTP_WANT_NOTHING:
        break;
    case SMTP_WANT_DROP:
        body_file_close(s->file);
        s->file = NULL;
        break;
    case SMTP_WANT_TLS:
        start_tls(s);
        break;
    case SMTP_WANT_AUTH:
        start_auth(s);
        break;
    case SMTP_WANT_FILE:
        ask_file(s);
        break;
    case SMTP_WANT_CONTENT:
        write_piece(s);
        break;
    case SMTP_WANT_SUBMIT:
        do_submit(s);
        break;
    case SMTP_WANT_CLOSE:
        write_output(s);
        session_close(s, false);
        break;
    }
}

/* Something comes by itself that may let the engine take more of its input. */
static bool is_under_way(const struct session *s)
{
    return s->request.open || s->auth || body_file_busy(s->file) || stream_congested(s->stream);
}

/* Gives the engine its input and does what it wants, until neither is left. */
static void pump(struct session *s)
{
    enum smtp_want want;

    if (s->pumping)
        return;
    s->pumping = true;
    do {
        if (s->closing)
            break;
        if (!stream_congested(s->stream) && !s->handshaking)
            smtp_server_input(s->engine, stream_input(s->stream));
        want = smtp_server_next(s->engine);
        do_want(s, want);
    } while (want != SMTP_WANT_NOTHING);
    if (!s->closing)
        write_output(s);
    if (s->client_ended && !is_under_way(s))
        session_close(s, false);
    stream_flush(s->stream);
    s->pumping = false;
}

/* --- stream --- */

static void on_read(void *owner, struct stream *stream)
{
    struct session *s = owner;
    (void)stream;
    pump(s);
}

static void on_drained(void *owner, struct stream *stream)
{
    struct session *s = owner;
    (void)stream;
    pump(s);
}

static void on_ended(void *owner, struct stream *stream, int status)
{
    struct session *s = owner;

    (void)stream;
    smtp_server_hear_event(s->engine, "the client ended the connection in state %s: %s",
                           smtp_server_state_name(s->engine), status ? err_name(status) : "end");
    s->client_ended = true;
    if (status < 0 || s->handshaking)
        session_close(s, status < 0);
    else
        pump(s);
}

/* A client that shows a valid certificate is the source that names it, and is counted as it. */
static void take_certificate(struct session *s)
{
    struct receiver *r = s->receiver;
    char why[160];
    enum tls_client shown = stream_tls_client_certificate(s->stream, why, sizeof(why));
    const char *name = shown == TLS_CLIENT_VALID ? client_settings_source(r, s->stream) : NULL;

    if (shown == TLS_CLIENT_BAD)
        log_info(LOG_TLS, "session=%s client=%s the client's certificate is not used: %s", s->id,
                 s->client, why);
    else if (shown == TLS_CLIENT_VALID && !name)
        log_info(LOG_TLS, "session=%s client=%s no source has the name of the client's certificate",
                 s->id, s->client);
    if (!name)
        return;
    snprintf(s->tls_source, sizeof(s->tls_source), "%s", name);
    struct client_settings *c =
        client_settings_new(r, s->listener, true, (struct sockaddr *)&s->addr,
                            sv_of(s->tls_source), sv(NULL, 0));
    admission_leave(&r->admission, &s->place);
    c->smtp.refuse = admission_enter(&r->admission, r->config, c->smtp.source,
                                     (const struct sockaddr *)&s->addr, &s->place);
    smtp_server_settings_changed(s->engine, &c->smtp);
    client_settings_free(s->settings);
    s->settings = c;
}

static void handshake_failed(struct session *s, const char *why)
{
    smtp_server_log_refused(s->engine, "TLS handshake failed", sv(NULL, 0), sv(NULL, 0), sv_of(why));
    smtp_server_hear_event(s->engine, "the TLS handshake failed: %s", why);
    session_close(s, true);
}

static void on_tls(void *owner, struct stream *stream, int status)
{
    struct session *s = owner;
    char text[96];

    if (s->closing)
        return;
    if (status < 0) {
        handshake_failed(s, stream_tls_trouble(stream));
        return;
    }
    s->handshaking = false;
    s->receiver->tls_sessions++;
    take_certificate(s);
    snprintf(text, sizeof(text), "%s %s", stream_tls_version(stream), stream_tls_cipher(stream));
    smtp_server_hear_event(s->engine, "TLS is up: %s", text);
    if (s->implicit_tls)
        smtp_server_open(s->engine, text);
    else
        smtp_server_tls_up(s->engine, text);
    pump(s);
}

static const struct stream_ops stream_ops = {
    .read = on_read,
    .ended = on_ended,
    .tls = on_tls,
    .drained = on_drained,
    .closed = on_closed,
};

/* --- engine look-ups --- */

static bool pipe_exists(void *owner, struct strview name)
{
    struct session *s = owner;
    return config_has_section(s->receiver->config, KIND_PIPE, name);
}

static bool virtual_mta_exists(void *owner, struct strview name)
{
    struct session *s = owner;
    const struct config *cfg = s->receiver->config;
    return config_has_section(cfg, KIND_VIRTUAL_MTA, name) ||
           config_has_section(cfg, KIND_VIRTUAL_MTA_POOL, name);
}

static void signing_needs_of(void *owner, struct strview pipe, struct signing_needs *ret)
{
    struct session *s = owner;
    receiver_signing_needs(s->receiver, pipe, ret);
}

static bool signing_key_exists(void *owner, struct strview pipe, const struct signing_options *o)
{
    struct session *s = owner;
    return signing_options_known(s->receiver->config, pipe, o);
}

static bool is_suppressed(void *owner, struct strview sender, struct strview rcpt,
                          const char **ret_reason)
{
    const struct session *s = owner;
    const struct smtp_server_settings *set = &s->settings->smtp;
    struct strview pipe = set->pipe_is_certain ? sv_of(set->pipe) : sv("", 0);

    return receiver_is_suppressed(s->receiver, pipe, sender, rcpt, ret_reason);
}

static bool inbound_of(void *owner, struct strview address, bool relays, struct smtp_inbound *ret)
{
    struct session *s = owner;
    struct receiver *r = s->receiver;

    if (!inbound_find(&r->inbound, address, ret))
        return false;
    if (!relays && !ret->refuse &&
        !admission_enter_inbound(&r->admission, r->config, (const struct sockaddr *)&s->addr,
                                 &s->place))
        ret->refuse = "451 4.7.0 Too many connections from your address, try again later";
    return true;
}

static const struct smtp_server_ops engine_ops = {
    .pipe_exists = pipe_exists,
    .virtual_mta_exists = virtual_mta_exists,
    .signing_needs = signing_needs_of,
    .is_suppressed = is_suppressed,
    .signing_key_exists = signing_key_exists,
    .inbound = inbound_of,
};

/* --- listening --- */

static void on_heard(void *owner, enum smtp_heard kind, struct strview text)
{
    struct session *s = owner;
    trace_hear(s->trace, kind, text);
}

void session_listen(struct session *s, struct trace *t)
{
    s->trace = t;
    smtp_server_hear(s->engine, t ? on_heard : NULL);
}

/* A trace may wait for a session like this one. */
static void offer_to_trace(struct session *s)
{
    const char *source = s->settings->smtp.source, *pipe = s->settings->smtp.pipe;
    struct trace *t = tracer_take(s->receiver, s, s->id, s->client, s->listener,
                                  (const struct sockaddr *)&s->addr);

    if (!t)
        return;
    session_listen(s, t);
    smtp_server_hear_event(s->engine, "connected to %s, source %s, pipe %s",
                           smtp_server_local(s->engine), source ? source : "none",
                           pipe ? pipe : "none");
}

/* --- opening --- */

/* An IPv4 client of an IPv6 socket is an IPv4 client; the address goes to *ret, its text to out. */
static void take_address(const struct sockaddr *from, struct sockaddr_storage *ret, char *out)
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)from;
    struct sockaddr_in four = {.sin_family = AF_INET};

    if (from->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
        memcpy(&four.sin_addr, six->sin6_addr.s6_addr + 12, 4);
        four.sin_port = six->sin6_port;
        memcpy(ret, &four, sizeof(four));
    } else {
        memcpy(ret, from, from->sa_family == AF_INET6 ? sizeof(*six) : sizeof(struct sockaddr_in));
    }
    const void *bytes = &((struct sockaddr_in *)ret)->sin_addr;
    if (ret->ss_family == AF_INET6)
        bytes = &((struct sockaddr_in6 *)ret)->sin6_addr;
    if (!inet_ntop(ret->ss_family, bytes, out, INET6_ADDRSTRLEN))
        snprintf(out, INET6_ADDRSTRLEN, "unknown");
}

/* Which of our addresses a wildcard listener was reached at. */
static void tell_local(struct smtp_server *engine, int fd)
{
    struct sockaddr_storage bound = {0}, plain = {0};
    socklen_t len = sizeof(bound);
    char text[INET6_ADDRSTRLEN];

    if (getsockname(fd, (struct sockaddr *)&bound, &len) < 0 ||
        (bound.ss_family != AF_INET && bound.ss_family != AF_INET6))
        return;
    take_address((struct sockaddr *)&bound, &plain, text);
    smtp_server_set_local(engine, text);
}

/* A client that can never be more than somebody with mail for us. */
static bool is_only_inbound(const struct smtp_server_settings *set)
{
    return set->accept_inbound && !set->source && !set->offer_auth;
}

void session_open(struct receiver *r, struct listener *l, int fd, const struct sockaddr *client)
{
    static const struct stream_limits limits = {INPUT_MAX, OUTPUT_HIGH};
    struct config_query q = {.listener = sv_of(l->name)};
    bool implicit = config_bool(r->config, &q, DIR_TLS_IMPLICIT);

    if (implicit && !l->tls) { /* never in clear where TLS was promised from the first byte */
        close(fd);
        return;
    }
    struct session *s = xcalloc(1, sizeof(*s));
    s->receiver = r;
    s->opened_ms = clock_mono_ms();
    list_init(&s->request.link);
    snprintf(s->listener, sizeof(s->listener), "%s", l->name);
    snprintf(s->id, sizeof(s->id), "%s-%" PRIx64, child_name(r->child), ++r->next_session);
    take_address(client, &s->addr, s->client);
    s->settings =
        client_settings_new(r, l->name, l->tls != NULL, (struct sockaddr *)&s->addr, sv(NULL, 0), sv(NULL, 0));
    s->tls = l->tls ? tls_context_ref(l->tls) : NULL;
    list_push_back(&r->sessions, &s->link);
    r->session_count++;
    r->accepted++;
    const char *refuse = admission_enter(&r->admission, r->config, s->settings->smtp.source,
                                         (const struct sockaddr *)&s->addr, &s->place);
    if (!refuse && is_only_inbound(&s->settings->smtp) &&
        !admission_enter_inbound(&r->admission, r->config, (const struct sockaddr *)&s->addr,
                                 &s->place))
        refuse = "421 4.7.0 Too many connections from your address, try again later";
    if (r->draining)
        refuse = "421 4.3.2 Service is shutting down, try again";
    if (refuse)
        s->settings->smtp.refuse = refuse;
    s->engine = smtp_server_new(s->id, s->client, &s->settings->smtp, &r->shared, &engine_ops, s);
    smtp_server_set_listener(s->engine, s->listener);
    tell_local(s->engine, fd);
    s->stream = stream_from_fd(child_loop(r->child), fd, &limits, &stream_ops, s);
    stream_read_start(s->stream);
    if (!list_empty(&r->traces))
        offer_to_trace(s);
    if (implicit) {
        s->handshaking = s->implicit_tls = true;
        stream_tls_accept(s->stream, s->tls);
        return;
    }
    smtp_server_open(s->engine, NULL);
    pump(s);
}

/* --- all of them --- */

void session_drain_all(struct receiver *r)
{
    list_for_each_safe (pos, &r->sessions) {
        struct session *s = list_entry(pos, struct session, link);
        if (s->closing)
            continue;
        if (s->handshaking) {
            session_close(s, true);
            continue;
        }
        smtp_server_drain(s->engine);
        pump(s);
    }
}

void session_tick_all(struct receiver *r)
{
    int64_t now = clock_mono_ms();

    list_for_each_safe (pos, &r->sessions) {
        struct session *s = list_entry(pos, struct session, link);
        if (s->closing) {
            if (now >= s->abort_ms)
                session_close(s, true);
        } else if (r->exiting) {
            session_close(s, true);
        } else if (now >= smtp_server_deadline(s->engine)) {
            if (s->handshaking) {
                handshake_failed(s, "the client was silent for too long");
                continue;
            }
            smtp_server_tick(s->engine, now);
            pump(s);
        }
    }
}

void session_show_all(struct receiver *r, struct buf *out)
{
    int64_t now = clock_mono_ms();

    list_for_each (pos, &r->sessions) {
        struct session *s = list_entry(pos, struct session, link);
        json_t *o = json_pack(
            "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:b, s:f}", "direction", "in", "session",
            s->id, "client", s->client, "listener", s->listener, "source", s->place.source->name,
            "user", smtp_server_user(s->engine), "state", smtp_server_state_name(s->engine),
            "messages", (json_int_t)smtp_server_messages(s->engine), "tls",
            (int)stream_is_tls(s->stream), "age_s", (double)(now - s->opened_ms) / 1000.0);
        char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
        if (text)
            buf_printf(out, "%s\n", text);
        free(text);
        json_decref(o);
    }
}
