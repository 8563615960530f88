/*
 * The reply parser: what it takes, what it refuses, in pieces of every size.
 */
#include "unit.h"

#include "mail/reply.h"

static const struct {
    const char *in;
    int result;
    unsigned code;
    const char *text;
    const char *status; /* enhanced, or "" */
} rows[] = {
    {"250 2.0.0 Ok: queued as 1\r\n", 1, 250, "250 2.0.0 Ok: queued as 1", "2.0.0"},
    {"250\r\n", 1, 250, "250", ""},
    {"250\n", 1, 250, "250", ""},
    {"250 \r\n", 1, 250, "250", ""},
    {"354 go\n", 1, 354, "354 go", ""},
    {"550-5.1.1 no such\r\n550 5.1.1 user\r\n", 1, 550, "550 5.1.1 no such user", "5.1.1"},
    {"550-5.1.1 a\r\n550 5.7.1 b\r\n", 1, 550, "550 5.1.1 a 5.7.1 b", "5.1.1"},
    {"250-mx\r\n250-\r\n250 SIZE 10\r\n", 1, 250, "250 mx SIZE 10", ""},
    {"250-a\r\n251 b\r\n", 1, 251, "251 a b", ""},
    {"550 4.1.1 class differs\r\n", 1, 550, "550 4.1.1 class differs", ""},
    {"550 5.1 short\r\n", 1, 550, "550 5.1 short", ""},
    {"550 5.1.1234 long\r\n", 1, 550, "550 5.1.1234 long", ""},
    {"450 4.7.999\r\n", 1, 450, "450 4.7.999", "4.7.999"},
    {"550 a\tb\x01"
     "c\x7f\r\n",
     1, 550, "550 a b?c?", ""},
    {"550 a\rb\r\n", 1, 550, "550 a?b", ""},
    {"250-a\r\n", 0, 0, NULL, ""},
    {"25", 0, 0, NULL, ""},
    {"", 0, 0, NULL, ""},
    {"250-a\r\n550 b\r\n", ERR_PROTOCOL, 0, NULL, ""},
    {"hello\r\n", ERR_PROTOCOL, 0, NULL, ""},
    {"150 x\r\n", ERR_PROTOCOL, 0, NULL, ""},
    {"650 x\r\n", ERR_PROTOCOL, 0, NULL, ""},
    {"2500 x\r\n", ERR_PROTOCOL, 0, NULL, ""},
    {"25\r\n", ERR_PROTOCOL, 0, NULL, ""},
    {"250:x\r\n", ERR_PROTOCOL, 0, NULL, ""},
    {"\r\n", ERR_PROTOCOL, 0, NULL, ""},
};

/* Feeds in pieces of `chunk` until there is a result other than 0. */
static int feed(struct reply_parser *p, const char *in, size_t len, size_t chunk, size_t *at)
{
    int r = 0;
    while (r == 0 && *at < len) {
        size_t used = 0;
        r = reply_parse(p, in + *at, MIN_OF(chunk, len - *at), &used);
        *at += used;
    }
    return r;
}

static void table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t chunk = 1; chunk < 50; chunk += 6) {
            struct reply_parser p;
            struct buf text = {0};
            size_t at = 0;
            reply_parser_init(&p, NULL);
            assert_int_equal(feed(&p, rows[i].in, strlen(rows[i].in), chunk, &at), rows[i].result);
            if (rows[i].result == 1) {
                struct outcome o = {.enhanced = p.reply.enhanced};
                char status[16] = "";
                reply_text(&p.reply, &text);
                assert_int_equal(p.reply.code, rows[i].code);
                assert_string_equal(buf_data(&text), rows[i].text);
                if (o.enhanced.class_digit)
                    outcome_status(&o, status);
                assert_string_equal(status, rows[i].status);
                assert_int_equal(at, strlen(rows[i].in));
                assert_false(reply_parser_busy(&p));
            }
            buf_free(&text);
            reply_parser_fini(&p);
        }
}

static void stops_after_one(void **state)
{
    static const char in[] = "250 a\r\n354 b\r\n4";
    struct reply_parser p;
    size_t at = 0;

    (void)state;
    reply_parser_init(&p, NULL);
    assert_int_equal(feed(&p, in, sizeof(in) - 1, 100, &at), 1);
    assert_int_equal(at, 7);
    assert_int_equal(feed(&p, in, sizeof(in) - 1, 100, &at), 1);
    assert_int_equal(p.reply.code, 354);
    assert_int_equal(feed(&p, in, sizeof(in) - 1, 100, &at), 0);
    assert_true(reply_parser_busy(&p));
    reply_parser_reset(&p);
    assert_false(reply_parser_busy(&p));
    reply_parser_fini(&p);
}

static void limits(void **state)
{
    static const struct reply_limits few = {8, 64, 3};
    static const struct {
        const char *in;
        int result;
        bool cut;
    } cases[] = {
        {"250 1234567\r\n", 1, false},
        {"250 1234567890\r\n", 1, true},
        {"250-a\r\n250-b\r\n250 c\r\n", 1, false},
        {"250-a\r\n250-b\r\n250-c\r\n250 d\r\n", ERR_LIMIT, false},
        {"250 0123456789012345678901234567890123456789012345678901234567890123456789", ERR_LIMIT,
         true},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t chunk = 1; chunk < 100; chunk += 9) {
            struct reply_parser p;
            size_t at = 0, used;
            reply_parser_init(&p, &few);
            assert_int_equal(feed(&p, cases[i].in, strlen(cases[i].in), chunk, &at),
                             cases[i].result);
            assert_int_equal(p.reply.cut, cases[i].cut);
            assert_true(buf_len(&p.text) <= 3 * 9);
            if (cases[i].result < 0) /* for good */
                assert_int_equal(reply_parse(&p, "250 a\r\n", 7, &used), cases[i].result);
            reply_parser_fini(&p);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(stops_after_one),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
