/*
 * Looking up in the table; see table.h and, for the layout and why a reader is right without a lock,
 * table_int.h. Called by receiver and pipe for each recipient. Happy path of a miss: the directory's
 * word, the tags of one bucket (twenty words), nothing else. What can go wrong: the table is no table
 * (refused when it is mapped); an index outside (never followed). The mapping is the caller's.
 */
#include "suppress/table_int.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* A bucket is split at most once per bit of its depth, so more changes than this during one look-up
 * are not to be expected; then the last answer counts. */
enum { TRIES_MAX = 64 };

static int check(const struct suppress_memory *m, uint64_t bytes, struct err *e)
{
    const struct suppress_head *h = &m->head;

    if (atomic_load_explicit(&h->magic, memory_order_acquire) != SUPPRESS_TABLE_MAGIC)
        return err_set(e, ERR_VERSION, "the suppression table is of another version");
    if (h->bytes != bytes || h->page != TABLE_PAGE || h->slots != BUCKET_SLOTS ||
        h->directory_depth_max != DIRECTORY_DEPTH_MAX || h->buckets_max != BUCKETS_MAX)
        return err_set(e, ERR_CORRUPT, "the suppression table has another layout");
    return 0;
}

int suppress_table_map(struct suppress_table **ret, int fd, uint64_t bytes, struct err *e)
{
    struct stat st;

    if (bytes != SUPPRESS_TABLE_BYTES)
        return err_set(e, ERR_VERSION, "the suppression table has another size");
    if (fstat(fd, &st) < 0)
        return err_set(e, -errno, "the suppression table");
    if ((uint64_t)st.st_size < sizeof(struct suppress_memory))
        return err_set(e, ERR_CORRUPT, "the suppression table is too short");
    /* pages behind the end of the file come when it grows; its end never comes back (it is sealed) */
    void *mem = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (mem == MAP_FAILED)
        return err_set(e, -errno, "cannot map the suppression table");
    int code = check(mem, bytes, e);
    if (code < 0) {
        munmap(mem, bytes);
        return code;
    }
    madvise(mem, bytes, MADV_DONTDUMP);
    madvise(mem, bytes, MADV_RANDOM);
    struct suppress_table *t = xcalloc(1, sizeof(*t));
    t->mem = mem;
    t->bytes = bytes;
    t->key = t->mem->head.key;
    *ret = t;
    return 0;
}

void suppress_table_unmap(struct suppress_table *t)
{
    if (!t)
        return;
    munmap((void *)(uintptr_t)t->mem, t->bytes);
    free(t);
}

uint64_t suppress_table_count(const struct suppress_table *t, enum suppress_scope scope)
{
    return atomic_load_explicit(&t->mem->head.counts[scope], memory_order_relaxed);
}

uint64_t suppress_table_domains(const struct suppress_table *t, enum suppress_scope scope)
{
    return atomic_load_explicit(&t->mem->head.domains[scope], memory_order_relaxed);
}

int64_t suppress_table_added_ms(const struct suppress_table *t)
{
    return atomic_load_explicit(&t->mem->head.added_ms, memory_order_acquire);
}

int suppress_bucket_find(const struct suppress_bucket *b, struct suppress_hash h)
{
    uint8_t tag = suppress_tag(h);

    for (unsigned w = 0; w < BUCKET_WORDS; w++) {
        uint64_t word = atomic_load_explicit(&b->tags[w], memory_order_acquire);
        for (uint64_t m = suppress_tag_match(word, tag); m; m &= m - 1) {
            unsigned byte = (unsigned)__builtin_ctzll(m) / 8, i = w * 8 + byte;
            const struct suppress_slot *s = &b->slots[i];
            if ((uint8_t)(word >> byte * 8) != tag) /* marked by mistake; the slot may be free */
                continue;
            uint64_t b_expires = atomic_load_explicit(&s->b_expires, memory_order_relaxed);
            if (atomic_load_explicit(&s->a, memory_order_relaxed) == h.a &&
                b_expires >> 32 == (h.b & UINT32_MAX))
                return (int)i;
        }
    }
    return -1;
}

static bool slot_holds(const struct suppress_slot *s, int64_t now_ms, struct suppress_hit *ret)
{
    uint32_t expires = (uint32_t)atomic_load_explicit(&s->b_expires, memory_order_relaxed);
    uint64_t meta = atomic_load_explicit(&s->meta, memory_order_relaxed);

    if (expires && now_ms >= (int64_t)expires * 1000)
        return false;
    *ret = (struct suppress_hit){suppress_meta_scope(meta), suppress_meta_reason(meta),
                                 suppress_meta_is_domain(meta)};
    return true;
}

bool suppress_table_has(const struct suppress_table *t, struct suppress_hash h, int64_t now_ms,
                        struct suppress_hit *ret)
{
    const struct suppress_memory *m = t->mem;
    uint32_t depth, index, depth_now, index_now;
    uint32_t bucket = suppress_directory(m, h, &depth, &index);

    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        uint32_t there = atomic_load_explicit(&m->head.buckets, memory_order_acquire);
        if (bucket >= MIN_OF(there, (uint32_t)BUCKETS_MAX))
            return false;
        const struct suppress_bucket *b = &m->buckets[bucket];
        int slot = suppress_bucket_find(b, h);
        if (slot >= 0)
            return slot_holds(&b->slots[slot], now_ms, ret);
        uint32_t again = suppress_directory(m, h, &depth_now, &index_now);
        if (again == bucket && depth_now == depth)
            return false;
        bucket = again;
        depth = depth_now;
    }
    return false;
}

void suppress_scopes_add(struct suppress_scopes *s, const struct suppress_table *t,
                         enum suppress_scope scope, struct strview name)
{
    char text[SUPPRESS_NAME_MAX];

    if (!t || s->count == ARRAY_LEN(s->hash) || suppress_table_count(t, scope) == 0)
        return;
    size_t len = suppress_canonical_name(scope, name, text);
    if (!len && scope != SUPPRESS_GLOBAL)
        return;
    if (suppress_table_domains(t, scope))
        s->domains |= (uint8_t)(1u << s->count);
    s->hash[s->count++] = suppress_hash_scope(&t->key, scope, sv(text, len));
}

static bool domain_found(const struct suppress_table *t, const struct suppress_scopes *s,
                         struct strview canonical, int64_t now_ms, struct suppress_hit *ret)
{
    const char *at = memrchr(canonical.ptr, '@', canonical.len);
    struct suppress_hash h =
        suppress_hash_address(&t->key, sv(at, (size_t)(canonical.ptr + canonical.len - at)));

    for (unsigned i = 0; i < s->count; i++)
        if ((s->domains >> i & 1) &&
            suppress_table_has(t, suppress_hash_join(h, s->hash[i]), now_ms, ret))
            return true;
    return false;
}

bool suppress_table_find(const struct suppress_table *t, const struct suppress_scopes *s,
                         struct strview address, int64_t now_ms, struct suppress_hit *ret)
{
    char text[SUPPRESS_ADDRESS_MAX];

    if (!t || !s->count)
        return false;
    size_t len = suppress_canonical(address, text);
    if (!len)
        return false;
    struct suppress_hash h = suppress_hash_address(&t->key, sv(text, len));
    for (unsigned i = 0; i < s->count; i++)
        if (suppress_table_has(t, suppress_hash_join(h, s->hash[i]), now_ms, ret))
            return true;
    return s->domains && domain_found(t, s, sv(text, len), now_ms, ret);
}
