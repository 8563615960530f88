/*
 * The limit of notices per sender; see dsn_limit.h. A sender is known by a hash of its address. Its
 * bucket holds `count` notices of the rate and fills evenly, kept as the time at which it is full
 * (in microseconds of the wall clock).
 */
#include "dsn/dsn_limit.h"

#include "base/hash.h"
#include "base/list.h"

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

static struct sender *find(struct dsn_limit *l, struct strview address)
{
    uint64_t h = hash_bytes_nocase(address.ptr, address.len);
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
    struct sender *s = find(l, sender);
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
