/*
 * Binary min-heap of intrusive nodes with a 64-bit key (a time). Removal from the middle is
 * O(log n), because each node knows its place.
 */
#ifndef PMTA_BASE_HEAP_H
#define PMTA_BASE_HEAP_H

#include "base/util.h"

#define HEAP_NOWHERE UINT32_MAX

struct heap_node {
    int64_t key;
    uint32_t index; /* place in the heap, or HEAP_NOWHERE */
};

struct heap {
    struct heap_node **nodes;
    uint32_t count;
    uint32_t cap;
};

static inline void heap_node_init(struct heap_node *n)
{
    n->index = HEAP_NOWHERE;
}

static inline bool heap_contains(const struct heap_node *n)
{
    return n->index != HEAP_NOWHERE;
}

/* The node with the smallest key, or NULL. */
static inline struct heap_node *heap_min(const struct heap *h)
{
    return h->count ? h->nodes[0] : NULL;
}

/* Puts n in under key; when it is in already, moves it. */
void heap_set(struct heap *h, struct heap_node *n, int64_t key);
/* Takes n out; nothing happens when it is not in. */
void heap_remove(struct heap *h, struct heap_node *n);
/* Frees the array; nodes are their owner's. */
void heap_fini(struct heap *h);

#endif
