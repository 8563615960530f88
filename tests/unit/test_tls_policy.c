/*
 * MTA-STS policy files (RFC 8461 section 3.2), host patterns (section 4.1), and the round trip of
 * what is known about TLS to a domain.
 */
#include "unit.h"

#include "mail/tls_policy.h"

static void files(void **state)
{
    static const struct {
        const char *file;
        int status;
        enum sts_mode mode;
        uint32_t max_age_s;
        size_t mx;
    } rows[] = {
        {"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\n"
         "max_age: 604800\r\n",
         0, STS_ENFORCE, 604800, 2},
        {"version:STSv1\nmode:testing\nmx:a.example\nmax_age:1", 0, STS_TESTING, 1, 1},
        {"version: STSv1\nmode: none\nmax_age: 60\n", 0, STS_NONE, 60, 0},
        {"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 9999999999\n", 0, STS_ENFORCE,
         31557600, 1},
        {"version: STSv1\nfoo: bar\nmode: enforce\nmode: none\nmx: a.example\nmax_age: 5\n", 0,
         STS_ENFORCE, 5, 1},
        {"", ERR_SYNTAX, STS_NONE, 0, 0},
        {"version: STSv2\nmode: enforce\nmx: a.example\nmax_age: 5\n", ERR_SYNTAX, 0, 0, 0},
        {"version: STSv1\nmode: maybe\nmx: a.example\nmax_age: 5\n", ERR_SYNTAX, 0, 0, 0},
        {"version: STSv1\nmode: enforce\nmax_age: 5\n", ERR_SYNTAX, 0, 0, 0},
        {"version: STSv1\nmode: enforce\nmx: a.example\n", ERR_SYNTAX, 0, 0, 0},
        {"version: STSv1\nmode: enforce\nmx: a b\nmax_age: 5\n", ERR_SYNTAX, 0, 0, 0},
        {"version: STSv1\nmode: enforce\nmx: *.*.a.example\nmax_age: 5\n", ERR_SYNTAX, 0, 0, 0},
        {"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: -1\n", ERR_SYNTAX, 0, 0, 0},
        {"<html>not found</html>", ERR_SYNTAX, 0, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct sts_policy p;
        struct err e = {0};
        int status = sts_policy_parse(sv_of(rows[i].file), &a, &p, &e);
        assert_int_equal(status, rows[i].status);
        if (status == 0) {
            assert_int_equal(p.mode, rows[i].mode);
            assert_int_equal(p.max_age_s, rows[i].max_age_s);
            assert_int_equal(p.mx_count, rows[i].mx);
        } else {
            assert_true(*e.text);
        }
        arena_free(&a);
    }
}

static void patterns(void **state)
{
    static const struct {
        const char *host;
        bool matches;
    } rows[] = {
        {"mail.example.com", true},   {"MAIL.example.COM", true}, {"a.example.net", true},
        {"a.b.example.net", false},   {"example.net", false},     {"xexample.net", false},
        {"mail2.example.com", false}, {".example.net", false},    {"", false},
    };
    struct strview mx[] = {SV("mail.example.com"), SV("*.example.net")};
    struct sts_policy p = {.mx = mx, .mx_count = 2};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(sts_policy_matches(&p, sv_of(rows[i].host)), rows[i].matches);
}

static void round_trip(void **state)
{
    struct strview mx[] = {SV("mail.example.com"), SV("*.example.net")};
    struct tlsa_record tlsa[] = {{3, 1, 1, SV("\1\2\3\4")}, {2, 0, 2, SV("abcdefgh")}};
    struct dane_host hosts[] = {
        {.host = SV("mail.example.com"),
         .status = DANE_USABLE,
         .base_domain = SV("example.com"),
         .records = tlsa,
         .count = 2},
        {.host = SV("b.example.com"), .status = DANE_FAILED},
    };
    struct tls_policy in = {.sts = {.mode = STS_ENFORCE,
                                    .id = SV("20261121"),
                                    .max_age_s = 86400,
                                    .mx = mx,
                                    .mx_count = 2,
                                    .text = SV("version: STSv1\n")},
                            .dane = hosts,
                            .dane_count = 2,
                            .mx_secure = true};
    struct tls_policy out;
    struct arena a = {0};
    struct buf b = {0};

    (void)state;
    tls_policy_encode(&b, &in);
    assert_int_equal(tls_policy_decode(buf_view(&b), &a, &out), 0);
    assert_int_equal(out.sts.mode, STS_ENFORCE);
    assert_int_equal(out.sts.max_age_s, 86400);
    assert_int_equal(out.sts.mx_count, 2);
    assert_true(sv_eq(out.sts.mx[1], mx[1]));
    assert_true(out.mx_secure);
    assert_int_equal(out.dane_count, 2);
    assert_int_equal(out.dane[0].count, 2);
    assert_int_equal(out.dane[0].records[1].usage, 2);
    assert_int_equal(out.dane[0].records[0].matching, 1);
    assert_true(sv_eq(out.dane[0].records[1].data, tlsa[1].data));
    assert_int_equal(out.dane[1].status, DANE_FAILED);
    /* cut anywhere: an error or a shorter policy, never a crash */
    for (size_t n = 0; n < buf_len(&b); n++)
        tls_policy_decode(sv(buf_data(&b), n), &a, &out);
    buf_reset(&b);
    tls_policy_encode(&b, &(struct tls_policy){0});
    assert_int_equal(buf_len(&b), 0);
    buf_free(&b);
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),
        cmocka_unit_test(patterns),
        cmocka_unit_test(round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
