/*
 * Bounce categories: rules and their order, and the shipped rules against labelled replies
 * (tests/data/bounces.tsv, which they were made with, and bounces-held-out.tsv, which was written
 * before them and put aside). Prints precision and recall per category.
 */
#include "unit.h"

#include "classify/classify.h"
#include "classify/unclassified.h"

#include "config_memory.h"

#include <stdio.h>
#include <time.h>

static struct classify *load_dir(const char *dir)
{
    struct config_report report = {0};
    struct config *cfg;

    if (config_load(dir, 1, &cfg, &report) < 0)
        fail_msg("%s", buf_data(&report.text));
    buf_free(&report.text);
    struct classify *c = classify_new(cfg);
    config_unref(cfg);
    return c;
}

static struct classify *shipped(void)
{
    const char *dir = getenv("PMTA_SHIPPED_CONFIG");

    assert_non_null(dir);
    return load_dir(dir);
}

/* --- labelled replies --- */

enum { MAX_NAMES = BOUNCE_CATEGORY_COUNT };

struct figures {
    unsigned labelled[MAX_NAMES], named[MAX_NAMES], both[MAX_NAMES];
    unsigned total, right;
};

static enum outcome_phase phase_of(struct strview name)
{
    for (unsigned p = 0; p < OUTCOME_PHASE_COUNT; p++)
        if (sv_eq(name, sv_of(outcome_phase_name((enum outcome_phase)p))))
            return (enum outcome_phase)p;
    fail_msg("'%.*s' is no phase", SV_ARG(name));
    return PHASE_QUEUE;
}

static void judge(const struct classify *c, struct strview line, struct figures *f, bool tell)
{
    struct strview rest = line, label, phase;
    enum bounce_category want, got;
    struct classification k;
    struct outcome o;
    struct buf text = {0};
    struct err e = {0};

    assert_true(sv_split(&rest, '\t', &label) && sv_split(&rest, '\t', &phase) && rest.len);
    if (!bounce_category_find(label, &want))
        fail_msg("'%.*s' is no category", SV_ARG(label));
    if (classify_parse_reply(rest, phase_of(phase), &text, &o, &e) < 0)
        fail_msg("%s", e.text);
    classify_outcome(c, &o, &k);
    assert_true(bounce_category_find(sv_of(k.category), &got));
    f->labelled[want]++;
    f->named[got]++;
    f->both[want] += want == got;
    f->right += want == got;
    f->total++;
    if (want != got && tell)
        print_message("  %-20s not %-20s by line %u (%s): %.*s\n", bounce_category_name(want),
                      k.category, k.line, k.by, (int)MIN_OF(rest.len, (size_t)110), rest.ptr);
    buf_free(&text);
}

static void judge_file(const char *name, struct figures *f, bool tell)
{
    struct classify *c = shipped();
    const char *dir = getenv("PMTA_TEST_DATA");
    char path[4096], line[4096];
    bool header = true;

    assert_non_null(dir);
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        if (!header)
            judge(c, sv_trim(sv_of(line)), f, tell);
        header = false;
    }
    fclose(file);
    classify_free(c);
}

static unsigned percent(unsigned part, unsigned whole)
{
    return whole ? part * 100 / whole : 100;
}

/* The floors hold for each category that has at least that many replies. */
static void print_figures(const char *title, const struct figures *f, unsigned least,
                          unsigned floor_precision, unsigned floor_recall)
{
    unsigned below = 0;

    print_message("%s: %u replies, %u%% right\n  %-20s %7s %9s %7s\n", title, f->total,
                  percent(f->right, f->total), "category", "replies", "precision", "recall");
    for (unsigned i = 0; i < MAX_NAMES; i++) {
        unsigned precision = percent(f->both[i], f->named[i]);
        unsigned recall = percent(f->both[i], f->labelled[i]);
        bool counts = f->labelled[i] >= least;
        bool low = counts && (precision < floor_precision || recall < floor_recall);
        print_message("  %-20s %7u %8u%% %6u%%%s\n", bounce_category_name((enum bounce_category)i),
                      f->labelled[i], precision, recall, low ? "  below the floor" : "");
        below += low;
    }
    assert_int_equal(below, 0);
}

static void shipped_rules_know_the_replies(void **state)
{
    struct figures f = {0};
    (void)state;

    judge_file("bounces.tsv", &f, true);
    assert_true(f.total >= 300);
    for (unsigned i = 0; i < MAX_NAMES; i++)
        assert_true(f.labelled[i] > 0);
    print_figures("replies that the rules were made with", &f, 4, 95, 95);
}

static void shipped_rules_hold_for_others(void **state)
{
    struct figures f = {0};
    (void)state;

    judge_file("bounces-held-out.tsv", &f, getenv("PMTA_TELL_HELD_OUT") != NULL);
    assert_true(f.total >= 100);
    print_figures("replies that were put aside", &f, 7, 85, 85);
    assert_true(percent(f.right, f.total) >= 90);
}

/* --- the rules of a configuration --- */

#define NEEDED "[pipe p]\n[listener 127.0.0.1:2525]\n"

static struct classify *from_text(const char *text)
{
    const char *files[] = {"d/a.conf", text, "d/b.conf", NEEDED, NULL};
    struct config_report report = {0};
    struct config *cfg;

    if (load_files(files, &cfg, &report) < 0)
        fail_msg("%s", buf_data(&report.text));
    buf_free(&report.text);
    struct classify *c = classify_new(cfg);
    config_unref(cfg);
    return c;
}

static void says(const struct classify *c, const char *reply, enum outcome_phase phase,
                 const char *category, unsigned line, const char *by)
{
    struct classification k;
    struct buf text = {0};
    struct outcome o;
    struct err e;

    assert_int_equal(classify_parse_reply(sv_of(reply), phase, &text, &o, &e), 0);
    classify_outcome(c, &o, &k);
    assert_string_equal(k.category, category);
    assert_int_equal(k.line, line);
    assert_string_equal(k.by, by);
    assert_int_equal(k.file != NULL, line > 0);
    buf_free(&text);
}

static void own_rules_come_first(void **state)
{
    (void)state;
    struct classify *c = from_text("[bounce-category-patterns shipped]\n"
                                   "pattern = /user/ bad-mailbox\n"
                                   "pattern = // code=45x my-later\n"
                                   "[bounce-category-patterns]\n"
                                   "pattern = /special user/ status=5.1.1 Vip\n"
                                   "pattern = /^5\\.7\\.1;smtp;55/ phase=end-of-data my-policy\n");
    says(c, "550 5.1.1 special user", PHASE_RCPT, "vip", 5, "enhanced status and text");
    says(c, "550 5.1.0 special user", PHASE_RCPT, "bad-mailbox", 2, "text");
    says(c, "554 5.7.1 no", PHASE_END_OF_DATA, "my-policy", 6, "phase and text");
    says(c, "554 5.7.1 no", PHASE_RCPT, "policy-related", 0, "enhanced status");
    says(c, "450 no", PHASE_RCPT, "my-later", 3, "reply code");
    says(c, "503 no", PHASE_RCPT, "protocol-errors", 0, "reply code");
    says(c, "550 no", PHASE_RCPT, "other", 0, "nothing known");
    classify_free(c);
}

static void own_words_go_by_phase(void **state)
{
    static const struct {
        struct outcome o;
        const char *category;
    } rows[] = {
        {{.class_ = OUTCOME_EXPIRED, .phase = PHASE_RCPT, .enhanced = {5, 4, 7}},
         "message-expired"},
        {{.class_ = OUTCOME_DELETED, .enhanced = {5, 7, 0}}, "other"},
        {{.class_ = OUTCOME_BOUNCED, .phase = PHASE_DNS, .enhanced = {5, 1, 2}}, "bad-domain"},
        {{.class_ = OUTCOME_BOUNCED, .phase = PHASE_DNS, .enhanced = {5, 1, 10}}, "bad-domain"},
        {{.class_ = OUTCOME_BOUNCED, .phase = PHASE_DNS, .enhanced = {5, 4, 4}}, "routing-errors"},
        {{.class_ = OUTCOME_DEFERRED, .phase = PHASE_DNS, .enhanced = {4, 4, 3}}, "routing-errors"},
        {{.class_ = OUTCOME_DEFERRED, .phase = PHASE_CONNECT, .enhanced = {4, 4, 1}},
         "no-answer-from-host"},
        {{.class_ = OUTCOME_DEFERRED, .phase = PHASE_DATA, .enhanced = {4, 4, 2}},
         "bad-connection"},
        {{.class_ = OUTCOME_DEFERRED, .phase = PHASE_DATA}, "bad-connection"},
    };
    (void)state;
    struct classify *c = shipped();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct outcome o = rows[i].o;
        struct classification k;
        o.text = SV("the user's mailbox is full of spam"); /* ours: words do not count */
        classify_outcome(c, &o, &k);
        assert_string_equal(k.category, rows[i].category);
        assert_true(k.caught);
    }
    classify_free(c);
}

static void wrong_rules_are_refused(void **state)
{
    static const struct {
        const char *rule, *expected;
    } rows[] = {
        {"user unknown bad-mailbox", "has no regular expression"},
        {"/x/", "a category is missing"},
        {"/x/ two words", "'words' stands after the category"},
        {"/x/ colour=red other", "expected status=, code= or phase="},
        {"/x/ status=5.1 other", "status: '5.1' is not valid"},
        {"/x/ status=9.1.1 other", "status: '9.1.1' is not valid"},
        {"/x/ code=5x1 other", "code: '5x1' is not valid"},
        {"/x/ code=600 other", "code: '600' is not valid"},
        {"/x/ code=550 code=551 other", "'code' stands twice"},
        {"/x/ phase=lunch other", "phase: 'lunch' is not valid"},
        {"/x/ status= other", "'status=' needs a value"},
        {"/x/ a.b", "category: 'a.b' is not valid"},
        {"/(/ other", "regular expression is not valid"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[300];
        const char *files[] = {"d/a.conf", text, NULL};
        struct config_report report = {0};
        struct config *cfg;
        snprintf(text, sizeof(text), "[bounce-category-patterns]\npattern = %s\n", rows[i].rule);
        assert_true(load_files(files, &cfg, &report) < 0);
        assert_non_null(strstr(buf_data(&report.text), "d/a.conf:2: "));
        if (!strstr(buf_data(&report.text), rows[i].expected))
            fail_msg("%s: %s", rows[i].rule, buf_data(&report.text));
        buf_free(&report.text);
    }
}

static void a_slip_of_the_pen_is_a_warning(void **state)
{
    const char *files[] = {"d/a.conf", "[bounce-category-patterns]\npattern = /x/ bad-mailbx\n",
                           "d/b.conf", NEEDED, NULL};
    struct config_report report = {0};
    struct config *cfg;
    (void)state;

    assert_int_equal(load_files(files, &cfg, &report), 0);
    assert_non_null(strstr(buf_data(&report.text), "did you mean 'bad-mailbox'?"));
    buf_free(&report.text);
    config_unref(cfg);
}

static void replies_cost_little(void **state)
{
    struct classify *c = shipped();
    struct outcome o;
    struct classification k;
    struct buf text = {0};
    struct timespec from, to;
    enum { ROUNDS = 20000 };
    (void)state;

    assert_int_equal(classify_parse_reply(SV("550 5.7.1 Message refused for reasons that nobody "
                                             "will ever tell, id q8sm123456, see the manual"),
                                          PHASE_END_OF_DATA, &text, &o, NULL),
                     0);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    for (unsigned i = 0; i < ROUNDS; i++)
        classify_outcome(c, &o, &k);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    double ns =
        ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / ROUNDS;
    print_message("%.0f ns for a reply that few rules look at\n", ns);
    assert_true(ns < 200000);
    buf_free(&text);
    classify_free(c);
}

/* --- what no rule catches --- */

static void what_varies_is_taken_out(void **state)
{
    static const struct {
        const char *text, *normal;
    } rows[] = {
        {"550 5.1.1 <a.b@x.example> not liked", "550 5.1.1 <{address}> not liked"},
        {"550 see http://x.example/a?b=1 (id q8sm12.4)", "550 see {url} (id {host})"},
        {"421 [192.0.2.1] and 2001:db8::1 came 17 times.",
         "421 [{ip}] and {ip} came {number} times."},
        {"554 mx1.host.example: queued as 4F2A9C03", "554 {host}: queued as {id}"},
        {"550 sorry (#5.1.1)", "550 sorry (#5.1.1)"},
        {"550 smtp.example.net says no.", "550 {host} says no."},
        {"", ""},
        {"55", "{number}"},
        {"550", "550"},
        {"...", "..."},
    };
    char out[UNCLASSIFIED_TEXT + 1], tiny[8];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unclassified_normalise(sv_of(rows[i].text), out, sizeof(out));
        assert_string_equal(out, rows[i].normal);
    }
    unclassified_normalise(SV("550 a very long text"), tiny, sizeof(tiny));
    assert_string_equal(tiny, "550 a v");
}

static void add(struct unclassified *u, const char *text, int64_t at)
{
    struct outcome o = {.code = 550, .text = sv_of(text), .peer_host = SV("mx.example")};
    unclassified_add(u, &o, at);
}

static void groups_are_bounded(void **state)
{
    struct unclassified *u = unclassified_new();
    char text[100];
    (void)state;

    assert_null(unclassified_get(u, 0));
    for (unsigned i = 0; i < 30; i++) {
        snprintf(text, sizeof(text), "550 strange id %u", i);
        add(u, text, 1000000 + i);
    }
    assert_int_equal(unclassified_count(u), 1);
    assert_int_equal(unclassified_get(u, 0)->count, 30);
    assert_string_equal(unclassified_get(u, 0)->sample, "550 strange id 29");
    assert_string_equal(unclassified_get(u, 0)->host, "mx.example");
    for (unsigned i = 0; i < UNCLASSIFIED_GROUPS + 10; i++) {
        snprintf(text, sizeof(text), "550 word %c%c%c", 'a' + (int)(i / 676),
                 'a' + (int)(i / 26 % 26), 'a' + (int)(i % 26));
        add(u, text, i); /* older than the group above */
    }
    assert_int_equal(unclassified_count(u), UNCLASSIFIED_GROUPS);
    assert_int_equal(unclassified_forgotten(u), 11);
    assert_int_equal(unclassified_get(u, 0)->count, 30);
    assert_null(unclassified_get(u, UNCLASSIFIED_GROUPS));
    unclassified_free(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shipped_rules_know_the_replies),
        cmocka_unit_test(shipped_rules_hold_for_others),
        cmocka_unit_test(own_rules_come_first),
        cmocka_unit_test(own_words_go_by_phase),
        cmocka_unit_test(wrong_rules_are_refused),
        cmocka_unit_test(a_slip_of_the_pen_is_a_warning),
        cmocka_unit_test(replies_cost_little),
        cmocka_unit_test(what_varies_is_taken_out),
        cmocka_unit_test(groups_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
