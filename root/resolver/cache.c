/*
 * The cache of answers; see cache.h. lookup.c asks before it sends anything and puts in what came.
 * An entry that has ended goes when somebody meets it or when it has become the least recently
 * used.
 */
#include "cache.h"

#include "base/clock.h"

struct cache_key {
    const char *name;
    enum query_type type;
};

struct cache_entry {
    struct hash_node node;
    struct list lru;
    struct answer *answer;
    int64_t ends_ms; /* monotonic */
    enum query_type type;
    char name[]; /* normalised domain */
};

static uint64_t key_hash(const struct cache_key *k)
{
    return hash_u64(hash_bytes(k->name, strlen(k->name)) ^ (uint64_t)k->type);
}

static bool key_match(const struct hash_node *n, const void *key)
{
    const struct cache_entry *e = container_of(n, struct cache_entry, node);
    const struct cache_key *k = key;
    return e->type == k->type && strcmp(e->name, k->name) == 0;
}

static size_t entry_bytes(const struct cache_entry *e)
{
    return sizeof(*e) + strlen(e->name) + 1 + e->answer->bytes;
}

void cache_init(struct cache *c, size_t max_entries, size_t max_bytes)
{
    *c = (struct cache){.max_entries = max_entries, .max_bytes = max_bytes};
    hash_init(&c->entries, key_match);
    list_init(&c->lru);
}

static void drop(struct cache *c, struct cache_entry *e)
{
    hash_remove(&c->entries, &e->node);
    list_remove(&e->lru);
    c->bytes -= entry_bytes(e);
    answer_unref(e->answer);
    free(e);
}

void cache_clear(struct cache *c)
{
    list_for_each_safe (pos, &c->lru)
        drop(c, list_entry(pos, struct cache_entry, lru));
    BUG_ON(c->bytes || c->entries.count);
}

void cache_fini(struct cache *c)
{
    cache_clear(c);
    hash_fini(&c->entries);
}

static struct cache_entry *find(struct cache *c, const struct cache_key *key, uint64_t hash)
{
    struct hash_node *n = hash_find(&c->entries, hash, key);
    return n ? container_of(n, struct cache_entry, node) : NULL;
}

static void make_room(struct cache *c)
{
    while (c->entries.count > c->max_entries || c->bytes > c->max_bytes) {
        drop(c, list_entry(c->lru.prev, struct cache_entry, lru));
        c->evictions++;
    }
}

void cache_put(struct cache *c, const char *name, enum query_type type, struct answer *a)
{
    struct cache_key key = {name, type};
    uint64_t hash = key_hash(&key);
    struct cache_entry *e = find(c, &key, hash);
    size_t name_bytes = strlen(name) + 1;

    if (e)
        drop(c, e);
    if (!a->ttl_s)
        return;
    e = xmalloc(sizeof(*e) + name_bytes);
    *e = (struct cache_entry){.answer = answer_ref(a), .type = type};
    e->ends_ms = clock_mono_ms() + (int64_t)a->ttl_s * 1000;
    memcpy(e->name, name, name_bytes);
    hash_insert(&c->entries, &e->node, hash);
    list_push_front(&c->lru, &e->lru);
    c->bytes += entry_bytes(e);
    make_room(c);
}

struct answer *cache_get(struct cache *c, const char *name, enum query_type type,
                         uint32_t *ret_ttl_s)
{
    struct cache_key key = {name, type};
    struct cache_entry *e = find(c, &key, key_hash(&key));
    int64_t left_ms = e ? e->ends_ms - clock_mono_ms() : 0;

    if (e && left_ms <= 0) {
        drop(c, e);
        e = NULL;
    }
    if (!e) {
        c->misses++;
        return NULL;
    }
    c->hits++;
    list_remove(&e->lru);
    list_push_front(&c->lru, &e->lru);
    *ret_ttl_s = (uint32_t)((left_ms + 999) / 1000);
    return e->answer;
}
