/*
 * lookup: the answer to one question, from the cache or from the name servers: retries, fail-over,
 * TCP, CNAMEs that lead out of a packet. Equal questions under way become one. Does no I/O itself.
 */
#ifndef PMTA_RESOLVER_LOOKUP_H
#define PMTA_RESOLVER_LOOKUP_H

#include "cache.h"
#include "exchange.h"
#include "fair.h"
#include "server.h"

enum {
    LOOKUP_MAX_ATTEMPTS = 6,   /* over all servers */
    LOOKUP_MAX_EXCHANGES = 24, /* with TCP, without EDNS, along CNAMEs */
    LOOKUP_FAILED_TTL_S = 10,  /* how long a failure is believed */
};

struct lookups {
    const struct exchange_ops *ops;
    void *ops_owner;
    struct servers servers;
    unsigned servers_generation;
    int64_t timeout_ms; /* of one attempt */
    bool validating;    /* the servers validate, and nobody can forge what they say */
    struct cache cache;
    struct hash running; /* queued and under way, by question */
    struct fair fair;
    uint64_t queries, by_tcp, timeouts, coalesced, foreign;
};

/* Somebody who waits for an answer; the memory is the caller's. */
struct lookup_waiter {
    struct list link;
    /* `a` is borrowed; ttl_s seconds are left of it. */
    void (*done)(struct lookup_waiter *w, struct answer *a, uint32_t ttl_s);
};

/* max_questions: how many are under way at a time. */
void lookups_init(struct lookups *l, const struct exchange_ops *ops, void *ops_owner,
                  unsigned max_questions, size_t cache_entries, size_t cache_bytes);
/* Nobody may wait any more whose memory is gone; no callback fires. */
void lookups_fini(struct lookups *l);

/* Replaces the name servers; what is under way goes on with the new ones at its next attempt. When
 * they validate, what others said is forgotten. */
void lookups_set_servers(struct lookups *l, const struct servers *s, int64_t timeout_ms,
                         bool validating);

/* Whether the answer passed DNSSEC, along all CNAMEs, at a server that is believed. */
static inline bool lookup_is_secure(const struct lookups *l, const struct answer *a)
{
    return l->validating && a->authenticated;
}

/* From the cache, or NULL; see cache_get. */
struct answer *lookup_cached(struct lookups *l, const char *name, enum query_type type,
                             uint32_t *ret_ttl_s);
/* Asks on behalf of a client. w->done fires once, in lookups_run or when a packet arrives. */
void lookup_start(struct lookups *l, struct fair_client *client, const char *name,
                  enum query_type type, struct lookup_waiter *w);
/* Begins what may begin; exchange_ops.wake leads here. */
void lookups_run(struct lookups *l);

#endif
