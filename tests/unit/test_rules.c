/*
 * Reply rules: literals of expressions, the prefilter, matching that ends, lists of a configuration,
 * and what replies speak of.
 */
#include "unit.h"

#include "base/log.h"
#include "mail/config_load.h"
#include "mail/reply.h"
#include "rules/pattern.h"
#include "rules/prefilter.h"
#include "rules/rules.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

/* --- literals --- */

static void literal_table(void **state)
{
    static const struct {
        const char *regex;
        const char *literals; /* joined by '|'; "" is nothing known */
    } rows[] = {
        {"S3140", "s3140"},
        {"^421 4\\.7\\.28 ", "421 4.7.28 "},
        {"\\(S31(?:40|50)\\)", "(s31"},
        {"(?:alpha|beta)", "alpha|beta"},
        {"alpha|beta|ga", "alpha|beta|ga"},
        {"alpha|b*", ""},
        {"a+bcd", "bcd"},
        {"ab?cde", "cde"},
        {"abc?", "ab"},
        {"abc{0,3}", "ab"},
        {"abc{2}de", "abc"},
        {"abc{x}", ""},
        {"a.b.longest.c", "longest"},
        {"(?:longword)?x", "x"},
        {"(?!never)yes", "yes"},
        {"(?=soon)yes", "yes"},
        {"(?<=before)yes", "yes"},
        {"(?<name>x)", ""},
        {"(?i)Word", "word"},
        {"(?-i)Word", "word"},
        {"(?x)a b", ""},
        {"(?x:a b)", ""},
        {"a(?#comment)b", ""},
        {"(*UTF)abc", ""},
        {"\\Qa*b\\E", ""},
        {"\\x41bcd", ""},
        {"\\d+ blocked", " blocked"},
        {"[abc]word[]x]end", "word"},
        {"[^]a]word", "word"},
        {"[[:digit:]]word", ""},
        {"\\bgr[ea]ylist", "ylist"},
        {"", ""},
        {".*", ""},
        {"(a", ""},
        {"a)b", ""},
        {"abcdefghijklmnopqrstuvwxyz0123456789", "abcdefghijklmnopqrstuvwx"},
        {"\\/path\\/x", "/path/x"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct literals l;
        struct buf got = {0};
        literals_of_regex(sv_of(rows[i].regex), &l);
        for (unsigned j = 0; j < l.count; j++)
            buf_printf(&got, "%s%.*s", j ? "|" : "", l.items[j].len, l.items[j].text);
        if (!sv_eq(buf_view(&got), sv_of(rows[i].literals)))
            fail_msg("/%s/: got '%.*s', expected '%s'", rows[i].regex, SV_ARG(buf_view(&got)),
                     rows[i].literals);
        buf_free(&got);
    }
}

static void prefilter_finds(void **state)
{
    static const char *const regexes[] = {"alpha", "beta|gamma", "x", "Long words here",
                                          "words he"};
    static const struct {
        const char *text;
        uint64_t rules;
    } rows[] = {
        {"", 4},
        {"alp", 4},
        {"an alpha", 5},
        {"gamma beta", 6},
        {"ALPHA", 4},
        {"long words here", 4 | 8 | 16},
        {"ong words here", 4 | 16},
    };
    struct prefilter *f = prefilter_new();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(regexes); i++) {
        struct literals l;
        literals_of_regex(sv_of(regexes[i]), &l);
        prefilter_add(f, &l);
    }
    assert_int_equal(prefilter_unfiltered(f), 1);
    assert_int_equal(prefilter_words(f), 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t bits = 0;
        prefilter_scan(f, sv_of(rows[i].text), &bits);
        assert_int_equal(bits, rows[i].rules);
    }
    prefilter_free(f);
}

/* --- patterns --- */

static enum pattern_result match(const char *regex, struct strview text, int64_t *ret_us)
{
    struct pattern_budget budget = {.limit_us = 1000};
    struct timespec from, to;
    struct pattern *p;
    struct err e;

    if (pattern_new(sv_of(regex), &p, &e) < 0)
        fail_msg("/%s/: %s", regex, e.text);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    enum pattern_result r = pattern_match(p, text, &budget);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    *ret_us = (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000;
    pattern_free(p);
    return r;
}

static void pattern_table(void **state)
{
    static const struct {
        const char *regex, *text;
        enum pattern_result result;
    } rows[] = {
        {"", "anything", PATTERN_YES},       {"", "", PATTERN_YES},
        {"ABC", "xabcx", PATTERN_YES},       {"(?-i)ABC", "xabcx", PATTERN_NO},
        {"^abc$", "abc", PATTERN_YES},       {"^abc$", "abc\n", PATTERN_NO},
        {"a.c", "a\nc", PATTERN_YES},        {"c$", "abc", PATTERN_YES},
        {"\\bend$", "the end", PATTERN_YES}, {"(a)\\1", "xaa", PATTERN_YES},
        {"a\\/b", "a/b", PATTERN_YES},       {"\xc3\xa9", "caf\xc3\xa9", PATTERN_YES},
        {"x", "\xff\xfe x", PATTERN_YES},
    };
    int64_t us;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (match(rows[i].regex, sv_of(rows[i].text), &us) != rows[i].result)
            fail_msg("/%s/ on '%s'", rows[i].regex, rows[i].text);
}

static void wrong_patterns_are_refused(void **state)
{
    static const char *const regexes[] = {"(a", "a)", "[a", "*a", "(*UTF)a", "\\C", "a{2,1}"};
    struct pattern *p;
    struct err e;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(regexes); i++) {
        assert_int_equal(pattern_new(sv_of(regexes[i]), &p, &e), ERR_SYNTAX);
        assert_non_null(strstr(e.text, "at character"));
    }
    pattern_free(NULL);
}

/* A match in the middle and at the end of a long text is found over the windows' seams. */
static void windows_have_no_gaps(void **state)
{
    char text[PATTERN_TEXT_MAX];
    int64_t us;

    (void)state;
    for (size_t at = 0; at + 4 <= sizeof(text); at++) {
        memset(text, '.', sizeof(text));
        memcpy(text + at, "here", 4);
        assert_int_equal(match("h[aeiou]re", sv(text, sizeof(text)), &us), PATTERN_YES);
    }
}

/* Expressions that backtrack, and the texts that make them. */
static void hostile_texts_cost_little(void **state)
{
    static const struct {
        const char *regex;
        const char *text; /* repeated */
    } rows[] = {
        {"(a+)+!", "a"},          {"(a|aa)+!", "a"},
        {"(a*)*b\\d", "a"},       {"a.*b.*c.*d\\d", "ab"},
        {"a.*b.*c.*d\\d", "abc"}, {"a.*b[^c]*d\\d", "ab"},
        {"a[^b]*b.*d\\d", "a"},   {"x.*x.*x.*x.*y\\d", "x"},
        {"(?:.*a){12}b\\d", "a"}, {"(\\w+\\s?)+!", "word "},
        {"(a?){40}a{40}!", "a"},  {"((((a*)*)*)*)*b\\d", "a"},
        {"(.+)\\1\\1x\\d", "ab"}, {"^(a+)+!", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf text = {0};
        int64_t us = 0, least = INT64_MAX;
        while (buf_len(&text) < PATTERN_TEXT_MAX - 20)
            buf_append_str(&text, rows[i].text);
        buf_append_str(&text, "-!-b-d-y-x-"); /* what PCRE2 looks for before it begins */
        for (int turn = 0; turn < 3; turn++) {
            assert_int_not_equal(match(rows[i].regex, buf_view(&text), &us), PATTERN_YES);
            least = MIN_OF(least, us);
        }
        print_message("/%s/ on %s…: %lld us\n", rows[i].regex, rows[i].text, (long long)least);
        if (least > 20000)
            fail_msg("/%s/ took %lld us", rows[i].regex, (long long)least);
        buf_free(&text);
    }
}

/* --- lists --- */

static const char *config_text_;

static int list_one(void *arg, const char *dir, void (*found)(void *to, const char *path), void *to)
{
    (void)arg, (void)dir;
    found(to, "t.conf");
    return 0;
}

static int match_none(void *arg, const char *pattern, void (*found)(void *to, const char *path),
                      void *to)
{
    (void)arg, (void)pattern, (void)found, (void)to;
    return 0;
}

static int read_text(void *arg, const char *path, size_t max, struct buf *text)
{
    (void)arg, (void)path, (void)max;
    buf_append_str(text, config_text_);
    return 0;
}

static int identify(void *arg, const char *path, struct config_file_id *ret)
{
    (void)arg, (void)path;
    *ret = (struct config_file_id){1, 1};
    return 0;
}

static struct rules *rules_of(const char *text)
{
    static const struct config_files files = {NULL, list_one, match_none, read_text, identify, NULL, NULL};
    struct config_report report = {0};
    struct config *cfg;
    char whole[8192];

    snprintf(whole, sizeof(whole), "[pipe a]\n[listener 127.0.0.1:25]\n%s", text);
    config_text_ = whole;
    if (config_load_files(&files, "x", 1, NULL, 0, &cfg, &report) < 0)
        fail_msg("%s", buf_data(&report.text));
    buf_free(&report.text);
    struct rules *r = rules_new(cfg);
    config_unref(cfg);
    return r;
}

static unsigned first_line(const struct rules *r, const char *list, const char *text,
                           enum outcome_phase phase)
{
    struct outcome o = {.phase = phase,
                        .text = sv_of(text),
                        .code = (uint16_t)strtoul(text, NULL, 10),
                        .peer_host = SV("mx.example.net")};
    struct rule_match m;

    return rules_match(r, sv_of(list), &o, &m) ? m.line : 0;
}

static void lists_of_a_configuration(void **state)
{
    struct rules *r = rules_of("[smtp-pattern-list One]\n" /* line 3 */
                               "reply = /^421 .*slow/ mode=backoff\n"
                               "reply = /slow/ phase=rcpt notify\n"
                               "reply = /slow/ phase=data|end-of-data skip-mx\n"
                               "reply = /a\\/b/ retry-after=5m\n"
                               "[smtp-pattern-list two]\n"
                               "reply = // notify\n");

    (void)state;
    assert_int_equal(first_line(r, "one", "421 go SLOW", PHASE_GREETING), 4);
    assert_int_equal(first_line(r, "ONE", "421 go slow", PHASE_RCPT), 4);
    assert_int_equal(first_line(r, "one", "450 go slow", PHASE_RCPT), 5);
    assert_int_equal(first_line(r, "one", "450 go slow", PHASE_END_OF_DATA), 6);
    assert_int_equal(first_line(r, "one", "450 go slow", PHASE_MAIL), 0);
    assert_int_equal(first_line(r, "one", "450 a/b", PHASE_MAIL), 7);
    assert_int_equal(first_line(r, "two", "450 anything", PHASE_MAIL), 9);
    assert_int_equal(first_line(r, "two", "connection timed out", PHASE_CONNECT), 0);
    assert_int_equal(first_line(r, "three", "450 anything", PHASE_MAIL), 0);
    assert_int_equal(first_line(r, "", "450 anything", PHASE_MAIL), 0);
    rules_free(r);
}

static void match_says_where(void **state)
{
    struct rules *r = rules_of("[smtp-pattern-list one]\n"
                               "reply = /busy\\d/ mode=backoff,backoff-to-normal-after=2h\n");
    struct outcome o = {.code = 450, .text = SV("450 busy1"), .phase = PHASE_MAIL};
    struct rule_match m;

    (void)state;
    assert_true(rules_match(r, SV("one"), &o, &m));
    assert_string_equal(m.list, "one");
    assert_string_equal(m.regex, "busy\\d");
    assert_string_equal(m.file, "t.conf");
    assert_int_equal(m.rule->backoff_to_normal_after_ms, 7200000);
    assert_int_equal(m.rule->actions,
                     1u << REPLY_MODE_BACKOFF | 1u << REPLY_BACKOFF_TO_NORMAL_AFTER);
    o.text = SV("450 busy");
    assert_false(rules_match(r, SV("one"), &o, &m));
    assert_null(m.rule);
    rules_free(r);
}

/* The first rule runs away; the second one is still found when it is cheap and time is left. */
static void runaway_rule_does_not_match(void **state)
{
    struct rules *r = rules_of("[smtp-pattern-list one]\n"
                               "reply = /(a+)+!/ mode=backoff\n");
    char text[1500] = "450 ";

    (void)state;
    memset(text + 4, 'a', sizeof(text) - 5);
    assert_int_equal(first_line(r, "one", text, PHASE_MAIL), 0);
    assert_int_equal(first_line(r, "one", "450 aaa!", PHASE_MAIL), 4);
    rules_free(r);
}

static void many_rules(void **state)
{
    struct buf text = {0};
    char reply[64];

    (void)state;
    buf_append_str(&text, "[smtp-pattern-list one]\n");
    for (int i = 0; i < 150; i++)
        buf_printf(&text, "reply = /code %d$/ notify\n", 1000 + i);
    struct rules *r = rules_of(buf_data(&text));
    for (unsigned i = 0; i < 150; i++) {
        snprintf(reply, sizeof(reply), "450 code %u", 1000 + i);
        assert_int_equal(first_line(r, "one", reply, PHASE_MAIL), 4 + i);
    }
    assert_int_equal(first_line(r, "one", "450 code 999", PHASE_MAIL), 0);
    rules_free(r);
    buf_free(&text);
}

/* --- what a reply speaks of --- */

static void kinds(void **state)
{
    static const struct {
        const char *text;
        bool greylisting, throttling;
    } rows[] = {
        {"451 4.7.1 Greylisting in action, please come back in 00:05:00", true, false},
        {"450 4.2.0 <u@example.net>: Recipient address rejected: Greylisted", true, false},
        {"451 4.7.1 Try again later", true, false},
        {"451 4.7.1 Try again later please", false, false},
        {"421 4.7.0 [GL01] Message from (192.0.2.10) temporarily deferred", true, false},
        {"550 5.7.1 Greylisting is not offered", false, false},
        {"250 2.0.0 Ok, was greylisted before", false, false},
        {"421 4.7.0 [TSS04] Messages from 192.0.2.10 temporarily deferred due to unexpected volume",
         false, true},
        {"421 4.7.28 Gmail has detected an unusual rate of mail", false, true},
        {"550 5.7.28 Gmail has detected an unusual rate of mail", false, true},
        {"451 4.7.500 Server busy", false, true},
        {"451 4.7.650 The mail server has been temporarily rate limited", false, true},
        {"450 4.2.1 The user you are trying to contact is receiving email at a rate that prevents",
         false, false},
        {"421 4.7.0 mx Error: too many connections from 192.0.2.10", false, true},
        {"421 Throttled - try again later", false, true},
        {"450 4.7.1 Error: too much mail from 192.0.2.10", false, true},
        {"452 4.2.2 Mailbox full, rate limit", false, false},
        {"452 4.5.3 Too many recipients", false, false},
        {"451 4.3.0 Temporary lookup failure", false, false},
        {"550 5.1.1 user unknown", false, false},
        {"554 5.7.1 rate limited to zero", false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct outcome o = {.text = sv_of(rows[i].text),
                            .code = (uint16_t)strtoul(rows[i].text, NULL, 10)};
        reply_enhanced(sv_of(rows[i].text + 4), o.code, &o.enhanced);
        if (reply_is_greylisting(&o) != rows[i].greylisting)
            fail_msg("greylisting: '%s'", rows[i].text);
        if (reply_is_throttling(&o) != rows[i].throttling)
            fail_msg("throttling: '%s'", rows[i].text);
    }
    struct outcome ours = {.text = SV("rate limit")};
    assert_false(reply_is_throttling(&ours));
    assert_false(reply_is_greylisting(&ours));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literal_table),
        cmocka_unit_test(prefilter_finds),
        cmocka_unit_test(pattern_table),
        cmocka_unit_test(wrong_patterns_are_refused),
        cmocka_unit_test(windows_have_no_gaps),
        cmocka_unit_test(hostile_texts_cost_little),
        cmocka_unit_test(lists_of_a_configuration),
        cmocka_unit_test(match_says_where),
        cmocka_unit_test(runaway_rule_does_not_match),
        cmocka_unit_test(many_rules),
        cmocka_unit_test(kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
