/*
 * What the parts of the counters share; nobody else includes this.
 */
#ifndef PMTA_PIPE_STATS_STATS_INT_H
#define PMTA_PIPE_STATS_STATS_INT_H

#include "base/hash.h"
#include "base/list.h"
#include "stats/stats.h"

/* SPAN(ID, length in ms, spans kept, keys kept of each dimension) */
#define STATS_SPANS(SPAN)         \
    SPAN(MINUTE, 60000, 120, 128) \
    SPAN(HOUR, 3600000, 72, 256)  \
    SPAN(DAY, 86400000, 35, 512)

enum stats_span {
#define SPAN_ENUM(id, ms, kept, keys) SPAN_##id,
    STATS_SPANS(SPAN_ENUM)
#undef SPAN_ENUM
        SPAN_COUNT
};

struct stats_span_info {
    int64_t ms;
    unsigned kept, keys;
};
extern const struct stats_span_info stats_spans[SPAN_COUNT];

/* Live counters of one key. What is counted goes to the minute, which is added to the others when
 * it ends. */
struct stats_key {
    struct hash_node node; /* in stats->keys[dimension] */
    struct list link;      /* stats->all */
    uint8_t dimension;
    bool touched; /* the minute is not empty, and it is in stats->touched */
    struct stats_cell cells[SPAN_COUNT];
    size_t name_len;
    char name[]; /* "" is the rest of the dimension, which is always there */
};

/* A span that is over: per key u8 dimension, u8 length and bytes of the name, encoded cell. */
struct stats_slot {
    int64_t number; /* start / length */
    struct buf keys;
};

struct stats_ring {
    struct stats_slot slots[120];
    size_t first, count;
};

struct stats {
    int64_t now[SPAN_COUNT]; /* number of the span that runs; 0: nothing was counted */
    struct hash keys[STATS_DIMENSION_COUNT];
    size_t key_count[STATS_DIMENSION_COUNT];
    struct stats_key *rest[STATS_DIMENSION_COUNT];
    struct stats_key *last[STATS_DIMENSION_COUNT]; /* the one counted before, mostly the same */
    struct list all;
    struct stats_key **touched;
    size_t touched_count, touched_room;
    struct stats_ring rings[SPAN_COUNT];
    char *categories[STATS_CATEGORIES];
    unsigned category_count;
    const char *last_category; /* as it was given; number of it */
    unsigned last_category_number;
    uint64_t totals[STATS_COUNTER_COUNT];
    void (*changed)(void *arg, bool past);
    void *changed_arg;
};

/* Ends the spans that are over. */
void stats_advance(struct stats *s, int64_t wall_ms);
struct stats_key *stats_key_of(struct stats *s, unsigned dimension, struct strview name);
unsigned stats_category_of(struct stats *s, const char *name);
/* The next slot, empty; the oldest goes when the ring is full. */
struct stats_slot *stats_ring_push(struct stats *s, enum stats_span span, int64_t number);
const struct stats_slot *stats_ring_at(const struct stats *s, enum stats_span span, size_t i);

/* One key of a slot; false at its end, or where it is damaged. */
bool stats_slot_next(struct strview *keys, unsigned *dimension, struct strview *name,
                     struct stats_cell *add_to);

#endif
