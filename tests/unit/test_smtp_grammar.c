/*
 * Tables for command lines, MAIL and RCPT parameters, addresses, and the header scan.
 */
#include "unit.h"

#include "mail/address.h"
#include "mail/header_scan.h"
#include "mail/smtp_command.h"

#define A16 "aaaaaaaaaaaaaaaa"
#define L64 A16 A16 A16 A16
#define D60 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void paths(void **state)
{
    static const struct {
        const char *path;
        unsigned flags;
        const char *mailbox; /* NULL: refused */
    } rows[] = {
        {"a@b.example", 0, "a@b.example"},
        {"a.b+c_d@b", 0, "a.b+c_d@b"},
        {"\"a b@\\\"\"@c.example", 0, "\"a b@\\\"\"@c.example"},
        {"a@[192.0.2.1]", 0, "a@[192.0.2.1]"},
        {"a@[IPv6:2001:db8::1]", 0, "a@[IPv6:2001:db8::1]"},
        {"@x.example,@y.example:a@b.example", 0, "a@b.example"},
        {L64 "@b.example", 0, L64 "@b.example"},
        {"a" L64 "@b.example", 0, NULL},
        {"a@" D60 "." D60 "." D60 "." D60, 0, "a@" D60 "." D60 "." D60 "." D60},
        {"a@" D60 "." D60 "." D60 "." D60 ".aaaaaaaaaa", 0, NULL},
        {"a@" L64, 0, NULL},
        {"\xc3\xa4@b.example", 0, NULL},
        {"\xc3\xa4@b.example", ADDRESS_UTF8, "\xc3\xa4@b.example"},
        {"a@\xc3\xa4.example", ADDRESS_UTF8, "a@\xc3\xa4.example"},
        {"\xc0\xaf@b.example", ADDRESS_UTF8, NULL},
        {"\xed\xa0\x80@b.example", ADDRESS_UTF8, NULL},
        {"", 0, NULL},
        {"a", 0, NULL},
        {"a@", 0, NULL},
        {"@b", 0, NULL},
        {".a@b", 0, NULL},
        {"a.@b", 0, NULL},
        {"a..b@c", 0, NULL},
        {"a b@c", 0, NULL},
        {"a@b.", 0, NULL},
        {"a@-b", 0, NULL},
        {"a@b..c", 0, NULL},
        {"a@[300.0.2.1]", 0, NULL},
        {"a@[x]", 0, NULL},
        {"\"a@b", 0, NULL},
        {"@x:", 0, NULL},
        {"@-x:a@b", 0, NULL},
        {"a@b@c", 0, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct strview mailbox;
        bool ok = address_parse_path(sv_of(rows[i].path), rows[i].flags, &mailbox);
        if (ok != (rows[i].mailbox != NULL))
            fail_msg("path '%s'", rows[i].path);
        if (ok)
            assert_sv_equal(mailbox, rows[i].mailbox);
    }
}

static void verbs(void **state)
{
    static const struct {
        const char *line;
        enum smtp_verb verb;
        const char *args;
    } rows[] = {
        {"EHLO x.example", SMTP_EHLO, "x.example"},
        {"mail from:<>", SMTP_MAIL, "from:<>"},
        {"QUIT  ", SMTP_QUIT, ""},
        {"BDAT 5 LAST", SMTP_BDAT, "5 LAST"},
        {"QUITX", SMTP_VERB_COUNT, ""},
        {"", SMTP_VERB_COUNT, ""},
        {" NOOP", SMTP_VERB_COUNT, "NOOP"},
        {"NOOP:", SMTP_VERB_COUNT, ":"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct strview args;
        assert_int_equal(smtp_command_parse(sv_of(rows[i].line), &args), rows[i].verb);
        assert_sv_equal(args, rows[i].args);
    }
}

static void mail_lines(void **state)
{
    static const struct {
        const char *args;
        const char *refusal; /* first bytes; NULL: accepted */
        const char *sender;
    } rows[] = {
        {"FROM:<a@b>", NULL, "a@b"},
        {"from: <a@b> size=5", NULL, "a@b"},
        {"FROM:<>", NULL, ""},
        {"FROM:<\"x>y\"@b> BODY=7bit", NULL, "\"x>y\"@b"},
        {"FROM:<a@b> AUTH=x+40y", NULL, "a@b"},
        {"FROM:<a@b>SIZE=5", "501 5.5.4", NULL},
        {"FROM:a@b", "501 5.5.4", NULL},
        {"<a@b>", "501 5.5.4", NULL},
        {"FROM:<a@b", "501 5.5.4", NULL},
        {"FROM:<a@b> BODY=BINARYMIME", "501 5.5.4", NULL},
        {"FROM:<a@b> SIZE=", "501 5.5.4", NULL},
        {"FROM:<a@b> ENVID=a=b", "501 5.5.4", NULL},
        {"FROM:<a@b> ENVID=+4x", "501 5.5.4", NULL},
        {"FROM:<a@b> SMTPUTF8=1", "501 5.5.4", NULL},
        {"FROM:<a@b> X", "555 5.5.4", NULL},
        {"FROM:<a@@b>", "501 5.1.7", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct smtp_mail m;
        const char *refusal = smtp_mail_parse(sv_of(rows[i].args), &m);
        if (!refusal != !rows[i].refusal)
            fail_msg("'%s': %s", rows[i].args, refusal ? refusal : "accepted");
        if (refusal)
            assert_memory_equal(refusal, rows[i].refusal, 9);
        else
            assert_sv_equal(m.sender, rows[i].sender);
    }
}

static void bdat_lines(void **state)
{
    uint64_t n;
    bool last;
    (void)state;
    assert_true(smtp_bdat_parse(SV("12"), &n, &last) && n == 12 && !last);
    assert_true(smtp_bdat_parse(SV("0 last"), &n, &last) && n == 0 && last);
    assert_false(smtp_bdat_parse(SV(""), &n, &last));
    assert_false(smtp_bdat_parse(SV("-1"), &n, &last));
    assert_false(smtp_bdat_parse(SV("1 LASTS"), &n, &last));
    assert_false(smtp_bdat_parse(SV("99999999999999999999999"), &n, &last));
}

/* Every cut of the input gives the same content and values. */
static void headers(void **state)
{
    static const char in[] =
        "A: 1\r\nX-pipe : bulk\r\n \t\r\nX-Piper: no\r\nX-JOB:\r\n j 1\r\n"
        "Received: x\r\nx-schedule: 2026-11-21 08:00:00 /\r\n 2026-11-21 09:00:00\r\n"
        "X-Delivery-Priority:70\r\nX-Remote-MTA-Name: h\r\n\r\n"
        "X-Pipe: y\r\n";
    static const char want[] = "A: 1\r\nX-Piper: no\r\nReceived: x\r\n\r\nX-Pipe: y\r\n";
    struct header_scan h = {0};
    (void)state;
    for (size_t cut = 0; cut < sizeof(in); cut++) {
        struct buf b = {0};
        header_scan_reset(&h, 0, 1000);
        buf_append(&b, in, cut);
        header_scan_feed(&h, &b);
        buf_append(&b, in + cut, sizeof(in) - 1 - cut);
        assert_int_equal(header_scan_finish(&h, &b), HEADER_DONE);
        assert_string_equal(buf_data(&b), want);
        assert_int_equal(h.end, strstr(want, "\r\n\r\n") + 4 - want);
        assert_int_equal(h.received_count, 1);
        assert_sv_equal(header_scan_value(&h, HEADER_X_PIPE), "bulk");
        assert_sv_equal(header_scan_value(&h, HEADER_X_JOB), "j 1");
        assert_sv_equal(header_scan_value(&h, HEADER_X_ENVID), "");
        assert_sv_equal(header_scan_value(&h, HEADER_X_SCHEDULE),
                        "2026-11-21 08:00:00 / 2026-11-21 09:00:00");
        assert_sv_equal(header_scan_value(&h, HEADER_X_DELIVERY_PRIORITY), "70");
        assert_sv_equal(header_scan_value(&h, HEADER_X_REMOTE_MTA_NAME), "h");
        buf_free(&b);
    }
    header_scan_free(&h);
}

static bool is_optional(const char *in, size_t cut)
{
    struct header_scan h = {0};
    struct buf b = {0};

    header_scan_reset(&h, 0, 1000);
    buf_append(&b, in, cut);
    header_scan_feed(&h, &b);
    buf_append_str(&b, in + cut);
    assert_int_equal(header_scan_finish(&h, &b), HEADER_DONE);
    assert_string_equal(buf_data(&b), in); /* the field stays: the next server wants it, too */
    bool is = header_scan_tls_optional(&h);
    buf_free(&b);
    header_scan_free(&h);
    return is;
}

/* RFC 8689 section 5, wherever the input is cut. */
static void tls_required_no(void **state)
{
    static const struct {
        const char *header;
        bool is;
    } rows[] = {
        {"TLS-Required: No\r\n\r\n", true},
        {"A: 1\r\ntls-required:no\r\nB: 2\r\n\r\n", true},
        {"TLS-Required:\r\n\tNO \r\nTo: x\r\n more\r\n\r\n", true},
        {"TLS-Required: None\r\n\r\n", false},
        {"TLS-Required: Yes\r\n\r\n", false},
        {"TLS-Required: No\r\nTLS-Required: No\r\n\r\n", false},
        {"TLS-Required: Yes\r\nTLS-Required: No\r\n\r\n", false},
        {"X-TLS-Required: No\r\n\r\n", false},
        {"A: 1\r\n\r\nTLS-Required: No\r\n", false},
        {"TLS-Required:\r\n\r\n", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t cut = 0; cut <= strlen(rows[i].header); cut++)
            if (is_optional(rows[i].header, cut) != rows[i].is)
                fail_msg("row %zu cut %zu", i, cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),      cmocka_unit_test(verbs),   cmocka_unit_test(mail_lines),
        cmocka_unit_test(bdat_lines), cmocka_unit_test(headers), cmocka_unit_test(tls_required_no),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
