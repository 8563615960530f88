/*
 * schedule: which message is due now. In an open loop (with a rate) each message has its intended
 * time, start + index / rate, whether or not anybody is ready to send it; without one, a message is
 * due whenever somebody asks. Times are monotonic microseconds that the caller brings.
 */
#ifndef PMTA_FLOOD_SCHEDULE_H
#define PMTA_FLOOD_SCHEDULE_H

#include "base/units.h"

/* A message that somebody has taken. */
struct ticket {
    uint64_t index;
    int64_t intended_us;
    unsigned tries; /* how often it was begun, this time included */
};

struct schedule {
    struct rate rate;
    uint64_t limit; /* messages; UINT64_MAX: none */
    int64_t for_us; /* 0: no end */
    int64_t start_us;
    bool started;
    bool stopped;
    uint64_t next;
    uint64_t outstanding; /* tickets that are neither given back nor settled */
    struct ticket *again; /* given back; they go first */
    size_t again_count;
    size_t again_cap;
};

void schedule_init(struct schedule *s, const struct rate *rate, uint64_t limit, int64_t for_us);
void schedule_fini(struct schedule *s);

void schedule_start(struct schedule *s, int64_t now_us);
/* No more new messages, and none of those given back. */
void schedule_stop(struct schedule *s);

/* Takes a message that is due. False when there is none now. */
bool schedule_take(struct schedule *s, int64_t now_us, struct ticket *ret);
/* Gives one back that was not sent; it is due at once. */
void schedule_return(struct schedule *s, const struct ticket *t);
/* One is accepted, refused or lost. */
void schedule_settle(struct schedule *s);

/* When the next new message is due (perhaps in the past), or -1 when there is no more. */
int64_t schedule_next_us(const struct schedule *s, int64_t now_us);
/* Something is due now. */
bool schedule_is_due(const struct schedule *s, int64_t now_us);
/* Nothing is under way and nothing will come. */
bool schedule_is_finished(const struct schedule *s, int64_t now_us);

#endif
