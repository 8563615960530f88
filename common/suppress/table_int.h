/*
 * Layout of the table: extendible hashing in one memfd. What the reader (table.c) and the writer
 * (root/suppress/table_writer.c) share. A change of anything in here needs another
 * SUPPRESS_TABLE_MAGIC.
 *
 *   head        one page
 *   directory   2^depth bucket numbers, the low bits of hash.a being the index; room for
 *               2^DIRECTORY_DEPTH_MAX, of which only what is used has memory
 *   buckets     a page each, made one after the other at the end of the file
 *
 * The order of writes that readers rely on:
 *   insert   slot, then its tag (release)
 *   remove   the tag becomes 0
 *   change   one word of the slot
 *   split    the new bucket is filled, the directory points to it (release), and only then the tags of
 *            what moved become 0 in the old bucket (release): who sees such a 0 sees the new directory
 *   double   the upper half of the directory is filled, then depth (release)
 * So who finds nothing looks again when directory or depth have changed meanwhile, and has the right
 * answer otherwise.
 */
#ifndef PMTA_SUPPRESS_TABLE_INT_H
#define PMTA_SUPPRESS_TABLE_INT_H

#include "suppress/table.h"

#include <stdatomic.h>

#define SUPPRESS_TABLE_MAGIC UINT64_C(0x3230505553544d50) /* "PMTSUP02" */

enum {
    TABLE_PAGE = 4096,
    DIRECTORY_DEPTH_MAX = 22,
    BUCKET_SLOTS = 160,
    BUCKET_WORDS = BUCKET_SLOTS / 8, /* of tags */
    BUCKETS_MAX = 1 << 20,           /* 4 GiB of them, room for more than 100 million entries */
    REASON_BITS = 3,
    SCOPE_BITS = 2,
};

/* meta: the top bit tells an entry of a whole domain; below it what only the writer needs (hash of the
 * note, place in the log), then reason and scope. */
struct suppress_slot {
    _Atomic uint64_t a;
    _Atomic uint64_t
        b_expires; /* low half of hash.b above, expiry in seconds since 1970 below; 0: never */
    _Atomic uint64_t meta;
};

struct suppress_bucket {
    _Atomic uint64_t tags[BUCKET_WORDS]; /* a byte per slot, 0: free */
    uint32_t depth;                      /* writer's: bits of hash.a that its entries share */
    uint32_t used;                       /* writer's */
    uint8_t spare[88];
    struct suppress_slot slots[BUCKET_SLOTS];
};
_Static_assert(sizeof(struct suppress_bucket) == TABLE_PAGE, "a bucket is a page");

struct suppress_head {
    _Atomic uint64_t magic; /* set last */
    uint64_t bytes;         /* to be mapped; the file is as long as what is used */
    uint32_t page, slots, directory_depth_max, buckets_max;
    struct suppress_key key;
    _Alignas(64) _Atomic uint32_t depth;
    _Atomic uint32_t buckets; /* there are, and have memory */
    _Atomic uint64_t counts[SUPPRESS_SCOPE_COUNT];
    _Atomic uint64_t domains[SUPPRESS_SCOPE_COUNT]; /* of these, those of whole domains */
    _Atomic int64_t added_ms; /* wall; when an entry was added or changed last, or the table made */
};
_Static_assert(sizeof(struct suppress_head) <= TABLE_PAGE, "the head fits in a page");

struct suppress_memory {
    union {
        struct suppress_head head;
        uint8_t head_page[TABLE_PAGE];
    };
    _Atomic uint32_t directory[1 << DIRECTORY_DEPTH_MAX];
    struct suppress_bucket buckets[]; /* at most BUCKETS_MAX */
};

#define SUPPRESS_TABLE_BYTES \
    (sizeof(struct suppress_memory) + (uint64_t)BUCKETS_MAX * sizeof(struct suppress_bucket))

struct suppress_table {
    const struct suppress_memory *mem;
    uint64_t bytes;
    struct suppress_key key;
};

static inline uint8_t suppress_tag(struct suppress_hash h)
{
    uint8_t tag = (uint8_t)(h.b >> 56);
    return tag ? tag : 1;
}

static inline uint64_t suppress_b_expires(struct suppress_hash h, uint32_t expires_s)
{
    return h.b << 32 | expires_s;
}

static inline enum suppress_scope suppress_meta_scope(uint64_t meta)
{
    return (enum suppress_scope)(meta & ((1u << SCOPE_BITS) - 1));
}

static inline enum suppress_reason suppress_meta_reason(uint64_t meta)
{
    return (enum suppress_reason)(meta >> SCOPE_BITS & ((1u << REASON_BITS) - 1));
}

#define SUPPRESS_META_DOMAIN (UINT64_C(1) << 63)

static inline bool suppress_meta_is_domain(uint64_t meta)
{
    return meta & SUPPRESS_META_DOMAIN;
}

/* Bytes of word that are equal to tag, as 0x80 in each; a byte above an equal one may be marked
 * without being so. */
static inline uint64_t suppress_tag_match(uint64_t word, uint8_t tag)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t x = word ^ ones * tag;
    return (x - ones) & ~x & (ones << 7);
}

/* The bucket number that the directory gives for h; *ret_at and *ret_depth to see whether it still
 * does. */
static inline uint32_t suppress_directory(const struct suppress_memory *m, struct suppress_hash h,
                                          uint32_t *ret_depth, uint32_t *ret_index)
{
    uint32_t depth = atomic_load_explicit(&m->head.depth, memory_order_acquire);

    if (depth > DIRECTORY_DEPTH_MAX) /* never written so; but nothing here may reach outside */
        depth = DIRECTORY_DEPTH_MAX;
    *ret_depth = depth;
    *ret_index = (uint32_t)(h.a & ((UINT64_C(1) << depth) - 1));
    return atomic_load_explicit(&m->directory[*ret_index], memory_order_acquire);
}

/* The slot of h in this bucket, or -1. */
int suppress_bucket_find(const struct suppress_bucket *b, struct suppress_hash h);

#endif
