/*
 * cache: answers by (name, type) until their TTL ends, the least recently used thrown out at a
 * limit of entries or bytes. Negative answers are answers like others (RFC 2308); their TTL was
 * bounded when they were made. Zero-initialised is not valid: cache_init.
 */
#ifndef PMTA_RESOLVER_CACHE_H
#define PMTA_RESOLVER_CACHE_H

#include "answer.h"

#include "base/hash.h"
#include "base/list.h"

struct cache {
    struct hash entries;
    struct list lru; /* most recently used first */
    size_t bytes;
    size_t max_entries;
    size_t max_bytes;
    uint64_t hits, misses, evictions;
};

void cache_init(struct cache *c, size_t max_entries, size_t max_bytes);
void cache_fini(struct cache *c);

/* Takes a reference of its own. An entry of that name and type is replaced. Nothing happens for a
 * TTL of 0 and for an answer larger than the whole cache. */
void cache_put(struct cache *c, const char *name, enum query_type type, struct answer *a);

/* The answer and the seconds that are left of it (at least 1), or NULL. The answer is borrowed
 * until the next call that changes the cache. */
struct answer *cache_get(struct cache *c, const char *name, enum query_type type,
                         uint32_t *ret_ttl_s);

void cache_clear(struct cache *c);

#endif
