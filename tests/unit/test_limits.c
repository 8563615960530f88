/*
 * The limits of a pipe with a clock of its own: all or nothing over sets, lines of those who wait,
 * two pipes on one table, what is kept over a restart.
 */
#include "unit.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "limit/limit.h"

#define START_MS INT64_C(1800000000000)

/* --- a pipe --- */

static struct limits *fresh(void)
{
    clock_fake_set(START_MS);
    return limits_new(limit_table_new_private());
}

static struct limit *rate_limit(struct limits *s, enum limit_measure m, const char *name,
                                uint64_t count, int64_t period_ms)
{
    struct limit *l = limit_get(s, m, sv_of(name));
    limit_set_rate(l, &(struct rate){count, period_ms});
    return l;
}

static struct limit *max_limit(struct limits *s, const char *name, uint32_t max)
{
    struct limit *l = limit_get(s, LIMIT_CONNECTIONS, sv_of(name));
    limit_set_max(l, max);
    return l;
}

/* One who waits: told, it takes one recipient or place from its set, or stays in front. */
struct sleeper {
    struct limit_waiter waiter;
    struct limit *set[3];
    size_t count;
    bool connects;  /* a place, not a recipient */
    bool gives_up;  /* takes nothing when it is told */
    bool takes_all; /* as much as there is, then waits again */
    int told, got, id;
};

static int order[64];
static size_t order_count;

static bool takes_one(struct sleeper *p, struct limit **ret_full)
{
    bool ok = p->connects ? limits_connect(p->set, p->count, ret_full)
                          : limits_take(p->set, p->count, 1, ret_full) == 1;
    p->got += ok;
    if (ok && order_count < ARRAY_LEN(order))
        order[order_count++] = p->id;
    return ok;
}

static void room(struct limit_waiter *w)
{
    struct sleeper *p = container_of(w, struct sleeper, waiter);
    struct limit *full = NULL;

    p->told++;
    if (p->gives_up)
        return;
    if (!takes_one(p, &full)) {
        limit_wait_first(full, w);
    } else if (p->takes_all) {
        while (takes_one(p, &full))
            ;
        limit_wait(full, w);
    }
}

static void sleeper_init(struct sleeper *p, int id, struct limit *l)
{
    *p = (struct sleeper){.set = {l}, .count = 1, .id = id, .waiter.room = room};
    list_init(&p->waiter.link);
    order_count = 0;
}

/* Lets time go on to the wake-up times until `ms` have passed; returns how often it woke. */
static unsigned sleep_ms(struct limits *s, int64_t ms)
{
    int64_t end = clock_wall_ms() + ms;
    unsigned wakes = 0;

    for (;;) {
        int64_t next_us = limits_next_us(s);
        int64_t at = next_us > end * 1000 ? end : MAX_OF((next_us + 999) / 1000, clock_wall_ms());
        clock_fake_advance(at - clock_wall_ms());
        if (next_us > clock_wall_us())
            break;
        wakes++;
        assert_true(wakes < 10000000);
        limits_tick(s, clock_wall_us());
    }
    return wakes;
}

/* --- sets --- */

static void all_or_nothing(void **state)
{
    struct limits *s = fresh();
    struct limit *a = max_limit(s, "a", 3), *b = max_limit(s, "b", 2), *none = max_limit(s, "n", 0);
    struct limit *rate = rate_limit(s, LIMIT_CONNECTS, "a", 1, 1000);
    struct limit *set[] = {a, NULL, none, b}, *full = NULL;
    struct limit *with_rate[] = {rate, a};

    (void)state;
    assert_true(limits_connect(set, 4, &full));
    assert_true(limits_connect(set, 4, &full));
    assert_false(limits_connect(set, 4, &full));
    assert_ptr_equal(full, b);
    assert_int_equal(limit_cell_connections(a->cell), 2);
    assert_int_equal(limit_cell_connections(none->cell), 2);

    assert_true(limits_connect(with_rate, 2, &full));
    limits_disconnect(with_rate, 2);
    assert_false(
        limits_connect(with_rate, 2, &full)); /* the place is there, the second is not over */
    assert_ptr_equal(full, rate);
    assert_int_equal(limit_cell_connections(a->cell), 2);
    clock_fake_advance(1000);
    assert_true(limits_connect(with_rate, 2, &full));
    clock_fake_advance(1000);
    /* no place: the rate is not used up by that */
    assert_false(limits_connect(with_rate, 2, &full));
    assert_ptr_equal(full, a);
    limits_disconnect(set, 4);
    assert_true(limits_connect(with_rate, 2, &full));

    limits_disconnect(with_rate, 2);
    limits_disconnect(with_rate, 2);
    limits_disconnect(set, 4);
    assert_int_equal(limit_cell_connections(a->cell), 0);
    limit_unref(a);
    limit_unref(b);
    limit_unref(none);
    limit_unref(rate);
    limits_free(s);
}

static void as_many_as_all_grant(void **state)
{
    struct limits *s = fresh();
    struct limit *wide = rate_limit(s, LIMIT_MESSAGES, "wide", 1000, 1000);    /* 51 at once */
    struct limit *narrow = rate_limit(s, LIMIT_MESSAGES, "narrow", 100, 1000); /* 6 at once */
    struct limit *unlimited = rate_limit(s, LIMIT_MESSAGES, "unlimited", 0, 0);
    struct limit *bytes = rate_limit(s, LIMIT_BYTES, "bytes", 100000, 1000);
    struct limit *set[] = {unlimited, wide, narrow, bytes}, *full = NULL;
    struct limit_level level;

    (void)state;
    assert_int_equal(limits_take(set, 4, 4, &full), 4);
    assert_int_equal(limits_take(set, 4, 40, &full), 2);
    assert_int_equal(limits_take(set, 4, 40, &full), 0);
    assert_ptr_equal(full, narrow);
    limit_level(wide, clock_wall_us(), &level);
    assert_int_equal(level.free_now, 51 - 6); /* nothing was left taken by those that got none */
    limits_refund(set, 4, 2);
    assert_int_equal(limits_take(set, 4, 40, &full), 2);

    limits_charge_bytes(set, 4, 50000); /* half a second */
    clock_fake_advance(400);
    assert_int_equal(limits_take(set, 4, 1, &full), 0);
    assert_ptr_equal(full, bytes);
    clock_fake_advance(100);
    assert_int_equal(limits_take(set, 4, 3, &full), 3);
    assert_int_equal(limits_take(&unlimited, 1, 1000, &full), 1000);
    assert_int_equal(limits_take(NULL, 0, 1000, &full), 1000);

    limit_unref(wide);
    limit_unref(narrow);
    limit_unref(unlimited);
    limit_unref(bytes);
    limits_free(s);
}

/* A pipe that sleeps until it is told keeps each rate exactly. */
static void rates_hold_for_one_who_sleeps(void **state)
{
    static const struct {
        uint64_t count;
        int64_t period_ms, span_ms;
        int least, most;
        unsigned wakes_per_event_x10;
    } rows[] = {
        {1, 1000, 3600000, 3600, 3601, 21},       {2, 60000, 86400000, 2880, 2881, 21},
        {200, 3600000, 86400000, 4800, 4801, 21}, {50, 86400000, 30 * 86400000LL, 1500, 1501, 21},
        {83, 5000, 3600000, 59760, 59761, 21},    {19, 1000, 3600000, 68399, 68401, 21},
        {500, 1000, 600000, 299999, 300026, 21},  {10000, 1000, 60000, 599990, 600501, 21},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct limits *s = fresh();
        struct limit *l =
            rate_limit(s, LIMIT_MESSAGES, "queue a", rows[i].count, rows[i].period_ms);
        struct sleeper p;
        sleeper_init(&p, 0, l);
        p.takes_all = true;
        limit_wait(l, &p.waiter);
        unsigned wakes = sleep_ms(s, rows[i].span_ms);
        if (p.got < rows[i].least || p.got > rows[i].most)
            fail_msg("row %zu: %d events", i, p.got);
        assert_true(wakes <= (unsigned)p.got * rows[i].wakes_per_event_x10 / 10 + 10);
        limit_leave(&p.waiter);
        limit_unref(l);
        limits_free(s);
    }
}

/* --- waiting --- */

static void first_come_first_served(void **state)
{
    struct limits *s = fresh();
    struct limit *l = max_limit(s, "a", 2), *full = NULL;
    struct sleeper p[6];
    struct limit *set[] = {l};

    (void)state;
    assert_true(limits_connect(set, 1, &full));
    assert_true(limits_connect(set, 1, &full));
    for (int i = 0; i < 6; i++) {
        sleeper_init(&p[i], i, l);
        p[i].connects = true;
        limit_wait(l, &p[i].waiter);
    }
    /* all places are held here: nothing to wake for */
    assert_true(limits_next_us(s) == INT64_MAX);
    limit_leave(&p[1].waiter);
    limits_disconnect(set, 1);
    assert_int_equal(p[0].told, 0); /* not inside the call */
    assert_true(limits_next_us(s) <= clock_wall_us());
    limits_tick(s, clock_wall_us());
    assert_int_equal(p[0].got, 1);
    assert_int_equal(p[2].told, 0); /* one place, one told */

    limit_set_max(l, 4);
    limits_tick(s, clock_wall_us());
    assert_int_equal(p[2].got + p[3].got, 2);
    assert_int_equal(p[4].told, 0);
    for (int i = 0; i < 4; i++)
        limits_disconnect(set, 1);
    sleep_ms(s, 1000);
    assert_int_equal(order_count, 5);
    static const int expected[] = {0, 2, 3, 4, 5};
    assert_memory_equal(order, expected, sizeof(expected));

    assert_true(limits_next_us(s) == INT64_MAX);
    limits_disconnect(set, 1);
    limits_disconnect(set, 1);
    limit_unref(l);
    limits_free(s);
}

/* Room that the first does not use is offered to the next ones. */
static void room_that_is_not_used_is_not_lost(void **state)
{
    struct limits *s = fresh();
    struct limit *l = rate_limit(s, LIMIT_MESSAGES, "a", 1, 60000), *full = NULL;
    struct limit *other = max_limit(s, "b", 1);
    struct limit *set[] = {l}, *others[] = {other};
    struct sleeper p[3];

    (void)state;
    assert_int_equal(limits_take(set, 1, 1, &full), 1);
    assert_true(limits_connect(others, 1, &full));
    for (int i = 0; i < 3; i++) {
        sleeper_init(&p[i], i, l);
        limit_wait(l, &p[i].waiter);
    }
    p[0].gives_up = true;
    p[1].set[1] = other; /* full: it moves into that line */
    p[1].count = 2;
    p[1].connects = true;
    unsigned wakes = sleep_ms(s, 61000);
    assert_int_equal(p[0].told, 1);
    assert_int_equal(p[1].told, 1);
    assert_ptr_equal(p[1].waiter.at, other);
    assert_int_equal(p[2].got, 1);
    assert_true(wakes < 10);
    limit_leave(&p[1].waiter);
    limits_disconnect(others, 1);
    limit_unref(l);
    limit_unref(other);
    limits_free(s);
}

/* Thousands in line at one rate: each wake tells as many as there is room for. */
static void no_thundering_herd(void **state)
{
    enum { SLEEPERS = 50000 };
    struct limits *s = fresh();
    struct limit *l = rate_limit(s, LIMIT_MESSAGES, "vmta", 100, 1000), *full = NULL;
    struct sleeper *p = xcalloc(SLEEPERS, sizeof(*p));
    int told = 0, got = 0;

    (void)state;
    while (limits_take(&l, 1, 1, &full))
        ;
    for (int i = 0; i < SLEEPERS; i++) {
        sleeper_init(&p[i], i, l);
        limit_wait(l, &p[i].waiter);
    }
    unsigned wakes = sleep_ms(s, 10000);
    for (int i = 0; i < SLEEPERS; i++) {
        told += p[i].told;
        got += p[i].got;
        limit_leave(&p[i].waiter);
    }
    assert_int_equal(got, 1000);
    assert_int_equal(told, got);
    assert_true(wakes <= 1001);
    free(p);
    limit_unref(l);
    limits_free(s);
}

static void one_who_always_fails_does_not_spin(void **state)
{
    struct limits *s = fresh();
    struct limit *l = max_limit(s, "a", 1);
    struct sleeper p;

    (void)state;
    sleeper_init(&p, 0, l);
    p.set[1] = max_limit(s, "b", 1);
    p.count = 2;
    struct limit *full = NULL;
    assert_true(limits_connect(&p.set[1], 1, &full));
    p.connects = p.takes_all = true;
    limit_wait(l, &p.waiter); /* there is room: it is told at once, and moves to the other line */
    assert_true(sleep_ms(s, 1000) < 5);
    assert_ptr_equal(p.waiter.at, p.set[1]);
    limit_leave(&p.waiter);
    limits_disconnect(&p.set[1], 1);
    limit_unref(p.set[1]);
    limit_unref(l);
    limits_free(s);
}

static void count_call(void *arg)
{
    ++*(int *)arg;
}

static void owner_hears_of_earlier_times(void **state)
{
    struct limits *s = fresh();
    struct limit *l = rate_limit(s, LIMIT_MESSAGES, "a", 1, 60000), *full = NULL;
    struct sleeper p[2];
    int calls = 0;

    (void)state;
    limits_on_earlier(s, count_call, &calls);
    assert_int_equal(limits_take(&l, 1, 1, &full), 1);
    for (int i = 0; i < 2; i++) {
        sleeper_init(&p[i], i, l);
        limit_wait(l, &p[i].waiter);
    }
    assert_int_equal(calls, 1);
    assert_int_equal(limits_next_us(s), clock_wall_us() + 60000000);
    limits_refund(&l, 1, 1);
    assert_int_equal(calls, 2);
    limit_leave(&p[0].waiter);
    limit_leave(&p[1].waiter);
    limit_unref(l);
    limits_free(s);
}

static void clock_set_back_while_waiting(void **state)
{
    struct limits *s = fresh();
    struct limit *l = rate_limit(s, LIMIT_MESSAGES, "a", 60, 3600000), *full = NULL;
    struct sleeper p;

    (void)state;
    assert_int_equal(limits_take(&l, 1, 1, &full), 1);
    sleeper_init(&p, 0, l);
    limit_wait(l, &p.waiter);
    clock_fake_advance(-86400000);
    limits_tick(s, clock_wall_us());
    assert_true(limits_next_us(s) <= clock_wall_us() + 60000000);
    sleep_ms(s, 60000);
    assert_int_equal(p.got, 1);
    limit_unref(l);
    limits_free(s);
}

/* --- values change, levels stay --- */

static void reload_keeps_levels(void **state)
{
    struct limits *s = fresh();
    struct limit *l = rate_limit(s, LIMIT_MESSAGES, "a", 1, 3600000), *full = NULL;
    struct sleeper p;

    (void)state;
    assert_int_equal(limits_take(&l, 1, 1, &full), 1);
    /* the same again, from a reload, and through a queue that went and came */
    limit_set_rate(l, &(struct rate){1, 3600000});
    limit_unref(l);
    l = rate_limit(s, LIMIT_MESSAGES, "a", 1, 3600000);
    assert_int_equal(limits_take(&l, 1, 1, &full), 0);
    sleeper_init(&p, 0, l);
    limit_wait(l, &p.waiter);
    /* wider: who waits is told by the new one */
    limit_set_rate(l, &(struct rate){60, 3600000});
    sleep_ms(s, 59000);
    assert_int_equal(p.got, 0);
    sleep_ms(s, 2000);
    assert_int_equal(p.got, 1);
    /* narrower: no second one before the new interval, counted from what was taken */
    limit_set_rate(l, &(struct rate){1, 3600000});
    limit_wait(l, &p.waiter);
    sleep_ms(s, 58000);
    assert_int_equal(p.got, 1);
    sleep_ms(s, 2000);
    assert_int_equal(p.got, 2);
    limit_wait(l, &p.waiter);
    sleep_ms(s, 3500000);
    assert_int_equal(p.got, 2);
    limit_set_rate(l, &(struct rate){0, 0});
    sleep_ms(s, 10);
    assert_int_equal(p.got, 3);
    limit_unref(l);
    limits_free(s);
}

static void fewer_places_than_are_taken(void **state)
{
    struct limits *s = fresh();
    struct limit *l = max_limit(s, "a", 5), *full = NULL;
    struct limit_level level;

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_true(limits_connect(&l, 1, &full));
    limit_set_max(l, 2);
    for (int i = 0; i < 4; i++) {
        assert_false(limits_connect(&l, 1, &full));
        limits_disconnect(&l, 1);
    }
    limit_level(l, clock_wall_us(), &level);
    assert_int_equal(level.max, 2);
    assert_int_equal(level.used, 1);
    assert_int_equal(level.free_now, 1);
    assert_true(limits_connect(&l, 1, &full));
    limits_disconnect(&l, 1);
    limits_disconnect(&l, 1);
    limit_unref(l);
    limits_free(s);
}

/* --- two pipes --- */

static struct limits *pipe_on(int fd, unsigned share)
{
    struct limit_table *t = NULL;
    struct err e = {0};
    assert_int_equal(limit_table_map(&t, fd, share, &e), 0);
    return limits_new(t);
}

static void two_pipes_share_one_limit(void **state)
{
    struct err e = {0};
    int fd = -1;

    (void)state;
    clock_fake_set(START_MS);
    assert_int_equal(limit_table_create(&fd, &e), 0);
    struct limits *a = pipe_on(fd, 0), *b = pipe_on(fd, 1);
    struct limit *in_a = max_limit(a, "virtual-mta m", 3), *in_b = max_limit(b, "virtual-mta m", 3);
    struct limit *rate_a = rate_limit(a, LIMIT_MESSAGES, "virtual-mta m", 10, 1000), *full = NULL;
    struct limit *rate_b = rate_limit(b, LIMIT_MESSAGES, "virtual-mta m", 10, 1000);
    struct limit_level level;

    assert_true(limits_connect(&in_a, 1, &full));
    assert_true(limits_connect(&in_b, 1, &full));
    assert_true(limits_connect(&in_b, 1, &full));
    assert_false(limits_connect(&in_a, 1, &full));
    limit_level(in_a, clock_wall_us(), &level);
    assert_int_equal(level.used, 3);
    assert_int_equal(level.used_here, 1);

    /* places that the other holds are looked for from time to time, and only then */
    struct sleeper p;
    sleeper_init(&p, 0, in_a);
    p.connects = true;
    limit_wait(in_a, &p.waiter);
    assert_in_range(sleep_ms(a, 1000), 9, 11);
    limits_disconnect(&in_b, 1);
    assert_in_range(sleep_ms(a, 1000), 1, 2);
    assert_int_equal(p.got, 1);

    /* the rate is one rate */
    assert_int_equal(limits_take(&rate_a, 1, 1, &full), 1);
    assert_int_equal(limits_take(&rate_b, 1, 1, &full), 0);
    clock_fake_advance(100);
    assert_int_equal(limits_take(&rate_b, 1, 1, &full), 1);
    assert_int_equal(limits_take(&rate_a, 1, 1, &full), 0);

    /* the other pipe goes without saying goodbye: its share starts anew */
    struct limits *again = pipe_on(fd, 1);
    assert_int_equal(limit_cell_connections(in_a->cell), 2);
    limits_free(again);
    limits_disconnect(&in_a, 1);
    limits_disconnect(&in_a, 1);
    limit_unref(in_a);
    limit_unref(rate_a);
    limit_unref(in_b);
    limit_unref(rate_b);
    limits_free(a);
    limits_free(b);
    close(fd);
}

/* Two pipes with queues for all the places there are: each gets half of them, whoever came first. */
static void pipes_give_each_other_places(void **state)
{
    struct err e = {0};
    struct limit *full = NULL;
    struct sleeper p;
    int fd = -1;

    (void)state;
    clock_fake_set(START_MS);
    assert_int_equal(limit_table_create(&fd, &e), 0);
    struct limits *a = pipe_on(fd, 0), *b = pipe_on(fd, 1);
    struct limit *in_a = max_limit(a, "virtual-mta m", 4), *in_b = max_limit(b, "virtual-mta m", 4);

    for (int i = 0; i < 4; i++)
        assert_true(limits_connect(&in_a, 1, &full));
    assert_false(limit_owes_place(in_a, true));
    assert_false(limits_connect(&in_b, 1, &full));
    sleeper_init(&p, 0, in_b);
    p.connects = true;
    limit_wait(in_b, &p.waiter);
    assert_true(limit_owes_place(in_a, false));
    assert_false(limit_owes_place(in_b, true)); /* its own wish */

    /* what is given back is left to the one who waits */
    limits_disconnect(&in_a, 1);
    assert_false(limits_connect(&in_a, 1, &full));
    sleep_ms(b, 150);
    assert_int_equal(p.got, 1);

    /* it wants another one: the second is owed, the third is not, unless it is of no use */
    sleeper_init(&p, 1, in_b);
    p.connects = true;
    limit_wait(in_b, &p.waiter);
    assert_true(limit_owes_place(in_a, false));
    limits_disconnect(&in_a, 1);
    sleep_ms(b, 150);
    assert_int_equal(p.got, 1);
    sleeper_init(&p, 2, in_b);
    p.connects = true;
    limit_wait(in_b, &p.waiter);
    assert_false(limit_owes_place(in_a, false));
    assert_true(limit_owes_place(in_a, true));

    /* who does not wait any more is owed nothing */
    limit_leave(&p.waiter);
    clock_fake_advance(LIMIT_WANT_US / 1000 + 1);
    assert_false(limit_owes_place(in_a, true));
    for (int i = 0; i < 2; i++) {
        limits_disconnect(&in_a, 1);
        limits_disconnect(&in_b, 1);
    }
    limit_unref(in_a);
    limit_unref(in_b);
    limits_free(a);
    limits_free(b);
    close(fd);
}

static void a_full_table_leaves_limits_of_this_pipe(void **state)
{
    struct limit_table *t = limit_table_new_private();
    struct limit *l, *full = NULL;
    char name[32];

    (void)state;
    clock_fake_set(START_MS);
    for (int i = 0; i < LIMIT_TABLE_CELLS; i++) {
        snprintf(name, sizeof(name), "q%d", i);
        assert_non_null(limit_cell_get(t, sv_of(name)));
    }
    struct limits *s = limits_new(t);
    l = max_limit(s, "one more", 1);
    assert_true(l->is_private);
    assert_true(limits_connect(&l, 1, &full));
    assert_false(limits_connect(&l, 1, &full));
    limits_disconnect(&l, 1);
    limit_unref(l);
    limits_free(s);
}

/* --- kept over a restart --- */

static void budgets_survive_a_restart(void **state)
{
    struct limits *s = fresh();
    struct limit *daily = rate_limit(s, LIMIT_MESSAGES, "source 192.0.2.1 google", 50, 86400000);
    struct limit *fast = rate_limit(s, LIMIT_MESSAGES, "queue b.example/m", 100, 1000);
    struct limit *bytes = rate_limit(s, LIMIT_BYTES, "queue b.example/m", 1 << 20, 60000);
    struct limit *idle = rate_limit(s, LIMIT_CONNECTS, "queue idle.example/m", 1, 3600000);
    struct limit *full = NULL;
    struct buf text = {0}, again = {0};

    (void)state;
    assert_false(limits_changed(s));
    limits_take(&fast, 1, 3, &full);
    assert_false(limits_changed(s));
    assert_int_equal(limits_take(&daily, 1, 1, &full), 1);
    assert_true(limits_changed(s));
    limits_charge_bytes(&bytes, 1, 10 << 20);
    assert_true(limits_connect(&idle, 1, &full));
    limit_unref(idle); /* its queue goes, its level does not */
    limits_write(s, clock_wall_us(), &text);
    assert_false(limits_changed(s));
    int lines = 0;
    for (const char *at = buf_data(&text); (at = strchr(at, '\n')); at++)
        lines++;
    assert_int_equal(lines, 3);
    limit_unref(daily);
    limit_unref(fast);
    limit_unref(bytes);
    limits_free(s);

    s = limits_new(limit_table_new_private());
    clock_fake_advance(10000);
    limits_read(s, buf_view(&text));
    daily = rate_limit(s, LIMIT_MESSAGES, "source 192.0.2.1 google", 50, 86400000);
    bytes = rate_limit(s, LIMIT_BYTES, "queue b.example/m", 1 << 20, 60000);
    assert_int_equal(limits_take(&daily, 1, 1, &full), 0);
    assert_int_equal(limits_take(&bytes, 1, 1, &full), 0);
    clock_fake_advance(1728000 - 10000);
    assert_int_equal(limits_take(&daily, 1, 1, &full), 1);
    assert_int_equal(limits_take(&bytes, 1, 1, &full), 1);
    /* what was read before is never lowered by an older text */
    limits_read(s, buf_view(&text));
    assert_int_equal(limits_take(&daily, 1, 1, &full), 0);
    /* what nobody took up again was written on */
    limits_write(s, clock_wall_us(), &again);
    assert_non_null(strstr(buf_data(&again), "max-connect-rate"));
    assert_null(strstr(buf_data(&again), "max-data-volume-rate"));
    limit_unref(daily);
    limit_unref(bytes);
    /* and is let go once it is past */
    sleep_ms(s, 7200000);
    buf_reset(&again);
    limits_write(s, clock_wall_us(), &again);
    assert_int_equal(buf_len(&again), 0);
    assert_true(limits_next_us(s) == INT64_MAX);
    limits_free(s);
    buf_free(&text);
    buf_free(&again);
}

static unsigned lines_of(const struct buf *b)
{
    unsigned n = 0;
    for (size_t i = 0; i < buf_len(b); i++)
        n += buf_data(b)[i] == '\n';
    return n;
}

/* The text in slices, with limits that move, come and go between them. */
static void levels_are_written_in_slices(void **state)
{
    enum { LIMITS = 250, SLICE = 100 };
    struct limits *s = limits_new(limit_table_new_private());
    struct limit *l[LIMITS], *full, *late;
    struct buf text = {0};
    char name[32];

    (void)state;
    for (int i = 0; i < LIMITS; i++) {
        snprintf(name, sizeof(name), "queue d%03d/m", i);
        l[i] = rate_limit(s, LIMIT_MESSAGES, name, 2, 86400000);
        assert_int_equal(limits_take(&l[i], 1, 1, &full), 1);
    }
    assert_false(limits_write_some(s, clock_wall_us(), &text, SLICE));
    assert_int_equal(lines_of(&text), SLICE);
    assert_false(limits_changed(s));

    late = rate_limit(s, LIMIT_MESSAGES, "queue late/m", 2, 86400000);
    assert_int_equal(limits_take(&late, 1, 1, &full), 1);
    assert_true(limits_changed(s)); /* it is in the next text */
    assert_false(limits_write_some(s, clock_wall_us(), &text, SLICE));
    assert_int_equal(lines_of(&text), 2 * SLICE);

    /* one that is not written yet comes to its end, and is not written */
    limits_refund(&l[LIMITS - 1], 1, 1);
    limit_unref(l[LIMITS - 1]);
    assert_true(limits_write_some(s, clock_wall_us(), &text, SLICE));
    assert_int_equal(lines_of(&text), LIMITS - 1);
    for (int i = 0; i < LIMITS - 1; i++) {
        snprintf(name, sizeof(name), " queue d%03d/m\n", i);
        assert_non_null(strstr(buf_data(&text), name));
    }
    assert_null(strstr(buf_data(&text), "late"));

    /* a whole text in the middle of one in slices has everything */
    buf_reset(&text);
    assert_false(limits_write_some(s, clock_wall_us(), &text, 1));
    buf_reset(&text);
    limits_write(s, clock_wall_us(), &text);
    assert_int_equal(lines_of(&text), LIMITS);
    assert_non_null(strstr(buf_data(&text), "queue late/m"));
    assert_false(limits_changed(s));
    assert_true(limits_write_some(s, clock_wall_us(), &text, LIMITS));
    assert_int_equal(lines_of(&text), 2 * LIMITS);

    for (int i = 0; i < LIMITS - 1; i++)
        limit_unref(l[i]);
    limit_unref(late);
    limits_free(s);
    buf_free(&text);
}

static void other_text_is_skipped(void **state)
{
    static const char text[] =
        "\n\nmax-msg-rate\nmax-msg-rate x a\nmax-smtp-out 1900000000000000 a\n"
        "max-msg-rate 1900000000000000 \nnothing 1900000000000000 a\n"
        "max-msg-rate 99999999999999999999 a\nmax-msg-rate 1 old\n"
        "max-msg-rate 9223372036854775807 far\nmax-msg-rate 18";
    struct limits *s = fresh();
    struct buf out = {0};

    (void)state;
    limits_read(s, sv_of(text));
    limits_write(s, clock_wall_us(), &out);
    assert_null(strstr(buf_data(&out), " a"));
    assert_null(strstr(buf_data(&out), "old"));
    struct limit *l = rate_limit(s, LIMIT_MESSAGES, "far", 1, 60000), *full = NULL;
    struct sleeper p;
    sleeper_init(&p, 0, l);
    assert_int_equal(limits_take(&l, 1, 1, &full), 0);
    limit_wait(l, &p.waiter);
    sleep_ms(s, 60000);
    assert_int_equal(p.got, 1);
    limit_unref(l);
    limits_free(s);
    buf_free(&out);
}

/* --- cost --- */

static double ns_since(const struct timespec *from)
{
    struct timespec to;
    clock_gettime(CLOCK_MONOTONIC, &to);
    return (double)(to.tv_sec - from->tv_sec) * 1e9 + (double)(to.tv_nsec - from->tv_nsec);
}

/* Six limits as a queue has them; printed for whoever reads, and far from what would hurt. */
static void a_set_costs_little(void **state)
{
    enum { ROUNDS = 200000 };
    struct limits *s = limits_new(limit_table_new_private());
    struct limit *set[6], *none[6], *full = NULL;
    struct timespec from;
    char name[32];

    (void)state;
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof(name), "l%d", i);
        set[i] = i < 3 ? max_limit(s, name, 100)
                       : rate_limit(s, i < 5 ? LIMIT_MESSAGES : LIMIT_BYTES, name,
                                    UINT64_C(1) << 40, 1000);
        snprintf(name, sizeof(name), "n%d", i);
        none[i] = i < 3 ? max_limit(s, name, 0) : rate_limit(s, LIMIT_MESSAGES, name, 0, 0);
    }
    for (int pass = 0; pass < 2; pass++) {
        struct limit **of = pass ? none : set;
        clock_gettime(CLOCK_MONOTONIC, &from);
        for (int i = 0; i < ROUNDS; i++) {
            assert_int_equal(limits_take(of, 6, 1, &full), 1);
            limits_charge_bytes(of, 6, 1);
        }
        double take_ns = ns_since(&from) / ROUNDS;
        clock_gettime(CLOCK_MONOTONIC, &from);
        for (int i = 0; i < ROUNDS; i++) {
            assert_true(limits_connect(of, 6, &full));
            limits_disconnect(of, 6);
        }
        double connect_ns = ns_since(&from) / ROUNDS;
        print_message("%s: take and charge %.0f ns, connect and disconnect %.0f ns\n",
                      pass ? "6 without value" : "3 max, 2 rates, 1 of bytes", take_ns, connect_ns);
        assert_true(take_ns < 20000 && connect_ns < 20000);
    }
    for (int i = 0; i < 6; i++) {
        limit_unref(set[i]);
        limit_unref(none[i]);
    }
    limits_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_costs_little), /* first: the clock is real until one sets it */
        cmocka_unit_test(all_or_nothing),
        cmocka_unit_test(as_many_as_all_grant),
        cmocka_unit_test(rates_hold_for_one_who_sleeps),
        cmocka_unit_test(first_come_first_served),
        cmocka_unit_test(room_that_is_not_used_is_not_lost),
        cmocka_unit_test(no_thundering_herd),
        cmocka_unit_test(one_who_always_fails_does_not_spin),
        cmocka_unit_test(owner_hears_of_earlier_times),
        cmocka_unit_test(clock_set_back_while_waiting),
        cmocka_unit_test(reload_keeps_levels),
        cmocka_unit_test(fewer_places_than_are_taken),
        cmocka_unit_test(two_pipes_share_one_limit),
        cmocka_unit_test(pipes_give_each_other_places),
        cmocka_unit_test(a_full_table_leaves_limits_of_this_pipe),
        cmocka_unit_test(budgets_survive_a_restart),
        cmocka_unit_test(levels_are_written_in_slices),
        cmocka_unit_test(other_text_is_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
