/*
 * Tokens of bounce and unsubscribe addresses: tables, and properties over many made-up addresses.
 */
#include "unit.h"

#include "mail/address.h"
#include "mail/mail_token.h"

#include <ctype.h>
#include <stdio.h>

static struct mail_token_key key, other;

static int setup(void **state)
{
    (void)state;
    assert_int_equal(mail_token_key_derive(SV("0123456789abcdef0123456789abcdef"), &key, NULL), 0);
    assert_int_equal(mail_token_key_derive(SV("0123456789abcdef0123456789abcdeF"), &other, NULL),
                     0);
    return 0;
}

static struct mail_token bounce(void)
{
    return (struct mail_token){.use = MAIL_TOKEN_BOUNCE,
                               .day = 20000,
                               .pipe = mail_token_pipe(SV("bulk")),
                               .origin = 0xdeadbeef};
}

static void make(struct mail_token *t, const char *rcpt, size_t room, struct buf *out)
{
    buf_reset(out);
    assert_int_equal(mail_token_make(&key, t, sv_of(rcpt), room, out), 0);
}

static void test_round_trip(void **state)
{
    (void)state;
    static const struct {
        const char *rcpt, *back; /* back: as read; NULL: the hash only, at 62 bytes */
    } rows[] = {
        {"joe@example.com", "joe@example.com"},
        {"Joe.Doe@Example.COM", "joe.doe@example.com"},
        {"a+tag@example.org", "a+tag@example.org"},
        {"o'neil@example.org", "o'neil@example.org"},
        {"a=b@example.org", "a=b@example.org"},
        {"x-y_z@sub-1.example.org", "x-y_z@sub-1.example.org"},
        {"\"a b\"@ex.org", "\"a b\"@ex.org"},
        {"a@[192.0.2.1]", "a@[192.0.2.1]"},
        {"j\xc3\xb6rg@ex.org", "j\xc3\xb6rg@ex.org"},
        {"j@\xc3\xb6.org", "j@\xc3\xb6.org"},
        {"somebody.with.a.long.name@a-rather-long.example.com", NULL},
    };
    struct buf out = {0};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct mail_token t = bounce(), got;
        make(&t, rows[i].rcpt, 62, &out);
        assert_true(buf_len(&out) <= 62);
        assert_int_equal(mail_token_read(&key, buf_view(&out), &got), 0);
        assert_int_equal(got.use, MAIL_TOKEN_BOUNCE);
        assert_int_equal(got.day, 20000);
        assert_int_equal(got.pipe, mail_token_pipe(SV("BULK")));
        assert_int_equal(got.origin, 0xdeadbeef);
        assert_int_equal(got.has_rcpt, rows[i].back != NULL);
        assert_string_equal(got.rcpt, rows[i].back ? rows[i].back : "");
        assert_memory_equal(got.rcpt_hash, t.rcpt_hash, sizeof(t.rcpt_hash));
        assert_true(mail_token_is_rcpt(&key, &got, sv_of(rows[i].rcpt)));
        assert_false(mail_token_is_rcpt(&key, &got, SV("somebody@else.example")));
        assert_false(mail_token_is_rcpt(&other, &got, sv_of(rows[i].rcpt)));
    }
    buf_free(&out);
}

static void test_scope_in_links(void **state)
{
    (void)state;
    static const char *const names[] = {"bulk", "news.example.com", "Job-7 of=May", "-", "J\xc3\xb6"};
    struct buf out = {0};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct mail_token t = {.use = MAIL_TOKEN_UNSUBSCRIBE, .day = 1, .scope = 3}, got;
        snprintf(t.scope_name, sizeof(t.scope_name), "%s", names[i]);
        make(&t, "Some.Body+x-y@example-1.com", MAIL_TOKEN_MAX, &out);
        assert_int_equal(mail_token_read(&key, buf_view(&out), &got), 0);
        assert_int_equal(got.use, MAIL_TOKEN_UNSUBSCRIBE);
        assert_int_equal(got.scope, 3);
        assert_string_equal(got.scope_name, names[i]);
        assert_string_equal(got.rcpt, "some.body+x-y@example-1.com");
        /* not enough for the address, but for the scope */
        make(&t, "Some.Body+x-y@example-1.com", 41 + strlen(names[i]) * 3, &out);
        assert_int_equal(mail_token_read(&key, buf_view(&out), &got), 0);
        assert_string_equal(got.scope_name, names[i]);
        assert_true(mail_token_is_rcpt(&key, &got, SV("some.body+x-y@example-1.com")));
    }
    buf_free(&out);
}

static void test_room(void **state)
{
    (void)state;
    struct buf out = {0};
    struct mail_token t = bounce();

    assert_int_equal(mail_token_make(&key, &t, SV("a@b.c"), 33, &out), ERR_LIMIT);
    assert_int_equal(buf_len(&out), 0);
    assert_int_equal(mail_token_make(&key, &t, SV("a@b.c"), 34, &out), 0);
    assert_int_equal(buf_len(&out), 34);
    assert_true(t.has_rcpt);
    buf_free(&out);
}

static void test_too_small_for_either(void **state)
{
    (void)state;
    struct buf out = {0};
    struct mail_token t = bounce();

    assert_int_equal(mail_token_make(&key, &t, SV("abcdefghijkl@example.com"), 39, &out),
                     ERR_LIMIT);
    assert_int_equal(mail_token_make(&key, &t, SV("abcdefghijkl@example.com"), 40, &out), 0);
    assert_false(t.has_rcpt);
    assert_int_equal(buf_len(&out), 40);
    buf_free(&out);
}

static void test_case_does_not_matter(void **state)
{
    (void)state;
    struct buf out = {0};
    struct mail_token t = bounce(), got;

    make(&t, "joe+x@example.com", 62, &out);
    for (size_t i = 0; i < buf_len(&out); i += 2)
        buf_data(&out)[i] = (char)toupper((unsigned char)buf_data(&out)[i]);
    assert_int_equal(mail_token_read(&key, buf_view(&out), &got), 0);
    assert_string_equal(got.rcpt, "joe+x@example.com");
    buf_free(&out);
}

static void test_forged(void **state)
{
    (void)state;
    struct buf out = {0};
    struct mail_token t = bounce(), got;

    make(&t, "joe@example.com", 62, &out);
    assert_int_equal(mail_token_read(&other, buf_view(&out), &got), ERR_AUTH);
    /* every single character counts */
    for (size_t i = 0; i < buf_len(&out); i++) {
        char was = buf_data(&out)[i];
        buf_data(&out)[i] = was == 'b' ? 'c' : 'b';
        assert_true(mail_token_read(&key, buf_view(&out), &got) < 0);
        buf_data(&out)[i] = was;
    }
    buf_append_char(&out, 'x');
    assert_int_equal(mail_token_read(&key, buf_view(&out), &got), ERR_AUTH);
    buf_free(&out);
}

static void test_no_token(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "", "a", "joe", "0000000000000000000000000000", "aeaaaaaaaaaaaaaaaaaaaaaaaaaab",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "yaaaaaaaaaaaaaaaaaaaaaaaaaaa-joe=example.com"};
    struct mail_token got;
    struct buf longer = {0};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_true(mail_token_read(&key, sv_of(rows[i]), &got) < 0);
    assert_int_equal(mail_token_read(&key, SV("joe"), &got), ERR_SYNTAX);
    for (int i = 0; i < MAIL_TOKEN_MAX + 1; i++)
        buf_append_char(&longer, 'a');
    assert_int_equal(mail_token_read(&key, buf_view(&longer), &got), ERR_SYNTAX);
    buf_free(&longer);
}

static void test_age(void **state)
{
    (void)state;
    const int64_t day = 24 * 3600 * 1000LL;
    struct mail_token t = {.day = 20000};

    assert_int_equal(mail_token_day(20000 * day), 20000);
    assert_int_equal(mail_token_day(20001 * day - 1), 20000);
    assert_false(mail_token_is_old(&t, 20060 * day, 60 * day));
    assert_true(mail_token_is_old(&t, 20061 * day, 60 * day));
    assert_false(mail_token_is_old(&t, 20060 * day, 59 * day + 1));
    assert_false(mail_token_is_old(&t, 19990 * day, day));
    assert_false(mail_token_is_old(&t, 60000 * day, 0));
}

static void test_secret(void **state)
{
    (void)state;
    struct mail_token_key k;
    struct err e;

    assert_int_equal(mail_token_key_derive(SV("too short"), &k, &e), ERR_SYNTAX);
    assert_non_null(strstr(e.text, "expected 32"));
}

/* --- properties --- */

static uint64_t seed = 88172645463325252ull;

static uint32_t any(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32) % below;
}

static void put_word(struct buf *b, const char *from, size_t most)
{
    size_t n = 1 + any((uint32_t)most), len = strlen(from);
    for (size_t i = 0; i < n; i++)
        buf_append_char(b, from[any((uint32_t)len)]);
}

static void test_any_address(void **state)
{
    (void)state;
    static const char atoms[] = "abcXYZ019!#$%&'*+-/=?^_`{|}~";
    static const char hosts[] = "abcxyz019";
    struct buf rcpt = {0}, out = {0}, whole = {0};

    for (int i = 0; i < 20000; i++) {
        struct mail_token t = bounce(), got;
        size_t room = 40 + any(23);
        buf_reset(&rcpt);
        buf_reset(&out);
        buf_reset(&whole);
        put_word(&rcpt, atoms, 20);
        while (any(3) == 0) {
            buf_append_char(&rcpt, '.');
            put_word(&rcpt, atoms, 10);
        }
        buf_append_char(&rcpt, '@');
        put_word(&rcpt, hosts, 10);
        buf_append_char(&rcpt, '.');
        put_word(&rcpt, hosts, 10);
        t.origin = any(UINT32_MAX);
        assert_int_equal(mail_token_make(&key, &t, buf_view(&rcpt), room, &out), 0);
        assert_true(buf_len(&out) <= room);
        /* it is a local part as it stands, and reads back in either case */
        buf_printf(&whole, "%s@b.example", buf_data(&out));
        assert_true(address_is_mailbox(buf_view(&whole), 0));
        for (size_t j = 0; j < buf_len(&out); j++)
            assert_non_null(strchr("abcdefghijklmnopqrstuvwxyz0123456789-=._", buf_data(&out)[j]));
        if (any(2))
            for (size_t j = 0; j < buf_len(&out); j++)
                buf_data(&out)[j] = (char)toupper((unsigned char)buf_data(&out)[j]);
        assert_int_equal(mail_token_read(&key, buf_view(&out), &got), 0);
        assert_int_equal(got.origin, t.origin);
        str_lower(buf_data(&rcpt), buf_len(&rcpt));
        assert_string_equal(got.rcpt, got.has_rcpt ? buf_data(&rcpt) : "");
        assert_true(mail_token_is_rcpt(&key, &got, buf_view(&rcpt)));
    }
    buf_free(&rcpt);
    buf_free(&out);
    buf_free(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_scope_in_links),
        cmocka_unit_test(test_room),       cmocka_unit_test(test_too_small_for_either),
        cmocka_unit_test(test_forged),     cmocka_unit_test(test_case_does_not_matter),
        cmocka_unit_test(test_no_token),   cmocka_unit_test(test_age),
        cmocka_unit_test(test_secret),     cmocka_unit_test(test_any_address),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
