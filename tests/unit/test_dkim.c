/*
 * Canonical forms and signature fields of DKIM: the examples of RFC 6376 section 3.4.5 and what they
 * leave out. Verification by foreign tools is a test of its own.
 */
#include "unit.h"

#include "mail/dkim.h"

static void collect(void *owner, const char *bytes, size_t n)
{
    buf_append(owner, bytes, n);
}

static void check_body(enum dkim_canon canon, struct strview wire, const char *expected,
                       size_t piece)
{
    struct dkim_body b;
    struct buf out = {0};

    dkim_body_init(&b, canon, collect, &out);
    for (size_t at = 0; at < wire.len; at += piece)
        dkim_body_feed(&b, wire.ptr + at, MIN_OF(piece, wire.len - at));
    dkim_body_end(&b);
    assert_int_equal(buf_len(&out), strlen(expected));
    assert_memory_equal(buf_data(&out), expected, strlen(expected));
    buf_free(&out);
}

static void bodies(void **state)
{
    static const struct {
        const char *wire, *simple, *relaxed;
    } rows[] = {
        {" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"},
        {"", "\r\n", ""},
        {"\r\n\r\n", "\r\n", ""},
        {" \t \r\n\r\n", " \t \r\n", ""},
        {"a", "a\r\n", "a\r\n"},
        {"a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"},
        {"a\r\n \r\nb", "a\r\n \r\nb\r\n", "a\r\n\r\nb\r\n"},
        {"..a\r\n..\r\n.. x\r\n", ".a\r\n.\r\n. x\r\n", ".a\r\n.\r\n. x\r\n"},
        {"x. .y\r\n", "x. .y\r\n", "x. .y\r\n"},
        {"a\rb\r\n", "a\rb\r\n", "a\rb\r\n"},
        {"a \rb\r\n", "a \rb\r\n", "a \rb\r\n"},
        {"a\r\r\nb", "a\r\r\nb\r\n", "a\r\r\nb\r\n"},
        {"\xc3\xa4 \xff\r\n", "\xc3\xa4 \xff\r\n", "\xc3\xa4 \xff\r\n"},
        {"a  \r\n", "a  \r\n", "a\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t piece = 1; piece < 20; piece++) {
            check_body(DKIM_SIMPLE, sv_of(rows[i].wire), rows[i].simple, piece);
            check_body(DKIM_RELAXED, sv_of(rows[i].wire), rows[i].relaxed, piece);
        }
}

/* Longer than the stage, in pieces of any length: the same as in one. */
static void long_bodies(void **state)
{
    struct buf wire = {0}, expected = {0};

    (void)state;
    for (int i = 0; i < 600; i++) {
        buf_printf(&wire, "line %d  with\t some   words %.*s \r\n", i, i % 70,
                   "....................................................................x");
        buf_printf(&expected, "line %d with some words%s%.*s\r\n", i, i % 70 ? " " : "", i % 70,
                   "....................................................................x");
    }
    for (size_t piece = 1; piece < 5000; piece = piece * 3 + 1)
        check_body(DKIM_RELAXED, buf_view(&wire), buf_data(&expected), piece);
    buf_free(&wire);
    buf_free(&expected);
}

/* The canonical form again, slowly: whole lines, one rule after the other. */
static void plain_body(enum dkim_canon canon, struct strview wire, struct buf *out)
{
    size_t empty = 0;

    while (wire.len) {
        const char *crlf = memmem(wire.ptr, wire.len, "\r\n", 2);
        struct strview line = sv(wire.ptr, crlf ? (size_t)(crlf - wire.ptr) : wire.len);
        wire = sv(wire.ptr + line.len + (crlf ? 2 : 0), wire.len - line.len - (crlf ? 2 : 0));
        if (line.len && line.ptr[0] == '.')
            line = sv(line.ptr + 1, line.len - 1);
        struct buf text = {0};
        for (size_t i = 0; i < line.len; i++) {
            char c = line.ptr[i];
            bool blank = canon == DKIM_RELAXED && (c == ' ' || c == '\t');
            if (blank && buf_len(&text) && buf_data(&text)[buf_len(&text) - 1] == ' ' && i &&
                (line.ptr[i - 1] == ' ' || line.ptr[i - 1] == '\t'))
                continue;
            buf_append_char(&text, blank ? ' ' : c);
        }
        if (canon == DKIM_RELAXED && buf_len(&text) && buf_data(&text)[buf_len(&text) - 1] == ' ')
            buf_truncate(&text, buf_len(&text) - 1);
        if (!buf_len(&text)) {
            empty++;
        } else {
            for (; empty; empty--)
                buf_append(out, "\r\n", 2);
            buf_append_sv(out, buf_view(&text));
            buf_append(out, "\r\n", 2);
        }
        buf_free(&text);
    }
    if (canon == DKIM_SIMPLE && !buf_len(out))
        buf_append(out, "\r\n", 2);
}

/* Random text of the bytes that matter, in random pieces, against the slow form. */
static void random_bodies(void **state)
{
    static const char letters[] = "aaaaaabX  \t.\r\n";
    uint32_t seed = 4;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct buf wire = {0};
        size_t want = round % 7 ? (size_t)(round % 200) : 3000;
        while (buf_len(&wire) < want) {
            seed = seed * 1103515245 + 12345;
            char c = letters[(seed >> 16) % (sizeof(letters) - 1)];
            if (c == '\n')
                buf_append(&wire, "\r\n", 2);
            else
                for (uint32_t n = (seed >> 24) % 16 == 0 ? 40 : 1; n; n--)
                    buf_append_char(&wire, c);
        }
        for (int canon = DKIM_SIMPLE; canon <= DKIM_RELAXED; canon++) {
            struct buf expected = {0};
            plain_body((enum dkim_canon)canon, buf_view(&wire), &expected);
            seed = seed * 1103515245 + 12345;
            check_body((enum dkim_canon)canon, buf_view(&wire), buf_data(&expected),
                       1 + (seed >> 16) % 100);
            check_body((enum dkim_canon)canon, buf_view(&wire), buf_data(&expected), 100000);
            buf_free(&expected);
        }
        buf_free(&wire);
    }
}

static void fields(void **state)
{
    static const struct {
        const char *whole, *relaxed;
    } rows[] = {
        {"A: X\r\n", "a:X\r\n"},
        {"B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"},
        {"Subject:\r\n", "subject:\r\n"},
        {"Subject: \r\n \r\n", "subject:\r\n"},
        {"SUBJect: AbC\r\n", "subject:AbC\r\n"},
        {"To:a@x,\r\n  b@y\r\n", "to:a@x, b@y\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = {0};
        dkim_canon_field(&out, DKIM_RELAXED, sv_of(rows[i].whole));
        assert_true(sv_eq(buf_view(&out), sv_of(rows[i].relaxed)));
        buf_reset(&out);
        dkim_canon_field(&out, DKIM_SIMPLE, sv_of(rows[i].whole));
        assert_true(sv_eq(buf_view(&out), sv_of(rows[i].whole)));
        buf_free(&out);
    }
}

static void domains(void **state)
{
    static const struct {
        const char *value, *domain;
    } rows[] = {
        {"joe@example.com", "example.com"},
        {"Joe <joe@example.com>", "example.com"},
        {"\"a@b\" <joe@example.com>", "example.com"},
        {"\"a <x@y>\" <joe@example.com> (c@d)", "example.com"},
        {"(x@y (z@w)) joe@example.com", "example.com"},
        {"joe@a.example, jim@b.example", "a.example"},
        {"\"j@e\"@example.com", "example.com"},
        {"Joe <joe@ example.com >", "example.com"},
        {"nobody", ""},
        {"", ""},
        {"\"unfinished", ""},
        {"<@>", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct strview d = dkim_address_domain(sv_of(rows[i].value));
        assert_true(sv_eq(d, sv_of(rows[i].domain)));
    }
}

static const char header[] = "Received: one\r\n"
                             "From: Joe <joe@football.example.com>\r\n"
                             "To: a@x,\r\n"
                             "\tb@y\r\n"
                             "Subject: Is dinner ready?\r\n"
                             "Received: two\r\n"
                             "no field\r\n"
                             "\r\n"
                             "Body: not this\r\n";

static void signatures(void **state)
{
    struct arena a = {0};
    struct dkim_field *list;
    struct buf field = {0}, input = {0};
    uint8_t hash[32] = {1, 2, 3}, value[256] = {0};
    struct dkim_names names;
    struct dkim_signature s = {
        .algorithm = "rsa-sha256",
        .header_canon = DKIM_RELAXED,
        .body_canon = DKIM_RELAXED,
        .domain = SV("example.com"),
        .selector = SV("k1"),
        .names = &names,
        .time_s = 1795233906,
        .body_hash = sv((const char *)hash, 32),
    };

    (void)state;
    dkim_names_parse(SV("from:to subject, received:from:x-none"), SV("From Reply-To"), &a, &names);
    assert_int_equal(names.count, 6);
    size_t count = dkim_fields(sv_of(header), &a, &list);
    assert_int_equal(count, 5);
    dkim_signature_prepare(&s, list, count, &field, &input);
    static const char expected[] =
        "from:Joe <joe@football.example.com>\r\nto:a@x, b@y\r\nsubject:Is dinner ready?\r\n"
        "received:two\r\nreceived:one\r\n"
        "dkim-signature:v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=k1; t=1795233906; "
        "h=from:from:to:subject:received:received:Reply-To; "
        "bh=AQID AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=; b=";
    assert_string_equal(buf_data(&input), expected);
    dkim_signature_finish(&field, value, sizeof(value));
    struct strview rest = buf_view(&field), line;
    while (sv_split(&rest, '\n', &line))
        assert_true(line.len <= 79);
    assert_true(buf_len(&field) > 2 && buf_data(&field)[buf_len(&field) - 1] == '\n');
    buf_free(&field);
    buf_free(&input);
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies),  cmocka_unit_test(long_bodies), cmocka_unit_test(fields),
        cmocka_unit_test(domains), cmocka_unit_test(signatures),  cmocka_unit_test(random_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
