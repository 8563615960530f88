/*
 * Waiting at a limit. Each limit has one line and one wake-up time, in a heap that all share; the
 * owner sleeps until the earliest. When the time has come, as many are told as there is room for,
 * first come first served; the others sleep on. One who is told and still finds no room puts itself
 * in front again, which ends the round.
 *
 * Who is told need not take the room (another limit may refuse it), so as long as somebody waits
 * and there is room, the limit looks again a millisecond later. Only places that other processes
 * hold need a look from time to time: nobody tells us when they are given back. With each look the
 * others are asked for one (limit_cell_want), so that a pipe that came first does not keep them.
 */
#include "limit/limit_int.h"

enum {
    LOOK_AGAIN_US = 1000,
    OTHERS_US = 100 * 1000, /* places held by other processes */
    OWED_US = 20 * 1000,    /* a place that is left to another process */
    TOLD_AT_ONCE = 256,
};

bool limit_owes_place(const struct limit *l, bool idle)
{
    uint32_t theirs;

    if (l->measure != LIMIT_CONNECTIONS || !l->max || !limit_cell_was_wanted(l->cell) ||
        !limit_cell_wanted(l->table, l->cell, limits_now(l->owner), &theirs))
        return false;
    return idle || limit_cell_own_connections(l->table, l->cell) > theirs;
}

uint64_t limit_room(const struct limit *l, uint64_t most, int64_t now_us, int64_t *ret_at_us)
{
    if (l->measure != LIMIT_CONNECTIONS)
        return l->rate.count ? limit_cell_peek(l->cell, &l->rate, most, now_us, ret_at_us) : most;
    if (!l->max)
        return most;
    uint32_t used = limit_cell_connections(l->cell);
    if (used < l->max && limit_owes_place(l, false)) {
        *ret_at_us = now_us + OWED_US;
        return 0;
    }
    if (used < l->max)
        return MIN_OF(most, l->max - used);
    bool others = used > limit_cell_own_connections(l->table, l->cell);
    *ret_at_us = others ? now_us + OTHERS_US : INT64_MAX;
    return 0;
}

void limit_wake_at(struct limit *l, int64_t at_us)
{
    struct limits *s = l->owner;
    bool earlier = at_us < limits_next_us(s);

    heap_set(&s->wakes, &l->wake, at_us);
    if (earlier && s->earlier && !s->in_tick)
        s->earlier(s->earlier_arg);
}

void limit_has_room(struct limit *l)
{
    /* inside a tick not in the same one again: whoever comes and goes at once would never end it */
    int64_t at_us = l->owner->in_tick ? l->owner->tick_us + 1 : 0;

    if (l->waiting && (!heap_contains(&l->wake) || l->wake.key > at_us))
        limit_wake_at(l, at_us);
}

void limit_arm(struct limit *l, int64_t now_us)
{
    int64_t at_us;

    if (!l->waiting || heap_contains(&l->wake))
        return;
    if (limit_room(l, 1, now_us, &at_us))
        at_us = now_us + LOOK_AGAIN_US;
    else if (l->measure == LIMIT_CONNECTIONS && at_us == now_us + OTHERS_US)
        limit_cell_want(l->table, l->cell, now_us);
    if (at_us != INT64_MAX)
        limit_wake_at(l, at_us);
}

static void wait_at(struct limit *l, struct limit_waiter *w, bool first)
{
    limit_leave(w);
    w->at = l;
    l->waiting++;
    if (first)
        list_push_front(&l->waiters, &w->link);
    else
        list_push_back(&l->waiters, &w->link);
    if (!heap_contains(&l->wake))
        limit_arm(l, limits_now(l->owner));
}

void limit_wait(struct limit *l, struct limit_waiter *w)
{
    wait_at(l, w, false);
}

void limit_wait_first(struct limit *l, struct limit_waiter *w)
{
    wait_at(l, w, true);
}

void limit_leave(struct limit_waiter *w)
{
    struct limit *l = w->at;

    if (!l)
        return;
    w->at = NULL;
    list_remove(&w->link);
    if (--l->waiting == 0)
        heap_remove(&l->owner->wakes, &l->wake);
}

int64_t limits_next_us(const struct limits *s)
{
    const struct heap_node *first = heap_min(&s->wakes);
    return first ? first->key : INT64_MAX;
}

static void serve(struct limit *l, int64_t now_us)
{
    int64_t at_us;
    uint64_t room = limit_room(l, MIN_OF(l->waiting, TOLD_AT_ONCE), now_us, &at_us);

    l->refs++; /* those who are told may release it */
    for (struct list *first = NULL; room && l->waiting; room--) {
        if (first && list_first(&l->waiters) == first)
            break;
        first = list_first(&l->waiters);
        struct limit_waiter *w = list_entry(first, struct limit_waiter, link);
        limit_leave(w);
        w->room(w);
    }
    limit_arm(l, now_us);
    limit_unref(l);
}

void limits_tick(struct limits *s, int64_t now_us)
{
    limits_now(s);
    s->in_tick = true;
    s->tick_us = now_us;
    while (limits_next_us(s) <= now_us) {
        struct limit *l = container_of(heap_min(&s->wakes), struct limit, wake);
        heap_remove(&s->wakes, &l->wake);
        if (l->refs)
            serve(l, now_us);
        else
            limit_dispose(l, now_us);
    }
    s->in_tick = false;
}
