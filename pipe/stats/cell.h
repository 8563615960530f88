/*
 * What is counted for one key in one span of time: counters, bounces by category, and how long
 * deliveries took. One row per counter gives names, help and, later, metrics.
 */
#ifndef PMTA_PIPE_STATS_CELL_H
#define PMTA_PIPE_STATS_CELL_H

#include "base/buf.h"

/* COUNTER(ID, "name", counts for how busy a key is, "help") */
#define STATS_COUNTERS(COUNTER)                                                                    \
    COUNTER(RECEIVED, "received", 1, "recipients accepted")                                        \
    COUNTER(DELIVERED, "delivered", 1, "recipients delivered")                                     \
    COUNTER(DEFERRED, "deferred", 1, "attempts that ended in a temporary failure")                 \
    COUNTER(BOUNCED, "bounced", 1, "recipients refused for good")                                  \
    COUNTER(EXPIRED, "expired", 1, "recipients whose time to be delivered was over")               \
    COUNTER(DELETED, "deleted", 1, "recipients deleted by an operator")                            \
    COUNTER(QUEUE_FAILURES, "queue_failures", 1, "times that a whole queue could not be tried")    \
    COUNTER(REMOTE_BOUNCES, "remote_bounces", 1, "failure reports that came in by mail")           \
    COUNTER(REMOTE_REPORTS, "remote_reports", 1, "reports of delay or delivery that came by mail") \
    COUNTER(COMPLAINTS, "complaints", 1, "complaints that came in")                                \
    COUNTER(BYTES, "bytes", 0, "bytes of what was delivered, once per recipient")

enum stats_counter {
#define COUNTER_ENUM(id, name, busy, help) STATS_##id,
    STATS_COUNTERS(COUNTER_ENUM)
#undef COUNTER_ENUM
        STATS_COUNTER_COUNT
};

const char *stats_counter_name(enum stats_counter c);
const char *stats_counter_help(enum stats_counter c);

enum {
    STATS_CATEGORIES = 32, /* of bounces; the last one is the rest */
    STATS_DELAYS = 60,     /* two buckets per power of two, in ms, up to nine days */
};

struct stats_cell {
    uint64_t counts[STATS_COUNTER_COUNT];
    uint32_t categories[STATS_CATEGORIES]; /* of bounced, expired and remote bounces */
    uint32_t delays[STATS_DELAYS];         /* from acceptance to delivery */
};

/* Bucket of a delay, and the delays that it holds: more than `from`, up to `to`. */
unsigned stats_delay_bucket(int64_t ms);
int64_t stats_delay_to_ms(unsigned bucket);
/* The delay that `percent` of all do not exceed, by bucket, evenly spread within it; 0: there are
 * none. */
int64_t stats_delay_percentile(const uint32_t *delays, double percent);

bool stats_cell_is_empty(const struct stats_cell *c);
void stats_cell_add(struct stats_cell *to, const struct stats_cell *from);
/* How busy a key is, to compare with others. */
uint64_t stats_cell_weight(const struct stats_cell *c);

/* Only what is not 0, in variable-length numbers: some thirty bytes for most. */
void stats_cell_encode(const struct stats_cell *c, struct buf *out);
/* Adds what is encoded at the start of *in and moves past it; false: it is damaged. */
bool stats_cell_decode(struct strview *in, struct stats_cell *add_to);

void stats_put_number(struct buf *out, uint64_t n);
bool stats_get_number(struct strview *in, uint64_t *ret);

#endif
