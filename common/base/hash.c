/*
 * Chained hash table; see hash.h. It doubles when there are more nodes than buckets and never
 * shrinks.
 */
#include "base/hash.h"

#include <sys/random.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t the_seed;

void hash_set_seed(uint64_t to)
{
    the_seed = to;
}

static uint64_t seed(void)
{
    while (!the_seed)
        if (getrandom(&the_seed, sizeof(the_seed), 0) != sizeof(the_seed))
            the_seed = (uint64_t)time(NULL) * 0x9e3779b97f4a7c15u;
    return the_seed;
}

uint64_t hash_bytes(const void *data, size_t len)
{
    return XXH3_64bits_withSeed(data, len, seed());
}

uint64_t hash_bytes_nocase(const void *data, size_t len)
{
    char low[256];
    uint64_t h = seed();
    for (const char *p = data; len;) {
        size_t n = MIN_OF(len, sizeof(low));
        for (size_t i = 0; i < n; i++)
            low[i] = ascii_lower(p[i]);
        h = XXH3_64bits_withSeed(low, n, h);
        p += n;
        len -= n;
    }
    return h;
}

uint64_t hash_u64(uint64_t n)
{
    return hash_bytes(&n, sizeof(n));
}

void hash_init(struct hash *h, bool (*match)(const struct hash_node *, const void *key))
{
    *h = (struct hash){.match = match};
}

void hash_fini(struct hash *h)
{
    free(h->buckets);
    h->buckets = NULL;
    h->bucket_count = h->count = 0;
}

struct hash_node *hash_find(const struct hash *h, uint64_t hash, const void *key)
{
    if (!h->bucket_count)
        return NULL;
    for (struct hash_node *n = h->buckets[hash & (h->bucket_count - 1)]; n; n = n->next)
        if (n->hash == hash && h->match(n, key))
            return n;
    return NULL;
}

static void grow(struct hash *h)
{
    size_t count = h->bucket_count ? h->bucket_count * 2 : 16;
    struct hash_node **buckets = xcalloc(count, sizeof(struct hash_node *));

    for (size_t i = 0; i < h->bucket_count; i++) {
        for (struct hash_node *n = h->buckets[i], *next; n; n = next) {
            next = n->next;
            struct hash_node **to = &buckets[n->hash & (count - 1)];
            n->next = *to;
            *to = n;
        }
    }
    free(h->buckets);
    h->buckets = buckets;
    h->bucket_count = count;
}

void hash_insert(struct hash *h, struct hash_node *node, uint64_t hash)
{
    if (h->count >= h->bucket_count)
        grow(h);
    struct hash_node **to = &h->buckets[hash & (h->bucket_count - 1)];
    node->hash = hash;
    node->next = *to;
    *to = node;
    h->count++;
}

void hash_remove(struct hash *h, struct hash_node *node)
{
    struct hash_node **at = &h->buckets[node->hash & (h->bucket_count - 1)];
    while (*at != node) {
        BUG_ON(!*at);
        at = &(*at)->next;
    }
    *at = node->next;
    node->next = NULL;
    h->count--;
}

struct hash_node *hash_next(const struct hash *h, const struct hash_node *prev)
{
    size_t i = 0;
    if (prev) {
        if (prev->next)
            return prev->next;
        i = (prev->hash & (h->bucket_count - 1)) + 1;
    }
    for (; i < h->bucket_count; i++)
        if (h->buckets[i])
            return h->buckets[i];
    return NULL;
}
