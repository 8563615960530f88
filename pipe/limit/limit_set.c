/*
 * All or nothing over the limits of one queue: connections, recipients, bytes. Runs for every
 * connection and every transaction, so a set without limits costs only the walk over it, and the
 * clock is read once and only when a rate needs it.
 *
 * Taking goes from one limit to the next and gives back what was taken when one refuses. What is
 * given back here wakes nobody: those who wait saw no room before, and there is no more than then.
 */
#include "limit/limit_int.h"

static int64_t now_once(const struct limit *l, int64_t *now_us)
{
    if (!*now_us)
        *now_us = limits_now(l->owner);
    return *now_us;
}

static bool is_rate(const struct limit *l, enum limit_measure measure)
{
    return l && l->measure == measure && l->rate.count;
}

static uint32_t take_from(struct limit *l, uint32_t want, int64_t *now_us)
{
    int64_t at_us;
    uint64_t n = limit_cell_take(l->cell, &l->rate, want, now_once(l, now_us), &at_us);

    if (n && l->is_kept)
        limit_moved(l, *now_us);
    return (uint32_t)n;
}

/* --- connections --- */

static void undo_connections(struct limit *const *set, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (set[i] && set[i]->measure == LIMIT_CONNECTIONS)
            limit_cell_disconnect(set[i]->table, set[i]->cell);
}

static bool take_connections(struct limit *const *set, size_t count, struct limit **ret_full)
{
    for (size_t i = 0; i < count; i++) {
        struct limit *l = set[i];
        if (l && l->measure == LIMIT_CONNECTIONS &&
            (limit_owes_place(l, false) || !limit_cell_connect(l->table, l->cell, l->max))) {
            undo_connections(set, i);
            *ret_full = l;
            return false;
        }
    }
    return true;
}

static void refund(struct limit *const *set, size_t count, enum limit_measure measure, uint32_t n)
{
    for (size_t i = 0; i < count; i++)
        if (is_rate(set[i], measure))
            limit_cell_refund(set[i]->cell, &set[i]->rate, n);
}

bool limits_connect(struct limit *const *set, size_t count, struct limit **ret_full)
{
    int64_t now_us = 0;

    if (!take_connections(set, count, ret_full))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (is_rate(set[i], LIMIT_CONNECTS) && !take_from(set[i], 1, &now_us)) {
            refund(set, i, LIMIT_CONNECTS, 1);
            undo_connections(set, count);
            *ret_full = set[i];
            return false;
        }
    }
    return true;
}

void limits_disconnect(struct limit *const *set, size_t count)
{
    undo_connections(set, count);
    for (size_t i = 0; i < count; i++)
        if (set[i] && set[i]->measure == LIMIT_CONNECTIONS)
            limit_has_room(set[i]);
}

/* --- recipients and bytes --- */

static bool is_in_debt(const struct limit *l, int64_t *now_us)
{
    int64_t at_us;
    return limit_cell_peek(l->cell, &l->rate, 1, now_once(l, now_us), &at_us) == 0;
}

uint32_t limits_take(struct limit *const *set, size_t count, uint32_t want, struct limit **ret_full)
{
    int64_t now_us = 0;

    for (size_t i = 0; i < count; i++) {
        if (is_rate(set[i], LIMIT_BYTES) && is_in_debt(set[i], &now_us)) {
            *ret_full = set[i];
            return 0;
        }
    }
    for (size_t i = 0; i < count && want; i++) {
        if (!is_rate(set[i], LIMIT_MESSAGES))
            continue;
        uint32_t n = take_from(set[i], want, &now_us);
        if (n < want)
            refund(set, i, LIMIT_MESSAGES, want - n);
        if (!n) {
            *ret_full = set[i];
            limit_moved(set[i], now_us); /* by another pipe: whoever minds a level keeps it */
        }
        want = n;
    }
    return want;
}

uint32_t limits_epoch(const struct limits *s)
{
    return s->epoch;
}

static bool is_of_another_day(const struct limit *l, uint32_t epoch)
{
    return l->rate.until_us && (int32_t)(epoch - l->epoch) < 0;
}

void limits_refund(struct limit *const *set, size_t count, uint32_t n)
{
    for (size_t i = 0; i < count; i++)
        if (set[i]) {
            limits_refund_since(set, count, n, limits_epoch(set[i]->owner));
            return;
        }
}

void limits_refund_since(struct limit *const *set, size_t count, uint32_t n, uint32_t epoch)
{
    if (!n)
        return;
    for (size_t i = 0; i < count; i++) {
        if (!is_rate(set[i], LIMIT_MESSAGES) || is_of_another_day(set[i], epoch))
            continue;
        limit_cell_refund(set[i]->cell, &set[i]->rate, n);
        if (set[i]->is_kept)
            limit_moved(set[i], limits_now(set[i]->owner));
        limit_has_room(set[i]);
    }
}

void limits_refund_bytes(struct limit *const *set, size_t count, uint64_t bytes)
{
    for (size_t i = 0; i < count && bytes; i++) {
        if (!is_rate(set[i], LIMIT_BYTES))
            continue;
        limit_cell_refund(set[i]->cell, &set[i]->rate, bytes);
        limit_moved(set[i], limits_now(set[i]->owner));
        limit_has_room(set[i]);
    }
}

bool limits_in_debt(struct limit *const *set, size_t count)
{
    int64_t now_us = 0;

    for (size_t i = 0; i < count; i++)
        if (is_rate(set[i], LIMIT_BYTES) && is_in_debt(set[i], &now_us))
            return true;
    return false;
}

void limits_charge_bytes(struct limit *const *set, size_t count, uint64_t bytes)
{
    int64_t now_us = 0;

    for (size_t i = 0; i < count; i++) {
        if (!is_rate(set[i], LIMIT_BYTES))
            continue;
        limit_cell_charge(set[i]->cell, &set[i]->rate, bytes, now_once(set[i], &now_us));
        limit_moved(set[i], now_us);
    }
}
