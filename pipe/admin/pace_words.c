/*
 * See pace_words.h. Called for each queue that `show queues` lists, so it does not look anything up.
 */
#include "admin/pace_words.h"

#include "pace/adaptive.h"
#include "pace/warmup.h"

#include <time.h>

void pace_say_rate(double per_s, struct buf *out)
{
    if (per_s >= 100)
        buf_printf(out, "%.0f/s", per_s);
    else if (per_s >= 1)
        buf_printf(out, "%.3g/s", per_s);
    else if (per_s * 60 >= 1)
        buf_printf(out, "%.3g/m", per_s * 60);
    else
        buf_printf(out, "%.3g/h", per_s * 3600);
}

static void say_time(int64_t at_ms, struct buf *out)
{
    time_t t = (time_t)(at_ms / 1000);
    struct tm tm;
    char text[40];

    strftime(text, sizeof(text), "%H:%M:%SZ", gmtime_r(&t, &tm));
    buf_append_str(out, text);
}

/* The last time that it went down, and what was said then; NULL: it never did. */
static const struct adaptive_event *last_incident(const struct adaptive *a)
{
    const struct adaptive_event *e;

    for (unsigned i = 0; (e = adaptive_event(a, i)); i++)
        if (e->change == ADAPTIVE_HELD)
            return e;
    return NULL;
}

void pace_say_adaptive(const struct adaptive *a, struct buf *out)
{
    const struct adaptive_event *e = last_incident(a);

    pace_say_rate(a->rate, out);
    if (!e) {
        buf_append_str(out, a->ceiling > 0 && a->rate >= a->ceiling
                                ? ", as much as max-msg-rate allows"
                                : ", grows while it is used and nothing is throttled");
        return;
    }
    buf_append_str(out, ", lowered at ");
    say_time(e->at_ms, out);
    if (e->reply)
        buf_printf(out, " by reply '%s'", e->reply);
    if (a->state == ADAPTIVE_STATE_HELD)
        buf_append_str(out, " and waits with attempts between");
}

static void say_midnight(int64_t at_ms, struct buf *out)
{
    time_t t = (time_t)(at_ms / 1000);
    struct tm tm;
    char text[60];

    strftime(text, sizeof(text), "%Y-%m-%d %H:%M %Z", localtime_r(&t, &tm));
    buf_printf(out, "next at midnight (%s)", text);
}

static void say_schedule(const struct pace_view *v, int64_t now_ms, struct buf *out)
{
    const struct warmup *w = v->warmup;
    uint64_t budget = warmup_budget(w, w->step);

    if (budget == WARMUP_UNLIMITED) {
        buf_printf(out, "day %u allows everything", w->step);
        return;
    }
    buf_printf(out, "%llu of %llu sent today, day %u", (unsigned long long)v->used,
               (unsigned long long)budget, w->step);
    if (v->used >= budget) {
        buf_append_str(out, ", ");
        say_midnight(warmup_midnight_ms(now_ms), out);
    }
}

static void say_ramp(const struct warmup *w, struct buf *out)
{
    double rate = warmup_rate(w, w->step);

    if (rate <= 0) {
        buf_append_str(out, "over, allows everything");
        return;
    }
    pace_say_rate(rate, out);
    buf_printf(out, ", step %u of %d", w->step, WARMUP_RAMP_STEPS);
}

void pace_say_warmup(const struct pace_view *v, int64_t now_ms, struct buf *out)
{
    const struct warmup *w = v->warmup;

    if (w->day_count)
        say_schedule(v, now_ms, out);
    else
        say_ramp(w, out);
    if (w->held || w->verdict == WARMUP_DEFERRED || w->verdict == WARMUP_BOUNCED)
        buf_printf(out, "; %s: %s", w->stepped_back ? "went back" : "does not advance",
                   warmup_verdict_text(w->held ? WARMUP_OPERATOR : w->verdict));
}

void pace_say_limit(const struct pace_view *v, const struct limit *l, int64_t now_ms,
                    struct buf *name, struct buf *sentence)
{
    const char *source = *v->source ? v->source : "any address";

    if (l == v->warmup_limit) {
        buf_printf(name, "warm-up of %s to %s", source, v->queue);
        pace_say_warmup(v, now_ms, sentence);
    } else {
        buf_printf(name, "adaptive rate of %s to %s", source, v->queue);
        pace_say_adaptive(v->adaptive, sentence);
    }
}

void pace_say_allowed(const struct pace_view *v, const struct limit *l, struct buf *out)
{
    const struct warmup *w = v->warmup;

    if (l != v->warmup_limit)
        pace_say_rate(v->adaptive->rate, out);
    else if (!w->day_count && warmup_rate(w, w->step) > 0)
        pace_say_rate(warmup_rate(w, w->step), out);
    else if (w->day_count && warmup_budget(w, w->step) != WARMUP_UNLIMITED)
        buf_printf(out, "%llu/d, day %u", (unsigned long long)warmup_budget(w, w->step), w->step);
    else
        buf_append_str(out, "everything");
}
