/*
 * Warm-up; see warmup.h. Called by pace.c at outcomes and when a step may be over. A day is a date
 * of the local calendar that is later than the one before: a clock that goes back (or an hour that
 * comes twice) repeats nothing, and one that jumps ahead is no day (pace.c sees the jump).
 */
#include "pace/warmup.h"

#include <math.h>
#include <time.h>

static const char *const verdict_names[] = {
#define VERDICT_NAME(id, name, text) name,
    WARMUP_VERDICTS(VERDICT_NAME)
#undef VERDICT_NAME
};

static const char *const verdict_texts[] = {
#define VERDICT_TEXT(id, name, text) text,
    WARMUP_VERDICTS(VERDICT_TEXT)
#undef VERDICT_TEXT
};

const char *warmup_verdict_name(enum warmup_verdict v)
{
    return verdict_names[v];
}

const char *warmup_verdict_text(enum warmup_verdict v)
{
    return verdict_texts[v];
}

/* --- calendar --- */

int32_t warmup_date(int64_t now_ms)
{
    time_t t = (time_t)(now_ms / 1000);
    struct tm tm;

    localtime_r(&t, &tm);
    tm.tm_sec = tm.tm_min = 0;
    tm.tm_hour = 12; /* as if it were UTC: whole days */
    return (int32_t)(timegm(&tm) / 86400);
}

int64_t warmup_midnight_ms(int64_t now_ms)
{
    time_t t = (time_t)(now_ms / 1000);
    struct tm tm;

    localtime_r(&t, &tm);
    tm.tm_sec = tm.tm_min = tm.tm_hour = 0;
    tm.tm_mday++;
    tm.tm_isdst = -1;
    int64_t at = (int64_t)mktime(&tm) * 1000;
    return at > now_ms ? at : now_ms + 3600000; /* a zone that changes at midnight */
}

/* --- what is wanted --- */

void warmup_fini(struct warmup *w)
{
    free(w->days);
    w->days = NULL;
    w->day_count = 0;
}

static double per_second(const struct rate *r)
{
    return r->period_ms > 0 ? (double)r->count * 1000 / (double)r->period_ms : 0;
}

void warmup_configure(struct warmup *w, const struct rate_form *schedule, int64_t ramp_ms,
                      const struct rate *start, const struct rate *full)
{
    warmup_fini(w);
    w->day_count = schedule->count;
    w->growth_percent = schedule->growth_percent;
    if (w->day_count) {
        w->days = xmalloc(w->day_count * sizeof(w->days[0]));
        memcpy(w->days, schedule->items, w->day_count * sizeof(w->days[0]));
    }
    w->wanted_ms = ramp_ms;
    w->start = *start;
    w->full = *full;
    w->ramp_ms = w->day_count ? 0 : ramp_ms;
    w->ramp_is_open = full->count == 0;
    w->ramp_end = w->ramp_is_open ? WARMUP_RAMP_END : per_second(full);
    w->ramp_start = start->count ? MIN_OF(per_second(start), w->ramp_end) : w->ramp_end;
}

uint64_t warmup_budget(const struct warmup *w, uint32_t step)
{
    if (!w->day_count || !step)
        return WARMUP_UNLIMITED;
    size_t i = MIN_OF((size_t)step - 1, w->day_count - 1);
    const struct rate *r = &w->days[i];
    if (!r->count)
        return WARMUP_UNLIMITED;
    double budget = per_second(r) * 86400 * (1 + 1e-12);
    if (step > w->day_count)
        budget *= pow(1 + w->growth_percent / 100.0, (double)(step - w->day_count));
    if (!(budget < (double)WARMUP_BUDGET_MAX))
        return WARMUP_UNLIMITED;
    return budget < 1 ? 1 : (uint64_t)budget;
}

double warmup_rate(const struct warmup *w, uint32_t step)
{
    if (!w->ramp_ms || !step)
        return 0;
    if (step > WARMUP_RAMP_STEPS)
        return 0;
    double share = (double)(step - 1) / WARMUP_RAMP_STEPS;
    return w->ramp_start * pow(w->ramp_end / w->ramp_start, share);
}

/* --- where it is --- */

static void begin_step(struct warmup *w, int64_t now_ms)
{
    w->step_ms = now_ms;
    w->date = warmup_date(now_ms);
    w->attempts = w->deferred = w->bounced = 0;
}

void warmup_begin(struct warmup *w, int64_t now_ms)
{
    w->step = 1;
    w->began_ms = now_ms;
    w->verdict = WARMUP_BEGINS;
    w->stepped_back = false;
    begin_step(w, now_ms);
}

void warmup_set_step(struct warmup *w, uint32_t step, int64_t now_ms)
{
    w->step = MAX_OF(1u, MIN_OF(step, (uint32_t)WARMUP_STEP_MAX));
    w->step_ms = now_ms;
    w->stepped_back = false;
}

void warmup_count(struct warmup *w, bool deferred, bool bounced)
{
    w->attempts++;
    w->deferred += deferred;
    w->bounced += bounced;
}

static enum warmup_verdict judge(struct warmup *w)
{
    uint64_t sample = MIN_OF((uint64_t)WARMUP_SAMPLE, warmup_budget(w, w->step) / 2 + 1);

    if (w->held)
        return WARMUP_OPERATOR;
    if (!w->attempts)
        return WARMUP_UNUSED;
    if (w->attempts < sample || w->upon_trouble == WARMUP_IGNORE)
        return WARMUP_ADVANCED;
    if (w->bounced * 100 > w->attempts * w->max_bounced) {
        w->verdict_percent = (int)(w->bounced * 100 / w->attempts);
        return WARMUP_BOUNCED;
    }
    if (w->deferred * 100 > w->attempts * w->max_deferred) {
        w->verdict_percent = (int)(w->deferred * 100 / w->attempts);
        return WARMUP_DEFERRED;
    }
    return WARMUP_ADVANCED;
}

static bool step_is_over(const struct warmup *w, int64_t now_ms)
{
    if (w->day_count)
        return warmup_date(now_ms) > w->date;
    return w->step <= WARMUP_RAMP_STEPS && now_ms - w->step_ms >= w->ramp_ms / WARMUP_RAMP_STEPS;
}

bool warmup_advance(struct warmup *w, int64_t now_ms)
{
    if (!w->step || !step_is_over(w, now_ms))
        return false;
    w->stepped_back = false;
    w->verdict = judge(w);
    if (w->verdict == WARMUP_ADVANCED && w->step < WARMUP_STEP_MAX) {
        w->step++;
    } else if ((w->verdict == WARMUP_DEFERRED || w->verdict == WARMUP_BOUNCED) &&
               w->upon_trouble == WARMUP_STEP_BACK && w->step > 1) {
        w->step--;
        w->stepped_back = true;
    }
    begin_step(w, now_ms);
    return true;
}

void warmup_clock_jumped(struct warmup *w, int64_t now_ms)
{
    w->date = warmup_date(now_ms);
    w->step_ms = now_ms;
}

int64_t warmup_next_ms(const struct warmup *w, int64_t now_ms)
{
    if (w->day_count)
        return warmup_midnight_ms(now_ms);
    if (!w->ramp_ms || w->step > WARMUP_RAMP_STEPS)
        return INT64_MAX;
    return MAX_OF(w->step_ms + w->ramp_ms / WARMUP_RAMP_STEPS, now_ms + 1);
}
