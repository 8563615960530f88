/*
 * Delivery windows: what is accepted, what is refused and why, and when delivery is allowed.
 */
#include "unit.h"

#include "mail/schedule.h"

#include <stdio.h>
#include <time.h>

#define DAY INT64_C(86400000)

static void refused(void **state)
{
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"", "schedule is empty or longer than 1000 bytes"},
        {" \t", "schedule is empty or longer than 1000 bytes"},
        {"tomorrow", "'tomorrow' is not a window (expected START / END)"},
        {"2026-11-21 08:00:00 / 2026-11-21 09:00:00,", "'' is not a window (expected START / END)"},
        {"2026-11-21 08:00 / 2026-11-21 09:00:00",
         "'2026-11-21 08:00' is not a time (expected YYYY-MM-DD HH:MM:SS in UTC, or "
         "YYYY-MM-DDTHH:MM:SSZ)"},
        {"2026-11-21 08:00:00 / ", "'' is not a time (expected YYYY-MM-DD HH:MM:SS in UTC, or "
                                   "YYYY-MM-DDTHH:MM:SSZ)"},
        {"2026-11-21 08:00:00 / 2026-11-21 08:00:00",
         "window '2026-11-21 08:00:00 / 2026-11-21 08:00:00' does not end after it begins"},
        {"2026-11-21 09:00:00 / 2026-11-21 08:00:00",
         "window '2026-11-21 09:00:00 / 2026-11-21 08:00:00' does not end after it begins"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct schedule s;
        struct err e = {0};
        assert_int_equal(schedule_parse(sv_of(rows[i].text), &s, &e), ERR_SYNTAX);
        assert_string_equal(e.text, rows[i].error);
    }
}

static void bad_times(void **state)
{
    static const char *const times[] = {
        "1969-12-31 23:59:59", "2026-00-01 00:00:00", "2026-13-01 00:00:00",  "2026-02-29 00:00:00",
        "2100-02-29 00:00:00", "2026-04-31 00:00:00", "2026-11-00 00:00:00",  "2026-11-21 24:00:00",
        "2026-11-21 00:60:00", "2026-11-21 00:00:60", "2026/11/21 00:00:00",  "2026-11-21_00:00:00",
        "2026-11-21 00:00:0x", "-026-11-21 00:00:00", "2026-11-21 00:00:00+", "+2026-11-21 00:00:0",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        char text[100];
        struct schedule s;
        snprintf(text, sizeof(text), "%s / 9999-12-31 00:00:00", times[i]);
        assert_int_equal(schedule_parse(sv_of(text), &s, NULL), ERR_SYNTAX);
    }
}

/* Against the C library, over leap years and centuries. */
static void calendar(void **state)
{
    (void)state;
    for (int64_t day = 0; day < 366 * 230; day += 13) {
        time_t at = (time_t)day * 86400 + 3661;
        struct tm tm;
        char text[80];
        struct schedule s;
        gmtime_r(&at, &tm);
        size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
        snprintf(text + n, sizeof(text) - n, "/9999-12-31 23:59:59");
        assert_int_equal(schedule_parse(sv_of(text), &s, NULL), 0);
        assert_int_equal(s.windows[0].start_ms, (int64_t)at * 1000);
    }
}

static void next(void **state)
{
    /* out of order, two that overlap, two that touch; T, Z and blanks as they come */
    static const char text[] = " 1970-01-05 00:00:00 / 1970-01-06 00:00:00,\t"
                               "1970-01-02T00:00:00Z/1970-01-03T00:00:00 ,"
                               "1970-01-02 12:00:00 / 1970-01-04 00:00:00,"
                               "1970-01-06 00:00:00/1970-01-07 00:00:00 ";
    static const struct {
        int64_t now, next;
    } rows[] = {{0, DAY},
                {DAY, DAY},
                {2 * DAY, 2 * DAY},
                {3 * DAY - 1, 3 * DAY - 1},
                {3 * DAY, 4 * DAY},
                {5 * DAY, 5 * DAY},
                {6 * DAY - 1, 6 * DAY - 1},
                {6 * DAY, SCHEDULE_OVER},
                {INT64_MAX, SCHEDULE_OVER}};
    struct schedule s;
    (void)state;
    assert_int_equal(schedule_parse(sv_of(text), &s, NULL), 0);
    assert_int_equal(s.count, 2);
    assert_int_equal(schedule_end(&s), 6 * DAY);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(schedule_next(&s, rows[i].now), rows[i].next);
}

static void many(void **state)
{
    char text[2000];
    struct schedule s;
    struct err e;
    size_t n = 0;
    (void)state;
    for (int i = 0; i < SCHEDULE_MAX_WINDOWS + 1; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n,
                              "%s2026-01-%02d 00:00:00/2026-01-%02d 01:00:00", i ? "," : "", i + 1,
                              i + 1);
        int r = schedule_parse(sv(text, n), &s, &e);
        assert_int_equal(r, i < SCHEDULE_MAX_WINDOWS ? 0 : ERR_SYNTAX);
        if (r == 0)
            assert_int_equal(s.count, i + 1);
    }
    assert_string_equal(e.text, "schedule has more than 16 windows");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(refused), cmocka_unit_test(bad_times),
                                       cmocka_unit_test(calendar), cmocka_unit_test(next),
                                       cmocka_unit_test(many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
