/*
 * Questions of this pipe to the resolver besides routes: TXT, PTR, addresses, MTA-STS policies. Not
 * cached here (the resolver caches); asked again of the next resolver when one dies.
 */
#ifndef PMTA_PIPE_ROUTE_LOOKUPS_H
#define PMTA_PIPE_ROUTE_LOOKUPS_H

#include "mail/lookup.h"
#include "route/routes.h"

/* Caller's memory until done or lookup_cancel. */
struct lookup {
    struct list link;
    uint64_t token;
    enum lookup_kind kind;
    char *name;
    void (*done)(struct lookup *l, const struct lookup_result *r);
    void *owner;
};

/* done fires once, not inside the call; r is valid during it. */
void lookup_start(struct routes *r, struct lookup *l, enum lookup_kind kind, struct strview name);
void lookup_cancel(struct lookup *l);

#endif
