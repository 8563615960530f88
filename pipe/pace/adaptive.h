/*
 * Adaptive: the rate that a receiving side takes, found from its answers alone. A controller
 * without clock, limits and memory of its own: the pair (pace.c) feeds it outcomes and sets a limit
 * to what it says.
 *
 *   SEEK   nothing is known yet: half as fast again per round in which the rate was used
 *   HELD   the other side throttles: a few attempts only, fewer the longer it lasts, until one
 *          succeeds; whatever arrives meanwhile is the same incident
 *   CLIMB  from a little below the level that failed back to it along a cubic curve (as CUBIC, RFC
 *          9438 section 4.2, does with a window): fast at first, flat where it failed, then beyond
 *
 * A level that fails again and again is tried at ever longer intervals; one that holds after all is
 * left behind quickly. Time counts for the climb only while the rate is used.
 */
#ifndef PMTA_PIPE_PACE_ADAPTIVE_H
#define PMTA_PIPE_PACE_ADAPTIVE_H

#include "base/buf.h"

/* CHANGE(NAME, "name", "what it says to people") */
#define ADAPTIVE_CHANGES(CHANGE)                                    \
    CHANGE(START, "start", "began")                                 \
    CHANGE(FASTER, "faster", "deliveries succeed")                  \
    CHANGE(HELD, "held", "throttled: waits, with attempts between") \
    CHANGE(SLOWER, "slower", "goes on below the level that failed") \
    CHANGE(LIMIT, "limit", "the configured limits changed")         \
    CHANGE(RESTART, "restart", "as it was before the restart")

enum adaptive_change {
#define CHANGE_ENUM(id, name, text) ADAPTIVE_##id,
    ADAPTIVE_CHANGES(CHANGE_ENUM)
#undef CHANGE_ENUM
        ADAPTIVE_CHANGE_COUNT
};

const char *adaptive_change_name(enum adaptive_change c);
const char *adaptive_change_text(enum adaptive_change c);

enum adaptive_state {
    ADAPTIVE_STATE_SEEK,
    ADAPTIVE_STATE_HELD,
    ADAPTIVE_STATE_CLIMB,
};

enum {
    ADAPTIVE_HISTORY = 20, /* changes that are remembered */
    ADAPTIVE_MINUTES = 60, /* of the curve */
    ADAPTIVE_REPLY_MAX = 160,
};

struct adaptive_event {
    int64_t at_ms;
    double rate; /* per second, from then on */
    enum adaptive_change change;
    char *reply; /* what the other side said, or NULL */
};

/* All rates are recipients per second. */
struct adaptive {
    enum adaptive_state state;
    double rate;
    double floor, ceiling; /* ceiling 0: none */
    double failed;         /* the level that was throttled last; 0: none yet */
    double base;           /* where the climb began */
    double span_s, at_s;   /* time of the climb back to `failed`, and how much of it has gone */
    double stride;         /* how far above `failed` until that is left behind */
    double quota_span_s;   /* the other side counts over a long time: shortest climb; 0: not seen */
    double last_held_s;    /* how long the last incident took; 0: there was none */
    double grudge;         /* throttling replies that were not outweighed by deliveries */

    int64_t round_ms; /* begin of the round; 0: none */
    uint32_t round_count;
    int64_t cycle_ms; /* begin of what the next estimate is made from; 0: none */
    uint64_t cycle_delivered;
    int64_t refused_ms; /* last refusal of a hold */
    int64_t held_ms;    /* begin of the incident */
    int64_t resumed_ms;
    int64_t used_ms; /* last outcome */

    uint64_t delivered, throttled; /* in all */
    struct adaptive_event history[ADAPTIVE_HISTORY];
    unsigned history_count, history_next;
    float minutes[ADAPTIVE_MINUTES]; /* highest rate in each; 0: not used */
    uint64_t minutes_held;           /* bit per minute with an incident */
    int64_t minute;
};

void adaptive_init(struct adaptive *a, double start, double floor, double ceiling, int64_t now_ms);
void adaptive_fini(struct adaptive *a);

/* Other limits from the configuration. True when the rate changed. */
bool adaptive_configure(struct adaptive *a, double floor, double ceiling, int64_t now_ms);

/* One recipient's attempt, begun at sent_ms, was answered. reply: for the history. True when the
 * rate changed. */
bool adaptive_outcome(struct adaptive *a, bool delivered, bool throttling, struct strview reply,
                      int64_t sent_ms, int64_t now_ms);

/* What was learnt, from a former run. */
void adaptive_restore(struct adaptive *a, double rate, double failed, double span_s,
                      int64_t now_ms);

/* The i-th change, 0 is the newest; NULL past the end. */
const struct adaptive_event *adaptive_event(const struct adaptive *a, unsigned i);

#endif
