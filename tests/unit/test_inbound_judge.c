/*
 * What becomes of reports: whom a token says they are about, which records they make, who is
 * suppressed, and that forged ones suppress nobody. With the real addresses of verp.
 */
#include "config_memory.h"

#include "inbound/judge.h"
#include "inbound/parse.h"

#include <stdio.h>

static const char config_text_[] =
    "[pmta]\n[listener 127.0.0.1:2525]\n[pipe bulk]\nverp = yes\n"
    "bounce-address = b@back.example\nunsubscribe-address = u@back.example\n"
    "[bounce-processor main]\ninbound-address = b+*@back.example\ninbound-address = "
    "plain@back.example\n"
    "[bounce-processor trusting]\ninbound-address = trusted@back.example\ntrust-plain-reports = "
    "yes\n"
    "suppress-reported-scope = domain\nsuppress-reported-categories = quota-issues\n"
    "suppress-reported-for = 30d\n"
    "[feedback-loop-processor fbl]\ninbound-address = fbl@back.example\n"
    "suppress-reported-scope = job\n"
    "[feedback-loop-processor unset]\ninbound-address = plain-fbl@back.example\n"
    "[bounce-category-patterns]\npattern = // status=x.1.1 bad-mailbox\n"
    "pattern = // status=x.2.2 quota-issues\n";

static struct fixture {
    struct config *cfg;
    struct verp *verp;
    struct classify *classify;
    struct arena arena;
    struct inbound_report report;
    struct inbound_settings settings;
    struct judgement j;
} w;

static int set_up(void **state)
{
    const char *files[] = {"d/a.conf", config_text_, NULL};
    struct config_report r = {0};
    struct mail_token_key key = {{1, 2, 3}};
    (void)state;

    memset(&w, 0, sizeof(w));
    clock_fake_set(1795233906000);
    if (load_files(files, &w.cfg, &r) < 0)
        fail_msg("%s", buf_data(&r.text));
    buf_free(&r.text);
    w.verp = verp_new("bulk", NULL, NULL);
    verp_set_key(w.verp, &key);
    verp_configure(w.verp, w.cfg);
    w.classify = classify_new(w.cfg);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    judgement_free(&w.j);
    verp_free(w.verp);
    classify_free(w.classify);
    config_unref(w.cfg);
    arena_free(&w.arena);
    return 0;
}

/* An address of ours for that recipient. */
static const char *token(const char *base, enum mail_token_use use, const char *rcpt)
{
    const struct verp_mail m = {SV("j7"), SV("mta1"), SV("news@shop.example"), sv_of(rcpt)};
    struct verp_base b = verp_base_of(base);
    struct mail_token t = {.use = use};
    struct buf out = {0};

    verp_token(w.verp, &m, &t);
    assert_true(verp_address(w.verp, &b, &t, sv_of(rcpt), &out));
    const char *ret = arena_strdup(&w.arena, buf_data(&out));
    buf_free(&out);
    return ret;
}

static void judge_text(const char *address, const char *text)
{
    struct inbound_match m;

    assert_true(inbound_table_find(verp_table(w.verp), sv_of(address), &m));
    inbound_settings_get(w.cfg, &m, &w.settings);
    inbound_parse(sv_of(arena_strdup(&w.arena, text)),
                  &(struct inbound_wanted){.null_sender = true,
                                           .for_feedback = m.use == INBOUND_FEEDBACK,
                                           .own = sv_of(address),
                                           .time_ms = 10000},
                  &w.arena, &w.report);
    judgement_free(&w.j);
    judge(&(struct judge_input){.report = &w.report,
                                .settings = &w.settings,
                                .verp = w.verp,
                                .classify = w.classify,
                                .pipe = SV("bulk"),
                                .address = sv_of(address),
                                .header_names = SV("\nsubject\n"),
                                .id = 12345,
                                .rcpt = 2},
          &w.arena, &w.j);
}

static char *dsn(const char *rcpts)
{
    static char text[4000];

    snprintf(text, sizeof(text),
             "From: MAILER-DAEMON@x.example\nContent-Type: multipart/report; boundary=b; "
             "report-type=delivery-status\n\n--b\n\nfailed\n--b\nContent-Type: "
             "message/delivery-status\n\nReporting-MTA: dns; x.example\n\n%s\n--b\nContent-Type: "
             "text/rfc822-headers\n\nSubject: November\n--b--\n",
             rcpts);
    return text;
}

#define GONE(address)                   \
    "Final-Recipient: rfc822; " address \
    "\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 no\n\n"

static void a_token_says_whom_a_bounce_is_about(void **state)
{
    (void)state;
    judge_text(token("b@back.example", MAIL_TOKEN_BOUNCE, "kim@dest.example"),
               dsn(GONE("other@dest.example") GONE("third@dest.example")));
    assert_true(w.j.matched && w.j.trusted);
    assert_int_equal(w.j.record_count, 1);
    const struct judged_record *x = &w.j.records[0];
    assert_int_equal(x->event.record, ACCT_RB);
    assert_sv_equal(x->event.rcpt, "kim@dest.example");
    assert_sv_equal(x->event.orcpt, "other@dest.example");
    assert_sv_equal(x->event.orig, "news@shop.example");
    assert_sv_equal(x->event.job, "j7");
    assert_sv_equal(x->event.vmta, "mta1");
    assert_sv_equal(x->event.headers, "Subject: November\n");
    assert_sv_equal(x->remote.category, "bad-mailbox");
    assert_true(sv_ends_nocase(x->event.id, SV(".2.0")));
    assert_int_equal(w.j.entry_count, 1);
    assert_sv_equal(w.j.entries[0].address, "kim@dest.example");
    assert_int_equal(w.j.entries[0].reason, SUPPRESS_BY_BOUNCE);
    assert_int_equal(w.j.entries[0].scope, SUPPRESS_GLOBAL); /* it is gone for everybody */
    assert_int_equal(w.j.entries[0].scope_name.len, 0);
    assert_int_equal(w.j.entries[0].expires_ms, 0);
}

/* The recipient does not fit into a local part: its hash does, and the report names it. */
static void a_hash_is_held_against_the_report(void **state)
{
    const char *rcpt = "somebody.with.a.long.name@department.of.a.large.company.example";
    const char *address = token("b@back.example", MAIL_TOKEN_BOUNCE, rcpt);
    char text[600];
    (void)state;

    snprintf(
        text, sizeof(text),
        GONE("x@dest.example") "Final-Recipient: rfc822; %s\nAction: failed\nStatus: 5.2.2\n\n",
        rcpt);
    judge_text(address, dsn(text));
    assert_sv_equal(w.j.records[0].event.rcpt, rcpt);
    assert_sv_equal(w.j.records[0].remote.status, "5.2.2");
    assert_int_equal(w.j.entry_count, 0);             /* quota-issues do not feed it here */
    judge_text(address, dsn(GONE("x@dest.example"))); /* nobody that the token knows */
    assert_sv_equal(w.j.records[0].event.rcpt, "x@dest.example");
    assert_int_equal(w.j.entry_count, 0);
}

static void plain_reports_suppress_nobody(void **state)
{
    (void)state;
    judge_text("plain@back.example", dsn(GONE("a@dest.example") GONE("b@dest.example")));
    assert_int_equal(w.j.record_count, 2);
    assert_false(w.j.trusted);
    assert_sv_equal(w.j.records[1].event.rcpt, "b@dest.example");
    assert_sv_equal(w.j.records[1].event.orig, "plain@back.example");
    assert_int_equal(w.j.records[1].event.job.len, 0);
    assert_int_equal(w.j.entry_count, 0);

    judge_text("trusted@back.example",
               dsn(GONE("a@dest.example") "Final-Recipient: rfc822; full@dest.example\nAction: "
                                          "failed\nStatus: 5.2.2\n\n"));
    assert_int_equal(w.j.record_count, 2);
    assert_int_equal(w.j.entry_count, 1); /* its categories */
    assert_sv_equal(w.j.entries[0].address, "full@dest.example");
    assert_int_equal(w.j.entries[0].scope, SUPPRESS_DOMAIN);
    assert_int_equal(w.j.entries[0].expires_ms, clock_wall_ms() + 30LL * 86400000);
}

static void a_delay_is_a_status_and_suppresses_nobody(void **state)
{
    (void)state;
    judge_text(
        token("b@back.example", MAIL_TOKEN_BOUNCE, "kim@dest.example"),
        dsn("Final-Recipient: rfc822; kim@dest.example\nAction: delayed\nStatus: 4.1.1\n\n"));
    assert_int_equal(w.j.records[0].event.record, ACCT_RS);
    assert_sv_equal(w.j.records[0].remote.action, "delayed");
    assert_int_equal(w.j.entry_count, 0);
}

static char *arf(const char *type, const char *header)
{
    static char text[4000];

    snprintf(
        text, sizeof(text),
        "From: fbl@isp.example\nContent-Type: multipart/report; boundary=b; "
        "report-type=feedback-report\n\n--b\n\nspam\n--b\nContent-Type: "
        "message/feedback-report\n\nFeedback-Type: %s\nUser-Agent: isp/1\nSource-IP: "
        "192.0.2.1\n\n--b\nContent-Type: message/rfc822\n\n%sSubject: November\n\nhello\n--b--\n",
        type, header);
    return text;
}

static void a_redacted_complaint_is_found_by_what_came_back(void **state)
{
    static const struct {
        const char *type;
        size_t entries;
        enum suppress_reason reason;
    } rows[] = {{"abuse", 1, SUPPRESS_BY_COMPLAINT},
                {"opt-out", 1, SUPPRESS_BY_UNSUBSCRIBE},
                {"not-spam", 0, SUPPRESS_BY_MANUAL}};
    char header[600];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(header, sizeof(header), "Return-Path: <%s>\nTo: redacted\n",
                 token("b@back.example", MAIL_TOKEN_BOUNCE, "kim@dest.example"));
        judge_text("fbl@back.example", arf(rows[i].type, header));
        assert_int_equal(w.j.record_count, 1);
        assert_int_equal(w.j.records[0].event.record, ACCT_F);
        assert_sv_equal(w.j.records[0].event.rcpt, "kim@dest.example");
        assert_sv_equal(w.j.records[0].event.job, "j7");
        assert_sv_equal(w.j.records[0].remote.source_ip, "192.0.2.1");
        assert_int_equal(w.j.entry_count, rows[i].entries);
        if (rows[i].entries) {
            assert_int_equal(w.j.entries[0].reason, rows[i].reason);
            assert_int_equal(w.j.entries[0].scope, SUPPRESS_JOB);
            assert_sv_equal(w.j.entries[0].scope_name, "j7");
        }
    }
}

/* Where no directive says otherwise, a complaint holds for the stream that it is about. */
static void a_complaint_holds_for_its_pipe(void **state)
{
    char header[600];
    (void)state;

    snprintf(header, sizeof(header), "Return-Path: <%s>\nTo: redacted\n",
             token("b@back.example", MAIL_TOKEN_BOUNCE, "kim@dest.example"));
    judge_text("plain-fbl@back.example", arf("abuse", header));
    assert_int_equal(w.j.entry_count, 1);
    assert_int_equal(w.j.entries[0].reason, SUPPRESS_BY_COMPLAINT);
    assert_int_equal(w.j.entries[0].scope, SUPPRESS_PIPE);
    assert_sv_equal(w.j.entries[0].scope_name, "bulk");
}

/* As it stands in a link: = is %3D. */
static void a_link_in_the_original_is_enough(void **state)
{
    const char *address = token("u@back.example", MAIL_TOKEN_UNSUBSCRIBE, "kim@dest.example");
    char header[900];
    size_t n = (size_t)snprintf(header, sizeof(header), "List-Unsubscribe: <mailto:");
    (void)state;

    for (const char *p = address; *p; p++)
        n += (size_t)snprintf(header + n, sizeof(header) - n, *p == '=' ? "%%3D" : "%c", *p);
    snprintf(header + n, sizeof(header) - n, "?subject=unsubscribe>\n");
    judge_text("fbl@back.example", arf("abuse", header));
    assert_true(w.j.trusted);
    assert_sv_equal(w.j.records[0].event.rcpt, "kim@dest.example");
    assert_int_equal(w.j.entry_count, 1);
}

static void a_forged_complaint_is_only_written_down(void **state)
{
    (void)state;
    judge_text("fbl@back.example",
               arf("abuse", "Return-Path: <b+aaaabbbbccccddddeeeeffffgggg@back.example>\n"
                            "To: victim@dest.example\n"));
    assert_int_equal(w.j.record_count, 1);
    assert_sv_equal(w.j.records[0].event.rcpt, "victim@dest.example");
    assert_int_equal(w.j.entry_count, 0);
}

static void mail_to_an_unsubscribe_address_unsubscribes(void **state)
{
    const char *address = token("u@back.example", MAIL_TOKEN_UNSUBSCRIBE, "kim@dest.example");
    (void)state;

    judge_text(address, "From: kim@dest.example\nSubject: unsubscribe\n\n");
    assert_true(w.j.matched);
    assert_string_equal(w.j.what, "unsubscribe");
    assert_sv_equal(w.j.records[0].remote.feedback_type, "opt-out");
    assert_int_equal(w.j.entry_count, 1);
    assert_int_equal(w.j.entries[0].reason, SUPPRESS_BY_UNSUBSCRIBE);
    assert_sv_equal(w.j.entries[0].address, "kim@dest.example");
    judge_text(address, "From: kim@dest.example\nSubject: Automatic reply: x\n\naway\n");
    assert_false(w.j.matched);
    assert_int_equal(w.j.entry_count, 0);
}

static void automatic_answers_make_no_record(void **state)
{
    (void)state;
    judge_text(
        token("b@back.example", MAIL_TOKEN_BOUNCE, "kim@dest.example"),
        "From: kim@dest.example\nSubject: Out of office\nAuto-Submitted: auto-replied\n\naway\n");
    assert_false(w.j.matched);
    assert_int_equal(w.j.record_count, 0);
    assert_string_equal(w.j.what, "auto-reply");
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_token_says_whom_a_bounce_is_about),
        CASE(a_hash_is_held_against_the_report),
        CASE(plain_reports_suppress_nobody),
        CASE(a_delay_is_a_status_and_suppresses_nobody),
        CASE(a_redacted_complaint_is_found_by_what_came_back),
        CASE(a_complaint_holds_for_its_pipe),
        CASE(a_link_in_the_original_is_enough),
        CASE(a_forged_complaint_is_only_written_down),
        CASE(mail_to_an_unsubscribe_address_unsubscribes),
        CASE(automatic_answers_make_no_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
