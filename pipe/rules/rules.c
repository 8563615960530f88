/*
 * Reply rules of one configuration; see rules.h. react() asks once per reply that is no success.
 *
 * Each [smtp-pattern-list] becomes a list of rules in file order (regex_list.c). Rules that do not
 * parse or compile were refused when root read the files; should the two ever disagree, the rule is
 * logged and left out. Views in rules point into the configuration, of which a reference is held.
 */
#include "rules/rules.h"

#include "base/log.h"
#include "rules/regex_list.h"

struct rule {
    struct reply_rule rule;
    const struct config_value *written;
};

struct rule_list {
    const char *name;
    struct rule *rules; /* as numbered in regexes */
    struct regex_list *regexes;
};

struct rules {
    struct config *cfg;
    struct rule_list *lists;
    size_t count;
};

static void add_rule(struct rule_list *l, const struct config_value *v)
{
    size_t i = regex_list_count(l->regexes);
    struct err e;

    l->rules[i].written = v;
    if (reply_rule_parse(sv_of(v->text), &l->rules[i].rule, &e) < 0 ||
        regex_list_add(l->regexes, l->rules[i].rule.regex, v->origin.file, v->origin.line, &e) < 0)
        log_warn(LOG_CONFIG, "%s:%u: %s, the rule is left out", v->origin.file, v->origin.line,
                 e.text);
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
    l->regexes = regex_list_new();
    for (const struct config_value *v = first; v && v->text; v = v->next)
        add_rule(l, v);
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

void rules_free(struct rules *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++) {
        regex_list_free(r->lists[i].regexes);
        free(r->lists[i].rules);
    }
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

struct question {
    const struct rule_list *list;
    const struct outcome *outcome;
};

static bool in_phase(const void *arg, size_t i)
{
    const struct question *q = arg;
    uint32_t phases = q->list->rules[i].rule.phases;

    return !phases || phases & 1u << q->outcome->phase;
}

bool rules_match(const struct rules *r, struct strview list, const struct outcome *o,
                 struct rule_match *ret)
{
    struct rule_list *l = find_list(r, list);

    *ret = (struct rule_match){0};
    if (!l || !regex_list_count(l->regexes) || !o->code)
        return false;
    ptrdiff_t i =
        regex_list_first(l->regexes, o->text, o->peer_host, in_phase, &(struct question){l, o});
    if (i < 0)
        return false;
    const struct rule *rule = &l->rules[i];
    *ret = (struct rule_match){&rule->rule, l->name, regex_list_text(l->regexes, (size_t)i),
                               rule->written->origin.file, rule->written->origin.line};
    return true;
}

void rules_stats(const struct rules *r, struct strview list, struct rules_stats *ret)
{
    const struct rule_list *l = find_list(r, list);

    *ret = (struct rules_stats){0};
    if (!l || !regex_list_count(l->regexes))
        return;
    ret->rules = (unsigned)regex_list_count(l->regexes);
    ret->unfiltered = regex_list_unfiltered(l->regexes);
    ret->compiled = regex_list_compiled(l->regexes);
}
