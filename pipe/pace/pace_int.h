/*
 * What the files of this room share: pairs (pace.c), their text over a restart (pace_keep.c).
 */
#ifndef PMTA_PIPE_PACE_PACE_INT_H
#define PMTA_PIPE_PACE_PACE_INT_H

#include "pace/adaptive.h"
#include "pace/pace.h"
#include "pace/warmup.h"

enum { PACE_PAIRS_MAX = 1000000, PACE_TEXT_MAX = 6 << 20 };

struct pace {
    struct limits *limits;
    char *pipe;
    struct hash pairs;
    struct list by_use;  /* pace_pair.use, longest unused first */
    struct list warming; /* pace_pair.warm */
    bool changed;
    int64_t wall_ms, mono_ms; /* when both were compared last; 0: never */
};

struct pace_pair {
    struct hash_node node;
    struct pace *owner;
    struct list use, warm; /* warm: alone when no warm-up is wanted */
    char *queue, *source;
    uint32_t refs;
    int64_t used_ms; /* last outcome */

    bool is_adaptive;
    struct adaptive adaptive;
    struct limit *rate_limit;
    /* as read back, until adaptive is wanted; rate 0: nothing */
    double kept_rate, kept_failed, kept_span_s;

    struct warmup warmup;
    struct limit *warm_limit;
    int64_t step_us;    /* of the budget: what one message moves the level by; 0: no budget */
    uint64_t kept_used; /* as read back, until the limit is there */
};

struct pace_pair *pace_pair_find(struct pace *p, struct strview queue, struct strview source);
struct pace_pair *pace_pair_new(struct pace *p, struct strview queue, struct strview source,
                                int64_t used_ms);
/* Messages that were taken from today's budget, by all pipes. */
uint64_t pace_pair_used(const struct pace_pair *pair, int64_t now_ms);

#endif
