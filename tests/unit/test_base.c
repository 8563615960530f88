/*
 * Tables for the base floor: units, strings, heap, hash, buf, log escaping.
 */
#include "unit.h"

#include <errno.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/log.h"
#include "base/units.h"

static void intervals(void **state)
{
    static const struct {
        const char *text;
        int result;
        int64_t ms;
        const char *back;
    } rows[] = {
        {"0", 0, 0, "0"},
        {"300s", 0, 300000, "5m"},
        {"4d12h", 0, 388800000, "4d12h"},
        {"1w2d12h", 0, 820800000, "1w2d12h"},
        {"100ms", 0, 100, "100ms"},
        {"", ERR_SYNTAX, 0, NULL},
        {"10", ERR_SYNTAX, 0, NULL},
        {"10x", ERR_SYNTAX, 0, NULL},
        {"1h ", ERR_SYNTAX, 0, NULL},
        {"99999999999999999999w", ERR_SYNTAX, 0, NULL},
        {"9223372036854775807w", ERR_SYNTAX, 0, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t ms = -1;
        char out[UNITS_SIZE];
        assert_int_equal(units_parse_interval(sv_of(rows[i].text), &ms), rows[i].result);
        if (rows[i].result == 0) {
            assert_int_equal(ms, rows[i].ms);
            assert_string_equal(units_format_interval(ms, out), rows[i].back);
        }
    }
}

static void sizes(void **state)
{
    static const struct {
        const char *text;
        int result;
        uint64_t bytes;
        const char *back;
    } rows[] = {
        {"0", 0, 0, "0"},
        {"4096", 0, 4096, "4k"},
        {"250M", 0, 250u << 20, "250m"},
        {"1t", 0, 1ull << 40, "1t"},
        {"1500", 0, 1500, "1500"},
        {"17179869184g", ERR_SYNTAX, 0, NULL},
        {"k", ERR_SYNTAX, 0, NULL},
        {"1kb", ERR_SYNTAX, 0, NULL},
        {"-1", ERR_SYNTAX, 0, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t bytes = 1;
        char out[UNITS_SIZE];
        assert_int_equal(units_parse_size(sv_of(rows[i].text), &bytes), rows[i].result);
        if (rows[i].result == 0) {
            assert_int_equal(bytes, rows[i].bytes);
            assert_string_equal(units_format_size(bytes, out), rows[i].back);
        }
    }
}

static void rates(void **state)
{
    static const struct {
        const char *text;
        int result;
        uint64_t count;
        int64_t period_ms;
        const char *back;
    } rows[] = {
        {"unlimited", 0, 0, 0, "unlimited"},    {"0", 0, 0, 0, "unlimited"},
        {"600/h", 0, 600, 3600000, "600/h"},    {"83/5s", 0, 83, 5000, "83/5s"},
        {"100/15m", 0, 100, 900000, "100/15m"}, {"1/min", 0, 1, 60000, "1/m"},
        {"50/day", 0, 50, 86400000, "50/d"},    {"5/0s", ERR_SYNTAX, 0, 0, NULL},
        {"5/", ERR_SYNTAX, 0, 0, NULL},         {"/h", ERR_SYNTAX, 0, 0, NULL},
        {"5/week", ERR_SYNTAX, 0, 0, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rate r = {1, 1};
        char out[UNITS_SIZE];
        assert_int_equal(units_parse_rate(sv_of(rows[i].text), &r), rows[i].result);
        if (rows[i].result == 0) {
            assert_int_equal(r.count, rows[i].count);
            assert_int_equal(r.period_ms, rows[i].period_ms);
            assert_string_equal(units_format_rate(&r, out), rows[i].back);
        }
    }
}

static void data_rates(void **state)
{
    static const struct {
        const char *text;
        int result;
        uint64_t count;
        int64_t period_ms;
        const char *back;
    } rows[] = {
        {"12M/m", 0, 12u << 20, 60000, "12m/m"},
        {"2g/10h", 0, 2ull << 30, 36000000, "2g/10h"},
        {"1000/s", 0, 1000, 1000, "1000/s"},
        {"64k/5sec", 0, 64u << 10, 5000, "64k/5s"},
        {"1t/day", 0, 1ull << 40, 86400000, "1t/d"},
        {"500b/60s", 0, 500, 60000, "500/m"},
        {"unlimited", 0, 0, 0, "unlimited"},
        {"0", 0, 0, 0, "unlimited"},
        {"", ERR_SYNTAX, 0, 0, NULL},
        {"12M", ERR_SYNTAX, 0, 0, NULL},
        {"/m", ERR_SYNTAX, 0, 0, NULL},
        {"12M/", ERR_SYNTAX, 0, 0, NULL},
        {"12M/0m", ERR_SYNTAX, 0, 0, NULL},
        {"12M/5", ERR_SYNTAX, 0, 0, NULL},
        {"12M/m ", ERR_SYNTAX, 0, 0, NULL},
        {"12Q/m", ERR_SYNTAX, 0, 0, NULL},
        {"12M/x", ERR_SYNTAX, 0, 0, NULL},
        {"99999999t/s", ERR_SYNTAX, 0, 0, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rate r = {9, 9};
        char out[UNITS_SIZE];
        assert_int_equal(units_parse_data_rate(sv_of(rows[i].text), &r), rows[i].result);
        if (rows[i].result == 0) {
            assert_int_equal(r.count, rows[i].count);
            assert_int_equal(r.period_ms, rows[i].period_ms);
            assert_string_equal(units_format_data_rate(&r, out), rows[i].back);
        }
    }
}

static void strings(void **state)
{
    struct strview rest = SV("a,,b,"), part;
    (void)state;
    assert_true(sv_split(&rest, ',', &part));
    assert_sv_equal(part, "a");
    assert_true(sv_split(&rest, ',', &part));
    assert_sv_equal(part, "");
    assert_true(sv_split(&rest, ',', &part));
    assert_sv_equal(part, "b");
    assert_true(sv_split(&rest, ',', &part));
    assert_sv_equal(part, "");
    assert_false(sv_split(&rest, ',', &part));

    assert_true(sv_eq_nocase(SV("X-Pipe"), SV("x-pIPE")));
    assert_false(sv_eq_nocase(SV("X-Pipe"), SV("X-Pip")));
    assert_true(sv_ends_nocase(SV("mx.Google.com"), SV(".google.COM")));
    assert_sv_equal(sv_trim(SV(" \t a b\r\n")), "a b");
    assert_int_equal(str_distance(SV("max-smtp-out"), SV("max-smpt-out")), 1);
    assert_int_equal(str_distance(SV("retry-after"), SV("retry-aftr")), 1);
    assert_int_equal(str_distance(SV(""), SV("abc")), 3);
}

static void heap_orders(void **state)
{
    enum { COUNT = 500 };
    struct heap_node nodes[COUNT];
    struct heap h = {0};
    uint32_t random = 12345;
    (void)state;

    for (int i = 0; i < COUNT; i++) {
        heap_node_init(&nodes[i]);
        random = random * 1664525u + 1013904223u;
        heap_set(&h, &nodes[i], random % 1000);
    }
    for (int i = 0; i < COUNT; i += 3)
        heap_remove(&h, &nodes[i]);
    for (int i = 1; i < COUNT; i += 3) {
        random = random * 1664525u + 1013904223u;
        heap_set(&h, &nodes[i], random % 1000);
    }
    int64_t last = -1;
    unsigned count = 0;
    for (struct heap_node *n; (n = heap_min(&h)); count++) {
        assert_true(n->key >= last);
        last = n->key;
        heap_remove(&h, n);
        assert_false(heap_contains(n));
    }
    assert_int_equal(count, COUNT - (COUNT + 2) / 3);
    heap_fini(&h);
}

struct item {
    struct hash_node node;
    unsigned key;
};

static bool item_match(const struct hash_node *n, const void *key)
{
    return container_of(n, const struct item, node)->key == *(const unsigned *)key;
}

static void hash_holds(void **state)
{
    enum { COUNT = 1000 };
    static struct item items[COUNT];
    struct hash h;
    (void)state;

    hash_init(&h, item_match);
    for (unsigned i = 0; i < COUNT; i++) {
        items[i].key = i;
        hash_insert(&h, &items[i].node, hash_u64(i));
    }
    for (unsigned i = 0; i < COUNT; i += 2)
        hash_remove(&h, &items[i].node);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(hash_find(&h, hash_u64(i), &i) != NULL, i % 2);
    size_t seen = 0;
    for (struct hash_node *n = NULL; (n = hash_next(&h, n));)
        seen++;
    assert_int_equal(seen, COUNT / 2);
    hash_fini(&h);
}

static void buf_consumes_and_grows(void **state)
{
    struct buf b = {0};
    (void)state;
    assert_string_equal(buf_data(&b), "");
    for (int i = 0; i < 1000; i++) {
        buf_printf(&b, "%04d", i);
        if (i % 3 == 0)
            buf_consume(&b, 4);
    }
    assert_int_equal(buf_len(&b), (1000 - 334) * 4);
    assert_memory_equal(buf_data(&b), "0334", 4);
    buf_reset(&b);
    buf_append_str(&b, "xyz");
    char *s = buf_take(&b);
    assert_string_equal(s, "xyz");
    free(s);
    assert_int_equal(buf_len(&b), 0);
}

static void log_is_safe(void **state)
{
    (void)state;
    assert_string_equal(log_safe("a\r\n'b\\", 6, 100), "a\\x0d\\x0a\\x27b\\x5c");
    assert_string_equal(log_safe("abcdef", 6, 3), "abc...");
}

static void times(void **state)
{
    char out[CLOCK_RFC5322_SIZE];
    (void)state;
    assert_string_equal(clock_iso(1795233906789, out), "2026-11-21T04:05:06.789Z");
    assert_string_equal(clock_rfc5322(1795233906789, out), "Sat, 21 Nov 2026 04:05:06 +0000");
}

static void errors(void **state)
{
    struct err e;
    (void)state;
    assert_int_equal(err_set(&e, -ENOENT, "cannot open '%s'", "x"), -ENOENT);
    assert_string_equal(e.text, "cannot open 'x': No such file or directory");
    assert_int_equal(err_prefix(&e, "pipe %s", "bulk"), -ENOENT);
    assert_string_equal(e.text, "pipe bulk: cannot open 'x': No such file or directory");
    assert_string_equal(err_name(ERR_CORRUPT), "data is corrupt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals),
        cmocka_unit_test(sizes),
        cmocka_unit_test(rates),
        cmocka_unit_test(data_rates),
        cmocka_unit_test(strings),
        cmocka_unit_test(heap_orders),
        cmocka_unit_test(hash_holds),
        cmocka_unit_test(times),
        cmocka_unit_test(buf_consumes_and_grows),
        cmocka_unit_test(log_is_safe),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
