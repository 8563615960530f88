/*
 * What one report may cost: everything that walks over it asks here now and then, and stops when the
 * time is over.
 */
#ifndef PMTA_PIPE_INBOUND_BUDGET_H
#define PMTA_PIPE_INBOUND_BUDGET_H

#include "base/clock.h"

#include <stdbool.h>

struct budget {
    int64_t until_ms; /* monotonic */
    unsigned steps;
    bool over;
};

/* A step is a line, a field or the like. Once true, always true. */
static inline bool budget_over(struct budget *b)
{
    if (!b->over && ++b->steps % 256 == 0)
        b->over = clock_mono_ms() >= b->until_ms;
    return b->over;
}

#endif
