/*
 * Reply rules of one configuration; see rules.h. react() asks once per reply that is no success.
 *
 * Each [smtp-pattern-list] becomes a list of rules in file order with a prefilter over the literals
 * that they cannot match without, so that of a long list only the few rules are tried that stand a
 * chance. Rules that do not parse or compile were refused when root read the files; should the two
 * ever disagree, the rule is logged and left out. A peer chooses the text: see pattern.c for what
 * bounds the work. Views in rules point into the configuration, of which a reference is held.
 */
#include "rules/rules.h"

#include "base/log.h"
#include "rules/pattern.h"
#include "rules/prefilter.h"

enum { BUDGET_US = 1000 }; /* CPU time for one reply */

struct rule {
    struct reply_rule rule;
    const struct config_value *written;
    struct pattern *pattern;
    char *regex;
    bool gave_up; /* was logged */
};

struct rule_list {
    const char *name;
    struct rule *rules;
    size_t count;
    struct prefilter *filter;
    uint64_t *candidates; /* scratch of a match */
};

struct rules {
    struct config *cfg;
    struct rule_list *lists;
    size_t count;
};

static void add_rule(struct rule_list *l, const struct config_value *v)
{
    struct rule *rule = &l->rules[l->count];
    struct literals literals;
    struct err e;

    *rule = (struct rule){.written = v};
    if (reply_rule_parse(sv_of(v->text), &rule->rule, &e) < 0 ||
        pattern_new(rule->rule.regex, &rule->pattern, &e) < 0) {
        log_warn(LOG_CONFIG, "%s:%u: %s, the rule is left out", v->origin.file, v->origin.line,
                 e.text);
        return;
    }
    rule->regex = xstrndup(rule->rule.regex.ptr, rule->rule.regex.len);
    literals_of_regex(rule->rule.regex, &literals);
    prefilter_add(l->filter, &literals);
    l->count++;
}

static void fill_list(struct rule_list *l, const struct config *cfg, const char *name)
{
    const struct config_value *first =
        config_section_get(cfg, KIND_SMTP_PATTERN_LIST, sv_of(name), DIR_REPLY);
    size_t room = 0;

    for (const struct config_value *v = first; v && v->text; v = v->next)
        room++;
    l->name = name;
    l->rules = xcalloc(room + 1, sizeof(*l->rules));
    l->filter = prefilter_new();
    for (const struct config_value *v = first; v && v->text; v = v->next)
        add_rule(l, v);
    l->candidates = xcalloc(prefilter_words(l->filter) + 1, sizeof(uint64_t));
}

struct rules *rules_new(struct config *cfg)
{
    struct rules *r = xcalloc(1, sizeof(*r));
    const char *name;

    r->cfg = config_ref(cfg);
    while (config_section_name(cfg, KIND_SMTP_PATTERN_LIST, r->count))
        r->count++;
    r->lists = xcalloc(r->count + 1, sizeof(*r->lists));
    for (size_t i = 0; (name = config_section_name(cfg, KIND_SMTP_PATTERN_LIST, i)); i++)
        fill_list(&r->lists[i], cfg, name);
    return r;
}

static void list_fini(struct rule_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        pattern_free(l->rules[i].pattern);
        free(l->rules[i].regex);
    }
    prefilter_free(l->filter);
    free(l->candidates);
    free(l->rules);
}

void rules_free(struct rules *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++)
        list_fini(&r->lists[i]);
    free(r->lists);
    config_unref(r->cfg);
    free(r);
}

static struct rule_list *find_list(const struct rules *r, struct strview name)
{
    for (size_t i = 0; i < r->count; i++)
        if (sv_eq_nocase(name, sv_of(r->lists[i].name)))
            return &r->lists[i];
    return NULL;
}

static bool applies(struct rule *rule, const struct outcome *o, struct pattern_budget *budget)
{
    if (rule->rule.phases && !(rule->rule.phases & 1u << o->phase))
        return false;
    enum pattern_result result = pattern_match(rule->pattern, o->text, budget);
    if (result == PATTERN_GAVE_UP && !rule->gave_up) {
        rule->gave_up = true;
        log_warn(
            LOG_QUEUE,
            "matching a reply took too long rule=%s:%u peer=%.*s bytes=%zu, the rule counts as "
            "not matching",
            rule->written->origin.file, rule->written->origin.line, SV_ARG(o->peer_host),
            o->text.len);
    }
    return result == PATTERN_YES;
}

/* The first of the candidates that applies. */
static struct rule *first_match(struct rule_list *l, const struct outcome *o)
{
    struct pattern_budget budget = {.limit_us = BUDGET_US};

    for (size_t word = 0; word < prefilter_words(l->filter); word++)
        for (uint64_t left = l->candidates[word]; left; left &= left - 1) {
            struct rule *rule = &l->rules[word * 64 + (unsigned)__builtin_ctzll(left)];
            if (applies(rule, o, &budget))
                return rule;
        }
    return NULL;
}

bool rules_match(const struct rules *r, struct strview list, const struct outcome *o,
                 struct rule_match *ret)
{
    struct rule_list *l = find_list(r, list);
    char lower[PATTERN_TEXT_MAX];
    size_t len = MIN_OF(o->text.len, sizeof(lower));

    *ret = (struct rule_match){0};
    if (!l || !l->count || !o->code)
        return false;
    for (size_t i = 0; i < len; i++)
        lower[i] = ascii_lower(o->text.ptr[i]);
    prefilter_scan(l->filter, sv(lower, len), l->candidates);
    struct rule *rule = first_match(l, o);
    if (rule)
        *ret = (struct rule_match){&rule->rule, l->name, rule->regex, rule->written->origin.file,
                                   rule->written->origin.line};
    return rule != NULL;
}

void rules_stats(const struct rules *r, struct strview list, struct rules_stats *ret)
{
    const struct rule_list *l = find_list(r, list);

    *ret = (struct rules_stats){0};
    if (!l || !l->count)
        return;
    ret->rules = (unsigned)l->count;
    ret->unfiltered = prefilter_unfiltered(l->filter);
    ret->compiled = pattern_is_compiled(l->rules[0].pattern);
}
