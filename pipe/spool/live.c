/*
 * Linear probing with backward-shift deletion, so that no tombstones gather; see live.h.
 */
#include "spool/live.h"

static uint64_t mix(message_id id)
{
    uint64_t h = id * 0x9e3779b97f4a7c15u;
    h ^= h >> 29;
    h *= 0xbf58476d1ce4e5b9u;
    return h ^ h >> 32;
}

static uint32_t home_of(const struct live_shard *s, message_id id)
{
    return (uint32_t)(mix(id) >> 8) & (s->cap - 1);
}

static struct live_shard *shard_of(struct live *l, message_id id)
{
    return &l->shards[mix(id) & (LIVE_SHARDS - 1)];
}

static uint32_t slot_of(const struct live_shard *s, message_id id)
{
    uint32_t i = home_of(s, id);
    while (s->slots[i].id && s->slots[i].id != id)
        i = (i + 1) & (s->cap - 1);
    return i;
}

struct live_entry *live_find(struct live *l, message_id id)
{
    struct live_shard *s = shard_of(l, id);
    if (!s->cap)
        return NULL;
    struct live_entry *e = &s->slots[slot_of(s, id)];
    return e->id ? e : NULL;
}

static void resize(struct live_shard *s, uint32_t cap)
{
    struct live_shard to = {.cap = cap, .count = s->count};
    to.slots = xcalloc(cap, sizeof(*to.slots));
    for (uint32_t i = 0; i < s->cap; i++)
        if (s->slots[i].id)
            to.slots[slot_of(&to, s->slots[i].id)] = s->slots[i];
    free(s->slots);
    *s = to;
}

void live_put(struct live *l, message_id id, uint32_t segment, uint32_t rcpts)
{
    struct live_shard *s = shard_of(l, id);
    if (s->count * 4 >= s->cap * 3)
        resize(s, s->cap ? s->cap * 2 : 8);
    struct live_entry *e = &s->slots[slot_of(s, id)];
    BUG_ON(e->id);
    *e = (struct live_entry){id, segment, rcpts};
    s->count++;
}

void live_remove(struct live *l, message_id id)
{
    struct live_shard *s = shard_of(l, id);
    BUG_ON(!s->cap);
    uint32_t mask = s->cap - 1, hole = slot_of(s, id);
    BUG_ON(s->slots[hole].id != id);
    for (uint32_t i = (hole + 1) & mask; s->slots[i].id; i = (i + 1) & mask) {
        uint32_t home = home_of(s, s->slots[i].id);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            s->slots[hole] = s->slots[i];
            hole = i;
        }
    }
    s->slots[hole].id = 0;
    s->count--;
    if (s->cap > 8 && s->count * 8 < s->cap)
        resize(s, s->cap / 2);
}

void live_fini(struct live *l)
{
    for (size_t i = 0; i < LIVE_SHARDS; i++)
        free(l->shards[i].slots);
    *l = (struct live){0};
}
