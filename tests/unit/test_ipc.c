/*
 * Frames and edges: every row there and back with random fields, everything that is cut or too long
 * refused, permission, descriptors, congestion, and what a peer can do wrong.
 */
#include "unit.h"

#include "net/ipc.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static uint64_t seed = 88172645463325252u;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static struct strview rnd_view(void)
{
    static char pool[4096];
    if (!pool[0])
        for (size_t i = 0; i < sizeof(pool); i++)
            pool[i] = (char)(1 + rnd() % 255);
    size_t len = rnd() % 300;
    return sv(pool + rnd() % (sizeof(pool) - len), len);
}

#define RND_u8()    ((uint8_t)rnd())
#define RND_u16()   ((uint16_t)rnd())
#define RND_u32()   ((uint32_t)rnd())
#define RND_u64()   rnd()
#define RND_i64()   ((int64_t)rnd())
#define RND_str()   rnd_view()
#define RND_bytes() rnd_view()

#define SAME_u8(a, b)    assert_true((a) == (b))
#define SAME_u16(a, b)   assert_true((a) == (b))
#define SAME_u32(a, b)   assert_true((a) == (b))
#define SAME_u64(a, b)   assert_true((a) == (b))
#define SAME_i64(a, b)   assert_true((a) == (b))
#define SAME_str(a, b)   assert_true(sv_eq(a, b))
#define SAME_bytes(a, b) assert_true(sv_eq(a, b))

static void set_length(char *frame, size_t payload)
{
    for (unsigned i = 0; i < 4; i++)
        frame[4 + i] = (char)(payload >> (8 * i));
}

/* Every shorter and one longer frame must be refused, with the old length and with a fitting one.
 */
#define REFUSED(name, frame_buf)                                                                  \
    do {                                                                                          \
        size_t whole = buf_len(frame_buf);                                                        \
        struct ipc_##name ignored;                                                                \
        buf_append_char(frame_buf, 'x');                                                          \
        for (size_t n = 0; n <= whole + 1; n++) {                                                 \
            char *copy = xmalloc(n + 1); /* of its own, so that a sanitizer sees a read beyond */ \
            memcpy(copy, buf_data(frame_buf), n);                                                 \
            if (n != whole) {                                                                     \
                assert_int_equal(ipc_decode_##name(sv(copy, n), &ignored), ERR_PROTOCOL);         \
                if (n >= 8) {                                                                     \
                    set_length(copy, n - 8);                                                      \
                    assert_int_equal(ipc_decode_##name(sv(copy, n), &ignored), ERR_PROTOCOL);     \
                }                                                                                 \
            }                                                                                     \
            free(copy);                                                                           \
        }                                                                                         \
    } while (0)

#define FILL(type, field) in.field = RND_##type();
#define ONE_FILL(name, id, from, to, fds, fields, help) \
    static void fill_##name(struct ipc_##name *ret)     \
    {                                                   \
        struct ipc_##name in;                           \
        fields *ret = in;                               \
    }
IPC_MESSAGES(ONE_FILL, FILL)

#define COMPARE(type, field) SAME_##type(a->field, b->field);
#define ONE_COMPARE(name, id, from, to, fds, fields, help)                          \
    static void same_##name(const struct ipc_##name *a, const struct ipc_##name *b) \
    {                                                                               \
        fields                                                                      \
    }
IPC_MESSAGES(ONE_COMPARE, COMPARE)

static void test_round_trips(void **state)
{
    (void)state;
#define NOFIELD(type, name)
#define ONE_TRIP(name, number, from, to, fds, fields, help)             \
    for (int round = 0; round < 20; round++) {                          \
        struct buf frame = {0};                                         \
        struct ipc_##name in, out;                                      \
        fill_##name(&in);                                               \
        ipc_encode_##name(&frame, &in);                                 \
        assert_int_equal(ipc_decode_##name(buf_view(&frame), &out), 0); \
        same_##name(&in, &out);                                         \
        REFUSED(name, &frame);                                          \
        buf_free(&frame);                                               \
    }                                                                   \
    assert_string_equal(ipc_name(number), #name);
    IPC_MESSAGES(ONE_TRIP, NOFIELD)
    assert_string_equal(ipc_name(9999), "?");
}

static void test_long_text(void **state)
{
    (void)state;
    struct buf frame = {0};
    struct ipc_ready out;
    size_t len = 70000;
    char *text = xmalloc(len);
    memset(text, 'a', len);
    ipc_encode_ready(&frame, &(struct ipc_ready){sv(text, len)});
    assert_int_equal(ipc_decode_ready(buf_view(&frame), &out), 0);
    assert_int_equal(out.note.len, 65536); /* cut where the row ends */
    buf_append_char(&frame, 'b');
    char *longer = buf_take(&frame);
    set_length(longer, 4 + 65537);
    longer[8]++; /* a string of 65537 bytes, consistent otherwise */
    assert_int_equal(ipc_decode_ready(sv(longer, 8 + 4 + 65537), &out), ERR_PROTOCOL);
    free(longer);
    free(text);
    buf_free(&frame);
}

static void test_permission(void **state)
{
    (void)state;
    static const enum role roles[] = {ROLE_ROOT, ROLE_RECEIVER, ROLE_PIPE, ROLE_RESOLVER, ROLE_WEB,
                                       ROLE_SUPPRESS, ROLE_SHIP};
#define ONE_PERMISSION(name, number, from_mask, to_mask, fd_limit, fields, help)              \
    {                                                                                         \
        struct buf frame = {0};                                                               \
        struct ipc_##name in;                                                                 \
        uint16_t id;                                                                          \
        fill_##name(&in);                                                                     \
        ipc_encode_##name(&frame, &in);                                                       \
        for (size_t a = 0; a < ARRAY_LEN(roles); a++)                                         \
            for (size_t b = 0; b < ARRAY_LEN(roles); b++) {                                   \
                unsigned from = (from_mask), to = (to_mask);                                  \
                bool may = (from & roles[a]) && (to & roles[b]);                              \
                struct strview v = buf_view(&frame);                                          \
                assert_int_equal(ipc_frame_check(v, roles[a], roles[b], (fd_limit), &id),     \
                                 may ? 0 : ERR_PROTOCOL);                                     \
                assert_int_equal(ipc_frame_check(v, roles[a], roles[b], (fd_limit) + 1, &id), \
                                 ERR_PROTOCOL);                                               \
            }                                                                                 \
        buf_free(&frame);                                                                     \
    }
    IPC_MESSAGES(ONE_PERMISSION, NOFIELD)
}

/* --- edges --- */

struct end {
    struct ipc_edge *edge;
    unsigned frames, downs, drains;
    int code;
    int keep_fd; /* last descriptor that came, when keep is set */
    bool keep;
    uint64_t next;          /* token expected next */
    int answer;             /* what the frame callback returns */
    struct ipc_frame *held; /* reference taken when hold is set */
    bool hold;
};

static int end_frame(void *owner, struct ipc_edge *edge, struct ipc_frame *f)
{
    struct end *e = owner;
    assert_ptr_equal(edge, e->edge);
    e->frames++;
    if (f->id == IPC_submit_reply) {
        struct ipc_submit_reply m;
        assert_int_equal(ipc_decode_submit_reply(f->bytes, &m), 0);
        assert_int_equal(m.token, e->next++);
    }
    if (e->keep)
        e->keep_fd = ipc_frame_take_fd(f, 0);
    if (e->hold)
        e->held = ipc_frame_ref(f);
    return e->answer;
}

static void end_down(void *owner, struct ipc_edge *edge, int code)
{
    struct end *e = owner;
    assert_ptr_equal(edge, e->edge);
    e->edge = NULL;
    e->downs++;
    e->code = code;
}

static void end_drained(void *owner, struct ipc_edge *edge)
{
    struct end *e = owner;
    assert_false(ipc_edge_congested(edge));
    e->drains++;
}

static const struct ipc_edge_ops end_ops = {end_frame, end_down, end_drained};

struct pair {
    uv_loop_t loop;
    struct end pipe, receiver;
    int raw; /* receiver's end as a bare descriptor, or -1 */
    unsigned fds_before;
};

static unsigned count_fds(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void pair_open(struct pair *p, bool raw)
{
    int fds[2];
    *p = (struct pair){.raw = -1, .fds_before = count_fds()};
    assert_int_equal(uv_loop_init(&p->loop), 0);
    assert_int_equal(ipc_pair(fds), 0);
    p->pipe.edge = ipc_edge_open(&p->loop, fds[0], ROLE_PIPE, ROLE_RECEIVER, &end_ops, &p->pipe);
    if (raw)
        p->raw = fds[1];
    else
        p->receiver.edge =
            ipc_edge_open(&p->loop, fds[1], ROLE_RECEIVER, ROLE_PIPE, &end_ops, &p->receiver);
}

static void pair_close(struct pair *p)
{
    ipc_edge_close(p->pipe.edge);
    ipc_edge_close(p->pipe.edge); /* again, without harm */
    ipc_edge_close(p->receiver.edge);
    if (p->raw >= 0)
        close(p->raw);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&p->loop), 0);
    assert_int_equal(count_fds(), p->fds_before);
}

static void run_until(struct pair *p, const unsigned *counter, unsigned wanted)
{
    while (*counter < wanted && uv_run(&p->loop, UV_RUN_ONCE))
        ;
    assert_int_equal(*counter, wanted);
}

static void test_descriptor(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, false);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    p.receiver.keep = true;
    ipc_send_fds(p.pipe.edge, file_reply, (&(struct ipc_file_reply){1, 0, SV("")}), &fds[1], 1);
    run_until(&p, &p.receiver.frames, 1);
    assert_true(p.receiver.keep_fd >= 0);
    assert_true(fcntl(p.receiver.keep_fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(p.receiver.keep_fd, "x", 1), 1);
    char c;
    assert_int_equal(read(fds[0], &c, 1), 1);
    close(p.receiver.keep_fd);
    /* nobody takes this one */
    p.receiver.keep = false;
    ipc_send_fds(p.pipe.edge, file_reply, (&(struct ipc_file_reply){1, 0, SV("")}), &fds[1], 1);
    run_until(&p, &p.receiver.frames, 2);
    close(fds[0]);
    close(fds[1]);
    pair_close(&p);
}

static void test_congestion_keeps_order(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, false);
    struct strview text = rnd_view();
    unsigned sent = 0;
    while (!ipc_edge_congested(p.pipe.edge)) {
        ipc_send(p.pipe.edge, submit_reply, &(struct ipc_submit_reply){sent++, 250, text});
        if (sent % 64 == 0) {
            int fd = 0;
            ipc_send_fds(p.pipe.edge, file_reply, (&(struct ipc_file_reply){0, 0, text}), &fd, 1);
        }
    }
    run_until(&p, &p.pipe.drains, 1);
    ipc_send(p.pipe.edge, submit_reply, &(struct ipc_submit_reply){sent++, 250, text});
    run_until(&p, &p.receiver.frames, sent + (sent - 1) / 64);
    assert_int_equal(p.receiver.next, sent);
    assert_int_equal(p.pipe.drains, 1);
    assert_int_equal(ipc_edge_pending(p.pipe.edge), 0);
    pair_close(&p);
}

static void test_frames_before_the_end_are_read(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, true);
    /* the peer sends, leaves our frame unread, and goes: ECONNRESET lies before its own frame */
    struct buf frame = {0};
    ipc_encode_file_request(&frame, &(struct ipc_file_request){7});
    assert_int_equal(send(p.raw, buf_data(&frame), buf_len(&frame), 0), buf_len(&frame));
    ipc_send(p.pipe.edge, submit_reply, &(struct ipc_submit_reply){0, 250, SV("ok")});
    close(p.raw);
    p.raw = -1;
    ipc_send(p.pipe.edge, submit_reply, &(struct ipc_submit_reply){0, 250, SV("ok")});
    assert_int_equal(p.pipe.downs, 0); /* never inside a call */
    run_until(&p, &p.pipe.downs, 1);
    assert_int_equal(p.pipe.frames, 1);
    assert_int_equal(p.pipe.code, ERR_CLOSED);
    buf_free(&frame);
    pair_close(&p);
}

static void send_raw(int fd, const void *bytes, size_t len, unsigned fd_count)
{
    struct iovec iov = {(void *)(uintptr_t)bytes, len};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(16 * sizeof(int))] = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd_count) {
        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memset(CMSG_DATA(c), 0, fd_count * sizeof(int)); /* descriptor 0, again and again */
    }
    assert_int_equal(sendmsg(fd, &msg, 0), (ssize_t)len);
}

static void test_bad_frames(void **state)
{
    (void)state;
    static char large[IPC_FRAME_MAX + 100];
    struct buf good = {0}, forbidden = {0};
    ipc_encode_file_request(&good, &(struct ipc_file_request){1});
    ipc_encode_start(&forbidden, &(struct ipc_start){1}); /* a receiver may not */
    const struct {
        const char *bytes;
        size_t len;
        unsigned fds;
    } table[] = {
        {"x", 1, 0},
        {"\xff\xff\0\0\0\0\0\0", 8, 0},
        {"\x16\0\1\0\0\0\0\0", 8, 0},
        {large, sizeof(large), 0},
        {buf_data(&forbidden), buf_len(&forbidden), 0},
        {buf_data(&good), buf_len(&good) - 1, 0},
        {buf_data(&good), buf_len(&good), 1},
        {buf_data(&good), buf_len(&good), 9},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct pair p;
        pair_open(&p, true);
        send_raw(p.raw, table[i].bytes, table[i].len, table[i].fds);
        send_raw(p.raw, buf_data(&good), buf_len(&good), 0); /* not looked at any more */
        run_until(&p, &p.pipe.downs, 1);
        assert_int_equal(p.pipe.code, ERR_PROTOCOL);
        assert_int_equal(p.pipe.frames, 0);
        pair_close(&p);
    }
    buf_free(&good);
    buf_free(&forbidden);
}

static void test_owner_refuses_and_holds(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p, false);
    p.pipe.hold = true;
    p.pipe.answer = ERR_PROTOCOL;
    ipc_send(p.receiver.edge, file_request, &(struct ipc_file_request){42});
    run_until(&p, &p.pipe.downs, 1);
    run_until(&p, &p.receiver.downs, 1);
    assert_int_equal(p.pipe.code, ERR_PROTOCOL);
    assert_int_equal(p.receiver.code, ERR_CLOSED);
    struct ipc_file_request m;
    assert_int_equal(ipc_decode_file_request(p.pipe.held->bytes, &m), 0);
    assert_int_equal(m.token, 42);
    ipc_frame_unref(p.pipe.held);
    pair_close(&p);
}

static void test_limit(void **state)
{
    (void)state;
    struct pair p;
    struct buf b = {0};
    pair_open(&p, false);
    char *content = xcalloc(1, IPC_FRAME_MAX);
    ipc_encode_submit(&b, &(struct ipc_submit){1, 1, SV(""), sv(content, IPC_FRAME_MAX - 32)});
    assert_int_equal(buf_len(&b), IPC_FRAME_MAX); /* the largest there is */
    assert_int_equal(ipc_edge_send(p.receiver.edge, &b, NULL, 0), 0);
    buf_append_char(&b, 'x');
    assert_int_equal(ipc_edge_send(p.receiver.edge, &b, NULL, 0), ERR_LIMIT);
    run_until(&p, &p.pipe.frames, 1);
    free(content);
    buf_free(&b);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_long_text),
        cmocka_unit_test(test_permission),
        cmocka_unit_test(test_descriptor),
        cmocka_unit_test(test_congestion_keeps_order),
        cmocka_unit_test(test_frames_before_the_end_are_read),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_owner_refuses_and_holds),
        cmocka_unit_test(test_limit),
    };
    uv_loop_t first; /* libuv opens descriptors of its own with the first loop, and keeps them */
    if (uv_loop_init(&first) != 0 || uv_loop_close(&first) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
