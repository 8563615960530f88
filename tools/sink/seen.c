/*
 * seen: see seen.h. Open addressing with linear probing, at most two thirds full, grows by
 * doubling. Peers choose the texts, so the hash is keyed with a secret of this process: collisions
 * cannot be made on purpose, and at 128 bits they do not happen by chance.
 */
#include "sink/seen.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <sys/random.h>

static uint64_t secret(void)
{
    static uint64_t value;
    while (value == 0)
        if (getrandom(&value, sizeof(value), 0) != (ssize_t)sizeof(value))
            value = 0;
    return value;
}

static struct seen_key key_of(struct strview s, uint64_t seed)
{
    XXH128_hash_t h = XXH3_128bits_withSeed(s.ptr, s.len, seed);
    return (struct seen_key){h.high64 | 1, h.low64};
}

struct seen_key seen_key1(struct strview a)
{
    return key_of(a, secret());
}

struct seen_key seen_key2(struct strview a, struct strview b)
{
    return key_of(b, XXH3_64bits_withSeed(a.ptr, a.len, secret()));
}

static struct seen_entry *slot(const struct seen *s, struct seen_key key)
{
    size_t i = key.low & (s->cap - 1);
    while (s->entries[i].key.high &&
           (s->entries[i].key.high != key.high || s->entries[i].key.low != key.low))
        i = (i + 1) & (s->cap - 1);
    return &s->entries[i];
}

static void grow(struct seen *s)
{
    struct seen old = *s;
    s->cap = old.cap ? old.cap * 2 : 1024;
    s->entries = xcalloc(s->cap, sizeof(*s->entries));
    for (size_t i = 0; i < old.cap; i++)
        if (old.entries[i].key.high)
            *slot(s, old.entries[i].key) = old.entries[i];
    free(old.entries);
}

int64_t *seen_add(struct seen *s, struct seen_key key, int64_t value)
{
    if (s->count * 3 >= s->cap * 2)
        grow(s);
    struct seen_entry *entry = slot(s, key);
    if (entry->key.high)
        return &entry->value;
    if (s->count >= s->limit) {
        s->full = true;
        return NULL;
    }
    *entry = (struct seen_entry){key, value};
    s->count++;
    return NULL;
}

void seen_fini(struct seen *s)
{
    free(s->entries);
    s->entries = NULL;
    s->cap = s->count = 0;
}
