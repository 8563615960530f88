/*
 * Delivery notices without an engine: who gets one, how many, and the letter byte for byte.
 */
#include "unit.h"

#include "base/clock.h"
#include "dsn/dsn_letter.h"

#include <stdio.h>

#define NOW_MS 1795233906000 /* Sat, 21 Nov 2026 04:05:06 +0000 */

static void decides(void **state)
{
    enum { S = NOTIFY_SUCCESS, F = NOTIFY_FAILURE, D = NOTIFY_DELAY, N = NOTIFY_NEVER };
    static const struct {
        enum outcome_class class_;
        uint8_t notify;
        const char *sender;
        bool peer_has_dsn, suppressed, to_ourselves;
        enum dsn_kind kind;
    } rows[] = {
        /* failure: unless the sender says otherwise */
        {OUTCOME_BOUNCED, 0, "a@b", false, false, false, DSN_FAILED},
        {OUTCOME_BOUNCED, F, "a@b", false, false, false, DSN_FAILED},
        {OUTCOME_BOUNCED, F, "a@b", true, false, false, DSN_FAILED}, /* refused: it is ours */
        {OUTCOME_BOUNCED, S | D, "a@b", false, false, false, DSN_NONE},
        {OUTCOME_BOUNCED, N, "a@b", false, false, false, DSN_NONE},
        {OUTCOME_EXPIRED, 0, "a@b", false, false, false, DSN_FAILED},
        {OUTCOME_EXPIRED, S | F | D, "a@b", false, false, false, DSN_FAILED},
        {OUTCOME_EXPIRED, D, "a@b", false, false, false, DSN_NONE},
        {OUTCOME_DELETED, F, "a@b", false, false, false, DSN_NONE},
        {OUTCOME_DELETED, 0, "a@b", false, false, false, DSN_NONE},
        /* success: when asked for, and when nobody else will tell */
        {OUTCOME_DELIVERED, 0, "a@b", false, false, false, DSN_NONE},
        {OUTCOME_DELIVERED, F, "a@b", false, false, false, DSN_NONE},
        {OUTCOME_DELIVERED, S, "a@b", false, false, false, DSN_RELAYED},
        {OUTCOME_DELIVERED, S | F | D, "a@b", false, false, false, DSN_RELAYED},
        {OUTCOME_DELIVERED, S, "a@b", true, false, false, DSN_NONE},
        {OUTCOME_DELIVERED, N, "a@b", false, false, false, DSN_NONE},
        /* delay */
        {OUTCOME_DEFERRED, D, "a@b", false, false, false, DSN_DELAYED},
        {OUTCOME_DEFERRED, 0, "a@b", false, false, false, DSN_NONE},
        {OUTCOME_DEFERRED, S | F, "a@b", false, false, false, DSN_NONE},
        {OUTCOME_DEFERRED, N, "a@b", false, false, false, DSN_NONE},
        /* never about a null sender, nor where it is switched off, nor to ourselves */
        {OUTCOME_BOUNCED, 0, "", false, false, false, DSN_NONE},
        {OUTCOME_BOUNCED, F, "", false, false, false, DSN_NONE},
        {OUTCOME_DELIVERED, S, "", false, false, false, DSN_NONE},
        {OUTCOME_DEFERRED, D, "", false, false, false, DSN_NONE},
        {OUTCOME_BOUNCED, F, "a@b", false, true, false, DSN_NONE},
        {OUTCOME_DELIVERED, S, "a@b", false, true, false, DSN_NONE},
        {OUTCOME_BOUNCED, F, "a@b", false, false, true, DSN_NONE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *why = NULL;
        struct dsn_facts f = {rows[i].class_,       sv_of(rows[i].sender), rows[i].notify,
                              rows[i].peer_has_dsn, rows[i].suppressed,    rows[i].to_ourselves};
        if (dsn_decide(&f, &why) != rows[i].kind)
            fail_msg("row %zu is not '%s'", i, dsn_kind_name(rows[i].kind));
        assert_int_equal(why != NULL, rows[i].kind == DSN_NONE);
    }
}

static void counts_delays(void **state)
{
    (void)state;
    assert_int_equal(dsn_delays_between(1000, 100, 1000, 1099), 0);
    assert_int_equal(dsn_delays_between(1000, 100, 1000, 1100), 1);
    assert_int_equal(dsn_delays_between(1000, 100, 1100, 1199), 0);
    assert_int_equal(dsn_delays_between(1000, 100, 1150, 1450), 3);
    assert_int_equal(dsn_delays_between(1000, 100, 0, 1100), 1); /* looked before it came */
    assert_int_equal(dsn_delays_between(1000, 0, 0, 99999), 0);  /* never */
    assert_int_equal(dsn_delays_between(1000, 100, 0, 900), 0);
}

static void limits_hold_over_a_restart(void **state)
{
    struct rate three = {3, 60000};
    struct dsn_limit *l = dsn_limit_new(100);
    struct dsn_held held;
    struct buf text = {0};

    (void)state;
    for (int i = 0; i < 5; i++)
        dsn_limit_take(l, SV("a@x"), &three, NOW_MS, &held);
    dsn_limit_take(l, SV("b@x"), &three, NOW_MS - 60000, &held);
    dsn_limit_write(l, NOW_MS, &text);
    assert_null(strstr(buf_data(&text), "a@x"));
    dsn_limit_free(l);
    l = dsn_limit_new(100);
    dsn_limit_read(l, buf_view(&text));
    assert_false(dsn_limit_take(l, SV("A@x"), &three, NOW_MS + 1, &held));
    assert_true(dsn_limit_take(l, SV("b@x"), &three, NOW_MS + 1, &held));
    assert_true(dsn_limit_take(l, SV("a@x"), &three, NOW_MS + 20000, &held));
    assert_int_equal(held.count, 3); /* two before, one after */
    assert_true(held.since_ms == NOW_MS);
    dsn_limit_free(l);
    /* what is full again, with nothing held back, is not kept */
    l = dsn_limit_new(100);
    dsn_limit_take(l, SV("b@x"), &three, NOW_MS - 60000, &held);
    buf_reset(&text);
    dsn_limit_write(l, NOW_MS, &text);
    assert_null(strstr(strchr(buf_data(&text), '\n') + 1, "\n"));
    dsn_limit_free(l);
    buf_free(&text);
}

static void what_is_kept_has_a_limit(void **state)
{
    struct rate one = {1, 60000};
    struct dsn_limit *l = dsn_limit_new(2 * DSN_LIMIT_KEPT);
    struct dsn_held held;
    struct buf text = {0};
    char address[40];

    (void)state;
    for (int i = 0; i < DSN_LIMIT_KEPT + 5; i++) {
        snprintf(address, sizeof(address), "a%d@x", i);
        assert_true(dsn_limit_take(l, sv_of(address), &one, NOW_MS, &held));
    }
    dsn_limit_write(l, NOW_MS, &text);
    dsn_limit_free(l);
    l = dsn_limit_new(DSN_LIMIT_KEPT);
    dsn_limit_read(l, buf_view(&text));
    assert_true(dsn_limit_take(l, SV("a4@x"), &one, NOW_MS + 1, &held)); /* the oldest went */
    assert_false(dsn_limit_take(l, SV("a10004@x"), &one, NOW_MS + 1, &held));
    assert_false(dsn_limit_take(l, SV("a6@x"), &one, NOW_MS + 1, &held));
    dsn_limit_free(l);
    buf_free(&text);
}

static void damaged_counts_are_passed_over(void **state)
{
    static const char *const texts[] = {"", "seed", "seed x\n1 2 3 4\n",
                                        "seed 5\n1 2 3\n-1 2 3 4\n1 99999999999999999999 0 0\n",
                                        "seed 5\n1 2 9999999999 4\n\n\n"};
    struct rate one = {1, 60000};
    struct dsn_held held;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct dsn_limit *l = dsn_limit_new(10);
        dsn_limit_read(l, sv_of(texts[i]));
        assert_true(dsn_limit_take(l, SV("a@x"), &one, NOW_MS, &held));
        assert_false(dsn_limit_take(l, SV("a@x"), &one, NOW_MS, &held));
        dsn_limit_free(l);
    }
}

static void limits_each_sender(void **state)
{
    struct rate three = {3, 60000}, none = {0, 0};
    struct dsn_limit *l = dsn_limit_new(2);
    struct dsn_held held;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_true(dsn_limit_take(l, SV("a@x"), &three, NOW_MS, &held));
        assert_int_equal(held.count, 0);
    }
    assert_false(dsn_limit_take(l, SV("A@X"), &three, NOW_MS + 5, &held)); /* the same sender */
    assert_false(dsn_limit_take(l, SV("a@x"), &three, NOW_MS + 6, &held));
    assert_true(dsn_limit_take(l, SV("b@x"), &three, NOW_MS + 6, &held));
    assert_true(
        dsn_limit_take(l, SV("a@x"), &three, NOW_MS + 20000, &held)); /* one has come back */
    assert_int_equal(held.count, 2);
    assert_true(held.since_ms == NOW_MS + 5);
    assert_false(dsn_limit_take(l, SV("a@x"), &three, NOW_MS + 20000, &held));
    assert_true(dsn_limit_take(l, SV("a@x"), &three, NOW_MS + 40000, &held));
    assert_int_equal(held.count, 1);
    for (int i = 0; i < 1000; i++)
        assert_true(dsn_limit_take(l, SV("c@x"), &none, NOW_MS, &held));
    assert_true(dsn_limit_take(l, SV("b@x"), &three, NOW_MS, &held)); /* forgotten for c: anew */
    /* a clock that is set back does not close it for long */
    assert_false(dsn_limit_take(l, SV("a@x"), &three, 0, &held) &&
                 dsn_limit_take(l, SV("a@x"), &three, 0, &held) &&
                 dsn_limit_take(l, SV("a@x"), &three, 0, &held) &&
                 dsn_limit_take(l, SV("a@x"), &three, 0, &held));
    assert_true(dsn_limit_take(l, SV("a@x"), &three, 60001, &held));
    dsn_limit_free(l);
}

static void reads_xtext(void **state)
{
    struct buf b = {0};

    (void)state;
    dsn_unxtext(SV("a+2Bb+3Dc+zz+2"), &b);
    assert_string_equal(buf_data(&b), "a+b=c+zz+2");
    buf_free(&b);
}

static void templates(void **state)
{
    struct strview v[DSN_VARIABLE_COUNT] = {0};
    struct buf b = {0};
    struct err e = {0};

    (void)state;
    v[DSN_VAR_SUBJECT] = SV("S");
    v[DSN_VAR_STATUS] = SV("5.1.1");
    dsn_template_expand(SV("a ${subject}\\n$ ${status}$\\\\\\t."), true, v, &b);
    assert_string_equal(buf_data(&b), "a S\n$ 5.1.1$\\\t.");
    buf_reset(&b);
    dsn_template_expand(SV("C:\\new ${subject}"), false, v, &b);
    assert_string_equal(buf_data(&b), "C:\\new S");
    buf_reset(&b);
    dsn_template_escape(SV("a\r\nb\\n\n"), &b);
    assert_string_equal(buf_data(&b), "a\\nb\\\\n\\n");
    assert_int_equal(dsn_template_check(SV("${subject} $x {y}"), &e), 0);
    assert_true(dsn_template_check(SV("${nobody}"), &e) < 0);
    assert_non_null(strstr(e.text, "'${nobody}' is no variable"));
    assert_true(dsn_template_check(SV("${subject"), &e) < 0);
    buf_free(&b);
}

/* The page for operators has a row for each. */
static void documented(void **state)
{
    static char page[64 * 1024], row[300];
    const char *path = getenv("PMTA_NOTICES_DOC");

    (void)state;
    assert_non_null(path);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(page, 1, sizeof(page) - 1, f);
    fclose(f);
    page[n] = '\0';
    for (unsigned i = 0; i < DSN_VARIABLE_COUNT; i++) {
        snprintf(row, sizeof(row), "| `${%s}` | %s |\n", dsn_variable_name(i),
                 dsn_variable_help(i));
        if (!strstr(page, row))
            fail_msg("no row %s", row);
    }
}

/* --- encodings --- */

static const char *field(const char *name, const char *value, bool utf8, bool encoded)
{
    static struct buf b;
    struct wire w = {.out = &b};

    buf_reset(&b);
    if (encoded)
        wire_field_encoded(&w, name, sv_of(value), utf8);
    else
        wire_field(&w, name, sv_of(value), utf8);
    return buf_data(&b);
}

static void fields(void **state)
{
    char word[3000], text[3100];

    (void)state;
    assert_string_equal(field("Status", "5.1.1", false, false), "Status: 5.1.1\r\n");
    assert_string_equal(field("X", "a\r\nBcc: b@c\x01", false, false), "X: a  Bcc: b@c\r\n");
    assert_string_equal(field("X",
                              "Gr\xc3\xb6\xc3\x9f"
                              "e",
                              false, false),
                        "X: Gr????e\r\n");
    assert_string_equal(field("X",
                              "Gr\xc3\xb6\xc3\x9f"
                              "e",
                              true, false),
                        "X: Gr\xc3\xb6\xc3\x9f"
                        "e\r\n");
    assert_string_equal(field("Diagnostic-Code",
                              "smtp; 550 5.1.1 The mailbox that you try to reach does not exist "
                              "here and never did",
                              false, false),
                        "Diagnostic-Code: smtp; 550 5.1.1 The mailbox that you try to reach does "
                        "not\r\n exist here and never did\r\n");
    assert_string_equal(field("Subject",
                              "Gr\xc3\xb6\xc3\x9f"
                              "e",
                              false, true),
                        "Subject: =?utf-8?B?R3LDtsOfZQ==?=\r\n");
    assert_string_equal(field("From", "J\xc3\xb6rg <a@b.org>", false, true),
                        "From: =?utf-8?B?SsO2cmc=?= <a@b.org>\r\n");
    assert_string_equal(field("Subject", "", false, true), "Subject: \r\n");
    memset(word, 'x', sizeof(word) - 1); /* no blank to fold at: cut, never over 998 */
    word[sizeof(word) - 1] = '\0';
    snprintf(text, sizeof(text), "%s", field("X", word, false, false));
    for (const char *p = text, *end; (end = strstr(p, "\r\n")); p = end + 2)
        assert_true(end - p <= 998);
}

static void quoted(void **state)
{
    struct buf b = {0};
    struct wire w = {.out = &b};
    char line[200];

    (void)state;
    wire_quoted(&w, SV("gr\xc3\xbc\xc3\x9f"
                       "e =\n.\nend \n"));
    assert_string_equal(buf_data(&b), "gr=C3=BC=C3=9Fe =3D\r\n..\r\nend=20\r\n");
    assert_int_equal(w.stuffed_dots, 1);
    assert_false(w.is_8bit);
    buf_reset(&b);
    memset(line, 'y', sizeof(line));
    wire_quoted(&w, sv(line, sizeof(line)));
    for (const char *p = buf_data(&b), *end; (end = strstr(p, "\r\n")); p = end + 2)
        assert_true(end - p <= 76);
    buf_reset(&b);
    wire_stored_quoted(&w, SV("..dot\r\n\xff\r\n"));
    assert_string_equal(buf_data(&b), "..dot\r\n=FF\r\n");
    buf_reset(&b);
    w.stuffed_dots = 0;
    wire_stored(&w, SV("a\r\n..b\r\n...\r\nc"));
    assert_string_equal(buf_data(&b), "a\r\n..b\r\n...\r\nc\r\n");
    assert_int_equal(w.stuffed_dots, 2);
    buf_free(&b);
}

/* --- letters --- */

#define HEADER                                                                       \
    "Received: from x\r\nSubject: Hello\r\n you\r\nMessage-ID: <m1@app.example>\r\n" \
    "From: a@b.org\r\n\r\n"

static struct outcome no_user = {
    .class_ = OUTCOME_BOUNCED,
    .phase = PHASE_RCPT,
    .code = 550,
    .enhanced = {5, 1, 1},
    .text = {"550 5.1.1 no such user", 22},
    .peer_host = {"mx.example.com", 14},
    .peer_ip = {"192.0.2.1", 9},
};

static struct envelope original = {
    .received_ms = NOW_MS - 3600000,
    .sender = {"a@b.org", 7},
    .envid = {"QQ+2B314", 8},
    .peer = {"192.0.2.77", 10},
    .remote_mta = {"app.example", 11},
    .job = {"spring", 6},
};

static struct dsn_letter_rcpt rcpt = {
    .address = {"nobody@example.com", 18},
    .orcpt = {"rfc822;no+2Bbody@example.com", 28},
    .outcome = &no_user,
    .attempts = 2,
    .last_ms = NOW_MS,
    .category = "bad-mailbox",
    .vmta = "mta1",
};

static struct dsn_letter letter(void)
{
    return (struct dsn_letter){
        .kind = DSN_FAILED,
        .host = "out.example.net",
        .pipe = "bulk",
        .boundary = "=_report_1",
        .message_id = "dsn.1@out.example.net",
        .id = "0000000000abc",
        .env = &original,
        .header = SV(HEADER),
        .rcpts = &rcpt,
        .rcpt_count = 1,
        .bounce_after_ms = 4 * 86400000ll + 43200000,
    };
}

static struct buf content;
static struct envelope notice;
static struct arena arena;

static const char *write_it(const struct dsn_letter *l)
{
    buf_reset(&content);
    arena_reset(&arena);
    clock_fake_set(NOW_MS);
    dsn_letter_write(l, &arena, &content, &notice);
    assert_int_equal(notice.content_bytes, buf_len(&content));
    assert_int_equal(notice.sender.len, 0);
    assert_memory_equal(buf_data(&content) + notice.header_bytes - 4, "\r\n\r\n", 4);
    uint32_t dots = 0;
    for (const char *p = buf_data(&content); (p = strstr(p, "\n.")); p++) {
        assert_int_equal(p[2], '.'); /* doubled */
        dots++;
    }
    assert_int_equal(notice.stuffed_dots, dots);
    const char *dump = getenv("PMTA_DSN_DUMP"); /* for other people's parsers */
    static unsigned number;
    if (dump) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%02u.eml", dump, number++);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fwrite(buf_data(&content), 1, buf_len(&content), f);
        fclose(f);
    }
    return buf_data(&content);
}

static void failure_letter(void **state)
{
    struct dsn_letter l = letter();

    (void)state;
    assert_string_equal(
        write_it(&l),
        "Date: Sat, 21 Nov 2026 04:05:06 +0000\r\n"
        "From: Mail delivery <postmaster@out.example.net>\r\n"
        "To: <a@b.org>\r\n"
        "Subject: Undelivered: Hello you\r\n"
        "Message-ID: <dsn.1@out.example.net>\r\n"
        "In-Reply-To: <m1@app.example>\r\n"
        "References: <m1@app.example>\r\n"
        "Auto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status;\r\n"
        " boundary=\"=_report_1\"\r\n"
        "\r\n"
        "This is a delivery notice in MIME format.\r\n"
        "\r\n"
        "--=_report_1\r\n"
        "Content-Type: text/plain; charset=us-ascii\r\n"
        "Content-Description: Notification\r\n"
        "\r\n"
        "This is the mail system at out.example.net.\r\n"
        "\r\n"
        "Your message could not be delivered to the following recipients. No further\r\n"
        "attempts will be made.\r\n"
        "\r\n"
        "  <nobody@example.com>\r\n"
        "    mx.example.com said: 550 5.1.1 no such user\r\n"
        "    attempts: 2\r\n"
        "\r\n"
        "The message was accepted on Sat, 21 Nov 2026 03:05:06 +0000.\r\n"
        "Its subject: Hello you\r\n"
        "\r\n"
        "--=_report_1\r\n"
        "Content-Type: message/delivery-status\r\n"
        "Content-Description: Delivery report\r\n"
        "\r\n"
        "Original-Envelope-Id: QQ+314\r\n"
        "Reporting-MTA: dns; out.example.net\r\n"
        "X-PipeMTA-VirtualMTA: mta1\r\n"
        "X-PipeMTA-Job: spring\r\n"
        "X-PipeMTA-Message-ID: 0000000000abc\r\n"
        "Received-From-MTA: dns; app.example (192.0.2.77)\r\n"
        "Arrival-Date: Sat, 21 Nov 2026 03:05:06 +0000\r\n"
        "\r\n"
        "Original-Recipient: rfc822; no+body@example.com\r\n"
        "Final-Recipient: rfc822; nobody@example.com\r\n"
        "Action: failed\r\n"
        "Status: 5.1.1\r\n"
        "Remote-MTA: dns; mx.example.com (192.0.2.1)\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
        "Last-Attempt-Date: Sat, 21 Nov 2026 04:05:06 +0000\r\n"
        "Final-Log-ID: 0000000000abc.0\r\n"
        "X-PipeMTA-Attempts: 2\r\n"
        "X-PipeMTA-BounceCategory: bad-mailbox\r\n"
        "\r\n"
        "--=_report_1\r\n"
        "Content-Type: text/rfc822-headers\r\n"
        "Content-Description: Message header\r\n"
        "\r\n" HEADER "--=_report_1--\r\n");
    assert_int_equal(notice.flags, 0);
    assert_int_equal(notice.rcpt_count, 1);
    assert_sv_equal(notice.rcpts[0].address, "a@b.org");
    assert_int_equal(notice.rcpts[0].notify, NOTIFY_NEVER);
}

static void has(const char *part)
{
    if (!strstr(buf_data(&content), part))
        fail_msg("no '%s' in:\n%s", part, buf_data(&content));
}

static void has_not(const char *part)
{
    if (strstr(buf_data(&content), part))
        fail_msg("'%s' in:\n%s", part, buf_data(&content));
}

static void returns_all_of_it(void **state)
{
    struct dsn_letter l = letter();

    (void)state;
    l.content = SV(HEADER "body\r\n..dot\r\n-- =_report_1\r\n");
    write_it(&l);
    has("Content-Type: message/rfc822\r\nContent-Description: Undelivered message\r\n\r\n" HEADER
        "body\r\n..dot\r\n-- =_report_1\r\n\r\n--=_report_1--\r\n");
    assert_int_equal(notice.flags, 0);
    l.content = SV(HEADER "gr\xc3\xbc\xc3\x9f"
                          "e\r\n");
    write_it(&l);
    has("Content-Type: message/rfc822\r\nContent-Description: Undelivered message\r\n"
        "Content-Transfer-Encoding: 8bit\r\n\r\n");
    assert_int_equal(notice.flags, ENVELOPE_8BIT);
}

static void expired_letter(void **state)
{
    struct dsn_letter l = letter();
    struct outcome o = {
        .class_ = OUTCOME_EXPIRED,
        .enhanced = {5, 4, 7},
        .text = SV("not delivered within 4d12h (bounce-after); last: 450 4.2.0 later"),
    };
    struct dsn_letter_rcpt r = rcpt;

    (void)state;
    r.outcome = &o;
    r.attempts = 57;
    l.rcpts = &r;
    write_it(&l);
    has("    not delivered within 4d12h (bounce-after); last: 450 4.2.0 later\r\n"
        "    attempts: 57\r\n");
    has("accepted on Sat, 21 Nov 2026 03:05:06");
    has("Status: 5.4.7\r\nDiagnostic-Code: x-pipemta; not delivered within 4d12h (bounce-after); "
        "last:\r\n 450 4.2.0 later\r\n");
    has_not("Remote-MTA");
}

static void delay_letter(void **state)
{
    struct dsn_letter l = letter();
    struct outcome o = {.class_ = OUTCOME_DEFERRED,
                        .code = 450,
                        .enhanced = {4, 2, 0},
                        .text = SV("450 4.2.0 greylisted")};
    struct dsn_letter_rcpt two[2] = {rcpt, rcpt};

    (void)state;
    l.kind = DSN_DELAYED;
    l.subject = "still trying: ${retryAfter} ${bounceAfter} ${timeQueued} ${recipient}";
    l.next_ms = NOW_MS + 600000;
    two[0].outcome = two[1].outcome = &o;
    two[1].address = SV("second@example.com");
    two[1].number = 4;
    two[1].orcpt = sv(NULL, 0);
    l.rcpts = two;
    l.rcpt_count = 2;
    write_it(&l);
    has("Subject: still trying: 10m 4d12h 1h nobody@example.com, second@example.com\r\n");
    has("Action: delayed\r\nStatus: 4.2.0\r\n");
    has("Will-Retry-Until: Wed, 25 Nov 2026 15:05:06 +0000\r\n");
    has("\r\n\r\nFinal-Recipient: rfc822; second@example.com\r\n");
    has("Final-Log-ID: 0000000000abc.4\r\n");
}

static void relayed_letter(void **state)
{
    struct dsn_letter l = letter();
    struct outcome o = no_user;
    struct dsn_letter_rcpt r = rcpt;

    (void)state;
    o.class_ = OUTCOME_DELIVERED;
    o.code = 250;
    o.enhanced = (struct enhanced_code){2, 0, 0};
    o.text = SV("250 2.0.0 ok");
    r.outcome = &o;
    r.category = NULL;
    l.rcpts = &r;
    l.kind = DSN_RELAYED;
    write_it(&l);
    has("Subject: Relayed: Hello you\r\n");
    has("Action: relayed\r\nStatus: 2.0.0\r\n");
    has_not("attempts:");
    has_not("BounceCategory");
}

/* RFC 6533 */
static void international_letters(void **state)
{
    struct dsn_letter l = letter();
    struct envelope env = original;
    struct dsn_letter_rcpt r = rcpt;

    (void)state;
    env.flags = ENVELOPE_SMTPUTF8;
    r.address = SV("j\xc3\xb6rg@example.com");
    r.orcpt = SV("utf-8;\\x{1F600}x@example.com");
    l.env = &env;
    l.rcpts = &r;
    l.header = SV("Subject: Gr\xc3\xbc\xc3\x9f"
                  "e\r\n\r\n");
    /* a sender in ASCII may be anywhere: 7-bit all the way */
    write_it(&l);
    assert_int_equal(notice.flags, 0);
    has("Subject: =?utf-8?B?VW5kZWxpdmVyZWQ6IEdyw7zDn2U=?=\r\n");
    has("Content-Type: message/global-delivery-status\r\nContent-Description: Delivery report\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n");
    has("Original-Recipient: utf-8; =F0=9F=98=80x@example.com\r\n");
    has("Final-Recipient: utf-8; j=C3=B6rg@example.com\r\n");
    has("Content-Type: message/global-headers\r\n");
    has("Subject: Gr=C3=BC=C3=9Fe\r\n");
    /* a sender that is not has a host that speaks SMTPUTF8 */
    env.sender = SV("\xc3\xa4@b.org");
    write_it(&l);
    assert_int_equal(notice.flags, ENVELOPE_8BIT | ENVELOPE_SMTPUTF8);
    has("To: <\xc3\xa4@b.org>\r\n");
    has("Final-Recipient: utf-8; j\xc3\xb6rg@example.com\r\n");
    has("Content-Transfer-Encoding: 8bit\r\n");
    l.content = SV("Subject: Gr\xc3\xbc\xc3\x9f"
                   "e\r\n\r\nbody\r\n");
    write_it(&l);
    has("Content-Type: message/global\r\n");
    /* of a message in ASCII: the form for hosts that know nothing of it */
    env.flags = 0;
    env.sender = SV("a@b.org");
    r.address = SV("plain@example.com");
    r.orcpt = SV("utf-8;j\xc3\xb6rg@example.com");
    l.content = sv(NULL, 0);
    l.header = SV(HEADER);
    write_it(&l);
    has("Original-Recipient: utf-8; j\\x{00F6}rg@example.com\r\n");
    has("Content-Type: message/delivery-status\r\n");
    assert_int_equal(notice.flags, 0);
}

static void what_peers_say_does_no_harm(void **state)
{
    struct dsn_letter l = letter();
    struct outcome o = no_user;
    struct dsn_letter_rcpt r = rcpt;

    (void)state;
    o.text = SV("550 a\r\n--=_report_1--\r\n\r\n.\r\nFinal-Recipient: x \xff\xfe");
    r.outcome = &o;
    r.orcpt = SV("rfc822;a+0D+0ABcc:x");
    l.rcpts = &r;
    l.header = SV("Subject: x\r\n\tBcc: y\r\nMessage-ID: no angle\r\n\r\n");
    write_it(&l);
    has("Original-Recipient: rfc822; a  Bcc:x\r\n");
    has("Diagnostic-Code: smtp; 550 a  --=_report_1--    .  Final-Recipient: x ??\r\n");
    const char *end = strstr(buf_data(&content), "\r\n--=_report_1--\r\n");
    assert_non_null(end);
    assert_string_equal(end, "\r\n--=_report_1--\r\n"); /* once, at the end */
    l.header = sv(NULL, 0);
    write_it(&l);
    has("Subject: Undelivered: (no subject)\r\n");
}

static void own_texts(void **state)
{
    struct dsn_letter l = letter();

    (void)state;
    l.from = "Post von ${hostname} <post@b.org>";
    l.subject = "${status} f\xc3\xbcr ${recipient}";
    l.body = "Hallo ${originator},\\n\\n.${response}\\n";
    l.plain_text = true;
    l.copy_to = SV("boss@b.org, log@b.org");
    l.held = (struct dsn_held){7, NOW_MS - 60000};
    write_it(&l);
    has("From: Post von out.example.net <post@b.org>\r\n");
    has("Subject: =?utf-8?B?");
    has("Hallo a@b.org,\r\n\r\n..550 5.1.1 no such user\r\n");
    has("\r\n7 more notices about your mail were held back since\r\n"
        "Sat, 21 Nov 2026 04:04:06 +0000, because there were too many.\r\n");
    has("Content-Type: text/plain\r\nContent-Description: Delivery report\r\n");
    assert_int_equal(notice.rcpt_count, 3);
    assert_sv_equal(notice.rcpts[1].address, "boss@b.org");
    assert_sv_equal(notice.rcpts[2].address, "log@b.org");
}

static void many_recipients(void **state)
{
    static struct dsn_letter_rcpt all[DSN_MAX_RCPTS];
    struct dsn_letter l = letter();

    (void)state;
    for (uint32_t i = 0; i < DSN_MAX_RCPTS; i++) {
        all[i] = rcpt;
        all[i].number = i;
    }
    l.rcpts = all;
    l.rcpt_count = DSN_MAX_RCPTS;
    write_it(&l);
    has("more, see the status part\r\n");
    has("Final-Log-ID: 0000000000abc.999\r\n");
    l.subject = "${recipient}"; /* folded, not cut off */
    write_it(&l);
}

/* Whatever peers and applications say: lines that SMTP takes, one boundary at each part. */
static void any_bytes(void **state)
{
    static char bytes[8][400];
    unsigned seed = 1;

    (void)state;
    for (int run = 0; run < 2000; run++) {
        struct dsn_letter l = letter();
        struct envelope env = original;
        struct outcome o = no_user;
        struct dsn_letter_rcpt r = rcpt;
        struct strview v[8];
        for (size_t i = 0; i < ARRAY_LEN(v); i++) {
            size_t len = (seed = seed * 1103515245 + 12345) >> 16 & 255;
            for (size_t k = 0; k < len; k++)
                bytes[i][k] = (char)((seed = seed * 1103515245 + 12345) >> 16);
            v[i] = sv(bytes[i], len);
        }
        o.text = v[0];
        o.peer_host = v[1];
        r.address = v[2];
        r.orcpt = v[3];
        env.envid = v[4];
        env.job = v[5];
        env.remote_mta = v[6];
        env.flags = run & 1 ? ENVELOPE_SMTPUTF8 : 0;
        env.sender = run & 2 ? SV("\xc3\xa4@b.org") : SV("a@b.org");
        l.subject = run & 4 ? "${subject} ${response} ${recipient} ${jobId}" : NULL;
        r.outcome = &o;
        l.rcpts = &r;
        l.env = &env;
        buf_reset(&content);
        arena_reset(&arena);
        dsn_letter_write(&l, &arena, &content, &notice);
        unsigned parts = 0;
        const char *p = buf_data(&content), *all = p + buf_len(&content);
        for (const char *end; p < all; p = end + 1) {
            end = memchr(p, '\n', (size_t)(all - p));
            assert_non_null(end);
            assert_true(end > p && end[-1] == '\r' && end - p <= 999);
            assert_false(memchr(p, '\r', (size_t)(end - p - 1)) || memchr(p, 0, (size_t)(end - p)));
            assert_false(p[0] == '.' && p[1] != '.');
            parts += strncmp(p, "--=_report_1", 12) == 0;
        }
        assert_int_equal(parts, 4);
    }
}

static int tear_down(void **state)
{
    (void)state;
    buf_free(&content);
    arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decides),
        cmocka_unit_test(counts_delays),
        cmocka_unit_test(limits_each_sender),
        cmocka_unit_test(limits_hold_over_a_restart),
        cmocka_unit_test(what_is_kept_has_a_limit),
        cmocka_unit_test(damaged_counts_are_passed_over),
        cmocka_unit_test(reads_xtext),
        cmocka_unit_test(templates),
        cmocka_unit_test(documented),
        cmocka_unit_test(fields),
        cmocka_unit_test(quoted),
        cmocka_unit_test(failure_letter),
        cmocka_unit_test(returns_all_of_it),
        cmocka_unit_test(expired_letter),
        cmocka_unit_test(delay_letter),
        cmocka_unit_test(relayed_letter),
        cmocka_unit_test(international_letters),
        cmocka_unit_test(what_peers_say_does_no_harm),
        cmocka_unit_test(own_texts),
        cmocka_unit_test(many_recipients),
        cmocka_unit_test(any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
