/*
 * What the files of this room share: pairs (pace.c), their text over a restart (pace_keep.c).
 */
#ifndef PMTA_PIPE_PACE_PACE_INT_H
#define PMTA_PIPE_PACE_PACE_INT_H

#include "pace/adaptive.h"
#include "pace/pace.h"
#include "pace/warmup.h"

enum { PACE_PAIRS_MAX = 200000 }; /* so that all fit into a state file */

struct pace {
    struct limits *limits;
    char *pipe;
    struct hash pairs;
    struct list by_use;  /* pace_pair.use, longest unused first */
    struct list warming; /* pace_pair.warm */
    struct heap due;     /* pace_pair.due: when a step may be over */
    bool changed;
    int64_t wall_ms, mono_ms; /* when both were compared last; 0: never */
    int64_t forget_ms;        /* when the unused are looked for */

    struct list *cursor; /* pace_write_some goes on here; NULL: no text is under way */
    uint32_t round;      /* of writing */
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
    struct heap_node due;
    int64_t until_ms; /* end of the day that the budget is of; 0: no budget */
    uint32_t round;   /* when it was written last */
};

struct pace_pair *pace_pair_new(struct pace *p, struct strview queue, struct strview source,
                                int64_t used_ms);
/* Messages that were taken from today's budget, by all pipes. */
uint64_t pace_pair_used(const struct pace_pair *pair);

#endif
