/*
 * suppress-bounces names bounce categories: known ones, or those that a rule of the operator gives.
 * Called by config_check.c.
 */
#include "mail/config_check.h"

#include "mail/bounce_rule.h"

#include <stdio.h>

struct wanted {
    struct strview name;
    bool found;
};

static void compare_rule(void *arg, const struct config_value *v)
{
    struct wanted *w = arg;
    struct bounce_rule r;

    if (!w->found && bounce_rule_parse(sv_of(v->text), &r, NULL) == 0)
        w->found = sv_eq_nocase(r.category, w->name);
}

static bool is_category(const struct config *cfg, struct strview name)
{
    enum bounce_category known;
    struct wanted w = {name, bounce_category_find(name, &known)};

    config_each(cfg, DIR_BOUNCE_PATTERN, sv("", 0), compare_rule, &w);
    return w.found;
}

static void check_value(void *arg, const struct config_value *v)
{
    struct loader *l = arg;
    const char *names[BOUNCE_CATEGORY_COUNT + 1] = {0};
    struct strview rest = sv_of(v->text), one;
    char hint[128];

    for (unsigned i = 0; i < BOUNCE_CATEGORY_COUNT; i++)
        names[i] = bounce_category_name((enum bounce_category)i);
    while (rest.len && sv_split(&rest, ',', &one)) {
        one = sv_trim(one);
        if (is_category(l->cfg, one))
            continue;
        config_suggest(one, names, hint);
        load_error(l, v->origin.file, v->origin.line,
                   "suppress-bounces: '%.*s' is no bounce category (expected names with commas, such "
                   "as bad-mailbox, inactive-mailbox, or of your [bounce-category-patterns])%s",
                   (int)MIN_OF(one.len, (size_t)60), one.ptr, hint);
    }
}

void check_suppression(struct loader *l)
{
    config_each(l->cfg, DIR_SUPPRESS_BOUNCES, sv("", 0), check_value, l);
}
