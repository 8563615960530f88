/*
 * The admin verbs; see admin_verbs.h.
 */
#include "net/admin_verbs.h"

#include "base/str.h"

static const struct admin_verb_info verbs[] = {
#define VERB_ROW(id, name, level, targets, args, help) {name, level, targets, args, help},
    ADMIN_VERBS(VERB_ROW)
#undef VERB_ROW
};

const struct admin_verb_info *admin_verb_info(enum admin_verb v)
{
    return &verbs[v];
}

enum admin_verb admin_verb_find(const char *name, unsigned long len)
{
    for (unsigned v = 0; v < VERB_COUNT; v++)
        if (sv_eq(sv(name, len), sv_of(verbs[v].name)))
            return (enum admin_verb)v;
    return VERB_COUNT;
}
