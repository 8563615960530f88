/*
 * Histogram, weights, schedule and plan of the load tools.
 */
#include "unit.h"

#include "flood/flood.h"

static void exact_below_128(void **state)
{
    struct hist h = {0};
    (void)state;
    for (uint64_t v = 0; v < 100; v++)
        hist_add(&h, v);
    assert_int_equal(hist_percentile(&h, 1), 0);
    assert_int_equal(hist_percentile(&h, 50), 49);
    assert_int_equal(hist_percentile(&h, 99), 98);
    assert_int_equal(hist_percentile(&h, 100), 99);
    assert_int_equal(hist_mean(&h), 49);
}

static void kept_within_two_percent(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 39; bit++)
        for (uint64_t more = 0; more < 3; more++) {
            struct hist h = {0};
            uint64_t v = (UINT64_C(1) << bit) + more * ((UINT64_C(1) << bit) / 3);
            hist_add(&h, v);
            hist_add(&h, v * 2);
            uint64_t kept = hist_percentile(&h, 50);
            assert_true(kept >= v && kept - v <= v / 50 + 1);
        }
}

static void edges(void **state)
{
    struct hist h = {0}, other = {0};
    (void)state;
    assert_int_equal(hist_percentile(&h, 50), 0);
    assert_int_equal(hist_mean(&h), 0);
    hist_add(&h, UINT64_MAX);
    assert_true(hist_percentile(&h, 99) == UINT64_MAX);
    hist_add(&other, 5);
    hist_merge(&h, &other);
    assert_int_equal(h.count, 2);
    assert_int_equal(h.min_us, 5);
    assert_int_equal(hist_percentile(&h, 50), 5);
}

static void texts(void **state)
{
    static const struct {
        uint64_t us;
        const char *text;
    } rows[] = {{0, "0 us"},        {999, "999 us"},      {1000, "1.00 ms"},
                {1240, "1.24 ms"},  {15300, "15.3 ms"},   {999499, "999 ms"},
                {999500, "1.00 s"}, {15300000, "15.3 s"}, {123000000, "123 s"}};
    char text[HIST_TEXT_SIZE];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(hist_text(rows[i].us, text), rows[i].text);
}

static void weights_parsed(void **state)
{
    static const char *const bad[] = {"",   ",",         "a:",  "a:x", "a:-1",
                                      ":1", "a:1000001", "a:0", "a,,b"};
    struct weights w = {0};
    struct err e = {0};
    (void)state;
    assert_int_equal(weights_parse(&w, "a:3,b, c:0", &e), 0);
    assert_int_equal(w.count, 3);
    assert_int_equal(w.total, 4);
    assert_sv_equal(w.entries[2].name, "c");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(weights_parse(&w, bad[i], &e), ERR_SYNTAX);
    weights_fini(&w);
}

static void weights_picked(void **state)
{
    struct weights w = {0};
    struct rng rng = rng_make(1, 2);
    unsigned counts[3] = {0};
    (void)state;
    assert_int_equal(weights_parse(&w, "a:3,b:1,c:0", NULL), 0);
    for (unsigned i = 0; i < 4000; i++)
        counts[weights_pick(&w, &rng)]++;
    assert_in_range(counts[0], 2850, 3150);
    assert_int_equal(counts[2], 0);
    weights_fini(&w);
}

static void open_loop_keeps_its_times(void **state)
{
    struct schedule s;
    struct ticket t;
    (void)state;
    schedule_init(&s, &(struct rate){3, 1000}, 4, 0);
    assert_false(schedule_take(&s, 10, &t)); /* not started */
    schedule_start(&s, 1000);
    assert_true(schedule_take(&s, 1000, &t));
    assert_int_equal(t.intended_us, 1000);
    assert_false(schedule_take(&s, 1000 + 333332, &t));
    assert_int_equal(schedule_next_us(&s, 2000), 1000 + 333333);
    /* whoever comes late finds the times unchanged */
    assert_true(schedule_take(&s, 9000000, &t));
    assert_int_equal(t.intended_us, 1000 + 333333);
    assert_true(schedule_take(&s, 9000000, &t));
    assert_int_equal(t.intended_us, 1000 + 666666);
    schedule_return(&s, &t);
    assert_true(schedule_take(&s, 9000000, &t));
    assert_int_equal(t.index, 2);
    assert_int_equal(t.tries, 2);
    assert_int_equal(t.intended_us, 1000 + 666666);
    assert_true(schedule_take(&s, 9000000, &t));
    assert_false(schedule_take(&s, 9000000, &t));
    assert_false(schedule_is_finished(&s, 9000000));
    for (unsigned i = 0; i < 4; i++)
        schedule_settle(&s);
    assert_true(schedule_is_finished(&s, 9000000));
    schedule_fini(&s);
}

static void schedule_ends(void **state)
{
    struct schedule s;
    struct ticket t;
    unsigned count = 0;
    (void)state;
    schedule_init(&s, &(struct rate){100, 1000}, UINT64_MAX, 1000000);
    schedule_start(&s, 0);
    while (schedule_take(&s, 50000000, &t))
        count++;
    assert_int_equal(count, 100);
    schedule_init(&s, &(struct rate){0, 0}, UINT64_MAX, 1000);
    schedule_start(&s, 0);
    assert_true(schedule_take(&s, 999, &t));
    assert_false(schedule_take(&s, 1000, &t));
    schedule_return(&s, &t);
    assert_false(schedule_is_finished(&s, 1000));
    schedule_stop(&s);
    assert_false(schedule_take(&s, 1000, &t));
    assert_true(schedule_is_finished(&s, 1000));
    schedule_fini(&s);
}

static int parse(struct flood_options *o, const char *option, const char *value)
{
    char *argv[] = {(char *)(uintptr_t) "pmta-flood", (char *)(uintptr_t) "--messages=1",
                    (char *)(uintptr_t)option, (char *)(uintptr_t)value};
    struct err e = {0};
    int rc = flood_options_parse(o, 4, argv, &e);
    flood_options_fini(o);
    assert_true(rc == 0 || e.text[0]);
    return rc;
}

static void options_parsed(void **state)
{
    static const struct {
        const char *option, *value;
        int rc;
    } rows[] = {
        {"--rate", "500/s", 0},
        {"--rate", "7", 0},
        {"--rate", "unlimited", 0},
        {"--rate", "-1", ERR_SYNTAX},
        {"--for", "0", ERR_SYNTAX},
        {"--for", "250ms", 0},
        {"--domains", "a.test:2,b", 0},
        {"--domains", "a b", ERR_SYNTAX},
        {"--from", "", 0},
        {"--from", "a>b", ERR_SYNTAX},
        {"--pipe", "a\r\nb", ERR_SYNTAX},
        {"--connections", "0", ERR_SYNTAX},
        {"--auth", ":x", ERR_SYNTAX},
        {"--auth", "u:", 0},
        {"--pipelining", "no", 0},
        {"--pipelining", "", ERR_SYNTAX},
        {"--to", "[::1]:25", 0},
        {"--to", "::1", ERR_SYNTAX},
    };
    struct flood_options o;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(parse(&o, rows[i].option, rows[i].value), rows[i].rc);
    assert_int_equal(parse(&o, "--rate", "7"), 0);
    assert_int_equal(o.rate.count, 7);
    assert_int_equal(o.rate.period_ms, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_below_128), cmocka_unit_test(kept_within_two_percent),
        cmocka_unit_test(edges),           cmocka_unit_test(texts),
        cmocka_unit_test(weights_parsed),  cmocka_unit_test(weights_picked),
        cmocka_unit_test(schedule_ends),   cmocka_unit_test(open_loop_keeps_its_times),
        cmocka_unit_test(options_parsed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
