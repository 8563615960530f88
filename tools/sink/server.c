/*
 * server: see server.h. main opens and runs it. Reads go into one shared buffer, because a session
 * uses what it is fed before the callback returns; replies are written at once, and only what the
 * socket does not take is queued, with reading stopped meanwhile. A connection's memory goes in
 * on_closed, when its two handles are closed. Nothing that a peer does ends more than its
 * connection.
 */
#include "sink/server.h"

#include "sink/session.h"

#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#define IDLE_MS  300000u
#define TICK_MS  100u
#define GRACE_MS 100u

#define EXACT_MAX 2000u /* connections that are asked whether they are still there */

struct connection {
    struct list link;
    struct server *server;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_write_t write;
    struct buf writing; /* what the write request holds */
    uint64_t last_ms;
    unsigned handles;
    bool closing;
    bool reading;
    struct session session;
};

static void on_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    if (--c->handles > 0)
        return;
    session_fini(&c->session);
    buf_free(&c->writing);
    free(c);
}

static void connection_close(struct connection *c)
{
    if (c->closing)
        return;
    c->closing = true;
    list_remove(&c->link);
    c->server->open--;
    c->session.peer->open--;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
    uv_close((uv_handle_t *)&c->timer, on_closed);
}

static void connection_step(struct connection *c);

static void on_written(uv_write_t *request, int status)
{
    struct connection *c = request->data;
    buf_reset(&c->writing);
    if (status < 0)
        connection_close(c);
    else
        connection_step(c);
}

/* A client that does not wait for the greeting; its bytes stay in the socket. */
static bool has_input(const struct connection *c)
{
    char byte;
    uv_os_fd_t fd;
    return uv_fileno((const uv_handle_t *)&c->tcp, &fd) == 0 &&
           recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct connection *c = timer->data;
    if (c->session.greeting_due && has_input(c))
        session_early(&c->session);
    session_resume(&c->session);
    connection_step(c);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct connection *c = handle->data;
    (void)suggested;
    *ret = uv_buf_init(c->server->read_buffer, sizeof(c->server->read_buffer));
}

static void on_deadline(uv_timer_t *timer);

static void check_expected(struct server *s)
{
    if (s->satisfied || !sink_is_satisfied(s->sink))
        return;
    s->satisfied = true;
    uv_timer_start(&s->deadline, on_deadline, GRACE_MS, 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = stream->data;
    if (c->session.state != SESSION_HUNG) /* whoever talks to the deaf is idle */
        c->last_ms = uv_now(&c->server->loop);
    if (n < 0)
        session_eof(&c->session);
    else
        session_feed(&c->session, buf->base, (size_t)n);
    connection_step(c);
    check_expected(c->server);
}

/* Sends what may go. False when the connection broke. */
static bool send_out(struct connection *c)
{
    struct session *s = &c->session;
    size_t len = session_sendable(s);
    uv_buf_t out = uv_buf_init(buf_data(&s->out), (unsigned)len);
    if (len == 0)
        return true;
    int n = uv_try_write((uv_stream_t *)&c->tcp, &out, 1);
    if (n < 0 && n != UV_EAGAIN)
        return false;
    size_t sent = n > 0 ? (size_t)n : 0;
    if (sent < len) {
        buf_append(&c->writing, out.base + sent, len - sent);
        out = uv_buf_init(buf_data(&c->writing), (unsigned)(len - sent));
        c->write.data = c;
        if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &out, 1, on_written) < 0)
            return false;
    }
    buf_consume(&s->out, len);
    if (s->next == SESSION_WAIT)
        s->sendable -= len;
    return true;
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

/* Brings the sockets in line with what the session wants next. */
static void connection_step(struct connection *c)
{
    if (c->closing || buf_len(&c->writing) > 0)
        return;
    if (!send_out(c)) {
        connection_close(c);
        return;
    }
    if (buf_len(&c->writing) > 0) {
        set_reading(c, false);
    } else if (c->session.next == SESSION_CLOSE) {
        connection_close(c);
    } else if (c->session.next == SESSION_WAIT) {
        set_reading(c, false);
        if (!uv_is_active((uv_handle_t *)&c->timer))
            uv_timer_start(&c->timer, on_timer, (uint64_t)c->session.wait_ms, 0);
    } else {
        set_reading(c, true);
    }
}

static void refuse_connection(struct connection *c)
{
    static char text[] = "421 4.7.0 Too many connections\r\n";
    uv_buf_t out = uv_buf_init(text, sizeof(text) - 1);
    c->server->sink->tally.connections_refused++;
    uv_try_write((uv_stream_t *)&c->tcp, &out, 1);
    connection_close(c);
}

/* The client has closed it already, only we have not read so far. */
static bool is_gone(const struct connection *c)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    uv_os_fd_t fd;
    return uv_fileno((const uv_handle_t *)&c->tcp, &fd) == 0 &&
           getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           info.tcpi_state != TCP_ESTABLISHED;
}

/* Open connections as the client counts them: it may open one and have closed another before we
 * hear of either. Asked only when there are more than ever. */
static void count_most(struct server *s, struct connection *c)
{
    struct tally *t = &s->sink->tally;
    struct peer *peer = c->session.peer;
    uint64_t gone = 0, gone_of_peer = 0;
    if (s->open <= t->connections_most && peer->open <= peer->most)
        return;
    if (s->open <= EXACT_MAX)
        list_for_each (pos, &s->connections) {
            struct connection *other = list_entry(pos, struct connection, link);
            if (other == c || !is_gone(other))
                continue;
            gone++;
            gone_of_peer += other->session.peer == peer;
        }
    t->connections_most = MAX_OF(t->connections_most, s->open - gone);
    peer->most = MAX_OF(peer->most, peer->open - gone_of_peer);
    t->connections_most_address = MAX_OF(t->connections_most_address, peer->most);
}

static struct peer *peer_of(struct server *s, const uv_tcp_t *tcp)
{
    struct sockaddr_storage a = {0};
    char text[INET6_ADDRSTRLEN] = "?";
    int len = sizeof(a);
    if (uv_tcp_getpeername(tcp, (struct sockaddr *)&a, &len) == 0)
        uv_ip_name((const struct sockaddr *)&a, text, sizeof(text));
    return peers_get(&s->sink->peers, text);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct server *s = listener->data;
    struct tally *t = &s->sink->tally;
    if (status < 0)
        return;
    struct connection *c = xcalloc(1, sizeof(*c));
    c->server = s;
    c->tcp.data = c->timer.data = c;
    c->handles = 2;
    c->last_ms = uv_now(&s->loop);
    uv_tcp_init(&s->loop, &c->tcp);
    uv_timer_init(&s->loop, &c->timer);
    session_init(&c->session, s->sink, ++s->numbers);
    list_push_back(&s->connections, &c->link);
    s->open++;
    t->connections++;
    bool accepted = uv_accept(listener, (uv_stream_t *)&c->tcp) == 0;
    c->session.peer = peer_of(s, &c->tcp);
    c->session.peer->open++;
    c->session.peer->connections++;
    count_most(s, c);
    if (!accepted) {
        connection_close(c);
    } else if (s->open > s->sink->options.max_connections) {
        refuse_connection(c);
    } else {
        uv_tcp_nodelay(&c->tcp, 1);
        session_start(&c->session);
        if (!c->session.greeting_due && has_input(c))
            session_early(&c->session);
        connection_step(c);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct server *s = timer->data;
    record_flush(&s->sink->record);
    list_for_each_safe (pos, &s->connections) {
        struct connection *c = list_entry(pos, struct connection, link);
        if (uv_now(&s->loop) - c->last_ms > IDLE_MS && c->session.next == SESSION_READ)
            connection_close(c);
    }
}

static void server_stop(struct server *s)
{
    if (s->stopping)
        return;
    s->stopping = true;
    for (unsigned i = 0; i < s->listener_count; i++)
        uv_close((uv_handle_t *)&s->listeners[i], NULL);
    for (size_t i = 0; i < ARRAY_LEN(s->signals); i++)
        uv_close((uv_handle_t *)&s->signals[i], NULL);
    uv_close((uv_handle_t *)&s->tick, NULL);
    uv_close((uv_handle_t *)&s->deadline, NULL);
    list_for_each_safe (pos, &s->connections)
        connection_close(list_entry(pos, struct connection, link));
}

static void on_deadline(uv_timer_t *timer)
{
    server_stop(timer->data);
}

static void print_summary(struct server *s)
{
    struct buf out = {0};
    if (s->sink->options.json)
        tally_json(&s->sink->tally, &s->sink->peers, &out);
    else
        tally_table(&s->sink->tally, &s->sink->peers, s->sink->options.list_duplicates, &out);
    fwrite(buf_data(&out), 1, buf_len(&out), stdout);
    fflush(stdout);
    buf_free(&out);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct server *s = handle->data;
    record_flush(&s->sink->record);
    if (number == SIGUSR1)
        print_summary(s);
    else
        server_stop(s);
}

static int open_listener(struct server *s, unsigned i, struct err *e)
{
    struct sockaddr_storage *address = &s->sink->options.listen[i];
    int len = sizeof(*address), rc;
    char text[CLI_ADDRESS_SIZE];
    uv_tcp_t *l = &s->listeners[i];
    rc = uv_tcp_init(&s->loop, l);
    l->data = s;
    s->listener_count++;
    if (rc == 0)
        rc = uv_tcp_bind(l, (const struct sockaddr *)address, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)l, 4096, on_connection);
    if (rc < 0)
        return err_set(e, rc, "cannot listen on %s", cli_address_text(address, text));
    uv_tcp_getsockname(l, (struct sockaddr *)address, &len);
    if (s->sink->options.print_port)
        printf("listening on %s\n", cli_address_text(address, text));
    return 0;
}

int server_open(struct server *s, struct sink *sink, struct err *e)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGUSR1};
    int rc = uv_loop_init(&s->loop);
    if (rc < 0)
        return err_set(e, rc, "cannot make an event loop");
    s->sink = sink;
    list_init(&s->connections);
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uv_signal_init(&s->loop, &s->signals[i]);
        s->signals[i].data = s;
        uv_signal_start(&s->signals[i], on_signal, numbers[i]);
    }
    uv_timer_init(&s->loop, &s->tick);
    uv_timer_init(&s->loop, &s->deadline);
    s->tick.data = s->deadline.data = s;
    uv_timer_start(&s->tick, on_tick, TICK_MS, TICK_MS);
    if (sink->options.for_ms > 0)
        uv_timer_start(&s->deadline, on_deadline, (uint64_t)sink->options.for_ms, 0);
    for (unsigned i = 0; i < sink->options.listen_count && rc == 0; i++)
        rc = open_listener(s, i, e);
    fflush(stdout);
    if (rc < 0)
        server_stop(s);
    return rc;
}

void server_run(struct server *s)
{
    uv_run(&s->loop, UV_RUN_DEFAULT);
    BUG_ON(uv_loop_close(&s->loop) != 0);
    if (!s->sink->options.quiet)
        print_summary(s);
}
