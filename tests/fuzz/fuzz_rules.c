/*
 * Any expression against any reply, separated by the first LF: a match ends, and whatever PCRE2
 * matches has passed the prefilter, so that no literal is read out of an expression that can match
 * without it. The kinds of replies take any bytes.
 */
#include "mail/reply.h"
#include "rules/pattern.h"
#include "rules/prefilter.h"
#include "rules/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REGEX_MAX = 300 };

static bool passes(struct strview regex, struct strview text)
{
    struct prefilter *f = prefilter_new();
    struct literals l;
    char lower[PATTERN_TEXT_MAX];
    size_t len = MIN_OF(text.len, sizeof(lower));
    uint64_t bits = 0;

    for (size_t i = 0; i < len; i++)
        lower[i] = ascii_lower(text.ptr[i]);
    literals_of_regex(regex, &l);
    prefilter_add(f, &l);
    prefilter_scan(f, sv(lower, len), &bits);
    prefilter_free(f);
    return bits & 1;
}

static void look_at_kinds(struct strview text)
{
    struct outcome o = {.text = text, .code = 451};

    reply_enhanced(text, 451, &o.enhanced);
    BUG_ON(reply_is_greylisting(&o) && o.enhanced.subject != 7 && reply_is_throttling(&o));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct strview rest = sv((const char *)data, size), regex;
    struct pattern_budget budget = {.limit_us = 1000};
    struct pattern *p;
    struct err e;

    if (!size || !sv_split(&rest, '\n', &regex) || regex.len > REGEX_MAX || !rest.ptr)
        return 0;
    look_at_kinds(rest);
    if (pattern_new(regex, &p, &e) < 0)
        return 0;
    if (pattern_match(p, rest, &budget) == PATTERN_YES)
        BUG_ON(!passes(regex, rest));
    pattern_free(p);
    return 0;
}
