/*
 * Events per minute, from a ring of one-second counts.
 */
#ifndef PMTA_PIPE_REPORT_RATES_H
#define PMTA_PIPE_REPORT_RATES_H

#include "base/util.h"

enum { RATE_SECONDS = 60 };

struct rate_ring {
    uint32_t counts[RATE_SECONDS + 1]; /* the last one is being filled */
    int64_t second;                    /* monotonic second of the one being filled */
};

void rate_ring_add(struct rate_ring *r, int64_t mono_ms, uint32_t events);
/* Sum of the last 60 full seconds. */
uint64_t rate_ring_per_minute(const struct rate_ring *r, int64_t mono_ms);

#endif
