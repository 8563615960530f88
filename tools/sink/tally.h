/*
 * tally: everything the sink counts, and the summary as a table or JSON.
 */
#ifndef PMTA_SINK_TALLY_H
#define PMTA_SINK_TALLY_H

#include "base/hash.h"
#include "kit/hist.h"
#include "kit/text.h"
#include "sink/policy.h"
#include "sink/peers.h"
#include "sink/seen.h"

/* COUNTER(name, "label"): also the JSON names */
#define TALLY_COUNTERS(COUNTER)                                \
    COUNTER(connections, "connections")                        \
    COUNTER(connections_refused, "  refused (limit)")          \
    COUNTER(connections_most, "  most at once")                \
    COUNTER(connections_most_address, "  most of one address") \
    COUNTER(messages, "messages accepted")                     \
    COUNTER(distinct, "  distinct ids")                        \
    COUNTER(without_id, "  without an id")                     \
    COUNTER(recipients, "recipients accepted")                 \
    COUNTER(recipients_distinct, "  distinct (id, rcpt)")      \
    COUNTER(duplicates, "  duplicates")                        \
    COUNTER(bytes, "bytes accepted")                           \
    COUNTER(greylisted, "greylisted")                          \
    COUNTER(limited, "above the hidden rate")                  \
    COUNTER(faults, "faults on demand")                        \
    COUNTER(save_failures, "could not be saved")

/* What peers did wrong. */
#define TALLY_HYGIENE(COUNTER)            \
    COUNTER(bare_lf, "bare LF")           \
    COUNTER(bare_cr, "bare CR")           \
    COUNTER(long_lines, "lines over 998") \
    COUNTER(odd_ends, "odd end of data")  \
    COUNTER(cut_off, "lost inside data")  \
    COUNTER(early, "pipelined too early") \
    COUNTER(long_commands, "command too long")

#define TALLY_DOMAINS_MAX    1000
#define TALLY_DUPLICATES_MAX 100
#define TALLY_ADDRESSES_MAX  100 /* in the summary */

struct tally_domain {
    struct hash_node node;
    char *name;
    struct hist latency;
};

struct tally {
#define TALLY_MEMBER(name, label) uint64_t name;
    TALLY_COUNTERS(TALLY_MEMBER)
    TALLY_HYGIENE(TALLY_MEMBER)
#undef TALLY_MEMBER
    struct text_codes refused[PHASE_COUNT];
    struct seen ids;
    struct seen pairs;
    char *duplicate_list[TALLY_DUPLICATES_MAX];
    size_t duplicate_listed;
    struct hist latency; /* end to end, over all domains */
    struct hash domains;
    int64_t first_us; /* wall time of the first and last message */
    int64_t last_us;
};

void tally_init(struct tally *t);
void tally_fini(struct tally *t);

/* One accepted message; id may be empty, recipients are `count` strings each with its NUL. */
void tally_message(struct tally *t, struct strview id, const char *recipients, unsigned count,
                   uint64_t size, int64_t now_us);
/* One end-to-end latency of a message to this domain. */
void tally_latency(struct tally *t, struct strview domain, int64_t us);

/* peers: for the addresses, the busiest first. */
void tally_table(const struct tally *t, const struct peers *peers, bool list_duplicates,
                 struct buf *out);
void tally_json(const struct tally *t, const struct peers *peers, struct buf *out);

/* What follows the last '@'. */
struct strview tally_domain_of(struct strview address);

#endif
