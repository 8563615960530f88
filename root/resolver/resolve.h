/*
 * resolve: the engine of the resolver process without its I/O: requests of several clients, served
 * fairly, answered with routes.
 */
#ifndef PMTA_RESOLVER_RESOLVE_H
#define PMTA_RESOLVER_RESOLVE_H

#include "route.h"

struct resolve_limits {
    unsigned routes;    /* under way at a time */
    unsigned questions; /* under way at a time */
    size_t queued;      /* requests of one client that wait */
    size_t cache_entries;
    size_t cache_bytes;
};

#define RESOLVE_LIMITS_DEFAULT                        \
    ((struct resolve_limits){.routes = 1000,          \
                             .questions = 2000,       \
                             .queued = 200000,        \
                             .cache_entries = 500000, \
                             .cache_bytes = 128u << 20})

struct resolve;
struct resolve_client;

/* The answer to resolve_request; fires in resolve_run or when a packet arrives. */
typedef void (*resolve_reply)(void *owner, uint64_t token, const struct route_result *result);

/* ops.wake leads to resolve_run. */
struct resolve *resolve_new(const struct exchange_ops *ops, void *ops_owner,
                            const struct resolve_limits *limits);
/* All clients are closed before; no callback fires. NULL is fine. */
void resolve_free(struct resolve *r);

void resolve_set_servers(struct resolve *r, const struct servers *s, int64_t timeout_ms);
/* For the state of servers, cache and counters. */
const struct lookups *resolve_lookups(const struct resolve *r);

struct resolve_client *resolve_client_open(struct resolve *r, resolve_reply reply, void *owner);
/* Drops what waits; what is under way is finished for the cache. No callback fires. NULL is fine.
 */
void resolve_client_close(struct resolve_client *c);

/* Whether the answer is known without a query (cache, address literal, no domain name); then fills
 * *ret for the caller to free. */
bool resolve_cached(struct resolve *r, enum route_kind kind, struct strview domain,
                    struct route_result *ret);
/* Queues a request. Returns 0, or ERR_LIMIT when too many of this client wait already. */
int resolve_request(struct resolve_client *c, uint64_t token, enum route_kind kind,
                    struct strview domain);

void resolve_run(struct resolve *r);
/* Requests that wait or are under way. */
size_t resolve_pending(const struct resolve *r);
/* Answers all of them ROUTE_TEMPORARY with this text; for the end of a drain. */
void resolve_abort(struct resolve *r, const char *text);

#endif
