/*
 * Questions of this pipe to the resolver besides routes: TXT, PTR, addresses, MTA-STS policies. Not
 * cached here (the resolver caches); asked again of the next resolver when one dies.
 */
#ifndef PMTA_PIPE_ROUTE_LOOKUPS_H
#define PMTA_PIPE_ROUTE_LOOKUPS_H

#include "mail/lookup.h"
#include "route/routes.h"

enum { LOOKUP_TIME_LIMIT_MS = 60 * 1000 }; /* then the result is LOOKUP_TEMPORARY */

/* Caller's memory until done or lookup_cancel. owner is the caller's, the rest is not looked at. */
struct lookup {
    struct list link;
    struct hash_node node;
    struct routes *routes; /* NULL: not under way */
    uint64_t token;
    int64_t until_ms;
    enum lookup_kind kind;
    char *name;
    void (*done)(struct lookup *l, const struct lookup_result *r);
    void *owner;
};

/* Asks; l->done is set by the caller before, and fires once, not inside the call; r is valid during
 * it. */
void lookup_start(struct routes *r, struct lookup *l, enum lookup_kind kind, struct strview name);
/* done will not fire. Fine for one that is done, or zero. */
void lookup_cancel(struct lookup *l);

#endif
