/*
 * hist: a latency histogram of fixed size in microseconds. Buckets are linear below 128 and then 64
 * per power of two (as in HdrHistogram), so that every value is kept within 1.6 % from one
 * microsecond to twelve days, and adding one costs a few instructions. Zero-initialised is empty.
 */
#ifndef PMTA_TOOLS_HIST_H
#define PMTA_TOOLS_HIST_H

#include "base/buf.h"

#define HIST_SUB_BITS 6
#define HIST_MAX_BITS 40
#define HIST_BUCKETS  ((HIST_MAX_BITS - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct hist {
    uint64_t count;
    uint64_t sum_us;
    uint64_t min_us;
    uint64_t max_us;
    uint64_t buckets[HIST_BUCKETS];
};

/* Adds one value; what is larger than the last bucket is counted there, max_us stays exact. */
void hist_add(struct hist *h, uint64_t us);
void hist_merge(struct hist *into, const struct hist *from);

/* Smallest kept value that `percent` (0..100) of all values do not exceed; 0 when empty. */
uint64_t hist_percentile(const struct hist *h, double percent);
uint64_t hist_mean(const struct hist *h);

/* "812 us", "1.24 ms", "15.3 s": three digits. out holds at least HIST_TEXT_SIZE; returns out. */
#define HIST_TEXT_SIZE 24
char *hist_text(uint64_t us, char *out);

/* {"count":…,"mean_us":…,"p50_us":…,"p90_us":…,"p99_us":…,"p999_us":…,"max_us":…} */
void hist_json(const struct hist *h, struct buf *out);
/* One table row: label, count, p50, p90, p99, p99.9, max; hist_row_head prints what is above. */
void hist_row_head(const char *what, struct buf *out);
void hist_row(const struct hist *h, const char *label, struct buf *out);

#endif
