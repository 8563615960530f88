/*
 * Writing the table; see table_writer.h, and common/suppress/table_int.h for the order of writes that
 * makes readers right without a lock. Called by store.c (and by benchmark and tests).
 *
 * A bucket that is full is split in two by the next bit of its entries' hashes; when the directory
 * does not tell the halves apart it is doubled first, in place. Memory is taken with fallocate before
 * it is touched, so that a machine without memory gives an error and no signal. What can go wrong:
 * that, and the end of the table (BUCKETS_MAX, or hashes that are alike in DIRECTORY_DEPTH_MAX bits,
 * which a keyed hash does not let anybody arrange).
 */
#include "table_writer.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BUCKETS_STEP = 1024 }; /* 4 MiB at a time */

#define LOAD(word)           atomic_load_explicit(&(word), memory_order_relaxed)
#define STORE(word, value)   atomic_store_explicit(&(word), value, memory_order_relaxed)
#define PUBLISH(word, value) atomic_store_explicit(&(word), value, memory_order_release)

/* --- memory --- */

static int take_memory(struct table_writer *t, uint64_t from, uint64_t bytes)
{
    int r;

    do
        r = fallocate(t->fd, 0, (off_t)from, (off_t)bytes);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static int new_bucket(struct table_writer *t, uint32_t *ret)
{
    if (t->buckets == BUCKETS_MAX)
        return ERR_LIMIT;
    if (t->buckets == t->buckets_room) {
        uint32_t more = MIN_OF((uint32_t)BUCKETS_STEP, (uint32_t)BUCKETS_MAX - t->buckets_room);
        uint64_t from = offsetof(struct suppress_memory, buckets) +
                        (uint64_t)t->buckets_room * sizeof(struct suppress_bucket);
        int r = take_memory(t, from, (uint64_t)more * sizeof(struct suppress_bucket));
        if (r < 0)
            return r;
        t->buckets_room += more;
        PUBLISH(t->mem->head.buckets, t->buckets_room);
    }
    *ret = t->buckets++;
    return 0;
}

static void fill_head(struct table_writer *t, const struct suppress_key *key)
{
    struct suppress_head *h = &t->mem->head;

    h->bytes = SUPPRESS_TABLE_BYTES;
    h->page = TABLE_PAGE;
    h->slots = BUCKET_SLOTS;
    h->directory_depth_max = DIRECTORY_DEPTH_MAX;
    h->buckets_max = BUCKETS_MAX;
    h->key = *key;
}

static int map(struct table_writer *t, struct err *e)
{
    uint64_t fixed = sizeof(struct suppress_memory);
    uint32_t first;

    if (ftruncate(t->fd, (off_t)fixed) < 0)
        return err_set(e, -errno, "suppression table");
    int r = take_memory(t, 0, 2 * TABLE_PAGE); /* head, and the first page of the directory */
    if (r < 0)
        return err_set(e, r, "no memory for the suppression table");
    void *mem = mmap(NULL, SUPPRESS_TABLE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                     t->fd, 0);
    if (mem == MAP_FAILED)
        return err_set(e, -errno, "cannot map the suppression table");
    t->mem = mem;
    madvise(mem, SUPPRESS_TABLE_BYTES, MADV_DONTDUMP);
    /* from here on nobody else can write it, nor take memory away under a reader */
    if (fcntl(t->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE) < 0)
        return err_set(e, -errno, "cannot seal the suppression table");
    r = new_bucket(t, &first);
    return r < 0 ? err_set(e, r, "no memory for the suppression table") : 0;
}

int table_writer_init(struct table_writer *t, const struct suppress_key *key, struct err *e)
{
    *t = (struct table_writer){.fd = -1};
    t->fd = memfd_create("pmta-suppress", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (t->fd < 0)
        return err_set(e, -errno, "suppression table");
    int code = map(t, e);
    if (code < 0) {
        table_writer_fini(t);
        return code;
    }
    fill_head(t, key);
    table_added(t, clock_wall_ms());
    t->reader = (struct suppress_table){t->mem, SUPPRESS_TABLE_BYTES, *key};
    PUBLISH(t->mem->head.magic, SUPPRESS_TABLE_MAGIC);
    return 0;
}

void table_writer_fini(struct table_writer *t)
{
    if (t->mem)
        munmap(t->mem, SUPPRESS_TABLE_BYTES);
    if (t->fd >= 0)
        close(t->fd);
    *t = (struct table_writer){.fd = -1};
}

/* --- one bucket --- */

static void set_tag(struct suppress_bucket *b, unsigned slot, uint8_t tag)
{
    _Atomic uint64_t *word = &b->tags[slot / 8];
    unsigned shift = slot % 8 * 8;
    PUBLISH(*word, (LOAD(*word) & ~(UINT64_C(0xff) << shift)) | (uint64_t)tag << shift);
}

static uint8_t get_tag(const struct suppress_bucket *b, unsigned slot)
{
    return (uint8_t)(LOAD(b->tags[slot / 8]) >> slot % 8 * 8);
}

static unsigned free_slot(const struct suppress_bucket *b)
{
    unsigned w = 0;
    uint64_t m;

    while (!(m = suppress_tag_match(LOAD(b->tags[w]), 0)))
        w++;
    BUG_ON(w >= BUCKET_WORDS);
    return w * 8 + (unsigned)__builtin_ctzll(m) / 8;
}

static void fill_slot(struct suppress_bucket *b, uint64_t a, uint64_t b_expires, uint64_t meta,
                      uint8_t tag)
{
    unsigned i = free_slot(b);
    struct suppress_slot *s = &b->slots[i];

    STORE(s->a, a);
    STORE(s->b_expires, b_expires);
    STORE(s->meta, meta);
    b->used++;
    set_tag(b, i, tag);
}

/* --- growth --- */

static int double_directory(struct table_writer *t)
{
    uint32_t depth = LOAD(t->mem->head.depth), half = 1u << depth;
    uint64_t word = sizeof(t->mem->directory[0]);

    if (depth == DIRECTORY_DEPTH_MAX)
        return ERR_LIMIT;
    int r = take_memory(t, offsetof(struct suppress_memory, directory) + half * word, half * word);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < half; i++)
        STORE(t->mem->directory[half + i], LOAD(t->mem->directory[i]));
    PUBLISH(t->mem->head.depth, depth + 1);
    return 0;
}

static void copy_upper_half(const struct suppress_bucket *from, struct suppress_bucket *to,
                            uint32_t bit)
{
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        const struct suppress_slot *s = &from->slots[i];
        uint8_t tag = get_tag(from, i);
        if (tag && LOAD(s->a) >> bit & 1)
            fill_slot(to, LOAD(s->a), LOAD(s->b_expires), LOAD(s->meta), tag);
    }
}

static void drop_upper_half(struct suppress_bucket *b, uint32_t bit)
{
    for (unsigned i = 0; i < BUCKET_SLOTS; i++)
        if (get_tag(b, i) && LOAD(b->slots[i].a) >> bit & 1) {
            set_tag(b, i, 0);
            b->used--;
        }
}

static int split(struct table_writer *t, uint32_t number, struct suppress_hash h)
{
    struct suppress_memory *m = t->mem;
    struct suppress_bucket *old = &m->buckets[number];
    uint32_t bit = old->depth, fresh;
    int r = 0;

    if (bit == LOAD(m->head.depth))
        r = double_directory(t);
    if (r == 0)
        r = new_bucket(t, &fresh);
    if (r < 0)
        return r;
    m->buckets[fresh].depth = bit + 1;
    copy_upper_half(old, &m->buckets[fresh], bit);
    uint64_t step = UINT64_C(1) << (bit + 1), end = UINT64_C(1) << LOAD(m->head.depth);
    uint64_t first = (h.a & ((UINT64_C(1) << bit) - 1)) | UINT64_C(1) << bit;
    for (uint64_t i = first; i < end; i += step)
        PUBLISH(m->directory[i], fresh);
    old->depth = bit + 1;
    drop_upper_half(old, bit);
    return 0;
}

/* --- entries --- */

static uint32_t bucket_of(const struct table_writer *t, struct suppress_hash h)
{
    uint32_t depth, index;
    return suppress_directory(t->mem, h, &depth, &index);
}

void table_prefetch_place(const struct table_writer *t, struct suppress_hash h)
{
    uint64_t mask = (UINT64_C(1) << LOAD(t->mem->head.depth)) - 1;
    __builtin_prefetch(&t->mem->directory[h.a & mask]);
}

void table_prefetch_bucket(const struct table_writer *t, struct suppress_hash h)
{
    const char *b = (const char *)&t->mem->buckets[bucket_of(t, h)];
    for (size_t i = 0; i < offsetof(struct suppress_bucket, slots); i += 64)
        __builtin_prefetch(b + i, 1);
}

static struct suppress_slot *slot_of(const struct table_writer *t, struct suppress_hash h,
                                     struct suppress_bucket **ret_bucket, unsigned *ret_index)
{
    struct suppress_bucket *b = &t->mem->buckets[bucket_of(t, h)];
    int i = suppress_bucket_find(b, h);

    if (i < 0)
        return NULL;
    *ret_bucket = b;
    *ret_index = (unsigned)i;
    return &b->slots[i];
}

static struct table_value value_of(const struct suppress_slot *s)
{
    return (struct table_value){(uint32_t)LOAD(s->b_expires), LOAD(s->meta)};
}

static void count(struct table_writer *t, const struct table_value *v, int64_t by)
{
    _Atomic uint64_t *c = &t->mem->head.counts[suppress_meta_scope(v->meta)];
    STORE(*c, LOAD(*c) + (uint64_t)by);
    if (suppress_meta_is_domain(v->meta)) {
        c = &t->mem->head.domains[suppress_meta_scope(v->meta)];
        STORE(*c, LOAD(*c) + (uint64_t)by);
    }
    if (v->expires_s)
        t->expiring += (uint64_t)by;
}

static int insert(struct table_writer *t, struct suppress_hash h, const struct table_value *v)
{
    uint32_t number;

    while (t->mem->buckets[number = bucket_of(t, h)].used == BUCKET_SLOTS) {
        int r = split(t, number, h);
        if (r < 0)
            return r;
    }
    /* counted first: who sees a count of 0 does not look */
    count(t, v, 1);
    fill_slot(&t->mem->buckets[number], h.a, suppress_b_expires(h, v->expires_s), v->meta,
              suppress_tag(h));
    return 0;
}

int table_put(struct table_writer *t, struct suppress_hash h, const struct table_value *v,
              bool *ret_was, struct table_value *ret_old)
{
    struct suppress_bucket *b;
    unsigned i;
    struct suppress_slot *s = slot_of(t, h, &b, &i);

    *ret_was = s != NULL;
    if (!s)
        return insert(t, h, v);
    *ret_old = value_of(s);
    count(t, v, 1);
    STORE(s->b_expires, suppress_b_expires(h, v->expires_s));
    STORE(s->meta, v->meta);
    count(t, ret_old, -1);
    return 0;
}

void table_added(struct table_writer *t, int64_t now_ms)
{
    PUBLISH(t->mem->head.added_ms, now_ms);
}

bool table_get(const struct table_writer *t, struct suppress_hash h, struct table_value *ret)
{
    struct suppress_bucket *b;
    unsigned i;
    const struct suppress_slot *s = slot_of(t, h, &b, &i);

    if (s)
        *ret = value_of(s);
    return s != NULL;
}

bool table_remove(struct table_writer *t, struct suppress_hash h, struct table_value *ret_old)
{
    struct suppress_bucket *b;
    unsigned i;
    const struct suppress_slot *s = slot_of(t, h, &b, &i);

    if (!s)
        return false;
    *ret_old = value_of(s);
    set_tag(b, i, 0);
    b->used--;
    count(t, ret_old, -1);
    return true;
}

bool table_move(struct table_writer *t, struct suppress_hash h, uint64_t from, uint64_t to)
{
    struct suppress_bucket *b;
    unsigned i;
    struct suppress_slot *s = slot_of(t, h, &b, &i);

    if (!s || LOAD(s->meta) != from)
        return false;
    STORE(s->meta, to);
    return true;
}

static void sweep_bucket(struct table_writer *t, struct suppress_bucket *b, int64_t now_s,
                         void (*gone)(void *arg, const struct table_value *old), void *arg)
{
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        struct table_value v = value_of(&b->slots[i]);
        if (!get_tag(b, i) || !v.expires_s || now_s < v.expires_s)
            continue;
        set_tag(b, i, 0);
        b->used--;
        count(t, &v, -1);
        gone(arg, &v);
    }
}

void table_sweep(struct table_writer *t, uint32_t *cursor, uint32_t how_many, int64_t now_s,
                 void (*gone)(void *arg, const struct table_value *old), void *arg)
{
    for (uint32_t n = MIN_OF(how_many, t->buckets); n && t->expiring; n--) {
        if (*cursor >= t->buckets)
            *cursor = 0;
        sweep_bucket(t, &t->mem->buckets[(*cursor)++], now_s, gone, arg);
    }
}

uint64_t table_count(const struct table_writer *t)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < SUPPRESS_SCOPE_COUNT; i++)
        sum += LOAD(t->mem->head.counts[i]);
    return sum;
}

uint64_t table_bytes(const struct table_writer *t)
{
    uint64_t directory = sizeof(t->mem->directory[0]) << LOAD(t->mem->head.depth);
    return TABLE_PAGE + directory + (uint64_t)t->buckets_room * sizeof(struct suppress_bucket);
}
