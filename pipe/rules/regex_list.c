/*
 * Lists of regular expressions; see regex_list.h. Used by rules.c for reply rules and by
 * pipe/classify for bounce categories, in one thread. Of a long list only the few expressions are
 * tried that stand a chance (prefilter.c). A peer chooses the text: see pattern.c for what bounds
 * the work. An empty expression matches everything and costs nothing.
 */
#include "rules/regex_list.h"

#include "base/log.h"
#include "rules/pattern.h"
#include "rules/prefilter.h"

enum { BUDGET_US = 1000 }; /* CPU time for one text */

struct entry {
    struct pattern *pattern; /* NULL: the empty expression */
    char *text;
    const char *file;
    unsigned line;
    bool gave_up; /* was logged */
};

struct regex_list {
    struct entry *entries;
    size_t count, cap;
    struct prefilter *filter;
    uint64_t *candidates; /* scratch of a match */
};

struct regex_list *regex_list_new(void)
{
    struct regex_list *l = xcalloc(1, sizeof(*l));

    l->filter = prefilter_new();
    return l;
}

void regex_list_free(struct regex_list *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->count; i++) {
        pattern_free(l->entries[i].pattern);
        free(l->entries[i].text);
    }
    prefilter_free(l->filter);
    free(l->candidates);
    free(l->entries);
    free(l);
}

int regex_list_add(struct regex_list *l, struct strview regex, const char *file, unsigned line,
                   struct err *e)
{
    struct literals literals;
    struct pattern *pattern = NULL;

    if (regex.len) {
        int status = pattern_new(regex, &pattern, e);
        if (status < 0)
            return status;
    }
    if (l->count == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 16;
        l->entries = xrealloc(l->entries, l->cap * sizeof(*l->entries));
        l->candidates = xrealloc(l->candidates, ((l->cap + 63) / 64) * sizeof(uint64_t));
    }
    literals_of_regex(regex, &literals);
    prefilter_add(l->filter, &literals);
    l->entries[l->count++] =
        (struct entry){pattern, xstrndup(regex.ptr ? regex.ptr : "", regex.len), file, line, false};
    return 0;
}

static bool matches(struct entry *x, struct strview text, struct strview peer,
                    struct pattern_budget *budget)
{
    if (!x->pattern)
        return true;
    enum pattern_result result = pattern_match(x->pattern, text, budget);
    if (result == PATTERN_GAVE_UP && !x->gave_up) {
        x->gave_up = true;
        log_warn(
            LOG_QUEUE,
            "matching a reply took too long rule=%s:%u peer=%.*s bytes=%zu, the rule counts as "
            "not matching",
            x->file, x->line, SV_ARG(peer), text.len);
    }
    return result == PATTERN_YES;
}

ptrdiff_t regex_list_first(struct regex_list *l, struct strview text, struct strview peer,
                           regex_list_applies applies, const void *arg)
{
    struct pattern_budget budget = {.limit_us = BUDGET_US};
    char lower[PATTERN_TEXT_MAX];
    size_t len = MIN_OF(text.len, sizeof(lower));

    for (size_t i = 0; i < len; i++)
        lower[i] = ascii_lower(text.ptr[i]);
    prefilter_scan(l->filter, sv(lower, len), l->candidates);
    for (size_t word = 0; word < prefilter_words(l->filter); word++)
        for (uint64_t left = l->candidates[word]; left; left &= left - 1) {
            size_t i = word * 64 + (unsigned)__builtin_ctzll(left);
            if (applies(arg, i) && matches(&l->entries[i], text, peer, &budget))
                return (ptrdiff_t)i;
        }
    return -1;
}

size_t regex_list_count(const struct regex_list *l)
{
    return l->count;
}

const char *regex_list_text(const struct regex_list *l, size_t i)
{
    return l->entries[i].text;
}

unsigned regex_list_unfiltered(const struct regex_list *l)
{
    return prefilter_unfiltered(l->filter);
}

bool regex_list_compiled(const struct regex_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->entries[i].pattern)
            return pattern_is_compiled(l->entries[i].pattern);
    return false;
}
