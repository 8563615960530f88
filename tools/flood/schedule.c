/*
 * schedule: see schedule.h. Asked by clients that could send, and by the runner for the moment to
 * wake them. What was given back is at most two messages per connection. Nothing can fail.
 */
#include "flood/schedule.h"

void schedule_init(struct schedule *s, const struct rate *rate, uint64_t limit, int64_t for_us)
{
    *s = (struct schedule){.rate = *rate, .limit = limit, .for_us = for_us};
}

void schedule_fini(struct schedule *s)
{
    free(s->again);
    s->again = NULL;
    s->again_count = s->again_cap = 0;
}

void schedule_start(struct schedule *s, int64_t now_us)
{
    BUG_ON(s->started);
    s->started = true;
    s->start_us = now_us;
}

void schedule_stop(struct schedule *s)
{
    s->stopped = true;
}

/* Since the start. */
static int64_t offset_us(const struct schedule *s, uint64_t index)
{
    __extension__ typedef unsigned __int128 wide;
    return (int64_t)((wide)index * (uint64_t)s->rate.period_ms * 1000u / s->rate.count);
}

int64_t schedule_next_us(const struct schedule *s, int64_t now_us)
{
    int64_t at = s->rate.count ? offset_us(s, s->next) : now_us - s->start_us;
    if (!s->started || s->stopped || s->next >= s->limit || (s->for_us && at >= s->for_us))
        return -1;
    return s->start_us + at;
}

bool schedule_is_due(const struct schedule *s, int64_t now_us)
{
    if (s->stopped)
        return false;
    int64_t next = schedule_next_us(s, now_us);
    return s->again_count > 0 || (next >= 0 && next <= now_us);
}

bool schedule_take(struct schedule *s, int64_t now_us, struct ticket *ret)
{
    if (!schedule_is_due(s, now_us))
        return false;
    if (s->again_count > 0) {
        *ret = s->again[--s->again_count];
        ret->tries++;
    } else {
        int64_t intended_us = schedule_next_us(s, now_us);
        *ret = (struct ticket){.index = s->next++, .intended_us = intended_us, .tries = 1};
    }
    s->outstanding++;
    return true;
}

void schedule_return(struct schedule *s, const struct ticket *t)
{
    if (s->again_count == s->again_cap) {
        s->again_cap = s->again_cap ? s->again_cap * 2 : 16;
        s->again = xrealloc(s->again, s->again_cap * sizeof(*s->again));
    }
    s->again[s->again_count++] = *t;
    schedule_settle(s);
}

void schedule_settle(struct schedule *s)
{
    BUG_ON(s->outstanding == 0);
    s->outstanding--;
}

bool schedule_is_finished(const struct schedule *s, int64_t now_us)
{
    if (s->outstanding > 0)
        return false;
    return s->stopped || (s->started && s->again_count == 0 && schedule_next_us(s, now_us) < 0);
}
