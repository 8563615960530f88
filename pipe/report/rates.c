/*
 * Ring of one-second counts; see rates.h. counts[s % 61] belongs to second s; seconds that were
 * skipped are zeroed when the ring moves on.
 */
#include "report/rates.h"

enum { SLOTS = RATE_SECONDS + 1 };

static void move_to(struct rate_ring *r, int64_t second)
{
    if (second - r->second > SLOTS) {
        memset(r->counts, 0, sizeof(r->counts));
        r->second = second;
    }
    while (r->second < second)
        r->counts[++r->second % SLOTS] = 0;
}

void rate_ring_add(struct rate_ring *r, int64_t mono_ms, uint32_t events)
{
    move_to(r, mono_ms / 1000);
    r->counts[r->second % SLOTS] += events;
}

uint64_t rate_ring_per_minute(const struct rate_ring *r, int64_t mono_ms)
{
    int64_t now = mono_ms / 1000;
    uint64_t sum = 0;

    for (int64_t s = now - RATE_SECONDS; s < now; s++)
        if (s <= r->second && s > r->second - SLOTS && s >= 0)
            sum += r->counts[s % SLOTS];
    return sum;
}
