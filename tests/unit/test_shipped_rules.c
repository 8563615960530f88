/*
 * config.d/60-reply-rules.conf against its own test lines: #? replies meet the rule below them
 * first, #! replies do not match it; every rule has at least one #?. And what a reply costs.
 */
#include "unit.h"

#include "mail/reply.h"
#include "rules/pattern.h"
#include "rules/rules.h"

#include <stdio.h>
#include <time.h>

static struct config *cfg;
static struct rules *rules;
static struct buf file;

static int set_up(void **state)
{
    struct config_report report = {0};
    const char *dir = getenv("PMTA_SHIPPED_CONFIG");
    char path[4096], chunk[4096];
    size_t n;

    (void)state;
    assert_non_null(dir);
    if (config_load(dir, 1, &cfg, &report) < 0)
        fail_msg("%s", buf_data(&report.text));
    buf_free(&report.text);
    rules = rules_new(cfg);
    snprintf(path, sizeof(path), "%s/60-reply-rules.conf", dir);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        buf_append(&file, chunk, n);
    fclose(f);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rules_free(rules);
    config_unref(cfg);
    buf_free(&file);
    return 0;
}

/* "421 4.7.0 text" as the delivery would have made it. */
static struct outcome outcome_of(struct strview line, const struct reply_rule *rule)
{
    struct outcome o = {.class_ = OUTCOME_DEFERRED, .phase = PHASE_RCPT, .text = line};

    assert_true(line.len > 4 && line.ptr[3] == ' ');
    o.code = (uint16_t)strtoul(line.ptr, NULL, 10);
    assert_in_range(o.code, 400, 599);
    reply_enhanced(sv(line.ptr + 4, line.len - 4), o.code, &o.enhanced);
    if (rule->phases)
        o.phase = (enum outcome_phase)__builtin_ctz(rule->phases);
    return o;
}

enum { MAX_LINES = 64 };

/* Test lines above a rule. */
struct above {
    struct strview lines[MAX_LINES];
    unsigned numbers[MAX_LINES];
    bool near_miss[MAX_LINES];
    unsigned count, matches;
};

static unsigned check_match(struct strview line, unsigned number, unsigned rule_line,
                            const struct reply_rule *rule)
{
    struct outcome o = outcome_of(line, rule);
    struct rule_match m;

    if (!rules_match(rules, SV("default"), &o, &m))
        print_error("line %u: no rule matches, expected that of line %u\n", number, rule_line);
    else if (m.line != rule_line)
        print_error("line %u: matches the rule of line %u, expected that of line %u\n", number,
                    m.line, rule_line);
    else
        return 0;
    return 1;
}

static unsigned check_miss(struct strview line, unsigned number, const struct reply_rule *rule)
{
    struct pattern_budget budget = {.limit_us = 1000000};
    struct pattern *p;
    struct err e;

    outcome_of(line, rule);
    if (pattern_new(rule->regex, &p, &e) < 0)
        fail_msg("%s", e.text);
    enum pattern_result r = pattern_match(p, line, &budget);
    pattern_free(p);
    if (r != PATTERN_NO)
        print_error("line %u: matches, and must not\n", number);
    return r != PATTERN_NO;
}

static unsigned check_rule(const struct above *a, struct strview text, unsigned line)
{
    struct reply_rule rule;
    struct err e;
    unsigned wrong = 0;

    if (reply_rule_parse(text, &rule, &e) < 0)
        fail_msg("line %u: %s", line, e.text);
    if (!a->matches) {
        print_error("line %u: the rule has no #? line\n", line);
        return 1;
    }
    for (unsigned i = 0; i < a->count; i++)
        wrong += a->near_miss[i] ? check_miss(a->lines[i], a->numbers[i], &rule)
                                 : check_match(a->lines[i], a->numbers[i], line, &rule);
    return wrong;
}

static void every_test_line_holds(void **state)
{
    struct strview rest = buf_view(&file), line;
    struct above above = {0};
    unsigned number = 0, checked = 0, wrong = 0;

    (void)state;
    while (sv_split(&rest, '\n', &line)) {
        number++;
        bool match = sv_starts_nocase(line, SV("#? ")), miss = sv_starts_nocase(line, SV("#! "));
        if (match || miss) {
            assert_true(above.count < MAX_LINES);
            above.lines[above.count] = sv_trim(sv(line.ptr + 3, line.len - 3));
            above.numbers[above.count] = number;
            above.near_miss[above.count++] = miss;
            above.matches += match;
        } else if (sv_starts_nocase(line, SV("reply = "))) {
            wrong += check_rule(&above, sv(line.ptr + 8, line.len - 8), number);
            above = (struct above){0};
            checked++;
        }
    }
    assert_int_equal(above.count, 0); /* none left over */
    assert_int_equal(wrong, 0);
    struct rules_stats s;
    rules_stats(rules, SV("default"), &s);
    assert_int_equal(checked, s.rules);
    assert_true(checked > 90);
}

/* The list is useful only where it is attached. */
static void attached_to_every_domain(void **state)
{
    struct config_query q = {.domain = SV("example.org")};

    (void)state;
    assert_string_equal(config_text(cfg, &q, DIR_SMTP_PATTERN_LIST_NAME), "default");
}

/* Plain refusals of one recipient, and other things that happen every day. */
static const char *const ordinary[] = {
    "550 5.1.1 The email account that you tried to reach does not exist.",
    "550 5.1.1 <u@example.net>: Recipient address rejected: User unknown",
    "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)",
    "552 5.2.2 The email account that you tried to reach is over quota",
    "550 5.2.1 The email account that you tried to reach is disabled",
    "554 5.7.1 <u@example.net>: Relay access denied",
    "553 5.1.8 Sender address rejected: Domain not found",
    "550 No such user here",
    "552 5.3.4 Message size exceeds fixed limit",
    "450 4.1.1 <u@example.net>: Recipient address rejected: unverified address",
    "421 4.4.2 mx.example.net Error: timeout exceeded",
    "502 5.5.2 Error: command not recognized",
};

static void ordinary_replies_meet_no_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ordinary); i++) {
        struct reply_rule none = {0};
        struct outcome o = outcome_of(sv_of(ordinary[i]), &none);
        struct rule_match m;
        if (rules_match(rules, SV("default"), &o, &m))
            fail_msg("'%s' meets the rule of line %u", ordinary[i], m.line);
    }
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t cost_ns(const struct outcome *o, unsigned count)
{
    enum { ROUNDS = 100 };
    struct rule_match m;
    int64_t began = now_ns();

    for (unsigned r = 0; r < ROUNDS; r++)
        for (unsigned i = 0; i < count; i++)
            rules_match(rules, SV("default"), &o[i], &m);
    return (now_ns() - began) / (ROUNDS * (int64_t)count);
}

static void cost_per_reply(void **state)
{
    enum { MAX = 1000 };
    struct outcome *o = xcalloc(MAX, sizeof(*o));
    struct strview rest = buf_view(&file), line;
    struct reply_rule none = {0};
    struct rules_stats s;
    unsigned count = 0;

    (void)state;
    while (sv_split(&rest, '\n', &line) && count < MAX)
        if (sv_starts_nocase(line, SV("#? ")) || sv_starts_nocase(line, SV("#! ")))
            o[count++] = outcome_of(sv(line.ptr + 3, line.len - 3), &none);
    int64_t lines = cost_ns(o, count);
    for (unsigned i = 0; i < ARRAY_LEN(ordinary); i++)
        o[i] = outcome_of(sv_of(ordinary[i]), &none);
    int64_t plain = cost_ns(o, ARRAY_LEN(ordinary));
    rules_stats(rules, SV("default"), &s);
    print_message("%u rules, %u without a literal, %s: %lld ns for a test line, %lld ns for an "
                  "ordinary refusal\n",
                  s.rules, s.unfiltered, s.compiled ? "compiled" : "interpreted", (long long)lines,
                  (long long)plain);
    assert_true(lines < 200000 && plain < 200000); /* slack for sanitizers and slow machines */
    assert_true(s.unfiltered * 5 < s.rules);
    free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_test_line_holds),
        cmocka_unit_test(attached_to_every_domain),
        cmocka_unit_test(ordinary_replies_meet_no_rule),
        cmocka_unit_test(cost_per_reply),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
