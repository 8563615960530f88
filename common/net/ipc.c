/*
 * Frames and edges; see ipc.h. This file holds what a frame is (encode, decode, the check against
 * the row, the refcounted frame) and what an edge does with the socket.
 *
 * Called by: every process of ours; child.c for the edge to root, the owners for edges to peers.
 * Happy path in: the socket is readable, recvmmsg takes up to BATCH frames into a static scratch,
 * each is checked, copied into an allocation of its own size and handed to ops->frame. Happy path
 * out: ipc_edge_send gives the frame to sendmsg at once; a SEQPACKET socket takes all or nothing.
 * What it refuses is copied, waits in order, and goes out when the socket is writable. What can go
 * wrong: the peer is gone (EOF, ECONNRESET, EPIPE): frames that it sent before are still read, then
 * ops->down(ERR_CLOSED). The peer breaks the protocol: ops->down(ERR_PROTOCOL). The kernel is short
 * of memory (ENOBUFS, ENOMEM, ETOOMANYREFS): retried after a pause. Memory: an edge has two handles
 * and is freed when libuv has closed both. Frames are refcounted.
 */
#include "net/ipc.h"

#include "base/list.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    HEADER_BYTES = 8,
    STR_MAX = 64 * 1024,
    BATCH = 8,            /* frames per recvmmsg */
    BATCHES_PER_WAKE = 8, /* then other handles of the loop have their turn */
    HIGH_WATER = 1024 * 1024,
    LOW_WATER = HIGH_WATER / 4,
    SNDBUF_WANTED = 4 * 1024 * 1024, /* the kernel cuts it to net.core.wmem_max */
    RETRY_MS = 10,
};

/* --- rows --- */

struct row {
    const char *name;
    unsigned from, to;
    unsigned fds;
};

static const struct row rows[] = {
#define ROW(name, id, from, to, fds, fields, help) [id] = {#name, (from), (to), (fds)},
#define NOFIELD(type, name)
    IPC_MESSAGES(ROW, NOFIELD)
#undef ROW
#undef NOFIELD
};

static const struct row *row_find(unsigned id)
{
    return id < ARRAY_LEN(rows) && rows[id].name ? &rows[id] : NULL;
}

const char *ipc_name(unsigned id)
{
    const struct row *row = row_find(id);
    return row ? row->name : "?";
}

const char *ipc_role_name(enum role role)
{
    switch ((unsigned)role) {
#define ROLE_CASE(name, bit, text) \
    case ROLE_##name:              \
        return text;
        IPC_ROLES(ROLE_CASE)
#undef ROLE_CASE
    }
    return "?";
}

/* --- encode --- */

static void put_le(struct buf *out, uint64_t n, unsigned bytes)
{
    unsigned char le[8];
    for (unsigned i = 0; i < bytes; i++)
        le[i] = (unsigned char)(n >> (8 * i));
    buf_append(out, le, bytes);
}

static void put_u8(struct buf *out, uint8_t n)
{
    put_le(out, n, 1);
}

static void put_u16(struct buf *out, uint16_t n)
{
    put_le(out, n, 2);
}

static void put_u32(struct buf *out, uint32_t n)
{
    put_le(out, n, 4);
}

static void put_u64(struct buf *out, uint64_t n)
{
    put_le(out, n, 8);
}

__attribute__((unused)) static void put_i64(struct buf *out, int64_t n)
{
    put_le(out, (uint64_t)n, 8);
}

static void put_bytes(struct buf *out, struct strview s)
{
    BUG_ON(s.len > UINT32_MAX);
    put_le(out, s.len, 4);
    buf_append_sv(out, s);
}

/* A text that is longer than the row allows is cut: it is for people, data travels as bytes. */
static void put_str(struct buf *out, struct strview s)
{
    put_bytes(out, sv(s.ptr, MIN_OF(s.len, (size_t)STR_MAX)));
}

/* Returns how much was in the buf before, for frame_end. */
static size_t frame_begin(struct buf *out, uint16_t id)
{
    size_t before = buf_len(out);
    put_u16(out, id);
    put_u16(out, 0);
    put_u32(out, 0);
    return before;
}

static void frame_end(struct buf *out, size_t before)
{
    size_t payload = buf_len(out) - before - HEADER_BYTES;
    char *at = buf_data(out) + before + 4;
    BUG_ON(payload > UINT32_MAX);
    for (unsigned i = 0; i < 4; i++)
        at[i] = (char)(payload >> (8 * i));
}

#define PUT(type, name) put_##type(out, m->name);
#define ENCODE(name, id, from, to, fds, fields, help)                   \
    void ipc_encode_##name(struct buf *out, const struct ipc_##name *m) \
    {                                                                   \
        size_t before = frame_begin(out, (id));                         \
        fields frame_end(out, before);                                  \
    }
IPC_MESSAGES(ENCODE, PUT)
#undef ENCODE
#undef PUT

/* --- decode --- */

/* Reads from the front; once something is missing `bad` stays set and every value is 0. */
struct reader {
    struct strview rest;
    bool bad;
};

static uint64_t get_le(struct reader *r, unsigned bytes)
{
    uint64_t n = 0;
    if (r->bad || r->rest.len < bytes) {
        r->bad = true;
        return 0;
    }
    for (unsigned i = 0; i < bytes; i++)
        n |= (uint64_t)(unsigned char)r->rest.ptr[i] << (8 * i);
    r->rest = sv(r->rest.ptr + bytes, r->rest.len - bytes);
    return n;
}

static uint8_t get_u8(struct reader *r)
{
    return (uint8_t)get_le(r, 1);
}

static uint16_t get_u16(struct reader *r)
{
    return (uint16_t)get_le(r, 2);
}

static uint32_t get_u32(struct reader *r)
{
    return (uint32_t)get_le(r, 4);
}

static uint64_t get_u64(struct reader *r)
{
    return get_le(r, 8);
}

__attribute__((unused)) static int64_t get_i64(struct reader *r)
{
    return (int64_t)get_le(r, 8);
}

static struct strview get_bytes(struct reader *r)
{
    size_t len = get_u32(r);
    if (r->bad || len > r->rest.len) {
        r->bad = true;
        return SV("");
    }
    struct strview s = sv(r->rest.ptr, len);
    r->rest = sv(r->rest.ptr + len, r->rest.len - len);
    return s;
}

static struct strview get_str(struct reader *r)
{
    struct strview s = get_bytes(r);
    if (s.len > STR_MAX)
        r->bad = true;
    return s;
}

/* Takes the header off; false when it is not one, or says another length than there is. */
static bool get_header(struct reader *r, uint16_t *ret_id)
{
    *ret_id = get_u16(r);
    uint16_t reserved = get_u16(r);
    uint32_t payload = get_u32(r);
    return !r->bad && reserved == 0 && payload == r->rest.len;
}

#define GET(type, name) ret->name = get_##type(&r);
#define DECODE(name, number, from, to, fds, fields, help)               \
    int ipc_decode_##name(struct strview frame, struct ipc_##name *ret) \
    {                                                                   \
        struct reader r = {frame, false};                               \
        uint16_t id;                                                    \
        if (!get_header(&r, &id) || id != (number))                     \
            return ERR_PROTOCOL;                                        \
        fields return r.bad || r.rest.len ? ERR_PROTOCOL : 0;           \
    }
IPC_MESSAGES(DECODE, GET)
#undef DECODE
#undef GET

int ipc_frame_check(struct strview frame, enum role sender, enum role receiver, unsigned fd_count,
                    uint16_t *ret_id)
{
    struct reader r = {frame, false};
    *ret_id = 0;
    if (!get_header(&r, ret_id))
        return ERR_PROTOCOL;
    const struct row *row = row_find(*ret_id);
    if (!row || !(row->from & sender) || !(row->to & receiver) || fd_count > row->fds)
        return ERR_PROTOCOL;
    return 0;
}

/* --- frames --- */

static void close_all(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static struct ipc_frame *frame_new(uint16_t id, struct strview bytes, const int *fds,
                                   unsigned fd_count)
{
    struct ipc_frame *f = xmalloc(sizeof(*f) + bytes.len);
    char *at = (char *)(f + 1);
    if (bytes.len)
        memcpy(at, bytes.ptr, bytes.len);
    *f = (struct ipc_frame){.refs = 1, .id = id, .fd_count = (uint8_t)fd_count};
    f->bytes = sv(at, bytes.len);
    for (unsigned i = 0; i < IPC_FDS_MAX; i++)
        f->fds[i] = i < fd_count ? fds[i] : -1;
    return f;
}

struct ipc_frame *ipc_frame_ref(struct ipc_frame *f)
{
    f->refs++;
    return f;
}

void ipc_frame_unref(struct ipc_frame *f)
{
    if (!f)
        return;
    BUG_ON(f->refs == 0);
    if (--f->refs)
        return;
    close_all(f->fds, f->fd_count);
    free(f);
}

int ipc_frame_take_fd(struct ipc_frame *f, unsigned i)
{
    if (i >= f->fd_count)
        return -1;
    int fd = f->fds[i];
    f->fds[i] = -1;
    return fd;
}

/* --- edges --- */

struct out {
    struct list node;
    size_t len;
    unsigned fd_count;
    int fds[IPC_FDS_MAX];
    char bytes[];
};

struct ipc_edge {
    uv_poll_t poll;
    uv_timer_t timer; /* retry after ENOBUFS, or delivery of a failure found while sending */
    int fd;
    enum role self, peer;
    const struct ipc_edge_ops *ops;
    void *owner;

    struct list queue; /* struct out, oldest first */
    size_t queued_bytes;
    bool was_congested; /* drained() is owed */
    bool deaf;          /* the peer takes no more output: what is sent is dropped */
    int failed;         /* code that the timer reports */

    bool closing;
    unsigned handles_open; /* freed when 0 */
};

static void on_poll(uv_poll_t *handle, int status, int events);
static void on_timer(uv_timer_t *handle);

static void drop_queue(struct ipc_edge *e)
{
    struct list *n;
    while ((n = list_pop_front(&e->queue))) {
        struct out *o = list_entry(n, struct out, node);
        close_all(o->fds, o->fd_count);
        free(o);
    }
    e->queued_bytes = 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct ipc_edge *e = handle->data;
    if (--e->handles_open)
        return;
    close(e->fd);
    free(e);
}

void ipc_edge_close(struct ipc_edge *e)
{
    if (!e || e->closing)
        return;
    e->closing = true;
    drop_queue(e);
    uv_poll_stop(&e->poll);
    /* the peer learns of it now, not when libuv comes round to freeing */
    shutdown(e->fd, SHUT_RDWR);
    uv_close((uv_handle_t *)&e->poll, on_closed);
    uv_close((uv_handle_t *)&e->timer, on_closed);
}

static void edge_down(struct ipc_edge *e, int code)
{
    if (e->closing)
        return;
    log_debug(LOG_IPC, "edge to %s is down: %s", ipc_role_name(e->peer), err_name(code));
    ipc_edge_close(e);
    e->ops->down(e->owner, e, code);
}

struct ipc_edge *ipc_edge_open(uv_loop_t *loop, int fd, enum role self, enum role peer,
                               const struct ipc_edge_ops *ops, void *owner)
{
    struct ipc_edge *e = xcalloc(1, sizeof(*e));
    int wanted = SNDBUF_WANTED;

    e->fd = fd;
    e->self = self;
    e->peer = peer;
    e->ops = ops;
    e->owner = owner;
    list_init(&e->queue);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof(wanted));
    BUG_ON(uv_timer_init(loop, &e->timer) != 0);
    BUG_ON(uv_poll_init(loop, &e->poll, fd) != 0); /* sets O_NONBLOCK */
    e->poll.data = e->timer.data = e;
    e->handles_open = 2;
    uv_poll_start(&e->poll, UV_READABLE, on_poll);
    return e;
}

bool ipc_edge_congested(const struct ipc_edge *e)
{
    return e->queued_bytes > HIGH_WATER;
}

size_t ipc_edge_pending(const struct ipc_edge *e)
{
    return e->queued_bytes;
}

/* --- edges: output --- */

/* 0 or -errno */
static int send_now(int fd, const char *bytes, size_t len, const int *fds, unsigned fd_count)
{
    struct iovec iov = {(void *)(uintptr_t)bytes, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(IPC_FDS_MAX * sizeof(int))];
    } control;

    if (fd_count) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
    }
    ssize_t n;
    do
        n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

static bool is_shortage(int r)
{
    return r == -ENOBUFS || r == -ENOMEM || r == -ETOOMANYREFS;
}

/* The peer does not listen any more. What it sent before is still read; the end is reported by the
 * read side, or by the timer when the trouble is ours. */
static void output_failed(struct ipc_edge *e, int r)
{
    e->deaf = true;
    drop_queue(e);
    if (r == -EPIPE || r == -ECONNRESET || r == -ENOTCONN)
        return;
    log_debug(LOG_IPC, "cannot send to %s: %s", ipc_role_name(e->peer), err_name(r));
    e->failed = r;
    uv_timer_start(&e->timer, on_timer, 0, 0);
}

/* Waits for room: for the socket, or when the kernel lacks memory, for some time, because the
 * socket counts as writable then. */
static void output_wait(struct ipc_edge *e, int r)
{
    if (is_shortage(r)) {
        uv_poll_start(&e->poll, UV_READABLE, on_poll);
        uv_timer_start(&e->timer, on_timer, RETRY_MS, 0);
    } else {
        uv_poll_start(&e->poll, UV_READABLE | UV_WRITABLE, on_poll);
    }
}

static void enqueue(struct ipc_edge *e, struct strview bytes, const int *fds, unsigned fd_count)
{
    struct out *o = xmalloc(sizeof(*o) + bytes.len);
    if (bytes.len)
        memcpy(o->bytes, bytes.ptr, bytes.len);
    o->len = bytes.len;
    o->fd_count = fd_count;
    for (unsigned i = 0; i < fd_count; i++)
        o->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
    list_push_back(&e->queue, &o->node);
    e->queued_bytes += o->len;
    if (ipc_edge_congested(e))
        e->was_congested = true;
}

int ipc_edge_send(struct ipc_edge *e, const struct buf *frame, const int *fds, unsigned fd_count)
{
    struct strview bytes = buf_view(frame);
    uint16_t id;

    if (bytes.len > IPC_FRAME_MAX)
        return ERR_LIMIT;
    BUG_ON(fd_count > IPC_FDS_MAX);
    BUG_ON(ipc_frame_check(bytes, e->self, e->peer, fd_count, &id) != 0);
    if (e->closing || e->deaf)
        return 0;
    if (list_empty(&e->queue)) {
        int r = send_now(e->fd, bytes.ptr, bytes.len, fds, fd_count);
        if (r == 0)
            return 0;
        if (r != -EAGAIN && !is_shortage(r)) {
            output_failed(e, r);
            return 0;
        }
        output_wait(e, r);
    }
    enqueue(e, bytes, fds, fd_count);
    return 0;
}

/* A descriptor that could not be duplicated (-1: table full) makes sendmsg fail with EBADF, and so
 * ends the edge: a frame without its descriptor would be worse. */
static void edge_writable(struct ipc_edge *e)
{
    int r = 0;
    while (!list_empty(&e->queue)) {
        struct out *o = list_entry(e->queue.next, struct out, node);
        r = send_now(e->fd, o->bytes, o->len, o->fds, o->fd_count);
        if (r != 0)
            break;
        list_remove(&o->node);
        e->queued_bytes -= o->len;
        close_all(o->fds, o->fd_count);
        free(o);
    }
    if (r == 0)
        uv_poll_start(&e->poll, UV_READABLE, on_poll);
    else if (r == -EAGAIN || is_shortage(r))
        output_wait(e, r);
    else
        output_failed(e, r);
    if (e->was_congested && e->queued_bytes <= LOW_WATER && !e->failed) {
        e->was_congested = false;
        if (e->ops->drained)
            e->ops->drained(e->owner, e);
    }
}

static void edge_timer(struct ipc_edge *e)
{
    if (e->failed)
        edge_down(e, e->failed);
    else
        edge_writable(e);
}

static void on_timer(uv_timer_t *handle)
{
    edge_timer(handle->data);
}

/* --- edges: input --- */

/* One set for all edges of the process: a batch is handed out before the next is read. */
static struct {
    struct mmsghdr msgs[BATCH];
    struct iovec iovs[BATCH];
    struct {
        _Alignas(struct cmsghdr) char space[CMSG_SPACE(IPC_FDS_MAX * sizeof(int))];
    } controls[BATCH];
    char bytes[BATCH][IPC_FRAME_MAX];
} scratch;

/* Frames read, or -errno. */
static int receive_batch(int fd)
{
    for (unsigned i = 0; i < BATCH; i++) {
        scratch.iovs[i] = (struct iovec){scratch.bytes[i], IPC_FRAME_MAX};
        scratch.msgs[i].msg_hdr = (struct msghdr){
            .msg_iov = &scratch.iovs[i],
            .msg_iovlen = 1,
            .msg_control = &scratch.controls[i],
            .msg_controllen = sizeof(scratch.controls[i]),
        };
    }
    int n;
    do
        n = recvmmsg(fd, scratch.msgs, BATCH, MSG_CMSG_CLOEXEC | MSG_DONTWAIT, NULL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static unsigned take_descriptors(struct msghdr *msg, int ret_fds[IPC_FDS_MAX])
{
    unsigned count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (count < IPC_FDS_MAX)
                ret_fds[count++] = fd;
            else
                close(fd);
        }
    }
    return count;
}

/* Hands out message i of the scratch. On an edge that is closed meanwhile only the descriptors are
 * taken care of. */
static void deliver(struct ipc_edge *e, unsigned i)
{
    struct msghdr *msg = &scratch.msgs[i].msg_hdr;
    struct strview bytes = sv(scratch.bytes[i], scratch.msgs[i].msg_len);
    int fds[IPC_FDS_MAX];
    unsigned fd_count = take_descriptors(msg, fds);
    uint16_t id;

    if (e->closing || bytes.len == 0) {
        close_all(fds, fd_count);
        edge_down(e, ERR_CLOSED); /* nothing when it is closed already */
        return;
    }
    if ((msg->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ||
        ipc_frame_check(bytes, e->peer, e->self, fd_count, &id) != 0) {
        close_all(fds, fd_count);
        edge_down(e, ERR_PROTOCOL);
        return;
    }
    struct ipc_frame *f = frame_new(id, bytes, fds, fd_count);
    if (e->ops->frame(e->owner, e, f) < 0)
        edge_down(e, ERR_PROTOCOL);
    ipc_frame_unref(f);
}

/* Reads at most `batches` batches; true when there is nothing more for now. */
static bool edge_readable(struct ipc_edge *e, unsigned batches)
{
    while (batches-- && !e->closing) {
        int n = receive_batch(e->fd);
        if (n == -EAGAIN)
            return true;
        /* The peer closed with frames of ours unread. Its own frames are still there behind the
         * error, which is reported once. */
        if (n == -ECONNRESET)
            continue;
        if (n < 0) {
            edge_down(e, n);
            return true;
        }
        for (int i = 0; i < n; i++)
            deliver(e, (unsigned)i);
        if (n < BATCH)
            return true;
    }
    return e->closing;
}

/* libuv has stopped polling because the socket has an error: read what is there, to the end. */
static void edge_broken(struct ipc_edge *e)
{
    while (!edge_readable(e, BATCHES_PER_WAKE))
        ;
    edge_down(e, ERR_CLOSED);
}

static void edge_event(struct ipc_edge *e, int status, int events)
{
    if (status < 0) {
        edge_broken(e);
        return;
    }
    if (events & UV_WRITABLE)
        edge_writable(e);
    if ((events & UV_READABLE) && !e->closing)
        edge_readable(e, BATCHES_PER_WAKE);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    edge_event(handle->data, status, events);
}

int ipc_pair(int ret_fds[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_fds) < 0
               ? -errno
               : 0;
}
