/*
 * Counted places for connections. A connection takes one place in each of several counters at once
 * (its queue, its virtual MTA, its pipe), or none at all.
 */
#ifndef PMTA_PIPE_LIMIT_SLOTS_H
#define PMTA_PIPE_LIMIT_SLOTS_H

#include "base/util.h"

struct slots {
    uint32_t used;
    uint32_t max; /* 0: no limit */
};

/* True when every one of them has a place free; then all were taken. Otherwise *ret_full (may be
 * NULL) is the first that is full, and nothing was taken. NULL pointers are skipped. */
bool slots_take(struct slots *const *set, size_t count, const struct slots **ret_full);
void slots_give_back(struct slots *const *set, size_t count);

#endif
