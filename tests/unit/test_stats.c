/*
 * Rolling counters: sums are exact whatever happens to keys, spans end when they are over, and what
 * was kept is there after a restart.
 */
#include "unit.h"

#include "stats/stats.h"

#include <stdio.h>
#include <time.h>

#define MINUTE INT64_C(60000)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
static const int64_t noon = INT64_C(1795262400000); /* 2026-11-21 12:00 UTC */

static void count(struct stats *s, int64_t at, enum stats_counter what, const char *domain)
{
    char queue[300];

    snprintf(queue, sizeof(queue), "%s/mta1", domain);
    stats_count(s, &(struct stats_event){.what = what,
                                         .wall_ms = at,
                                         .domain = sv_of(domain),
                                         .vmta = SV("mta1"),
                                         .queue = sv_of(queue),
                                         .category = what == STATS_BOUNCED ? "bad-mailbox" : NULL,
                                         .bytes = 100,
                                         .delay_ms = 2000});
}

/* `counter` of the row of that name, -1: there is no such row. */
static int64_t value(struct stats *s, unsigned by, int64_t now, int64_t since, size_t limit,
                     const char *name, enum stats_counter counter)
{
    struct stats_answer a;
    int64_t ret = -1;

    stats_ask(s, by, now, since, limit, &a);
    for (size_t i = 0; i < a.count; i++)
        if (a.rows[i].name && strcmp(a.rows[i].name, name) == 0)
            ret = (int64_t)a.rows[i].cell.counts[counter];
    if (strcmp(name, "total") == 0)
        ret = (int64_t)a.all.counts[counter];
    stats_answer_free(&a);
    return ret;
}

static int64_t domain(struct stats *s, int64_t now, int64_t since, const char *name)
{
    return value(s, STATS_BY_DOMAIN, now, since, 0, name, STATS_DELIVERED);
}

static int64_t total(struct stats *s, int64_t now, int64_t since)
{
    return value(s, STATS_BY_PIPE, now, since, 0, "total", STATS_DELIVERED);
}

static void what_happened_is_in_its_rows(void **state)
{
    struct stats *s = stats_new();
    struct stats_answer a;
    (void)state;

    count(s, noon, STATS_RECEIVED, "A.example");
    count(s, noon, STATS_DELIVERED, "a.EXAMPLE");
    count(s, noon, STATS_BOUNCED, "b.example");
    stats_ask(s, STATS_BY_DOMAIN, noon, HOUR, 0, &a);
    assert_int_equal(a.count, 2);
    assert_string_equal(a.rows[0].name, "a.example");
    assert_int_equal(a.rows[0].cell.counts[STATS_RECEIVED], 1);
    assert_int_equal(a.rows[0].cell.counts[STATS_DELIVERED], 1);
    assert_int_equal(a.rows[0].cell.counts[STATS_BYTES], 100);
    assert_int_equal(a.rows[1].cell.categories[0], 1);
    assert_string_equal(stats_category_name(s, 0), "bad-mailbox");
    assert_int_equal(a.all.counts[STATS_BOUNCED], 1);
    assert_int_equal(a.from_ms, noon - HOUR);
    stats_answer_free(&a);
    assert_int_equal(value(s, STATS_BY_JOB, noon, HOUR, 0, "(none)", STATS_DELIVERED), 1);
    assert_int_equal(value(s, STATS_BY_VMTA, noon, HOUR, 0, "mta1", STATS_DELIVERED), 1);
    assert_int_equal(value(s, STATS_BY_CATEGORY, noon, HOUR, 0, "bad-mailbox", STATS_BOUNCED), 1);
    assert_int_equal(stats_totals(s)[STATS_DELIVERED], 1);
    stats_free(s);
}

static void spans_end(void **state)
{
    static const struct {
        int64_t later, since, expected;
    } rows[] = {
        {0, MINUTE, 1},          {5 * MINUTE, HOUR, 1},      {5 * MINUTE, 4 * MINUTE, 0},
        {61 * MINUTE, HOUR, 0},  {61 * MINUTE, 2 * HOUR, 1}, {61 * MINUTE, 3 * HOUR, 1},
        {5 * HOUR, 3 * HOUR, 0}, {5 * HOUR, 6 * HOUR, 1},    {30 * HOUR, DAY, 0},
        {30 * HOUR, 2 * DAY, 1}, {10 * DAY, 20 * DAY, 1},    {10 * DAY, 9 * DAY, 0},
        {30 * DAY, 90 * DAY, 1}, {40 * DAY, 90 * DAY, 0},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (int between = 0; between < 2; between++) {
            struct stats *s = stats_new();
            count(s, noon, STATS_DELIVERED, "a.example");
            for (int64_t t = MINUTE; between && t < rows[i].later; t += 7 * MINUTE)
                count(s, noon + t, STATS_RECEIVED, "c.example"); /* time passes in steps */
            int64_t got = total(s, noon + rows[i].later, rows[i].since);
            if (got != rows[i].expected ||
                MAX_OF(domain(s, noon + rows[i].later, rows[i].since, "a.example"), (int64_t)0) !=
                    rows[i].expected)
                fail_msg("row %zu, %d: %d", i, between, (int)got);
            stats_free(s);
        }
}

/* 50,000 domains: the busy ones have their rows, nothing is lost, memory is bounded by the table. */
static void the_busy_ones_are_kept(void **state)
{
    struct stats *s = stats_new();
    int64_t sum = 0, now = noon;
    struct stats_answer a;
    char name[40];
    (void)state;

    for (int i = 0; i < 50000; i++) {
        now = noon + i * 50; /* 42 minutes */
        snprintf(name, sizeof(name), "rare%d.example", i);
        count(s, now, STATS_DELIVERED, name);
        if (i % 5 == 0)
            count(s, now, STATS_DELIVERED, "busy.example");
    }
    static const int64_t sinces[] = {HOUR, 5 * HOUR, 5 * DAY};
    for (size_t k = 0; k < ARRAY_LEN(sinces); k++) {
        stats_ask(s, STATS_BY_DOMAIN, now, sinces[k], 0, &a);
        sum = 0;
        for (size_t i = 0; i < a.count; i++)
            sum += (int64_t)a.rows[i].cell.counts[STATS_DELIVERED];
        assert_int_equal(sum, 60000);
        assert_int_equal(a.all.counts[STATS_DELIVERED], 60000);
        assert_string_equal(a.rows[0].name, "busy.example");
        assert_int_equal(a.rows[0].cell.counts[STATS_DELIVERED], 10000);
        assert_true(a.count <= 43 * 1025);
        assert_string_equal(a.rows[a.count - 1].name, "");
        stats_answer_free(&a);
    }
    stats_ask(s, STATS_BY_DOMAIN, now, HOUR, 3, &a);
    assert_int_equal(a.count, 4);
    assert_true(a.folded > 100);
    stats_answer_free(&a);
    struct buf kept = {0};
    stats_write(s, &kept);
    assert_true(buf_len(&kept) < 2 * 1024 * 1024);
    buf_free(&kept);
    stats_free(s);
}

static void time_has_a_row_for_each_minute(void **state)
{
    struct stats *s = stats_new();
    struct stats_answer a;
    (void)state;

    count(s, noon, STATS_DELIVERED, "a.example");
    count(s, noon + 3 * MINUTE, STATS_DELIVERED, "a.example");
    stats_ask(s, STATS_BY_TIME, noon + 4 * MINUTE, 5 * MINUTE, 0, &a);
    assert_int_equal(a.count, 6);
    for (size_t i = 0; i < a.count; i++) {
        assert_int_equal(a.rows[i].start_ms, noon + ((int64_t)i - 1) * MINUTE);
        assert_int_equal(a.rows[i].cell.counts[STATS_DELIVERED], i == 1 || i == 4);
    }
    assert_int_equal(a.all.counts[STATS_DELIVERED], 2);
    stats_answer_free(&a);
    stats_free(s);
}

static struct stats *restarted(struct stats *s)
{
    struct buf now = {0}, past = {0};
    struct stats *next = stats_new();

    stats_write(s, &now);
    stats_write_past(s, &past);
    assert_true(stats_read_past(next, buf_view(&past)));
    assert_true(stats_read(next, buf_view(&now)));
    buf_free(&now);
    buf_free(&past);
    stats_free(s);
    return next;
}

static void a_restart_forgets_nothing(void **state)
{
    struct stats *s = stats_new();
    (void)state;

    count(s, noon - 20 * DAY, STATS_DELIVERED, "old.example");
    count(s, noon - 5 * HOUR, STATS_DELIVERED, "a.example");
    count(s, noon - 5 * MINUTE, STATS_DELIVERED, "a.example");
    count(s, noon, STATS_DELIVERED, "a.example");
    count(s, noon, STATS_BOUNCED, "a.example");
    for (int i = 0; i < 3; i++) { /* also within one minute */
        s = restarted(s);
        assert_int_equal(domain(s, noon + i, HOUR, "a.example"), 2 + i);
        assert_int_equal(domain(s, noon + i, 6 * HOUR, "a.example"), 3 + i);
        assert_int_equal(domain(s, noon + i, 30 * DAY, "a.example"), 3 + i);
        assert_int_equal(domain(s, noon + i, 30 * DAY, "old.example"), 1);
        assert_int_equal(total(s, noon + i, 30 * DAY), 4 + i);
        count(s, noon + i, STATS_DELIVERED, "a.example");
    }
    assert_int_equal(value(s, STATS_BY_CATEGORY, noon, HOUR, 0, "bad-mailbox", STATS_BOUNCED), 1);
    /* it was down for a while: what ran has ended meanwhile */
    s = restarted(s);
    assert_int_equal(total(s, noon + 2 * DAY, DAY), 0);
    assert_int_equal(total(s, noon + 2 * DAY, 30 * DAY), 7);
    stats_free(s);
}

static void damage_is_survived(void **state)
{
    struct stats *s = stats_new();
    struct buf now = {0};
    unsigned seed = 4711;
    (void)state;

    for (int i = 0; i < 300; i++)
        count(s, noon + i * 30000, i % 7 ? STATS_DELIVERED : STATS_BOUNCED,
              i % 3 ? "a.example" : "b.example");
    stats_write(s, &now);
    for (size_t cut = 0; cut < buf_len(&now); cut += 97) {
        struct stats *next = stats_new();
        assert_false(stats_read(next, sv(buf_data(&now), cut)));
        count(next, noon, STATS_DELIVERED, "a.example");
        stats_free(next);
    }
    for (int i = 0; i < 2000; i++) {
        struct stats *next = stats_new();
        char *at = buf_data(&now) + rand_r(&seed) % buf_len(&now), was = *at;
        *at = (char)rand_r(&seed);
        stats_read(next, buf_view(&now));
        count(next, noon + DAY, STATS_DELIVERED, "a.example");
        total(next, noon + DAY, 30 * DAY);
        *at = was;
        stats_free(next);
    }
    buf_free(&now);
    stats_free(s);
}

static void delays_are_close(void **state)
{
    static const int64_t delays[] = {0, 1, 2, 3, 4, 5, 100, 1000, 59999, 3600000, 400000000};
    uint32_t buckets[STATS_DELAYS] = {0};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(delays); i++) {
        unsigned b = stats_delay_bucket(delays[i]);
        assert_true(b < STATS_DELAYS && delays[i] <= stats_delay_to_ms(b));
        assert_true(b == 0 || delays[i] > stats_delay_to_ms(b - 1));
    }
    assert_int_equal(stats_delay_bucket(INT64_MAX), STATS_DELAYS - 1);
    assert_int_equal(stats_delay_percentile(buckets, 50), 0);
    for (int i = 1; i <= 10000; i++)
        buckets[stats_delay_bucket(i)]++;
    assert_in_range(stats_delay_percentile(buckets, 50), 4900, 5100);
    assert_in_range(stats_delay_percentile(buckets, 99), 9800, 12300);
}

/* The bound is generous, so that a busy machine does not fail it; the figure is printed. */
static void counting_is_cheap(void **state)
{
    enum { EVENTS = 400000, DOMAINS = 500 };
    static char names[DOMAINS][32];
    struct stats *s = stats_new();
    struct timespec a, b;
    (void)state;

    for (int i = 0; i < DOMAINS; i++)
        snprintf(names[i], sizeof(names[i]), "domain%d.example/mta1", i);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    for (int i = 0; i < EVENTS; i++) {
        const char *queue = names[i * 7 % DOMAINS];
        stats_count(s,
                    &(struct stats_event){.what = i & 1 ? STATS_DELIVERED : STATS_RECEIVED,
                                          .wall_ms = noon + i / 20,
                                          .domain = sv(queue, (size_t)(strchr(queue, '/') - queue)),
                                          .vmta = SV("mta1"),
                                          .job = SV("campaign-2026-11-21"),
                                          .queue = sv_of(queue),
                                          .bytes = 4096,
                                          .delay_ms = i % 5000});
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    double ns = ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / EVENTS;
    printf("%.0f ns per event, %d domains\n", ns, DOMAINS);
    assert_true(ns < 5000);
    stats_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_happened_is_in_its_rows),
        cmocka_unit_test(spans_end),
        cmocka_unit_test(the_busy_ones_are_kept),
        cmocka_unit_test(time_has_a_row_for_each_minute),
        cmocka_unit_test(a_restart_forgets_nothing),
        cmocka_unit_test(damage_is_survived),
        cmocka_unit_test(delays_are_close),
        cmocka_unit_test(counting_is_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
