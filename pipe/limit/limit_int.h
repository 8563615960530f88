/*
 * What the files of this room share: the registry (limit.c), sets (limit_set.c), waiting
 * (limit_wait.c) and keeping (limit_keep.c).
 */
#ifndef PMTA_PIPE_LIMIT_LIMIT_INT_H
#define PMTA_PIPE_LIMIT_LIMIT_INT_H

#include "limit/limit.h"

struct limits {
    struct limit_table *table;
    struct limit_table **spares; /* of this process alone, when the table is full */
    size_t spare_count;
    struct hash by_name;
    struct heap wakes; /* struct limit.wake */
    struct list far;   /* struct limit.far: levels to keep */
    struct list todo;  /* the same, of a text that is being made: not in it yet */
    bool writing;      /* there is such a text */
    bool changed;      /* one of them moved since it was written */
    bool in_tick;
    uint32_t epoch;  /* grows whenever the next day of a quota begins */
    int64_t tick_us; /* in limits_tick: its time */
    int64_t seen_us; /* latest wall time seen, to notice a clock that is set back */
    void (*earlier)(void *arg);
    void *earlier_arg;
    void (*on_changed)(void *arg);
    void *on_changed_arg;
};

/* Wall time. A clock that was set back makes all wake-up times anew. */
int64_t limits_now(struct limits *s);

/* How many may come in now, at most `most`; 0: *ret_at_us is when to look again, INT64_MAX: when
 * this process gives something back. */
uint64_t limit_room(const struct limit *l, uint64_t most, int64_t now_us, int64_t *ret_at_us);

/* Somebody who waits may find room: told at the next tick. */
void limit_has_room(struct limit *l);
/* Puts the wake-up time in, when somebody waits and there is none yet. */
void limit_arm(struct limit *l, int64_t now_us);
/* A wake-up time, and `earlier` when it is the next one now. */
void limit_wake_at(struct limit *l, int64_t at_us);

/* The level moved: remembers it when it has to be kept. */
void limit_moved(struct limit *l, int64_t now_us);

/* Nobody refers to it: frees it, unless its level has to be kept. */
void limit_dispose(struct limit *l, int64_t now_us);

#endif
