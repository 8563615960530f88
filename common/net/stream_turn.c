/*
 * See stream_turn.h. Called by stream.c for each event of a socket; a turn begins just before the
 * loop polls, with those that are late. The loop does not poll for a late stream: it would tell of
 * it again and again, as libuv polls up to 48 times a turn while a thousand sockets are ready. The
 * stream takes itself out when it closes.
 */
#include "net/stream_turn.h"

#include "net/stream_int.h"

enum { EVENTS_PER_LOOK = 8 }; /* at the clock; small turns do without */

bool stream_turn_take(struct stream_turn *t)
{
    if (!t->left)
        return false;
    if (--t->left % EVENTS_PER_LOOK)
        return true;
    uint64_t now_ns = uv_hrtime();
    if (!t->until_ns)
        t->until_ns = now_ns + STREAM_TURN_US * UINT64_C(1000);
    else if (now_ns >= t->until_ns)
        t->left = 0;
    return true;
}

static void on_awake(uv_idle_t *h)
{
    struct stream_turn *t = h->data;
    if (list_empty(&t->late))
        uv_idle_stop(h);
}

void stream_turn_put_off(struct stream_turn *t, struct stream *s, unsigned events)
{
    s->late_events = events;
    list_push_back(&t->late, &s->late);
    uv_idle_start(&t->awake, on_awake);
    t->put_off++;
}

static void on_begin(uv_prepare_t *h)
{
    struct stream_turn *t = h->data;

    t->left = STREAM_TURN_EVENTS;
    t->until_ns = 0;
    while (!list_empty(&t->late) && stream_turn_take(t)) {
        struct stream *s = list_entry(list_pop_front(&t->late), struct stream, late);
        stream_serve(s, s->late_events);
    }
}

void stream_turn_init(struct stream_turn *t, uv_loop_t *loop)
{
    *t = (struct stream_turn){.left = STREAM_TURN_EVENTS};
    list_init(&t->late);
    uv_prepare_init(loop, &t->begin);
    uv_idle_init(loop, &t->awake);
    t->begin.data = t->awake.data = t;
    t->handles = 2;
    uv_prepare_start(&t->begin, on_begin);
    uv_unref((uv_handle_t *)&t->begin); /* does not keep the loop going */
}

static void on_closed(uv_handle_t *h)
{
    struct stream_turn *t = h->data;
    if (--t->handles == 0)
        t->closed(t->arg);
}

void stream_turn_close(struct stream_turn *t, void (*closed)(void *arg), void *arg)
{
    BUG_ON(!list_empty(&t->late));
    t->closed = closed;
    t->arg = arg;
    uv_close((uv_handle_t *)&t->begin, on_closed);
    uv_close((uv_handle_t *)&t->awake, on_closed);
}

void stream_share_turn(struct stream *s, struct stream_turn *t)
{
    s->shares = t;
}
