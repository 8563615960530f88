/*
 * Members of pools come in turn exactly by their weights; which addresses are this machine's; shares
 * of cold virtual MTAs over days, midnight and a restart.
 */
#include "unit.h"

#include "base/clock.h"
#include "base/util.h"
#include "mail/host_list.h"
#include "queue/cold.h"
#include "queue/vmta.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static struct vmta_pool *pool_of(struct vmta *vmtas, const uint32_t *weights, size_t count)
{
    struct vmta_pool *p = xcalloc(1, sizeof(*p));

    p->members = xcalloc(count, sizeof(p->members[0]));
    for (p->count = 0; p->count < count; p->count++)
        p->members[p->count] = (struct vmta_pool_member){&vmtas[p->count], weights[p->count]};
    return p;
}

static void weights_are_exact(void **state)
{
    static const uint32_t weights[] = {5, 3, 1, 1};
    struct vmta vmtas[4] = {0};
    struct vmta_pool *p = pool_of(vmtas, weights, 4);
    unsigned got[4] = {0};
    (void)state;

    for (unsigned i = 1; i <= 1000; i++) {
        got[vmta_pool_next(p, 7) - vmtas]++;
        for (size_t k = 0; k < 4 && i % 10 == 0; k++)
            assert_int_equal(got[k], weights[k] * (i / 10));
    }
    vmta_pool_free(p);
}

static void heavy_members_are_spread(void **state)
{
    static const uint32_t weights[] = {2, 1};
    struct vmta vmtas[2] = {0};
    struct vmta_pool *p = pool_of(vmtas, weights, 2);
    char order[7] = "";
    (void)state;

    for (int i = 0; i < 6; i++)
        order[i] = vmta_pool_next(p, 0) == &vmtas[0] ? 'a' : 'b';
    assert_string_equal(order, "abaaba");
    vmta_pool_free(p);
}

/* Two domains that come alternately meet both members all the same. */
static void lanes_go_by_themselves(void **state)
{
    static const uint32_t weights[] = {1, 1};
    struct vmta vmtas[2] = {0};
    struct vmta_pool *p = pool_of(vmtas, weights, 2);
    unsigned first[2] = {0};
    (void)state;

    for (uint64_t i = 0; i < 100; i++)
        first[i % 2] += vmta_pool_next(p, i % 2) == &vmtas[0];
    assert_int_equal(first[0], 25);
    assert_int_equal(first[1], 25);
    vmta_pool_free(p);
}

static void stranded_members_are_left_out(void **state)
{
    static const uint32_t weights[] = {1, 1, 2};
    struct vmta vmtas[3] = {{.is_stranded = true}};
    struct vmta_pool *p = pool_of(vmtas, weights, 3);
    unsigned got[3] = {0};
    (void)state;

    for (int i = 0; i < 300; i++)
        got[vmta_pool_next(p, 0) - vmtas]++;
    assert_int_equal(got[0], 0);
    assert_int_equal(got[1], 100);
    assert_int_equal(got[2], 200);
    vmtas[1].is_stranded = vmtas[2].is_stranded = true;
    assert_non_null(vmta_pool_next(p, 0)); /* mail has to wait somewhere */
    p->count = 0;
    assert_null(vmta_pool_next(p, 1));
    vmta_pool_free(p);
}

static struct sockaddr_storage address(const char *text)
{
    struct sockaddr_storage a;
    assert_int_equal(ip_address_parse(sv_of(text), 0, &a), 0);
    return a;
}

static bool asked;
static bool says_yes(const struct sockaddr_storage *addr)
{
    (void)addr;
    asked = true;
    return true;
}

static void knows_local_addresses(void **state)
{
    struct local_net nets[] = {
        {AF_INET, {127, 0, 0, 1}, 8},
        {AF_INET, {192, 0, 2, 10}, 32},
        {AF_INET, {192, 0, 2, 77}, 32},
        {AF_INET6, {0x20, 0x01, 0x0d, 0xb8, [15] = 1}, 128},
    };
    struct local_addresses l = {.nets = nets, .count = ARRAY_LEN(nets)};
    static const struct {
        const char *text;
        bool has;
    } cases[] = {
        {"127.0.0.1", true},   {"127.9.8.7", true},    {"128.0.0.1", false},
        {"192.0.2.10", true},  {"192.0.2.11", false},  {"192.0.2.77", true},
        {"2001:db8::1", true}, {"2001:db8::2", false}, {"::1", false},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sockaddr_storage a = address(cases[i].text);
        if (local_has(&l, &a) != cases[i].has)
            fail_msg("%s", cases[i].text);
    }
    l.can_bind = says_yes;
    struct sockaddr_storage a = address("198.51.100.1");
    assert_false(local_is_on_interface(&l, &a));
    assert_false(asked);
    assert_true(local_has(&l, &a));
    assert_true(asked);
}

static void asks_the_machine(void **state)
{
    struct local_addresses l;
    struct sockaddr_storage mine = address("127.0.0.53"), other = address("198.51.100.1");
    (void)state;

    local_read(&l);
    assert_true(l.count > 0);
    assert_true(local_is_on_interface(&l, &mine));
    assert_true(local_can_bind(&mine));
    assert_false(local_is_on_interface(&l, &other));
    local_free(&l);
}

/* --- cold shares --- */

#define DAY_MS (24 * 3600 * 1000LL)

/* Noon of a day, local time. */
static void begin(void)
{
    setenv("TZ", "UTC", 1);
    tzset();
    clock_fake_set(20000 * DAY_MS + DAY_MS / 2);
}

static unsigned take_many(struct cold *c, const struct rate_form *share, unsigned *second)
{
    char names[2][6] = {"cold1", "cold2"};
    char *colds[] = {names[0], names[1]};
    bool usable[] = {true, second != NULL};
    unsigned got[2] = {0};

    for (int i = 0; i < 100; i++) {
        int k = cold_take(c, "Warm", SV("gmail.com"), colds, usable, 2, share);
        if (k >= 0)
            got[k]++;
    }
    if (second)
        *second = got[1];
    return got[0];
}

static void shares_follow_the_days(void **state)
{
    struct rate list[] = {{5, DAY_MS}, {10, DAY_MS}, {20, DAY_MS}};
    struct rate_form share = {.items = list, .count = 3};
    struct cold c = {0};
    unsigned second;
    (void)state;

    begin();
    cold_init(&c);
    assert_int_equal(take_many(&c, &share, NULL), 5);
    assert_int_equal(take_many(&c, &share, &second), 0);
    assert_int_equal(second, 5); /* each has its own share */
    clock_fake_advance(DAY_MS / 2 - 1);
    assert_int_equal(take_many(&c, &share, NULL), 0);
    clock_fake_advance(1); /* midnight */
    assert_int_equal(take_many(&c, &share, NULL), 10);
    clock_fake_advance(DAY_MS);
    assert_int_equal(take_many(&c, &share, NULL), 20);
    clock_fake_advance(DAY_MS);
    assert_int_equal(take_many(&c, &share, NULL), 20); /* the last repeats */
    cold_fini(&c);
}

static void takes_cold_ones_in_turn(void **state)
{
    struct rate list[] = {{2, DAY_MS}};
    struct rate_form share = {.items = list, .count = 1};
    char names[2][6] = {"cold1", "cold2"};
    char *colds[] = {names[0], names[1]};
    bool usable[] = {true, true};
    struct cold c = {0};
    static const int want[] = {0, 1, 0, 1, -1};
    (void)state;

    begin();
    cold_init(&c);
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_int_equal(cold_take(&c, "a", SV("x.com"), colds, usable, 2, &share), want[i]);
    assert_int_equal(cold_take(&c, "a", SV("y.com"), colds, usable, 2, &share), 0);
    assert_int_equal(cold_take(&c, "b", SV("x.com"), colds, usable, 2, &share), 0);
    assert_int_equal(cold_today(&c, "a", "cold1"), 3);
    cold_fini(&c);
}

static void shares_survive_a_restart(void **state)
{
    struct rate list[] = {{5, DAY_MS}, {8, DAY_MS}};
    struct rate_form share = {.items = list, .count = 2};
    struct cold c = {0}, again = {0};
    struct buf text = {0};
    (void)state;

    begin();
    cold_init(&c);
    assert_int_equal(take_many(&c, &share, NULL), 5);
    assert_true(c.changed);
    cold_write(&c, &text);
    assert_false(c.changed);
    cold_init(&again);
    buf_append_str(&text, "damaged\nx y z\na b c 1 2 99999999999999999999\n\n");
    cold_read(&again, buf_view(&text));
    assert_int_equal(take_many(&again, &share, NULL), 0);
    clock_fake_advance(DAY_MS);
    assert_int_equal(take_many(&again, &share, NULL), 8); /* it is day 2, not day 1 again */
    clock_fake_advance(100 * DAY_MS);
    assert_int_equal(take_many(&again, &share, NULL), 5); /* unused for long: from the start */
    buf_free(&text);
    cold_fini(&c);
    cold_fini(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_exact),        cmocka_unit_test(heavy_members_are_spread),
        cmocka_unit_test(lanes_go_by_themselves),   cmocka_unit_test(stranded_members_are_left_out),
        cmocka_unit_test(knows_local_addresses),    cmocka_unit_test(asks_the_machine),
        cmocka_unit_test(shares_follow_the_days),   cmocka_unit_test(takes_cold_ones_in_turn),
        cmocka_unit_test(shares_survive_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
