/*
 * Envelopes and host lists survive encoding, and every cut or damaged form is refused.
 */
#include "unit.h"

#include "mail/envelope.h"
#include "mail/route.h"

#include <arpa/inet.h>

static void encode_sample(struct buf *out)
{
    struct envelope_rcpt rcpts[] = {
        {SV("a@example.com"), SV("rfc822;a@example.com"), NOTIFY_FAILURE | NOTIFY_DELAY},
        {SV("b@example.net."), {NULL, 0}, 0},
    };
    struct envelope env = {
        .received_ms = 1795233906789,
        .sender = SV("bounce@sender.example"),
        .envid = SV("QQ314159"),
        .source = SV("apps"),
        .vmta = SV("pool-a"),
        .schedule = SV("2026-11-21 08:00:00/2026-11-21 09:00:00"),
        .remote_mta = SV("app1.example.com"),
        .chosen_vmta = SV("mta1"),
        .priority = 101,
        .receive_ms = 70000,
        .commit_ms = 9, /* known while it lives only */
        .content_bytes = 4096,
        .header_bytes = 300,
        .ret = RET_HDRS,
        .flags = ENVELOPE_8BIT,
        .rcpt_count = 2,
        .rcpts = rcpts,
    };
    envelope_encode(out, &env);
}

static void round_trip(void **state)
{
    struct buf b = {0};
    struct arena arena = {0};
    struct envelope env;
    struct err e;
    (void)state;

    encode_sample(&b);
    assert_int_equal(envelope_decode(buf_view(&b), &arena, &env, &e), 0);
    assert_int_equal(env.received_ms, 1795233906789);
    assert_sv_equal(env.sender, "bounce@sender.example");
    assert_sv_equal(env.envid, "QQ314159");
    assert_sv_equal(env.vmta, "pool-a");
    assert_sv_equal(env.schedule, "2026-11-21 08:00:00/2026-11-21 09:00:00");
    assert_sv_equal(env.remote_mta, "app1.example.com");
    assert_sv_equal(env.chosen_vmta, "mta1");
    assert_int_equal(env.priority, 101);
    assert_int_equal(env.receive_ms, 70000);
    assert_int_equal(env.commit_ms, 0);
    assert_int_equal(env.job.len, 0);
    assert_int_equal(env.content_bytes, 4096);
    assert_int_equal(env.header_bytes, 300);
    assert_int_equal(env.ret, RET_HDRS);
    assert_int_equal(env.rcpt_count, 2);
    assert_sv_equal(env.rcpts[0].address, "a@example.com");
    assert_sv_equal(env.rcpts[0].orcpt, "rfc822;a@example.com");
    assert_int_equal(env.rcpts[0].notify, NOTIFY_FAILURE | NOTIFY_DELAY);
    assert_sv_equal(address_domain(env.rcpts[1].address), "example.net");
    arena_free(&arena);
    buf_free(&b);
}

/* What the pipe chose is appended behind what the receiver wrote. */
static void choice_is_appended(void **state)
{
    struct buf b = {0}, whole = {0};
    struct arena arena = {0};
    struct envelope env;
    struct err e;
    (void)state;

    encode_sample(&b);
    assert_int_equal(envelope_decode(buf_view(&b), &arena, &env, &e), 0);
    env.chosen_vmta = SV("mta2");
    env.rcpts[1].vmta = SV("cold1");
    buf_append_sv(&whole, buf_view(&b));
    envelope_append_choice(&whole, &env);

    struct envelope again;
    assert_int_equal(envelope_decode(buf_view(&whole), &arena, &again, &e), 0);
    assert_sv_equal(again.chosen_vmta, "mta2");
    assert_int_equal(again.rcpts[0].vmta.len, 0);
    assert_sv_equal(again.rcpts[1].vmta, "cold1");
    assert_sv_equal(again.rcpts[1].address, "b@example.net.");
    assert_sv_equal(again.vmta, "pool-a");

    buf_reset(&b); /* and encoding writes it as well */
    envelope_encode(&b, &again);
    assert_int_equal(envelope_decode(buf_view(&b), &arena, &env, &e), 0);
    assert_sv_equal(env.chosen_vmta, "mta2");
    assert_sv_equal(env.rcpts[1].vmta, "cold1");

    static const char stray[] = {33, 0, 3, 0, 0, 0, 2, 0, 'x'}; /* recipient 2 of 2 */
    buf_append(&b, stray, sizeof(stray));
    assert_int_equal(envelope_decode(buf_view(&b), &arena, &env, &e), ERR_CORRUPT);
    arena_free(&arena);
    buf_free(&b);
    buf_free(&whole);
}

/* What an older version wrote lacks the newer fields; what a newer one may write is skipped. */
static void older_and_newer(void **state)
{
    static const char old[] = {1,  0, 8, 0, 0, 0, 5,   0, 0, 0, 0, 0, 0, 0, /* received */
                               32, 0, 6, 0, 0, 0, 0,   3, 0, 'a', '@', 'b'};
    static const char newer[] = {(char)200, 0, 2, 0, 0, 0, 'x', 'y'};
    static const char wide[] = {25, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0};
    struct buf b = {0};
    struct arena arena = {0};
    struct envelope env;
    struct err e;
    (void)state;

    buf_append(&b, old, sizeof(old));
    assert_int_equal(envelope_decode(buf_view(&b), &arena, &env, &e), 0);
    assert_int_equal(env.received_ms, 5);
    assert_int_equal(env.receive_ms, 0);
    buf_append(&b, newer, sizeof(newer));
    assert_int_equal(envelope_decode(buf_view(&b), &arena, &env, &e), 0);
    assert_sv_equal(env.rcpts[0].address, "a@b");
    buf_append(&b, wide, sizeof(wide));
    assert_int_equal(envelope_decode(buf_view(&b), &arena, &env, &e), ERR_CORRUPT);
    arena_free(&arena);
    buf_free(&b);
}

static void damaged(void **state)
{
    struct buf b = {0};
    struct err e;
    (void)state;

    encode_sample(&b);
    for (size_t len = 0; len < buf_len(&b); len++) {
        struct arena arena = {0};
        struct envelope env;
        int status = envelope_decode(sv(buf_data(&b), len), &arena, &env, &e);
        assert_true(status == 0 || status == ERR_CORRUPT);
        arena_free(&arena);
    }
    buf_free(&b);
}

static void hosts(void **state)
{
    struct buf b = {0};
    struct arena arena = {0};
    struct route_address *list;
    size_t count;
    unsigned char four[4] = {192, 0, 2, 1}, six[16] = {0x20, 0x01, 0x0d, 0xb8};
    (void)state;

    route_hosts_append(&b, 10, AF_INET, four, SV("mx1.example.com"));
    route_hosts_append(&b, 20, AF_INET6, six, SV("mx2.example.com"));
    assert_int_equal(route_hosts_decode(buf_view(&b), &arena, &list, &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(list[0].preference, 10);
    assert_sv_equal(list[1].host, "mx2.example.com");
    assert_int_equal(list[1].addr.ss_family, AF_INET6);
    for (size_t len = 1; len < buf_len(&b); len++)
        if (len != 23)
            assert_int_equal(route_hosts_decode(sv(buf_data(&b), len), &arena, &list, &count),
                             ERR_PROTOCOL);
    arena_free(&arena);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(choice_is_appended),
        cmocka_unit_test(older_and_newer),
        cmocka_unit_test(damaged),
        cmocka_unit_test(hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
