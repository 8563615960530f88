/*
 * Pace: rates that the engine finds by itself, per queue and source address. Adaptive goes up while
 * the receiving side accepts and down when it throttles; warm-up leads a new address over days from
 * a few messages to its full limits. Each is a limit of its own among those of the queue, so the
 * configured ones are never exceeded.
 */
#ifndef PMTA_PIPE_PACE_PACE_H
#define PMTA_PIPE_PACE_PACE_H

#include "limit/limit.h"
#include "mail/config.h"
#include "mail/outcome.h"

struct pace;      /* of one pipe */
struct pace_pair; /* of one queue and source address */

struct pace *pace_new(struct limits *limits);
void pace_free(struct pace *p);

/* What the configuration says for a queue (resolved by queue_settings). */
struct pace_settings {
    bool adaptive;
    struct rate min_rate, start_rate;
    struct rate max_rate; /* max-msg-rate of the queue in its mode; count 0: none */
    int64_t warmup_ms;
    struct rate warmup_start_rate;
    struct rate_form warmup_schedule; /* count 0: none */
    unsigned warmup_max_deferred_percent, warmup_max_bounced_percent;
    int warmup_upon_trouble; /* index of hold|step-back|ignore */
};
bool pace_is_wanted(const struct pace_settings *s);

/* The pair, made when it is new (then warm-up begins today); NULL when neither is wanted. source:
 * the address as text, "" when the system chooses. Kept while it has something to remember. */
struct pace_pair *pace_pair_get(struct pace *p, struct strview queue, struct strview source,
                                const struct pace_settings *s);
/* The limits it puts on (MESSAGES), at most 2. */
size_t pace_limits(const struct pace_pair *pair, struct limit **ret);

/* One recipient's attempt ended; throttling: the reply says that we are too fast. */
void pace_outcome(struct pace *p, struct pace_pair *pair, enum outcome_class c, bool throttling,
                  int64_t now_ms);

/* Time goes on: midnight, and the ramp of warmup. Returns when to call again (wall ms). */
int64_t pace_tick(struct pace *p, int64_t now_ms);

/* Progress that survives a restart, as text, and back. True when it changed since. */
bool pace_write(struct pace *p, struct buf *out);
void pace_read(struct pace *p, struct strview text);

#endif
