/*
 * Questions on sockets. lookup.c starts an exchange through exchange_pool_ops; it ends with one
 * callback (answer, time-out, error) or is cancelled.
 *
 * UDP: socket, connect, send, wait; a packet that is no answer to the question is passed over, and
 * after EXCHANGE_MAX_FOREIGN of them the exchange ends as ERR_PROTOCOL, because somebody is
 * guessing ids. TCP: the same with two bytes of length in front (RFC 1035 section 4.2.2), at most
 * EXCHANGE_MAX_TCP at a time, the rest in a queue that uses up their own time-out.
 *
 * An exchange is freed when libuv has closed its handles (pending counts them), the pool when its
 * last exchange is gone. What fails inside send() is told by the timer.
 */
#include "exchange.h"

#include "base/clock.h"
#include "base/list.h"

#include <sys/resource.h>

enum {
    DATAGRAM_MAX = 4096,
    TCP_FIRST_READ = 2048,
    OTHER_FDS = 64, /* control, edges, log, loop */
};

struct exchange_pool {
    uv_loop_t *loop;
    uv_timer_t wake_timer;
    void (*wake)(void *arg);
    void *arg;
    struct list all;     /* exchanges that are not closing */
    struct list waiting; /* those of them that wait for a place among the TCP connections */
    size_t count;        /* exchanges whose memory is there */
    unsigned tcp_open;
    bool closing;
    bool wake_closed;
    uint8_t datagram[DATAGRAM_MAX];
};

struct exchange {
    struct exchange_pool *pool;
    struct list link;
    struct list wait_link;
    const struct query *query;
    struct sockaddr_storage to;
    exchange_cb cb;
    void *arg;
    int64_t started_ms;
    int early_code; /* what the timer tells: ERR_TIMEOUT, or the error of a call in send */
    unsigned foreign;
    unsigned pending; /* handles that are open or closing */
    bool tcp, has_socket, closing;
    uv_timer_t timer;
    union {
        uv_handle_t handle;
        uv_udp_t udp;
        uv_tcp_t stream;
    } socket;
    uv_connect_t connect;
    uv_write_t write;
    uint8_t *in; /* TCP: two bytes of length and the packet */
    size_t in_len, in_cap;
    uint8_t out[2 + QUERY_WIRE_MAX];
};

static void start_waiting_tcp(struct exchange_pool *p);

static void pool_free_when_done(struct exchange_pool *p)
{
    if (p->closing && p->wake_closed && !p->count)
        free(p);
}

static void on_closed(uv_handle_t *h)
{
    struct exchange *x = h->data;
    struct exchange_pool *p = x->pool;

    if (--x->pending)
        return;
    p->count--;
    free(x->in);
    free(x);
    pool_free_when_done(p);
}

/* Idempotent. No callback of the exchange fires afterwards. */
static void close_exchange(struct exchange *x)
{
    if (x->closing)
        return;
    x->closing = true;
    list_remove(&x->link);
    list_remove(&x->wait_link);
    uv_close((uv_handle_t *)&x->timer, on_closed);
    if (!x->has_socket)
        return;
    uv_close(&x->socket.handle, on_closed);
    if (x->tcp) {
        x->pool->tcp_open--;
        start_waiting_tcp(x->pool);
    }
}

static void end(struct exchange *x, int code, enum query_match match, const uint8_t *data,
                size_t len)
{
    if (x->closing)
        return;
    struct exchange_result result = {code, match, data, len, clock_mono_ms() - x->started_ms};
    close_exchange(x); /* its buffers live until libuv has closed the handles */
    x->cb(x->arg, &result);
}

static void fail(struct exchange *x, int code)
{
    end(x, code, QUERY_OTHER, NULL, 0);
}

static void on_timer(uv_timer_t *t)
{
    struct exchange *x = t->data;
    fail(x, x->early_code);
}

/* Inside send(): the callback may not fire yet. */
static void fail_soon(struct exchange *x, int code)
{
    x->early_code = code;
    uv_timer_start(&x->timer, on_timer, 0, 0);
}

static void take_packet(struct exchange *x, const uint8_t *data, size_t len)
{
    enum query_match match = query_match(x->query, data, len);

    if (match != QUERY_OTHER)
        end(x, 0, match, data, len);
    else if (x->tcp || ++x->foreign >= EXCHANGE_MAX_FOREIGN)
        fail(x, ERR_PROTOCOL);
}

/* --- UDP --- */

static void on_udp_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    struct exchange *x = h->data;
    (void)suggested;
    *ret = uv_buf_init((char *)x->pool->datagram, sizeof(x->pool->datagram));
}

static void on_udp_packet(uv_udp_t *h, ssize_t n, const uv_buf_t *b, const struct sockaddr *from,
                          unsigned flags)
{
    struct exchange *x = h->data;
    (void)flags;
    if (x->closing || (n == 0 && !from))
        return;
    if (n < 0)
        fail(x, (int)n);
    else
        take_packet(x, (const uint8_t *)b->base, (size_t)n);
}

static int start_udp(struct exchange *x)
{
    uv_buf_t b = uv_buf_init((char *)x->out + 2, (unsigned)x->query->wire_bytes);
    int rc = uv_udp_init(x->pool->loop, &x->socket.udp);

    if (rc < 0)
        return rc;
    x->has_socket = true;
    x->pending++;
    x->socket.udp.data = x;
    if ((rc = uv_udp_connect(&x->socket.udp, (const struct sockaddr *)&x->to)) < 0 ||
        (rc = uv_udp_recv_start(&x->socket.udp, on_udp_alloc, on_udp_packet)) < 0)
        return rc;
    rc = uv_udp_try_send(&x->socket.udp, &b, 1, NULL);
    return MIN_OF(rc, 0);
}

/* --- TCP --- */

static void on_tcp_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    struct exchange *x = h->data;
    size_t want = x->in_len < 2 ? TCP_FIRST_READ : 2 + ((size_t)x->in[0] << 8 | x->in[1]);
    (void)suggested;
    if (x->in_cap < want) {
        x->in = xrealloc(x->in, want);
        x->in_cap = want;
    }
    *ret = uv_buf_init((char *)x->in + x->in_len, (unsigned)(x->in_cap - x->in_len));
}

static void on_tcp_bytes(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct exchange *x = s->data;
    (void)b;
    if (x->closing)
        return;
    if (n < 0) {
        fail(x, (int)n);
        return;
    }
    x->in_len += (size_t)n;
    size_t len = x->in_len < 2 ? 0 : (size_t)x->in[0] << 8 | x->in[1];
    if (x->in_len >= 2 && x->in_len >= 2 + len)
        take_packet(x, x->in + 2, len);
}

static void on_tcp_written(uv_write_t *w, int status)
{
    struct exchange *x = container_of(w, struct exchange, write);
    if (status < 0)
        fail(x, status);
}

static void on_tcp_connected(uv_connect_t *c, int status)
{
    struct exchange *x = container_of(c, struct exchange, connect);
    uv_stream_t *s = (uv_stream_t *)&x->socket.stream;
    uv_buf_t b = uv_buf_init((char *)x->out, (unsigned)(2 + x->query->wire_bytes));

    if (x->closing)
        return;
    if (status < 0 || (status = uv_read_start(s, on_tcp_alloc, on_tcp_bytes)) < 0 ||
        (status = uv_write(&x->write, s, &b, 1, on_tcp_written)) < 0)
        fail(x, status);
}

static int start_tcp(struct exchange *x)
{
    int rc = uv_tcp_init(x->pool->loop, &x->socket.stream);

    if (rc < 0)
        return rc;
    x->has_socket = true;
    x->pending++;
    x->pool->tcp_open++;
    x->socket.stream.data = x;
    return uv_tcp_connect(&x->connect, &x->socket.stream, (const struct sockaddr *)&x->to,
                          on_tcp_connected);
}

static void start_waiting_tcp(struct exchange_pool *p)
{
    while (!p->closing && p->tcp_open < EXCHANGE_MAX_TCP) {
        struct list *n = list_pop_front(&p->waiting);
        if (!n)
            return;
        struct exchange *x = list_entry(n, struct exchange, wait_link);
        int rc = start_tcp(x);
        if (rc < 0)
            fail_soon(x, rc);
    }
}

/* --- pool --- */

static struct exchange *new_exchange(struct exchange_pool *p, const struct query *q,
                                     const struct sockaddr *to)
{
    struct exchange *x = xcalloc(1, sizeof(*x));

    x->pool = p;
    x->query = q;
    memcpy(&x->to, to,
           to->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    x->started_ms = clock_mono_ms();
    x->early_code = ERR_TIMEOUT;
    x->out[0] = (uint8_t)(q->wire_bytes >> 8);
    x->out[1] = (uint8_t)q->wire_bytes;
    memcpy(x->out + 2, q->wire, q->wire_bytes);
    uv_timer_init(p->loop, &x->timer);
    x->timer.data = x;
    x->pending = 1;
    list_push_back(&p->all, &x->link);
    list_init(&x->wait_link);
    p->count++;
    return x;
}

static struct exchange *pool_send(void *owner, const struct query *q, const struct sockaddr *to,
                                  bool tcp, int64_t timeout_ms, exchange_cb cb, void *arg)
{
    struct exchange_pool *p = owner;
    struct exchange *x = new_exchange(p, q, to);

    BUG_ON(p->closing);
    x->tcp = tcp;
    x->cb = cb;
    x->arg = arg;
    uv_update_time(p->loop);
    uv_timer_start(&x->timer, on_timer, (uint64_t)timeout_ms, 0);
    if (tcp) {
        list_push_back(&p->waiting, &x->wait_link);
        start_waiting_tcp(p);
        return x;
    }
    int rc = start_udp(x);
    if (rc < 0)
        fail_soon(x, rc);
    return x;
}

static void pool_cancel(void *owner, struct exchange *x)
{
    (void)owner;
    close_exchange(x);
}

static void on_wake(uv_timer_t *t)
{
    struct exchange_pool *p = t->data;
    p->wake(p->arg);
}

static void pool_wake(void *owner)
{
    struct exchange_pool *p = owner;
    if (!p->closing && !uv_is_active((uv_handle_t *)&p->wake_timer))
        uv_timer_start(&p->wake_timer, on_wake, 0, 0);
}

const struct exchange_ops exchange_pool_ops = {pool_send, pool_cancel, pool_wake};

struct exchange_pool *exchange_pool_new(uv_loop_t *loop, void (*wake)(void *arg), void *arg)
{
    struct exchange_pool *p = xcalloc(1, sizeof(*p));

    p->loop = loop;
    p->wake = wake;
    p->arg = arg;
    list_init(&p->all);
    list_init(&p->waiting);
    uv_timer_init(loop, &p->wake_timer);
    p->wake_timer.data = p;
    return p;
}

static void on_wake_closed(uv_handle_t *h)
{
    struct exchange_pool *p = h->data;
    p->wake_closed = true;
    pool_free_when_done(p);
}

void exchange_pool_close(struct exchange_pool *p)
{
    if (!p || p->closing)
        return;
    p->closing = true;
    list_for_each_safe (pos, &p->all)
        close_exchange(list_entry(pos, struct exchange, link));
    uv_close((uv_handle_t *)&p->wake_timer, on_wake_closed);
}

size_t exchange_pool_open(const struct exchange_pool *p)
{
    return p->count;
}

unsigned exchange_socket_limit(unsigned want)
{
    struct rlimit limit;
    rlim_t need = (rlim_t)want + EXCHANGE_MAX_TCP + OTHER_FDS;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return want;
    if (limit.rlim_cur < need) {
        limit.rlim_cur = MIN_OF(need, limit.rlim_max);
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur >= need)
        return want;
    rlim_t spare = limit.rlim_cur > EXCHANGE_MAX_TCP + OTHER_FDS
                       ? limit.rlim_cur - EXCHANGE_MAX_TCP - OTHER_FDS
                       : 0;
    return (unsigned)MAX_OF(spare, (rlim_t)16);
}
