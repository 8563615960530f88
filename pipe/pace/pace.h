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

/* pipe: adaptive finds the rate of one pipe; budgets of warm-up are shared by all pipes. */
struct pace *pace_new(struct limits *limits, struct strview pipe);
/* All pairs were put back. */
void pace_free(struct pace *p);

/* What the configuration says for a queue (resolved by queue_settings). */
struct pace_settings {
    bool adaptive;
    struct rate min_rate, start_rate;
    struct rate max_rate; /* max-msg-rate of the queue in its mode; count 0: none */
    int64_t warmup_ms;
    struct rate warmup_start_rate;
    struct rate_form warmup_schedule; /* count 0: none; borrowed for the call */
    unsigned warmup_max_deferred_percent, warmup_max_bounced_percent;
    int warmup_upon_trouble; /* index of hold|step-back|ignore */
};
bool pace_is_wanted(const struct pace_settings *s);

/* The pair, made when it is new (then warm-up begins today), with a reference; NULL when neither is
 * wanted. source: the address as text, "" when the system chooses. What it has learnt stays for
 * weeks without references. */
struct pace_pair *pace_pair_get(struct pace *p, struct strview queue, struct strview source,
                                const struct pace_settings *s);
struct pace_pair *pace_pair_ref(struct pace_pair *pair);
void pace_pair_put(struct pace_pair *pair); /* NULL is fine */

/* The limits it puts on (MESSAGES), at most 2; they live as long as the pair. */
size_t pace_limits(const struct pace_pair *pair, struct limit **ret);

/* One recipient's attempt ended; throttling: the reply says that we are too fast. */
void pace_outcome(struct pace *p, struct pace_pair *pair, const struct outcome *o, bool throttling,
                  int64_t now_ms);

/* Time goes on: midnight, and the ramp of warmup. A few hundred pairs a call. */
void pace_tick(struct pace *p, int64_t now_ms);
/* When to call it next (wall ms), at most an hour later; now_ms or less: at once. */
int64_t pace_next_ms(const struct pace *p, int64_t now_ms);

/* Progress that survives a restart, as text, and back. Counts of the day are kept with the limits.
 * Appends the next pairs of all, at most `most`; false: the text goes on with the next call. */
bool pace_write_some(struct pace *p, struct buf *out, unsigned most);
/* Something changed since a text was begun. */
bool pace_changed(const struct pace *p);
/* Before the first pair. */
void pace_read(struct pace *p, struct strview text);

/* --- to look at, and for operators --- */

struct adaptive;
struct warmup;

struct pace_view {
    const char *queue, *source;
    const struct adaptive *adaptive;                   /* NULL: not wanted */
    const struct warmup *warmup;                       /* NULL: not wanted */
    uint64_t used;                                     /* of today's budget */
    const struct limit *adaptive_limit, *warmup_limit; /* or NULL */
};
/* The pair when there is one, without a reference. */
struct pace_pair *pace_pair_find(struct pace *p, struct strview queue, struct strview source);
void pace_pair_view(const struct pace_pair *pair, struct pace_view *ret);
/* All pairs whose queue matches the pattern with * and ? (empty: all). */
void pace_visit(struct pace *p, struct strview pattern,
                void (*fn)(void *arg, const struct pace_view *v), void *arg);

enum pace_act { PACE_HOLD, PACE_RESUME, PACE_SET_DAY };
/* On the warm-up of the pairs that match both patterns; day from 1. How many there were. */
size_t pace_act(struct pace *p, enum pace_act act, struct strview queue, struct strview source,
                uint32_t day, int64_t now_ms);

#endif
