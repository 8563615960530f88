/*
 * Adaptive; see adaptive.h. Called for each outcome of a pair that has it (a few comparisons; the
 * rate changes once a round, at most once a second). The numbers below were chosen with the
 * simulation in tests/unit/test_pace.c and tests/bench/adaptive_curve.c.
 *
 * What can go wrong, and what stands against it: one odd "too many" among thousands of deliveries
 * is no limit (grudge); answers to what was under way when we slowed down are no new incident
 * (HELD); a limit per minute lets far too much through before it says no, so after a long hold the
 * level is taken from what was delivered in all that time, not from the rate that failed; a rate
 * that nobody used proves nothing (rounds).
 */
#include "pace/adaptive.h"

#include <math.h>

#define SEEK_FACTOR        1.5
#define BACK_OFF           0.95 /* of the level that failed */
#define BACK_OFF_AGAIN     0.7  /* when it failed again at once */
#define HOLD_FACTOR        0.25 /* attempts while held, at most */
#define QUOTA_HELD_S       5.0  /* held so long, and … */
#define QUOTA_PROBES       2.5  /* … for so many attempts: a quota, not a rate */
#define QUOTA_SPAN         2.0  /* climbs last so many of its periods */
#define QUOTA_SHARE        0.3  /* held for so much of a period that it was a single one */
#define QUOTA_GUESS        0.2  /* the first estimate is as uncertain */
#define TOOK_MIN_S         5.0  /* what was taken in so long says more than the rate */
#define TOOK_SHARE         0.98 /* … and is so much of it, as a climb is a little below its end */
#define SPAN_MIN_S         15.0 /* first climb */
#define SPAN_MIN_EVENTS    40.0 /* … and at least so many recipients long */
#define SPAN_MAX_S         180.0 /* between two attempts at the same level, at most */
#define SPAN_GROWTH        1.5
#define BEYOND_SPEED       4.0 /* the part above the level is short */
#define BEYOND_SPEED_QUOTA 3.0
#define PENALTY_S          10.0 /* held so long, twice, at different rates: a penalty, not a quota */
#define PENALTY_ALIKE      0.25
#define PENALTY_SPAN       20.0  /* climbs last so many of them, … */
#define PENALTY_SPAN_MAX_S 600.0 /* … at most this */
#define BACK_OFF_PENALTY   0.9
#define LEFT_BEHIND        0.1 /* so far above it the level is forgotten; doubles each time … */
#define LEFT_BEHIND_MAX    0.8 /* … up to this */
#define USED_SHARE         0.7 /* of the rate, for a round to count */
#define IDLE_SHARE         0.2 /* less: what was taken says nothing */
#define TOLERATED          0.005
#define TOLERATED_FROM     10.0 /* per second: below, each refusal counts */
#define AGAIN_MIN_MS       10000
#define ROUND_MIN_MS       1000
#define ROUND_EVENTS       4.0
#define HOLD_MIN_PER_AGE   4.0 /* attempts per age of the incident */

static const char *const change_names[] = {
#define CHANGE_NAME(id, name, text) name,
    ADAPTIVE_CHANGES(CHANGE_NAME)
#undef CHANGE_NAME
};

static const char *const change_texts[] = {
#define CHANGE_TEXT(id, name, text) text,
    ADAPTIVE_CHANGES(CHANGE_TEXT)
#undef CHANGE_TEXT
};

const char *adaptive_change_name(enum adaptive_change c)
{
    return change_names[c];
}

const char *adaptive_change_text(enum adaptive_change c)
{
    return change_texts[c];
}

/* --- what is kept to look at --- */

static void remember(struct adaptive *a, enum adaptive_change change, struct strview reply,
                     int64_t now_ms)
{
    struct adaptive_event *e = &a->history[a->history_next];

    free(e->reply);
    *e = (struct adaptive_event){now_ms, a->rate, change, NULL};
    if (reply.len)
        e->reply = xstrndup(reply.ptr, MIN_OF(reply.len, (size_t)ADAPTIVE_REPLY_MAX));
    a->history_next = (a->history_next + 1) % ADAPTIVE_HISTORY;
    a->history_count = MIN_OF(a->history_count + 1, (unsigned)ADAPTIVE_HISTORY);
}

const struct adaptive_event *adaptive_event(const struct adaptive *a, unsigned i)
{
    if (i >= a->history_count)
        return NULL;
    return &a->history[(a->history_next + ADAPTIVE_HISTORY - 1 - i) % ADAPTIVE_HISTORY];
}

/* The newest minute is the last of the array. */
static void draw(struct adaptive *a, int64_t now_ms)
{
    int64_t minute = now_ms / 60000, ahead = minute - a->minute;

    if (ahead > 0) {
        size_t shift = (size_t)MIN_OF(ahead, (int64_t)ADAPTIVE_MINUTES);
        memmove(a->minutes, a->minutes + shift, (ADAPTIVE_MINUTES - shift) * sizeof(float));
        memset(a->minutes + ADAPTIVE_MINUTES - shift, 0, shift * sizeof(float));
        a->minutes_held <<= shift;
        a->minute = minute;
    }
    float *last = &a->minutes[ADAPTIVE_MINUTES - 1];
    if (a->state == ADAPTIVE_STATE_HELD)
        a->minutes_held |= 1;
    *last = MAX_OF(*last, (float)a->rate);
}

/* --- the rate --- */

static double bounded(const struct adaptive *a, double rate)
{
    rate = MAX_OF(rate, a->floor);
    return a->ceiling > 0 ? MIN_OF(rate, a->ceiling) : rate;
}

static void begin_round(struct adaptive *a, int64_t now_ms)
{
    a->round_ms = now_ms;
    a->round_count = 0;
}

static void begin_cycle(struct adaptive *a, int64_t now_ms)
{
    a->cycle_ms = now_ms;
    a->cycle_delivered = 0;
}

void adaptive_init(struct adaptive *a, double start, double floor, double ceiling, int64_t now_ms)
{
    *a = (struct adaptive){.floor = floor, .ceiling = ceiling, .minute = now_ms / 60000};
    a->rate = bounded(a, start);
    remember(a, ADAPTIVE_START, sv(NULL, 0), now_ms);
}

void adaptive_fini(struct adaptive *a)
{
    for (unsigned i = 0; i < ADAPTIVE_HISTORY; i++)
        free(a->history[i].reply);
    memset(a->history, 0, sizeof(a->history));
    a->history_count = 0;
}

bool adaptive_configure(struct adaptive *a, double floor, double ceiling, int64_t now_ms)
{
    double before = a->rate;

    a->floor = floor;
    a->ceiling = ceiling;
    a->rate = bounded(a, a->rate);
    if (a->rate == before)
        return false;
    remember(a, ADAPTIVE_LIMIT, sv(NULL, 0), now_ms);
    return true;
}

void adaptive_restore(struct adaptive *a, double rate, double failed, double span_s, int64_t now_ms)
{
    a->rate = bounded(a, rate);
    if (failed > 0) {
        a->state = ADAPTIVE_STATE_CLIMB;
        a->failed = failed;
        a->base = MIN_OF(a->rate, failed);
        a->span_s = MIN_OF(MAX_OF(span_s, SPAN_MIN_S), SPAN_MAX_S);
        a->stride = LEFT_BEHIND;
        a->at_s = 0;
    }
    remember(a, ADAPTIVE_RESTART, sv(NULL, 0), now_ms);
}

static double shortest_span(const struct adaptive *a, double rate)
{
    double span = MAX_OF(SPAN_MIN_S, SPAN_MIN_EVENTS / rate);
    return MIN_OF(MAX_OF(span, a->quota_span_s), SPAN_MAX_S);
}

/* The cubic: from base to the level that failed, flat there, then up again. */
static double climbed(const struct adaptive *a)
{
    double x = 1 - a->at_s / a->span_s;

    if (x >= 0)
        return a->failed - (a->failed - a->base) * x * x * x;
    return a->failed * (1 - a->stride * x * x * x);
}

/* A round in which the rate was used is over. */
static void climb(struct adaptive *a, double seconds)
{
    if (a->state == ADAPTIVE_STATE_SEEK) {
        a->rate = bounded(a, a->rate * SEEK_FACTOR);
        return;
    }
    if (a->ceiling > 0 && a->rate >= a->ceiling)
        return;
    double speed = a->quota_span_s > 0 ? BEYOND_SPEED_QUOTA : BEYOND_SPEED;
    a->at_s += a->at_s >= a->span_s ? seconds * speed : seconds;
    double rate = climbed(a);
    if (rate > a->failed * (1 + a->stride)) {
        a->failed = a->base = rate;
        a->span_s = MAX_OF(a->span_s / 4, shortest_span(a, rate));
        a->at_s = a->span_s;
        a->stride = MIN_OF(a->stride * 2, LEFT_BEHIND_MAX);
    }
    a->rate = bounded(a, MAX_OF(a->rate, rate));
}

static bool end_round(struct adaptive *a, int64_t now_ms)
{
    double ms = (double)(now_ms - a->round_ms), before = a->rate;

    if (ms < MAX_OF(ROUND_MIN_MS, 1000 * ROUND_EVENTS / a->rate))
        return false;
    double used = a->round_count / (a->rate * ms / 1000);
    if (used >= USED_SHARE)
        climb(a, ms / 1000);
    else if (used < IDLE_SHARE)
        begin_cycle(a, now_ms);
    begin_round(a, now_ms);
    const struct adaptive_event *last = adaptive_event(a, 0);
    if (a->rate > before &&
        (!last || last->change != ADAPTIVE_FASTER || a->rate > last->rate * 1.1))
        remember(a, ADAPTIVE_FASTER, sv(NULL, 0), now_ms);
    return a->rate != before;
}

/* --- incidents --- */

static void hold(struct adaptive *a, struct strview reply, int64_t now_ms)
{
    a->base = a->rate; /* what failed, until the incident is over */
    a->state = ADAPTIVE_STATE_HELD;
    a->held_ms = now_ms;
    a->rate = bounded(a, a->rate * HOLD_FACTOR);
    remember(a, ADAPTIVE_HELD, reply, now_ms);
}

/* Fewer attempts the longer it lasts, so that a quota per hour costs a dozen, not thousands. */
static bool hold_on(struct adaptive *a, int64_t now_ms)
{
    double age_s = (double)MAX_OF(now_ms - a->held_ms, (int64_t)1) / 1000, before = a->rate;

    a->rate = bounded(a, MIN_OF(a->base * HOLD_FACTOR, HOLD_MIN_PER_AGE / age_s));
    return a->rate != before;
}

/* Held over several attempts and seconds: the other side counts over a longer time. */
static bool is_quota(const struct adaptive *a, int64_t now_ms)
{
    double held_s = (double)(now_ms - a->held_ms) / 1000;
    return held_s >= MAX_OF(QUOTA_HELD_S, QUOTA_PROBES / (a->base * HOLD_FACTOR));
}

/* Held as long as the last time, although we went much slower since: each excess costs the same. */
static bool is_penalty(const struct adaptive *a, double held_s)
{
    return held_s >= PENALTY_S && a->last_held_s > 0 &&
           fabs(held_s / a->last_held_s - 1) < PENALTY_ALIKE;
}

/* What it takes in one of its periods. The period ended at some time between the last refusal and
 * now. When it is known, and several have gone since the last incident, only the share of it that
 * we were held says something; else what was delivered in it. */
static double quota_level(struct adaptive *a, int64_t now_ms)
{
    int64_t end_ms = (MAX_OF(a->refused_ms, a->held_ms) + now_ms) / 2;
    double cycle_s = (double)MAX_OF(end_ms - a->cycle_ms, (int64_t)1) / 1000;
    double held_s = (double)(end_ms - a->held_ms) / 1000, period_s = a->quota_span_s / QUOTA_SPAN;
    double took = (double)a->cycle_delivered / cycle_s;

    if (period_s > 0 && cycle_s > 1.5 * period_s)
        took = a->base * MAX_OF(1 - held_s / period_s, 0.3);
    if (a->quota_span_s <= 0 || held_s > QUOTA_SHARE * cycle_s) /* the cycle was one period */
        a->quota_span_s = MIN_OF(QUOTA_SPAN * cycle_s, SPAN_MAX_S);
    else /* overrun within a longer one: go slower */
        a->quota_span_s = MAX_OF(a->quota_span_s, MIN_OF(a->quota_span_s * SPAN_GROWTH, 120));
    return MIN_OF(took, a->base);
}

/* The rate that failed, or what was taken when that is clearly less: a bucket was emptied. */
static double rate_level(const struct adaptive *a)
{
    double cycle_s = (double)(a->held_ms - a->cycle_ms) / 1000;

    if (cycle_s < TOOK_MIN_S || a->failed <= 0)
        return a->base;
    return MIN_OF((double)a->cycle_delivered / cycle_s / TOOK_SHARE, a->base);
}

static void go_on(struct adaptive *a, int64_t now_ms)
{
    double held_s = (double)(now_ms - a->held_ms) / 1000, before = a->failed;
    bool penalty = is_penalty(a, held_s), seeking = a->failed <= 0;
    bool quota = !penalty && is_quota(a, now_ms);
    double level = penalty ? a->base : quota ? quota_level(a, now_ms) : rate_level(a);
    int64_t again_ms = MAX_OF((int64_t)AGAIN_MIN_MS, (int64_t)(20000 / a->base));
    bool again = !quota && !penalty && (seeking || a->held_ms - a->resumed_ms < again_ms);
    bool same = before > 0 && fabs(level / before - 1) < 0.1;

    if (penalty) { /* seldom tried, as each time costs so much */
        a->quota_span_s = 0;
        a->span_s = MIN_OF(PENALTY_SPAN * held_s, PENALTY_SPAN_MAX_S);
    } else if (same && !again) {
        a->span_s = MIN_OF(a->span_s * SPAN_GROWTH, SPAN_MAX_S);
    } else {
        a->span_s = shortest_span(a, level);
    }
    a->last_held_s = held_s;
    a->failed = bounded(a, level);
    a->rate = a->base = bounded(a, level * (again     ? BACK_OFF_AGAIN
                                            : penalty ? BACK_OFF_PENALTY
                                                      : BACK_OFF));
    a->stride = quota && seeking ? QUOTA_GUESS : LEFT_BEHIND;
    a->at_s = 0;
    a->grudge = 0;
    a->state = ADAPTIVE_STATE_CLIMB;
    a->resumed_ms = now_ms;
    begin_cycle(a, now_ms);
    begin_round(a, now_ms);
    remember(a, ADAPTIVE_SLOWER, sv(NULL, 0), now_ms);
}

/* One refusal among hundreds of deliveries is noise; at low rates there is no time to wait. */
static bool is_incident(struct adaptive *a)
{
    if (a->rate < TOLERATED_FROM)
        a->grudge = MAX_OF(a->grudge, 0);
    a->grudge++;
    return a->grudge >= 1;
}

static bool throttled(struct adaptive *a, struct strview reply, int64_t sent_ms, int64_t now_ms)
{
    a->throttled++;
    if (a->state == ADAPTIVE_STATE_HELD) {
        a->refused_ms = now_ms;
        return hold_on(a, now_ms);
    }
    if (sent_ms < a->resumed_ms || !is_incident(a))
        return false;
    hold(a, reply, now_ms);
    return true;
}

bool adaptive_outcome(struct adaptive *a, bool delivered, bool throttling, struct strview reply,
                      int64_t sent_ms, int64_t now_ms)
{
    bool changed = false;

    if (!a->round_ms || now_ms < a->round_ms) /* the first, or the clock was set back */
        begin_round(a, now_ms);
    if (!a->cycle_ms || now_ms < a->cycle_ms)
        begin_cycle(a, now_ms);
    a->used_ms = now_ms;
    a->round_count++;
    a->delivered += delivered;
    a->cycle_delivered += delivered;
    if (throttling) {
        changed = throttled(a, reply, sent_ms, now_ms);
    } else if (delivered && a->state == ADAPTIVE_STATE_HELD) {
        if (sent_ms > a->held_ms) {
            go_on(a, now_ms);
            changed = true;
        }
    } else if (delivered) {
        a->grudge = MAX_OF(a->grudge - TOLERATED, -1.0);
    }
    if (a->state != ADAPTIVE_STATE_HELD && !throttling)
        changed |= end_round(a, now_ms);
    draw(a, now_ms);
    return changed;
}
