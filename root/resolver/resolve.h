/*
 * resolve: the engine of the resolver process without its I/O: requests of several clients for routes
 * and for records, served fairly.
 */
#ifndef PMTA_RESOLVER_RESOLVE_H
#define PMTA_RESOLVER_RESOLVE_H

#include "ask.h"
#include "route.h"

struct resolve_limits {
    unsigned requests;  /* under way at a time */
    unsigned questions; /* under way at a time */
    size_t queued;      /* requests of one client that wait */
    size_t cache_entries;
    size_t cache_bytes;
    struct sts_limits sts;
};

#define RESOLVE_LIMITS_DEFAULT                          \
    ((struct resolve_limits){.requests = 1000,          \
                             .questions = 2000,         \
                             .queued = 200000,          \
                             .cache_entries = 500000,   \
                             .cache_bytes = 128u << 20, \
                             .sts = STS_LIMITS_DEFAULT})

struct resolve;
struct resolve_client;

/* The answers; fire in resolve_run, when a packet arrives or in sts_tick. */
struct resolve_replies {
    void (*route)(void *owner, uint64_t token, const struct route_result *result);
    void (*answer)(void *owner, uint64_t token, const struct ask_result *result);
};

/* ops.wake leads to resolve_run. */
struct resolve *resolve_new(const struct exchange_ops *ops, void *ops_owner,
                            const struct resolve_limits *limits);
/* All clients are closed before; no callback fires. NULL is fine. */
void resolve_free(struct resolve *r);

/* See lookups_set_servers. */
void resolve_set_servers(struct resolve *r, const struct servers *s, int64_t timeout_ms,
                         bool validating);
/* For the state of servers, cache and counters. */
const struct lookups *resolve_lookups(const struct resolve *r);
/* To be given its ops, and ticks. */
struct sts *resolve_sts(struct resolve *r);
/* For questions that are no client's: those of a fetch. Not for resolve_client. */
struct lookups *resolve_own_lookups(struct resolve *r);

struct resolve_client *resolve_client_open(struct resolve *r, const struct resolve_replies *replies,
                                           void *owner);
/* Drops what waits; what is under way is finished for the cache. No callback fires. NULL is fine.
 */
void resolve_client_close(struct resolve_client *c);

/* Whether the answer is known without a query (cache, address literal, no domain name); then fills
 * *ret for the caller to free. */
bool resolve_cached(struct resolve *r, const struct route_request *q, struct route_result *ret);
bool resolve_cached_answer(struct resolve *r, enum lookup_kind kind, struct strview name,
                           struct ask_result *ret);
/* Queues a request. Returns 0, or ERR_LIMIT when too many of this client wait already. */
int resolve_request(struct resolve_client *c, uint64_t token, const struct route_request *q);
int resolve_ask(struct resolve_client *c, uint64_t token, enum lookup_kind kind,
                struct strview name);

void resolve_run(struct resolve *r);
/* Requests that wait or are under way. */
size_t resolve_pending(const struct resolve *r);
/* Answers all of them as temporary failures with this text; for the end of a drain. */
void resolve_abort(struct resolve *r, const char *text);

#endif
