/*
 * hist: see hist.h. Used by pmta-flood (transaction latencies) and pmta-sink (end-to-end latency).
 * A value v with its highest bit at b >= 7 falls into bucket ((b - 5) * 64) + next six bits of v;
 * smaller values are their own bucket. No memory but the structure itself; nothing can fail.
 */
#include "kit/hist.h"

#include <inttypes.h>
#include <stdio.h>

#define SUB_COUNT (1u << HIST_SUB_BITS)

static unsigned bucket_of(uint64_t us)
{
    if (us < 2 * SUB_COUNT)
        return (unsigned)us;
    unsigned shift = 63u - (unsigned)__builtin_clzll(us) - HIST_SUB_BITS;
    uint64_t index = ((uint64_t)shift << HIST_SUB_BITS) + (us >> shift);
    return index < HIST_BUCKETS ? (unsigned)index : HIST_BUCKETS - 1;
}

/* Largest value that falls into this bucket. */
static uint64_t bucket_top(unsigned index)
{
    if (index < 2 * SUB_COUNT)
        return index;
    unsigned shift = (index >> HIST_SUB_BITS) - 1;
    uint64_t sub = (index & (SUB_COUNT - 1)) + SUB_COUNT;
    return ((sub + 1) << shift) - 1;
}

void hist_add(struct hist *h, uint64_t us)
{
    if (h->count == 0 || us < h->min_us)
        h->min_us = us;
    if (us > h->max_us)
        h->max_us = us;
    h->count++;
    h->sum_us += us;
    h->buckets[bucket_of(us)]++;
}

void hist_merge(struct hist *into, const struct hist *from)
{
    if (from->count == 0)
        return;
    if (into->count == 0 || from->min_us < into->min_us)
        into->min_us = from->min_us;
    into->max_us = MAX_OF(into->max_us, from->max_us);
    into->count += from->count;
    into->sum_us += from->sum_us;
    for (unsigned i = 0; i < HIST_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
}

uint64_t hist_percentile(const struct hist *h, double percent)
{
    if (h->count == 0)
        return 0;
    double exact = (double)h->count * percent / 100.0;
    uint64_t wanted = (uint64_t)exact;
    if ((double)wanted < exact || wanted == 0)
        wanted++;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= wanted && i < HIST_BUCKETS - 1)
            return MAX_OF(h->min_us, MIN_OF(bucket_top(i), h->max_us));
    }
    return h->max_us;
}

uint64_t hist_mean(const struct hist *h)
{
    return h->count ? h->sum_us / h->count : 0;
}

char *hist_text(uint64_t us, char *out)
{
    static const char *const units[] = {"us", "ms", "s"};
    double v = (double)us;
    unsigned unit = 0;
    while (v >= 999.5 && unit < 2) {
        v /= 1000;
        unit++;
    }
    int decimals = unit == 0 || v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2;
    snprintf(out, HIST_TEXT_SIZE, "%.*f %s", decimals, v, units[unit]);
    return out;
}

void hist_json(const struct hist *h, struct buf *out)
{
    buf_printf(out,
               "{\"count\":%" PRIu64 ",\"mean_us\":%" PRIu64 ",\"p50_us\":%" PRIu64
               ",\"p90_us\":%" PRIu64 ",\"p99_us\":%" PRIu64 ",\"p999_us\":%" PRIu64
               ",\"max_us\":%" PRIu64 "}",
               h->count, hist_mean(h), hist_percentile(h, 50), hist_percentile(h, 90),
               hist_percentile(h, 99), hist_percentile(h, 99.9), h->max_us);
}

void hist_row_head(const char *what, struct buf *out)
{
    buf_printf(out, "\n  %-26s %10s %10s %10s %10s %10s %10s\n", what, "count", "p50", "p90", "p99",
               "p99.9", "max");
}

void hist_row(const struct hist *h, const char *label, struct buf *out)
{
    static const double percents[] = {50, 90, 99, 99.9, 100};
    char text[HIST_TEXT_SIZE];
    buf_printf(out, "  %-26.26s %10" PRIu64, label, h->count);
    for (size_t i = 0; i < ARRAY_LEN(percents); i++)
        buf_printf(out, " %10s", hist_text(hist_percentile(h, percents[i]), text));
    buf_append_char(out, '\n');
}
