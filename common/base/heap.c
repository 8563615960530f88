/*
 * Binary heap; see heap.h. Invariant: nodes[i]->index == i, and no node's key is less than its
 * parent's.
 */
#include "base/heap.h"

static void put(struct heap *h, uint32_t i, struct heap_node *n)
{
    h->nodes[i] = n;
    n->index = i;
}

static void sift_up(struct heap *h, uint32_t i)
{
    struct heap_node *n = h->nodes[i];
    while (i > 0) {
        uint32_t parent = (i - 1) / 2;
        if (h->nodes[parent]->key <= n->key)
            break;
        put(h, i, h->nodes[parent]);
        i = parent;
    }
    put(h, i, n);
}

static void sift_down(struct heap *h, uint32_t i)
{
    struct heap_node *n = h->nodes[i];
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && h->nodes[child + 1]->key < h->nodes[child]->key)
            child++;
        if (n->key <= h->nodes[child]->key)
            break;
        put(h, i, h->nodes[child]);
        i = child;
    }
    put(h, i, n);
}

void heap_set(struct heap *h, struct heap_node *n, int64_t key)
{
    if (!heap_contains(n)) {
        if (h->count == h->cap) {
            h->cap = h->cap ? h->cap * 2 : 8;
            h->nodes = xrealloc(h->nodes, h->cap * sizeof(h->nodes[0]));
        }
        n->key = key;
        put(h, h->count++, n);
        sift_up(h, n->index);
        return;
    }
    bool sooner = key < n->key;
    n->key = key;
    if (sooner)
        sift_up(h, n->index);
    else
        sift_down(h, n->index);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    if (!heap_contains(n))
        return;
    uint32_t i = n->index;
    BUG_ON(i >= h->count || h->nodes[i] != n);
    struct heap_node *last = h->nodes[--h->count];
    n->index = HEAP_NOWHERE;
    if (last == n)
        return;
    put(h, i, last);
    sift_up(h, i);
    sift_down(h, last->index);
}

void heap_fini(struct heap *h)
{
    free(h->nodes);
    *h = (struct heap){0};
}
