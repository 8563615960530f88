/*
 * The resolver's engine without sockets: questions, matching, cache, fairness, name
 * servers. Routes are tested with sockets in tests/system/test_resolver.py.
 */
#include "unit.h"

#include "base/clock.h"
#include "resolve.h"

static void test_match(void **state)
{
    struct query q;
    uint8_t p[QUERY_WIRE_MAX];
    (void)state;

    assert_int_equal(query_build(&q, "mail.example.test", QUERY_MX, true), 0);
    assert_int_equal(q.wire[2], 0x01); /* RD */
    assert_int_equal(q.wire[3], 0x20); /* AD */
    assert_int_equal(q.wire[11], 1);   /* OPT */
    memcpy(p, q.wire, q.wire_bytes);
    assert_int_equal(query_match(&q, p, q.wire_bytes), QUERY_OTHER);
    p[2] |= 0x80;
    assert_int_equal(query_match(&q, p, q.wire_bytes), QUERY_ANSWER);
    p[13] ^= 0x20; /* case */
    assert_int_equal(query_match(&q, p, q.wire_bytes), QUERY_ANSWER);
    p[13] ^= 0x01;
    assert_int_equal(query_match(&q, p, q.wire_bytes), QUERY_OTHER);
    p[13] ^= 0x01;
    p[1] ^= 1;
    assert_int_equal(query_match(&q, p, q.wire_bytes), QUERY_OTHER);
    p[1] ^= 1;
    p[2] |= 0x02;
    assert_int_equal(query_match(&q, p, q.wire_bytes), QUERY_TRUNCATED);
    for (size_t len = 0; len < 12 + q.question_bytes; len++)
        assert_int_equal(query_match(&q, p, len), QUERY_OTHER);
}

static void test_cache(void **state)
{
    struct cache c;
    uint32_t ttl;
    (void)state;

    clock_fake_set(1795233906789);
    cache_init(&c, 2, 1 << 20);
    struct answer *a = answer_failed(10, "x");
    cache_put(&c, "a", QUERY_A, a);
    assert_ptr_equal(cache_get(&c, "a", QUERY_A, &ttl), a);
    assert_int_equal(ttl, 10);
    assert_null(cache_get(&c, "a", QUERY_MX, &ttl));
    clock_fake_advance(9500);
    assert_non_null(cache_get(&c, "a", QUERY_A, &ttl));
    assert_int_equal(ttl, 1);
    cache_put(&c, "b", QUERY_A, a);
    assert_non_null(cache_get(&c, "a", QUERY_A, &ttl));
    cache_put(&c, "c", QUERY_A, a); /* b is the least recently used */
    assert_null(cache_get(&c, "b", QUERY_A, &ttl));
    assert_int_equal(c.evictions, 1);
    clock_fake_advance(500);
    assert_null(cache_get(&c, "a", QUERY_A, &ttl));
    assert_non_null(cache_get(&c, "c", QUERY_A, &ttl));
    c.max_bytes = 1;
    cache_put(&c, "d", QUERY_A, a);
    assert_int_equal(c.entries.count, 0);
    answer_unref(a);
    cache_fini(&c);
}

static void test_fair(void **state)
{
    struct fair f;
    struct fair_client a, b;
    struct fair_item many[20], few[2];
    (void)state;

    fair_init(&f, 12);
    fair_client_init(&a);
    fair_client_init(&b);
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        fair_add(&f, &a, &many[i]);
    for (int i = 0; i < 6; i++)
        assert_ptr_equal(fair_next(&f)->client, &a);
    assert_null(fair_next(&f)); /* half of the places, no more */
    fair_add(&f, &b, &few[0]);
    assert_ptr_equal(fair_next(&f), &few[0]);
    fair_done(&f, &few[0]);
    for (int i = 0; i < 6; i++)
        fair_done(&f, &many[i]);
    while (fair_drop(&f, &a))
        ;
    assert_true(fair_client_idle(&a) && f.busy == 0 && f.active == 0 && f.queued == 0);
}

static void test_servers(void **state)
{
    struct servers s = {0};
    (void)state;

    clock_fake_set(1795233906789);
    assert_int_equal(
        servers_add_resolv_conf(
            &s, SV("# x\nnameserver 192.0.2.1\nnameserver\t::1\nnameserver x\n"), NULL),
        2);
    assert_string_equal(s.items[1].text, "[::1]:53");
    for (int i = 0; i < SERVER_DEAD_AFTER; i++)
        server_failed(&s.items[0], 2000);
    assert_ptr_equal(servers_pick(&s, 0), &s.items[1]);
    assert_ptr_equal(servers_pick(&s, 2), &s.items[0]);
    assert_null(servers_pick(&s, 3));
    assert_true(server_answered(&s.items[0], 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_fair),
        cmocka_unit_test(test_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
