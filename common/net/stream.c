/*
 * stream: a TCP connection as its owner sees it; see stream.h. Used by the SMTP server sessions,
 * the delivery client and the tools, always on one loop.
 *
 * The socket is ours and non-blocking, uv_poll_t only waits for it: so the bytes are read straight
 * into the input buf and written straight from the queue, without a request or an allocation per
 * message, and queued memory may still move while the socket is full. A stream that relays one
 * small message costs one recv and one sendmsg.
 *
 * Happy path: on_poll -> receive -> owner's read -> stream_write... -> settle -> flush (one sendmsg
 * of all that was queued). Whatever must not fire inside a call is marked in `due` and runs at the
 * end of the callback on the stack (settle), or in the next turn of the loop by an idle handle.
 *
 * What can go wrong: the socket. A failed read tells ended(). A failed write drops the queue, and
 * ended() waits for the read side if that is still delivering, so that a peer's last words ("421
 * ...") are not lost with it. Everything else is our bug.
 *
 * Memory: the stream owns its bufs and ring; referenced output is its giver's and comes back by
 * release(). All goes in on_handle_closed, when the count of open handles is zero.
 */
#include "net/stream_int.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    READ_SIZE_MIN = 4 << 10,
    READ_SIZE_MAX = 64 << 10,
    READS_PER_WAKEUP = 4,
    WRITES_PER_FLUSH = 16,
    IOVECS = 64,
    SEGS_MIN = 8,
    LINGER_MS = 30 * 1000,
};

static void settle(struct stream *s);
static void rearm(struct stream *s);
static bool wants_input(const struct stream *s);
static void input_ended(struct stream *s, int status);
static void teardown(struct stream *s);
static void watch_room(struct stream *s);
static void run_due(struct stream *s);

static bool is_alive(const struct stream *s)
{
    return s->state < STREAM_LINGER;
}

static void on_turn(uv_idle_t *h)
{
    struct stream *s = h->data;
    uv_idle_stop(h);
    s->busy = true;
    run_due(s);
    settle(s);
}

void stream_due(struct stream *s, unsigned due)
{
    s->due |= due;
    if (!s->busy && s->state != STREAM_CLOSING)
        uv_idle_start(&s->turn, on_turn);
}

/* --- output queue --- */

static void release_later(struct stream *s, void (*release)(void *), void *arg)
{
    if (!release)
        return;
    if (s->release_count == s->release_cap) {
        s->release_cap = s->release_cap ? s->release_cap * 2 : SEGS_MIN;
        s->releases = xrealloc(s->releases, s->release_cap * sizeof(*s->releases));
    }
    s->releases[s->release_count++] = (struct stream_release){release, arg};
    stream_due(s, DUE_RELEASE);
}

/* A release may queue more output, which may add releases: they are run in the same go. */
static void run_releases(struct stream *s)
{
    for (size_t i = 0; i < s->release_count; i++) {
        struct stream_release r = s->releases[i];
        r.release(r.arg);
    }
    s->release_count = 0;
}

static struct stream_seg *seg_at(const struct stream *s, size_t i)
{
    return &s->segs[(s->seg_first + i) & (s->seg_cap - 1)];
}

static void segs_grow(struct stream *s)
{
    size_t cap = s->seg_cap ? s->seg_cap * 2 : SEGS_MIN;
    struct stream_seg *segs = xmalloc(cap * sizeof(*segs));

    for (size_t i = 0; i < s->seg_count; i++)
        segs[i] = *seg_at(s, i);
    free(s->segs);
    s->segs = segs;
    s->seg_cap = cap;
    s->seg_first = 0;
}

static void seg_push(struct stream *s, const struct stream_seg *seg)
{
    if (s->seg_count == s->seg_cap)
        segs_grow(s);
    *seg_at(s, s->seg_count++) = *seg;
    s->queued += seg->len;
}

static void seg_pop(struct stream *s)
{
    struct stream_seg *seg = seg_at(s, 0);
    release_later(s, seg->release, seg->arg);
    s->seg_first = (s->seg_first + 1) & (s->seg_cap - 1);
    s->seg_count--;
}

void stream_queue_consume(struct stream *s, size_t len)
{
    BUG_ON(len > s->queued);
    s->queued -= len;
    while (s->seg_count) {
        struct stream_seg *seg = seg_at(s, 0);
        size_t part = MIN_OF(len, seg->len);
        if (seg->data)
            seg->data += part;
        else
            buf_consume(&s->copied, part);
        seg->len -= part;
        len -= part;
        if (seg->len)
            break;
        seg_pop(s);
    }
}

bool stream_queue_head(const struct stream *s, struct strview *ret)
{
    if (!s->seg_count)
        return false;
    const struct stream_seg *seg = seg_at(s, 0);
    *ret = sv(seg->data ? seg->data : buf_data(&s->copied), seg->len);
    return true;
}

static void drop_output(struct stream *s)
{
    stream_queue_consume(s, s->queued);
    buf_reset(&s->wire);
}

static bool takes_output(const struct stream *s)
{
    return is_alive(s) && s->state != STREAM_BROKEN && !s->out_error && s->tls_phase != TLS_FAILED;
}

static void note_congestion(struct stream *s)
{
    if (stream_congested(s))
        s->congested = true;
}

void stream_write(struct stream *s, const void *data, size_t len)
{
    if (!len || !takes_output(s))
        return;
    struct stream_seg *last = s->seg_count ? seg_at(s, s->seg_count - 1) : NULL;
    buf_append(&s->copied, data, len);
    if (last && !last->data) {
        last->len += len;
        s->queued += len;
    } else {
        seg_push(s, &(struct stream_seg){.len = len});
    }
    note_congestion(s);
}

void stream_write_ref(struct stream *s, const void *data, size_t len, void (*release)(void *arg),
                      void *arg)
{
    if (!len || !takes_output(s)) {
        release_later(s, release, arg);
        return;
    }
    seg_push(s, &(struct stream_seg){data, len, release, arg});
    note_congestion(s);
}

size_t stream_pending(const struct stream *s)
{
    return s->queued + buf_len(&s->wire);
}

bool stream_congested(const struct stream *s)
{
    return stream_pending(s) > s->limits.output_high;
}

/* --- to the socket --- */

/* The peer's last words may still be on their way in; then the end is told after them. */
static bool last_words_possible(const struct stream *s, int error)
{
    return (error == -EPIPE || error == -ECONNRESET) && wants_input(s);
}

static void output_failed(struct stream *s, int error)
{
    s->out_error = error;
    s->blocked = false;
    drop_output(s);
    if (s->state == STREAM_LINGER)
        teardown(s);
    else if (!last_words_possible(s, error))
        input_ended(s, error);
}

static size_t queue_iovecs(const struct stream *s, struct iovec *iov, size_t *ret_bytes)
{
    const char *copied = buf_data(&s->copied);
    size_t n = 0;

    *ret_bytes = 0;
    for (; n < s->seg_count && n < IOVECS; n++) {
        const struct stream_seg *seg = seg_at(s, n);
        const char *from = seg->data ? seg->data : copied;
        if (!seg->data)
            copied += seg->len;
        iov[n] = (struct iovec){(void *)(uintptr_t)from, seg->len};
        *ret_bytes += seg->len;
    }
    return n;
}

/* One sendmsg. True when all that was offered went out. */
static bool send_once(struct stream *s, struct iovec *iov, size_t count, size_t bytes,
                      size_t *ret_sent)
{
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
    ssize_t n;

    do
        n = sendmsg(s->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    *ret_sent = n > 0 ? (size_t)n : 0;
    if (n == (ssize_t)bytes)
        return true;
    if (n < 0 && errno != EAGAIN)
        output_failed(s, -errno);
    else
        s->blocked = true;
    return false;
}

static bool send_queue(struct stream *s)
{
    struct iovec iov[IOVECS];
    size_t bytes, sent;
    size_t count = queue_iovecs(s, iov, &bytes);
    bool all = send_once(s, iov, count, bytes, &sent);

    if (sent)
        stream_queue_consume(s, sent);
    return all;
}

static bool send_wire(struct stream *s)
{
    struct iovec iov = {buf_data(&s->wire), buf_len(&s->wire)};
    size_t sent;
    bool all = send_once(s, &iov, 1, iov.iov_len, &sent);

    if (sent)
        buf_consume(&s->wire, sent);
    return all;
}

/* Sends until the queue is empty or the socket full; false when there may be more to send now. */
static bool send_all(struct stream *s)
{
    for (int i = 0; i < WRITES_PER_FLUSH; i++) {
        int status = s->tls_ops ? s->tls_ops->give(s) : 0;
        if (status) {
            output_failed(s, status);
            return true;
        }
        bool wire = buf_len(&s->wire) > 0;
        if (!wire && (s->tls_ops || !s->seg_count))
            return true;
        if (!(wire ? send_wire(s) : send_queue(s)))
            return true;
    }
    return false;
}

static void note_drained(struct stream *s)
{
    if (s->congested && stream_pending(s) <= s->limits.output_high / 4) {
        s->congested = false;
        if (is_alive(s) && !s->out_error)
            stream_due(s, DUE_DRAINED);
    }
}

void stream_flush(struct stream *s)
{
    if ((s->state != STREAM_OPEN && s->state != STREAM_LINGER) || s->blocked || s->out_error)
        return;
    if (!send_all(s))
        s->blocked = true; /* enough for one call: the rest goes when the loop comes round */
    note_drained(s);
    if (s->state == STREAM_LINGER && !s->blocked)
        teardown(s);
    rearm(s);
}

/* --- from the socket --- */

size_t stream_input_room(const struct stream *s)
{
    size_t len = buf_len(&s->input);
    return len < s->limits.input_max ? s->limits.input_max - len : 0;
}

static bool wants_input(const struct stream *s)
{
    if (s->state != STREAM_OPEN || s->ended)
        return false;
    return s->tls_phase == TLS_HANDSHAKE || (s->reading && stream_input_room(s));
}

static void on_room(uv_prepare_t *h)
{
    struct stream *s = h->data;
    if (!stream_input_room(s))
        return;
    watch_room(s);
    rearm(s);
}

/* While the owner sits on a full input nobody tells us when it consumes: look before each wait. */
static void watch_room(struct stream *s)
{
    bool full = s->state == STREAM_OPEN && s->reading && !s->ended && !stream_input_room(s);

    if (full == s->full)
        return;
    s->full = full;
    if (full) {
        uv_prepare_start(&s->room, on_room);
    } else {
        uv_prepare_stop(&s->room);
        if (s->tls_ops)
            stream_due(s, DUE_INPUT);
    }
}

static void input_ended(struct stream *s, int status)
{
    if (s->ended)
        return;
    s->ended = true;
    if (s->tls_phase == TLS_HANDSHAKE) {
        s->tls_ops->cut(s, status);
        return;
    }
    s->end_status = s->out_error ? s->out_error : status;
    stream_due(s, DUE_ENDED);
}

static void received_end(struct stream *s, ssize_t n)
{
    if (n < 0)
        input_ended(s, -errno);
    else /* under TLS an end without close_notify may have been forged */
        input_ended(s, s->tls_phase == TLS_OPEN ? -ECONNRESET : 0);
}

/* Tells the owner when input grew. */
static void deliver(struct stream *s, size_t before)
{
    if (buf_len(&s->input) > before && s->reading && is_alive(s))
        s->ops->read(s->owner, s);
}

/* What is in raw becomes input, as far as limit and owner let it. */
static void take_tls(struct stream *s)
{
    bool full;

    do {
        size_t before = buf_len(&s->input);
        int status = s->tls_ops->take(s);
        if (status)
            input_ended(s, status == UV_EOF ? 0 : status);
        full = !stream_input_room(s);
        deliver(s, before);
    } while (full && wants_input(s));
}

/* One recv and what follows from it. True when it filled the room: there may be more at once. */
static bool receive(struct stream *s)
{
    bool tls = s->tls_ops != NULL;
    struct buf *into = tls ? &s->raw : &s->input;
    size_t before = buf_len(&s->input);
    size_t limit = tls ? READ_SIZE_MAX : stream_input_room(s);
    char *to = buf_reserve(into, MIN_OF(s->read_size, limit));
    size_t room = MIN_OF(buf_room(into), limit);
    ssize_t n;

    do
        n = recv(s->fd, to, room, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0) {
        received_end(s, n);
        return false;
    }
    buf_advance(into, (size_t)n);
    if ((size_t)n >= s->read_size && s->read_size < READ_SIZE_MAX)
        s->read_size *= 2;
    if (tls)
        take_tls(s);
    else
        deliver(s, before);
    return (size_t)n == room;
}

static void readable(struct stream *s)
{
    for (int i = 0; i < READS_PER_WAKEUP && wants_input(s); i++)
        if (!receive(s))
            break;
}

void stream_read_start(struct stream *s)
{
    if (s->reading || !is_alive(s))
        return;
    s->reading = true;
    if (buf_len(&s->input))
        stream_due(s, DUE_READ);
    if (s->tls_ops)
        stream_due(s, DUE_INPUT);
    watch_room(s);
    rearm(s);
}

void stream_read_stop(struct stream *s)
{
    s->reading = false;
    watch_room(s);
}

struct buf *stream_input(struct stream *s)
{
    if (s->full && !s->busy) /* asked for in order to consume, perhaps later in this turn */
        stream_due(s, DUE_INPUT);
    return &s->input;
}

/* --- events --- */

static void opened(struct stream *s, int status)
{
    s->state = status ? STREAM_BROKEN : STREAM_OPEN;
    if (s->ops->connected)
        s->ops->connected(s->owner, s, status);
}

static void connect_done(struct stream *s)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    opened(s, -error);
}

/* Each kind at most once; what the callbacks mark anew waits for the next turn. */
static void run_due(struct stream *s)
{
    unsigned due = s->due;

    s->due = 0;
    if (due & DUE_RELEASE)
        run_releases(s);
    if ((due & DUE_CONNECTED) && s->state == STREAM_CONNECTING)
        opened(s, s->status);
    if ((due & DUE_TLS) && is_alive(s) && s->ops->tls)
        s->ops->tls(s->owner, s, s->tls_status);
    if ((due & DUE_READ) && s->reading && is_alive(s))
        s->ops->read(s->owner, s);
    if ((due & DUE_INPUT) && s->tls_ops && wants_input(s))
        take_tls(s);
    if ((due & DUE_DRAINED) && is_alive(s) && s->ops->drained)
        s->ops->drained(s->owner, s);
    if ((due & DUE_ENDED) && is_alive(s))
        s->ops->ended(s->owner, s, s->end_status);
}

/* The end of every callback of ours: what was queued goes out, what became due is done. */
static void settle(struct stream *s)
{
    stream_flush(s);
    if (s->due && s->state != STREAM_CLOSING) {
        run_due(s);
        stream_flush(s);
    }
    s->busy = false;
    if (s->due)
        stream_due(s, 0);
    watch_room(s);
    rearm(s);
}

static unsigned wanted_events(const struct stream *s)
{
    unsigned want = s->blocked || s->state == STREAM_CONNECTING ? UV_WRITABLE : 0;
    return want | (wants_input(s) ? UV_READABLE : 0u);
}

static void on_poll(uv_poll_t *h, int status, int events);

static void rearm_exactly(struct stream *s)
{
    unsigned want = wanted_events(s);

    if (s->state == STREAM_CLOSING || want == s->armed)
        return;
    s->armed = want;
    if (want)
        uv_poll_start(&s->poll, (int)want, on_poll);
    else
        uv_poll_stop(&s->poll);
}

/* Makes the stream wait for what it now needs. Readability is given up lazily, when an event came
 * that nobody wants: owners stop and start reading often, and every change costs two epoll_ctl.
 * Writability would fire at once, so it goes eagerly. */
static void rearm(struct stream *s)
{
    if (s->busy || !s->polled || !list_empty(&s->late))
        return;
    unsigned want = wanted_events(s);
    if ((want & ~s->armed) || (s->armed & ~want & UV_WRITABLE))
        rearm_exactly(s);
}

void stream_serve(struct stream *s, unsigned events)
{
    s->busy = true;
    if (s->state == STREAM_CONNECTING) {
        connect_done(s);
    } else {
        if (events & UV_WRITABLE)
            s->blocked = false;
        stream_flush(s);
        if (events & UV_READABLE)
            readable(s);
    }
    settle(s);
    if ((events & UV_READABLE) && !wants_input(s))
        rearm_exactly(s);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct stream *s = h->data;

    if (status < 0) { /* an error of the socket; libuv has stopped the handle */
        s->armed = 0;
        stream_serve(s, UV_READABLE | UV_WRITABLE);
    } else if (s->shares && !stream_turn_take(s->shares)) {
        uv_poll_stop(h);
        s->armed = 0;
        stream_turn_put_off(s->shares, s, (unsigned)events);
    } else {
        stream_serve(s, (unsigned)events);
    }
}

/* --- life --- */

static struct stream *stream_new(uv_loop_t *loop, int fd, const struct stream_limits *limits,
                                 const struct stream_ops *ops, void *owner)
{
    struct stream *s = xcalloc(1, sizeof(*s));

    s->loop = loop;
    s->fd = fd;
    s->limits = *limits;
    s->ops = ops;
    s->owner = owner;
    s->read_size = READ_SIZE_MIN;
    list_init(&s->late);
    uv_idle_init(loop, &s->turn);
    uv_prepare_init(loop, &s->room);
    uv_timer_init(loop, &s->deadline);
    s->turn.data = s->room.data = s->deadline.data = s->poll.data = s;
    s->handles = 3;
    return s;
}

/* 0, or negative: then the descriptor cannot be waited for. */
static int socket_ready(struct stream *s)
{
    int one = 1;
    int status = uv_poll_init(s->loop, &s->poll, s->fd);

    if (status)
        return status;
    s->polled = true;
    s->handles++;
    /* Fails on what is not TCP, a socket pair in a test; nothing depends on it. */
    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return 0;
}

struct stream *stream_from_fd(uv_loop_t *loop, int fd, const struct stream_limits *limits,
                              const struct stream_ops *ops, void *owner)
{
    struct stream *s = stream_new(loop, fd, limits, ops, owner);
    int status = socket_ready(s);

    s->state = status ? STREAM_BROKEN : STREAM_OPEN;
    if (status) {
        s->ended = true;
        s->end_status = status;
        stream_due(s, DUE_ENDED);
    }
    return s;
}

static socklen_t address_len(const struct sockaddr *a)
{
    return a->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

/* Without IP_BIND_ADDRESS_NO_PORT each bind takes a port from all destinations at once, and one
 * source address runs out of them at 28,000 connections in all. */
static int bind_source(int fd, const struct sockaddr *source)
{
    int one = 1;

    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    return bind(fd, source, address_len(source)) < 0 ? -errno : 0;
}

static int start_connect(struct stream *s, const struct sockaddr *source, const struct sockaddr *to)
{
    int status;

    s->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        return -errno;
    status = source ? bind_source(s->fd, source) : 0;
    if (!status)
        status = socket_ready(s);
    if (!status && connect(s->fd, to, address_len(to)) < 0)
        status = -errno;
    return status;
}

struct stream *stream_connect(uv_loop_t *loop, const struct sockaddr *source,
                              const struct sockaddr *to, const struct stream_limits *limits,
                              const struct stream_ops *ops, void *owner)
{
    struct stream *s = stream_new(loop, -1, limits, ops, owner);

    s->state = STREAM_CONNECTING;
    s->status = start_connect(s, source, to);
    if (s->status == -EINPROGRESS)
        rearm(s);
    else
        stream_due(s, DUE_CONNECTED);
    return s;
}

static void on_handle_closed(uv_handle_t *h)
{
    struct stream *s = h->data;

    if (--s->handles)
        return;
    run_releases(s);
    s->ops->closed(s->owner, s);
    if (s->tls_ops)
        s->tls_ops->free(s);
    buf_free(&s->input);
    buf_free(&s->copied);
    buf_free(&s->raw);
    buf_free(&s->wire);
    free(s->segs);
    free(s->releases);
    free(s);
}

/* From here only on_handle_closed follows. */
static void teardown(struct stream *s)
{
    if (s->state == STREAM_CLOSING)
        return;
    s->state = STREAM_CLOSING;
    list_remove(&s->late);
    drop_output(s);
    uv_close((uv_handle_t *)&s->turn, on_handle_closed);
    uv_close((uv_handle_t *)&s->room, on_handle_closed);
    uv_close((uv_handle_t *)&s->deadline, on_handle_closed);
    if (s->polled)
        uv_close((uv_handle_t *)&s->poll, on_handle_closed);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static void on_deadline(uv_timer_t *h)
{
    teardown(h->data);
}

void stream_close(struct stream *s)
{
    if (!s || !is_alive(s))
        return;
    if (s->state != STREAM_OPEN || s->out_error) {
        teardown(s);
        return;
    }
    s->state = STREAM_LINGER;
    s->reading = false;
    watch_room(s);
    if (s->tls_phase == TLS_HANDSHAKE) /* cannot be encrypted any more; an alert still goes out */
        stream_queue_consume(s, s->queued);
    uv_timer_start(&s->deadline, on_deadline, LINGER_MS, 0);
    stream_flush(s);
    rearm(s);
}

void stream_abort(struct stream *s)
{
    if (s)
        teardown(s);
}

/* --- what it is --- */

void stream_peer(const struct stream *s, struct sockaddr_storage *ret)
{
    socklen_t len = sizeof(*ret);

    memset(ret, 0, sizeof(*ret));
    if (s->fd < 0 || getpeername(s->fd, (struct sockaddr *)ret, &len) < 0)
        ret->ss_family = AF_UNSPEC;
}

void stream_local(const struct stream *s, struct sockaddr_storage *ret)
{
    socklen_t len = sizeof(*ret);

    memset(ret, 0, sizeof(*ret));
    if (s->fd < 0 || getsockname(s->fd, (struct sockaddr *)ret, &len) < 0)
        ret->ss_family = AF_UNSPEC;
}

bool stream_is_tls(const struct stream *s)
{
    return s->tls_ops && s->tls_phase == TLS_OPEN;
}

const char *stream_tls_version(const struct stream *s)
{
    return stream_is_tls(s) ? s->tls_ops->version(s) : "";
}

const char *stream_tls_cipher(const struct stream *s)
{
    return stream_is_tls(s) ? s->tls_ops->cipher(s) : "";
}

const char *stream_tls_trouble(const struct stream *s)
{
    return s->tls_ops ? s->tls_ops->trouble(s) : "";
}
