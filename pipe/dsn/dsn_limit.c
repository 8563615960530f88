/*
 * The limit of notices per sender; see dsn_limit.h. A sender is known by a hash of its address,
 * whose seed is kept with the counts so that they mean the same after a restart. Its bucket holds
 * `count` notices of the rate and fills evenly, kept as the time at which it is full (in
 * microseconds of the wall clock).
 */
#include "dsn/dsn_limit.h"

#include "base/hash.h"
#include "base/list.h"

#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { ADDRESS_MAX = 512, HELD_MAX = 1 << 30 };

struct sender {
    struct hash_node node; /* in limit->senders */
    struct list by_use;    /* in limit->by_use, the one used last at the end */
    int64_t full_at_us;
    struct dsn_held held;
};

struct dsn_limit {
    struct hash senders;
    struct list by_use;
    size_t max;
    uint64_t seed;
};

static bool match(const struct hash_node *n, const void *key)
{
    return n->hash == *(const uint64_t *)key;
}

struct dsn_limit *dsn_limit_new(size_t max_senders)
{
    struct dsn_limit *l = xcalloc(1, sizeof(*l));

    hash_init(&l->senders, match);
    list_init(&l->by_use);
    l->max = max_senders;
    if (getrandom(&l->seed, sizeof(l->seed), 0) != sizeof(l->seed))
        l->seed = hash_u64((uintptr_t)l); /* that is seeded, too */
    return l;
}

static void drop_oldest(struct dsn_limit *l)
{
    struct sender *s = list_entry(list_pop_front(&l->by_use), struct sender, by_use);
    hash_remove(&l->senders, &s->node);
    free(s);
}

void dsn_limit_free(struct dsn_limit *l)
{
    if (!l)
        return;
    while (!list_empty(&l->by_use))
        drop_oldest(l);
    hash_fini(&l->senders);
    free(l);
}

static uint64_t hash_of(const struct dsn_limit *l, struct strview address)
{
    char low[ADDRESS_MAX];
    size_t len = MIN_OF(address.len, sizeof(low));

    for (size_t i = 0; i < len; i++)
        low[i] = ascii_lower(address.ptr[i]);
    return XXH3_64bits_withSeed(low, len, l->seed);
}

static struct sender *find(struct dsn_limit *l, uint64_t h)
{
    struct hash_node *n = hash_find(&l->senders, h, &h);
    struct sender *s = n ? container_of(n, struct sender, node) : NULL;

    if (s) {
        list_remove(&s->by_use);
    } else {
        if (l->senders.count >= l->max)
            drop_oldest(l);
        s = xcalloc(1, sizeof(*s));
        hash_insert(&l->senders, &s->node, h);
    }
    list_push_back(&l->by_use, &s->by_use);
    return s;
}

bool dsn_limit_take(struct dsn_limit *l, struct strview sender, const struct rate *rate,
                    int64_t wall_ms, struct dsn_held *ret)
{
    struct sender *s = find(l, hash_of(l, sender));
    int64_t now = wall_ms * 1000, whole = rate->period_ms * 1000;
    int64_t step = rate->count ? MAX_OF(whole / (int64_t)rate->count, (int64_t)1) : 0;

    s->full_at_us = MIN_OF(MAX_OF(s->full_at_us, now), now + whole); /* also when a clock is set */
    if (s->full_at_us + step > now + whole && rate->count) {
        if (!s->held.count++)
            s->held.since_ms = wall_ms;
        return false;
    }
    s->full_at_us += step;
    *ret = s->held;
    s->held = (struct dsn_held){0};
    return true;
}

/* --- what survives a restart --- */

static bool would_be_missed(const struct sender *s, int64_t wall_ms)
{
    return s->full_at_us > wall_ms * 1000 || s->held.count;
}

void dsn_limit_write(const struct dsn_limit *l, int64_t wall_ms, struct buf *out)
{
    const struct list *first = &l->by_use;
    size_t kept = 0;

    buf_printf(out, "seed %llu\n", (unsigned long long)l->seed);
    while (kept < DSN_LIMIT_KEPT && first->prev != &l->by_use) {
        first = first->prev;
        kept += would_be_missed(list_entry(first, const struct sender, by_use), wall_ms);
    }
    for (; first != &l->by_use; first = first->next) {
        const struct sender *s = list_entry(first, const struct sender, by_use);
        if (would_be_missed(s, wall_ms))
            buf_printf(out, "%llu %lld %u %lld\n", (unsigned long long)s->node.hash,
                       (long long)s->full_at_us, s->held.count, (long long)s->held.since_ms);
    }
}

static bool next_number(struct strview *line, uint64_t max, uint64_t *ret)
{
    struct strview word;
    return sv_split(line, ' ', &word) && sv_to_u64(word, ret) && *ret <= max;
}

static void read_sender(struct dsn_limit *l, struct strview line)
{
    uint64_t h, full_at, count, since;

    if (!next_number(&line, UINT64_MAX, &h) || !next_number(&line, INT64_MAX, &full_at) ||
        !next_number(&line, HELD_MAX, &count) || !next_number(&line, INT64_MAX, &since))
        return;
    struct sender *s = find(l, h);
    s->full_at_us = (int64_t)full_at;
    s->held = (struct dsn_held){(uint32_t)count, (int64_t)since};
}

void dsn_limit_read(struct dsn_limit *l, struct strview text)
{
    struct strview line, word;
    uint64_t seed;

    BUG_ON(l->senders.count);
    if (!sv_split(&text, '\n', &line) || !sv_split(&line, ' ', &word) || !sv_eq(word, SV("seed")) ||
        !sv_to_u64(line, &seed))
        return;
    l->seed = seed;
    while (sv_split(&text, '\n', &line))
        read_sender(l, line);
}
