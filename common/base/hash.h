/*
 * Intrusive hash table with chaining. The table holds nodes, the owner holds the memory; hashes are
 * keyed with a random seed per process, because peers choose many of the keys.
 */
#ifndef PMTA_BASE_HASH_H
#define PMTA_BASE_HASH_H

#include "base/str.h"

struct hash_node {
    struct hash_node *next;
    uint64_t hash;
};

struct hash {
    struct hash_node **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t count;
    /* true when the node is the one that key names */
    bool (*match)(const struct hash_node *node, const void *key);
};

/* Hash of bytes, or of bytes without regard to ASCII case, or of a number. Seeded per process. */
uint64_t hash_bytes(const void *data, size_t len);
uint64_t hash_bytes_nocase(const void *data, size_t len);
uint64_t hash_u64(uint64_t n);

/* The seed from now on, not 0: where a run is to be repeated exactly (simulation). Before the first
 * table is filled. */
void hash_set_seed(uint64_t seed);

void hash_init(struct hash *h, bool (*match)(const struct hash_node *, const void *key));
/* Frees the bucket array only; the nodes are their owner's. */
void hash_fini(struct hash *h);

/* The node that matches, or NULL. */
struct hash_node *hash_find(const struct hash *h, uint64_t hash, const void *key);
/* Puts node in under `hash`; the caller made sure that it is not in already. */
void hash_insert(struct hash *h, struct hash_node *node, uint64_t hash);
/* Takes node out; it must be in. */
void hash_remove(struct hash *h, struct hash_node *node);

/* Any order. Returns the first node when prev is NULL, and NULL at the end. The table may not
 * change between calls, but for removal of `prev` after the next one was asked for. */
struct hash_node *hash_next(const struct hash *h, const struct hash_node *prev);

#endif
