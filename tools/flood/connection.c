/*
 * connection: one socket of pmta-flood and its client; see runner.h. Opened by the runner, reopened
 * by itself after a back-off until the run is over. Written at once; what the socket does not take
 * goes into one request, with reading stopped meanwhile. A reply that does not come in time ends
 * the connection. The structure lives as long as the runner; the tcp handle is made for each
 * connection, and a new one only after the old one is closed.
 */
#include "flood/runner.h"

#define BACKOFF_MS     20u
#define BACKOFF_MAX_MS 1000u

void connection_init(struct connection *c, struct runner *r)
{
    c->runner = r;
    c->tcp.data = c->backoff.data = c->connecting.data = c->writing.data = c;
    list_init(&c->idle);
    client_init(&c->client, r->flood);
    uv_timer_init(&r->loop, &c->backoff);
}

void connection_fini(struct connection *c)
{
    client_fini(&c->client);
}

static void on_backoff(uv_timer_t *timer)
{
    connection_open(timer->data);
}

static void on_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    c->open = false;
    c->writing_bytes = 0;
    c->runner->open--;
    if (c->runner->stopping)
        return;
    uint64_t ms = c->failures ? (uint64_t)BACKOFF_MS << MIN_OF(c->failures - 1, 10u) : 0;
    uv_timer_start(&c->backoff, on_backoff, MIN_OF(ms, BACKOFF_MAX_MS), 0);
}

/* The client knows already why. */
static void close_socket(struct connection *c)
{
    if (!c->open || uv_is_closing((uv_handle_t *)&c->tcp))
        return;
    list_remove(&c->idle);
    c->connected = c->reading = false;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
    runner_wake(c->runner);
}

static void lose(struct connection *c, enum stats_loss loss)
{
    if (!c->open || uv_is_closing((uv_handle_t *)&c->tcp))
        return;
    if (c->client.state != CLIENT_READY && c->client.state != CLIENT_QUIT)
        c->failures++;
    client_lost(&c->client, loss, runner_now_us());
    runner_settled(c->runner, c, false);
    close_socket(c);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct connection *c = handle->data;
    (void)suggested;
    *ret = uv_buf_init(c->runner->read_buffer, sizeof(c->runner->read_buffer));
}

static void fed(struct connection *c, const char *data, size_t len)
{
    int64_t now_us = runner_now_us();
    enum client_state before = c->client.state;
    client_feed(&c->client, data, len, now_us);
    c->waiting_since_us = now_us;
    if (c->client.state == CLIENT_READY && before < CLIENT_READY) {
        c->failures = 0;
        c->runner->flood->stats.connections++;
        runner_settled(c->runner, c, true);
        client_poke(&c->client, now_us);
    } else if (c->client.state == CLIENT_CLOSED && before < CLIENT_READY) {
        c->failures++;
        runner_settled(c->runner, c, false);
    }
    connection_step(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = stream->data;
    if (n > 0)
        fed(c, buf->base, (size_t)n);
    else if (n < 0)
        lose(c, LOSS_LOST);
}

static void on_written(uv_write_t *request, int status)
{
    struct connection *c = request->data;
    size_t n = c->writing_bytes;
    c->writing_bytes = 0;
    if (status < 0) {
        lose(c, LOSS_LOST);
        return;
    }
    client_wrote(&c->client, n, runner_now_us());
    connection_step(c);
}

static unsigned gather(struct client *client, uv_buf_t *bufs)
{
    struct strview parts[] = {buf_view(&client->head), client->body, buf_view(&client->tail)};
    unsigned count = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (parts[i].len) /* written from, never to */
            bufs[count++] = uv_buf_init((char *)(uintptr_t)parts[i].ptr, (unsigned)parts[i].len);
    return count;
}

/* Writes the client's output. False when the connection broke. */
static bool write_out(struct connection *c)
{
    uv_stream_t *stream = (uv_stream_t *)&c->tcp;
    uv_buf_t bufs[3];
    unsigned count = gather(&c->client, bufs);
    int n = uv_try_write(stream, bufs, count);
    if (n < 0 && n != UV_EAGAIN)
        return false;
    int64_t now_us = runner_now_us();
    c->waiting_since_us = now_us;
    if (n > 0)
        client_wrote(&c->client, (size_t)n, now_us);
    count = gather(&c->client, bufs);
    if (count == 0)
        return true;
    c->writing_bytes = client_output(&c->client);
    return uv_write(&c->writing, stream, bufs, count, on_written) == 0;
}

static void set_reading(struct connection *c, bool wanted)
{
    if (c->reading == wanted)
        return;
    c->reading = wanted;
    if (wanted)
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    else
        uv_read_stop((uv_stream_t *)&c->tcp);
}

void connection_step(struct connection *c)
{
    struct runner *r = c->runner;
    if (!c->connected || c->writing_bytes > 0)
        return;
    if (c->client.state == CLIENT_CLOSED) {
        close_socket(c);
        return;
    }
    if (client_output(&c->client) > 0 && !write_out(c)) {
        lose(c, LOSS_LOST);
        return;
    }
    set_reading(c, c->writing_bytes == 0);
    if (c->client.state == CLIENT_READY && list_empty(&c->idle)) {
        list_push_back(&r->idle, &c->idle);
        runner_wake(r);
    }
}

void connection_poke(struct connection *c)
{
    int64_t now_us = runner_now_us();
    list_remove(&c->idle);
    if (schedule_is_finished(&c->runner->flood->schedule, now_us))
        client_quit(&c->client);
    else
        client_poke(&c->client, now_us);
    connection_step(c);
}

static void on_connected(uv_connect_t *request, int status)
{
    struct connection *c = request->data;
    if (status == UV_ECANCELED)
        return;
    if (status < 0) {
        lose(c, LOSS_CONNECT);
        return;
    }
    c->connected = true;
    uv_tcp_nodelay(&c->tcp, 1);
    connection_step(c);
}

void connection_open(struct connection *c)
{
    struct runner *r = c->runner;
    const struct sockaddr *to = (const struct sockaddr *)&r->flood->options.to;
    if (r->stopping || schedule_is_finished(&r->flood->schedule, runner_now_us()))
        return;
    c->waiting_since_us = runner_now_us();
    client_open(&c->client);
    BUG_ON(uv_tcp_init(&r->loop, &c->tcp) != 0);
    c->open = true;
    r->open++;
    if (uv_tcp_connect(&c->connecting, &c->tcp, to, on_connected) < 0)
        lose(c, LOSS_CONNECT);
}

void connection_check(struct connection *c, int64_t now_us)
{
    if (!c->open || !client_is_waiting(&c->client))
        return;
    if (now_us - c->waiting_since_us > c->runner->flood->options.timeout_ms * 1000)
        lose(c, LOSS_TIMEOUT);
}

void connection_stop(struct connection *c)
{
    lose(c, LOSS_LOST);
    uv_close((uv_handle_t *)&c->backoff, NULL);
}
