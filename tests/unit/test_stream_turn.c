/*
 * Streams that share a turn of the loop, when more of them are ready than it has room for. Counted
 * is what is served in one turn; the time that ends a turn sooner may only make that less.
 */
#include "unit.h"

#include <sys/socket.h>
#include <unistd.h>

#include "net/stream.h"
#include "net/stream_turn.h"

enum { STREAMS = 400, MOST_TURNS = 2000 };

static uv_loop_t loop;
static struct stream_turn shared;
static unsigned served, open_streams;
static bool turn_closed;

static struct one {
    struct stream *s;
    int peer; /* the other end, a plain descriptor */
    unsigned reads, ended;
    unsigned first; /* when it was served first, counted in events */
} all[STREAMS];

static void on_read(void *owner, struct stream *s)
{
    struct one *o = owner;
    struct buf *in = stream_input(s);

    buf_consume(in, buf_len(in));
    served++;
    o->reads++;
    if (!o->first)
        o->first = served;
}

static void on_ended(void *owner, struct stream *s, int status)
{
    struct one *o = owner;
    (void)s;
    (void)status;
    o->ended++;
}

static void on_closed(void *owner, struct stream *s)
{
    struct one *o = owner;
    (void)s;
    o->s = NULL;
    open_streams--;
}

static const struct stream_ops ops = {.read = on_read, .ended = on_ended, .closed = on_closed};

static int setup(void **state)
{
    static const struct stream_limits limits = {1 << 16, 1 << 16};
    (void)state;

    uv_loop_init(&loop);
    stream_turn_init(&shared, &loop);
    served = 0;
    turn_closed = false;
    for (unsigned i = 0; i < STREAMS; i++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
                         0);
        all[i] = (struct one){.peer = pair[1]};
        all[i].s = stream_from_fd(&loop, pair[0], &limits, &ops, &all[i]);
        stream_share_turn(all[i].s, &shared);
        stream_read_start(all[i].s);
        open_streams++;
    }
    return 0;
}

static void on_turn_closed(void *arg)
{
    *(bool *)arg = true;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < STREAMS; i++) {
        stream_abort(all[i].s);
        close(all[i].peer);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(open_streams, 0);
    stream_turn_close(&shared, on_turn_closed, &turn_closed);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(turn_closed);
    return uv_loop_close(&loop);
}

static void say(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        assert_int_equal(write(all[i].peer, "x", 1), 1);
}

/* One turn; how many events were served in it. */
static unsigned turn(void)
{
    unsigned before = served;
    uv_run(&loop, UV_RUN_NOWAIT);
    return served - before;
}

static void turns_until(unsigned total)
{
    for (unsigned n = 0; served < total; n++) {
        assert_true(n < MOST_TURNS);
        assert_in_range(turn(), 0, STREAM_TURN_EVENTS);
    }
}

static void a_turn_is_bounded(void **state)
{
    (void)state;
    say(0, STREAMS);
    assert_in_range(turn(), 1, STREAM_TURN_EVENTS);
    assert_true(shared.put_off >= STREAMS - STREAM_TURN_EVENTS);
    turns_until(STREAMS);
    for (unsigned i = 0; i < STREAMS; i++)
        assert_int_equal(all[i].reads, 1);
    assert_int_equal(turn(), 0);
}

/* Who was served and is ready again does not pass those who wait. */
static void first_come_first_served(void **state)
{
    unsigned again = 0;
    (void)state;

    say(0, STREAMS);
    turn();
    for (unsigned i = 0; i < STREAMS; i++) {
        if (!all[i].reads)
            continue;
        assert_int_equal(write(all[i].peer, "y", 1), 1);
        again++;
    }
    assert_in_range(again, 1, STREAM_TURN_EVENTS);
    turns_until(STREAMS + again);
    for (unsigned i = 0; i < STREAMS; i++)
        assert_in_range(all[i].first, 1, STREAMS);
}

static void small_turns_put_nothing_off(void **state)
{
    (void)state;
    say(0, 7);
    assert_int_equal(turn(), 7);
    assert_int_equal(shared.put_off, 0);
}

/* What waits may be closed, and sees the end of its peer. */
static void late_streams_close_and_end(void **state)
{
    unsigned aborted = 0, late = 0, ended = 0;
    (void)state;

    say(0, STREAMS);
    turn();
    for (unsigned i = 0; i < STREAMS; i++) {
        if (all[i].reads)
            continue;
        late++;
        if (late % 2) {
            stream_abort(all[i].s);
            aborted++;
        } else {
            shutdown(all[i].peer, SHUT_WR);
        }
    }
    assert_true(late >= STREAMS - STREAM_TURN_EVENTS);
    turns_until(STREAMS - aborted);
    for (unsigned n = 0; n < 20; n++)
        turn();
    for (unsigned i = 0; i < STREAMS; i++)
        ended += all[i].ended;
    assert_int_equal(ended, late - aborted);
    assert_int_equal(open_streams, STREAMS - aborted);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_turn_is_bounded),
        CASE(first_come_first_served),
        CASE(small_turns_put_nothing_off),
        CASE(late_streams_close_and_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
