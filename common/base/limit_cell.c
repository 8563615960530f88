/*
 * Levels and connections of one cell of the limit table; called by pipe/limit for every recipient,
 * so all of it is lock-free and takes some ten nanoseconds.
 *
 * The bucket is GCRA (ITU-T I.371): the level is the theoretical arrival time (TAT) of the next
 * event; an event may come when TAT - burst <= now, and moves TAT on by the interval of the rate.
 * TAT is kept in 1/4096 us, so that rates that do not divide a second are right to a few parts in a
 * thousand million; 64 bits of it last until the year 2112.
 *
 * A rate without burst would lose what its timers come late: an event that is late by a little does
 * not push those after it, so the total stays what the rate says.
 *
 * A quota is the same word read otherwise: the time at which it ends, and in microseconds behind it
 * how many events were taken (at most 50 s of them). So a level is in the future as long as it counts,
 * as that of a bucket is, and one of another day is told from it by its value alone.
 *
 * Connections have no total: each process counts its own, and the sum counts. To connect, a process
 * adds its own first and then looks at the sum. The last of those who are in has seen all others,
 * so the sum of those who are in is never above the limit; and a process that dies, wherever it is,
 * leaves nothing behind but its own number.
 */
#include "base/limit_table_int.h"

enum {
    SHIFT = 12,                     /* units per us: 4096 */
    LATE_US = 50 * 1000,            /* an event that is late by less does not push the next one */
    SET_BACK_US = 10 * 1000 * 1000, /* further ahead than this above what is allowed is cut */
    CONNECT_TRIES = 8,              /* when others come and go at the same instant */
    QUOTA_OVER_US = 100 * 1000,     /* to look again, until the next day of a quota is named */
    LONGEST_DEBT_DAYS = 7,          /* of what is charged afterwards */
    LONGEST_PERIOD_DAYS = 3650,
};

#define DAY_US INT64_C(86400000000)

__extension__ typedef unsigned __int128 u128;

static uint64_t to_units(int64_t us)
{
    return us <= 0 ? 0 : (uint64_t)us << SHIFT;
}

static int64_t to_us(uint64_t units)
{
    return (int64_t)((units + (1u << SHIFT) - 1) >> SHIFT);
}

static uint64_t period_units(const struct limit_rate *r)
{
    return to_units(MIN_OF(r->period_us, LONGEST_PERIOD_DAYS * DAY_US));
}

/* Time that n events take, rounded up. */
static uint64_t cost(const struct limit_rate *r, uint64_t n)
{
    uint64_t period = period_units(r), product;

    if (!__builtin_mul_overflow(n, period, &product))
        return MIN_OF(product / r->count + (product % r->count != 0),
                      to_units(LONGEST_PERIOD_DAYS * DAY_US));
    u128 time = ((u128)n * period + r->count - 1) / r->count;
    return time > to_units(LONGEST_PERIOD_DAYS * DAY_US) ? to_units(LONGEST_PERIOD_DAYS * DAY_US)
                                                         : (uint64_t)time;
}

/* How many events take no longer than `time`. */
static uint64_t fits(const struct limit_rate *r, uint64_t time)
{
    uint64_t period = period_units(r), product;

    if (!__builtin_mul_overflow(time, r->count, &product))
        return product / period;
    u128 n = (u128)time * r->count / period;
    return n > UINT64_MAX / 2 ? UINT64_MAX / 2 : (uint64_t)n;
}

/* Cuts what a clock that was set back, or a lower rate before, left too far ahead. The cut is kept:
 * it would move on with time otherwise. Returns the level. */
static uint64_t cut(struct limit_cell *c, const struct limit_rate *r, uint64_t level,
                    int64_t now_us)
{
    int64_t charged_us = atomic_load_explicit(&c->charged_us, memory_order_relaxed);
    uint64_t now = to_units(now_us), to = level, most;

    if (charged_us) {
        /* a debt may be long, but the last charge was not in the future */
        if (charged_us > now_us + SET_BACK_US)
            to -= MIN_OF(level, to_units(charged_us - now_us));
        most = now + to_units(LONGEST_DEBT_DAYS * DAY_US);
    } else {
        most = now + to_units(r->burst_us) + cost(r, 1);
    }
    if (to > most + to_units(SET_BACK_US))
        to = most;
    if (to == level || !atomic_compare_exchange_strong(&c->level, &level, to))
        return level;
    if (charged_us)
        atomic_store_explicit(&c->charged_us, now_us, memory_order_relaxed);
    return to;
}

static uint64_t level_now(struct limit_cell *c, const struct limit_rate *r, int64_t now_us)
{
    uint64_t level = atomic_load_explicit(&c->level, memory_order_relaxed);
    return level <= to_units(now_us) ? level : cut(c, r, level, now_us);
}

/* Arrival time of the next event: its level, or now when that is past. */
static uint64_t next_arrival(const struct limit_rate *r, uint64_t level, int64_t now_us)
{
    uint64_t now = to_units(now_us);

    if (level >= now)
        return level;
    if (level && !r->burst_us && now - level <= MIN_OF(to_units(LATE_US), cost(r, 1) / 2))
        return level;
    return now;
}

/* How many of `want` may come now, and when one may when none can. */
static uint64_t grant(const struct limit_rate *r, uint64_t arrival, uint64_t want, int64_t now_us,
                      int64_t *ret_at_us)
{
    uint64_t burst = to_units(r->burst_us), until = to_units(now_us) + burst;

    if (arrival > until) {
        *ret_at_us = to_us(arrival - burst);
        return 0;
    }
    if (want <= 1)
        return want;
    uint64_t room = r->burst_us ? fits(r, until - arrival) : 0;
    return MIN_OF(want, room + 1);
}

/* --- quotas --- */

/* Taken of the quota that begins (as a level) at base; one that ends later: a day that we have not
 * come to yet is another's, nothing is left for us. */
static uint64_t quota_used(uint64_t level, uint64_t base)
{
    return level > base ? (level - base) >> SHIFT : 0;
}

static uint64_t quota_grant(const struct limit_rate *r, uint64_t used, uint64_t want,
                            int64_t now_us, int64_t *ret_at_us)
{
    if (now_us < r->until_us && used < r->count)
        return MIN_OF(want, r->count - used);
    *ret_at_us = now_us < r->until_us ? r->until_us : now_us + QUOTA_OVER_US;
    return 0;
}

static uint64_t quota_take(struct limit_cell *c, const struct limit_rate *r, uint64_t want,
                           int64_t now_us, int64_t *ret_at_us)
{
    uint64_t level = atomic_load_explicit(&c->level, memory_order_relaxed);
    uint64_t base = to_units(r->until_us), used, n;

    do {
        used = quota_used(level, base);
        n = quota_grant(r, used, want, now_us, ret_at_us);
        if (!n)
            return 0;
    } while (!atomic_compare_exchange_weak_explicit(&c->level, &level, base + ((used + n) << SHIFT),
                                                    memory_order_relaxed, memory_order_relaxed));
    return n;
}

static void quota_refund(struct limit_cell *c, const struct limit_rate *r, uint64_t n)
{
    uint64_t level = atomic_load_explicit(&c->level, memory_order_relaxed);
    uint64_t base = to_units(r->until_us), used;

    do {
        used = quota_used(level, base);
        if (!used || used > LIMIT_QUOTA_MAX) /* of another day */
            return;
    } while (!atomic_compare_exchange_weak_explicit(&c->level, &level,
                                                    level - (MIN_OF(n, used) << SHIFT),
                                                    memory_order_relaxed, memory_order_relaxed));
}

uint64_t limit_cell_quota_used(const struct limit_cell *c, int64_t until_us)
{
    return quota_used(atomic_load_explicit(&c->level, memory_order_relaxed), to_units(until_us));
}

void limit_cell_quota_move(struct limit_cell *c, int64_t from_us, int64_t to_us)
{
    uint64_t level = atomic_load_explicit(&c->level, memory_order_relaxed);
    uint64_t from = to_units(from_us), to = to_units(to_us), used;

    do {
        used = quota_used(level, from);
        if (!used || used > LIMIT_QUOTA_MAX)
            return;
    } while (!atomic_compare_exchange_weak_explicit(&c->level, &level, to + (used << SHIFT),
                                                    memory_order_relaxed, memory_order_relaxed));
}

/* --- token buckets --- */

uint64_t limit_cell_take(struct limit_cell *c, const struct limit_rate *r, uint64_t want,
                         int64_t now_us, int64_t *ret_at_us)
{
    if (r->until_us)
        return quota_take(c, r, want, now_us, ret_at_us);
    uint64_t level = level_now(c, r, now_us), next, n;

    do {
        uint64_t arrival = next_arrival(r, level, now_us);
        n = grant(r, arrival, want, now_us, ret_at_us);
        if (!n)
            return 0;
        next = arrival + cost(r, n);
    } while (!atomic_compare_exchange_weak_explicit(&c->level, &level, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    return n;
}

uint64_t limit_cell_peek(struct limit_cell *c, const struct limit_rate *r, uint64_t most,
                         int64_t now_us, int64_t *ret_at_us)
{
    if (r->until_us)
        return quota_grant(r, limit_cell_quota_used(c, r->until_us), most, now_us, ret_at_us);
    return grant(r, next_arrival(r, level_now(c, r, now_us), now_us), most, now_us, ret_at_us);
}

void limit_cell_charge(struct limit_cell *c, const struct limit_rate *r, uint64_t n, int64_t now_us)
{
    uint64_t level = level_now(c, r, now_us), next;
    uint64_t most = to_units(now_us) + to_units(LONGEST_DEBT_DAYS * DAY_US);

    do {
        next = next_arrival(r, level, now_us) + cost(r, n);
    } while (!atomic_compare_exchange_weak_explicit(&c->level, &level, MIN_OF(next, most),
                                                    memory_order_relaxed, memory_order_relaxed));
    atomic_store_explicit(&c->charged_us, now_us, memory_order_relaxed);
}

void limit_cell_refund(struct limit_cell *c, const struct limit_rate *r, uint64_t n)
{
    if (r->until_us) {
        quota_refund(c, r, n);
        return;
    }
    uint64_t level = atomic_load_explicit(&c->level, memory_order_relaxed), back = cost(r, n);

    while (!atomic_compare_exchange_weak_explicit(&c->level, &level,
                                                  level > back ? level - back : 0,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

int64_t limit_cell_level_us(const struct limit_cell *c)
{
    return to_us(atomic_load_explicit(&c->level, memory_order_relaxed));
}

void limit_cell_raise(struct limit_cell *c, int64_t level_us)
{
    uint64_t level = atomic_load_explicit(&c->level, memory_order_relaxed);
    uint64_t to = to_units(level_us);

    while (level < to && !atomic_compare_exchange_weak_explicit(
                             &c->level, &level, to, memory_order_relaxed, memory_order_relaxed))
        ;
}

void limit_cell_lower(struct limit_cell *c, int64_t level_us)
{
    uint64_t level = atomic_load_explicit(&c->level, memory_order_relaxed);
    uint64_t to = to_units(level_us);

    while (level > to && !atomic_compare_exchange_weak_explicit(
                             &c->level, &level, to, memory_order_relaxed, memory_order_relaxed))
        ;
}

/* --- connections --- */

uint32_t limit_cell_connections(const struct limit_cell *c)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < LIMIT_TABLE_PROCESSES; i++)
        sum += atomic_load(&c->connections[i]);
    return sum;
}

bool limit_cell_connect(struct limit_table *t, struct limit_cell *c, uint32_t max)
{
    _Atomic uint32_t *own = &c->connections[t->share];

    if (!max) {
        atomic_fetch_add(own, 1);
        return true;
    }
    /* Two who come for the last place may see each other and both go back; then there is room
     * again, and whoever comes first has it. */
    for (int tries = 0; tries < CONNECT_TRIES && limit_cell_connections(c) < max; tries++) {
        atomic_fetch_add(own, 1);
        if (limit_cell_connections(c) <= max)
            return true;
        atomic_fetch_sub(own, 1);
    }
    return false;
}

void limit_cell_disconnect(struct limit_table *t, struct limit_cell *c)
{
    BUG_ON(atomic_fetch_sub(&c->connections[t->share], 1) == 0);
}

uint32_t limit_cell_own_connections(const struct limit_table *t, const struct limit_cell *c)
{
    return atomic_load(&c->connections[t->share]);
}

/* --- places that another process waits for --- */

enum { SHARE_BITS = 6 };
_Static_assert(LIMIT_TABLE_PROCESSES <= 1 << SHARE_BITS, "a share fits");

void limit_cell_want(struct limit_table *t, struct limit_cell *c, int64_t now_us)
{
    atomic_store_explicit(&c->wanted, (uint64_t)now_us << SHARE_BITS | t->share,
                          memory_order_relaxed);
}

bool limit_cell_was_wanted(const struct limit_cell *c)
{
    return atomic_load_explicit(&c->wanted, memory_order_relaxed) != 0;
}

bool limit_cell_wanted(const struct limit_table *t, const struct limit_cell *c, int64_t now_us,
                       uint32_t *ret_connections)
{
    uint64_t wanted = atomic_load_explicit(&c->wanted, memory_order_relaxed);
    unsigned share = (unsigned)(wanted & ((1u << SHARE_BITS) - 1));
    int64_t age_us = now_us - (int64_t)(wanted >> SHARE_BITS);

    if (!wanted || share == t->share || share >= LIMIT_TABLE_PROCESSES || age_us < -LIMIT_WANT_US ||
        age_us > LIMIT_WANT_US)
        return false;
    *ret_connections = atomic_load(&c->connections[share]);
    return true;
}
