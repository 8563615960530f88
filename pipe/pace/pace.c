/*
 * Pairs of queue and source address with a rate of their own; see pace.h. The engine gets a pair
 * when it opens a connection, puts its limits among the others and reports outcomes; the rest
 * happens here: adaptive.c and warmup.c say what holds, this file sets the limits to it.
 *
 * A day's budget is a quota (limit.h) that ends at midnight: the count is exact before anything is
 * sent, over all pipes that share the limit table, and it outlives a pipe that dies. Nobody resets
 * it: at midnight each pipe names the next day, and what was taken under another day counts nothing.
 *
 * Pairs belong to struct pace. Without references they stay for weeks, oldest at the head of
 * by_use, so that forgetting looks at the head only. Adaptive needs no timer; a warm-up has its next
 * step in a heap, and a tick looks at a few hundred of those that are due.
 */
#include "pace/pace_int.h"

#include "base/clock.h"
#include "base/log.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>

#define DAY_MS             INT64_C(86400000)
#define FORGET_ADAPTIVE_MS (7 * DAY_MS)
#define FORGET_WARMUP_MS   (30 * DAY_MS) /* an address that was silent so long is cold again */
#define TICK_MS            3600000
#define JUMP_MS            600000         /* wall and monotonic clock differ by more: it was set */
#define AHEAD_MS           (26 * 3600000) /* a day that begins later than this is a wrong date */

enum { ROLLED_AT_ONCE = 256, FORGOTTEN_AT_ONCE = 64 };

struct key {
    struct strview queue, source;
};

static bool matches(const struct hash_node *node, const void *arg)
{
    const struct pace_pair *pair = container_of(node, struct pace_pair, node);
    const struct key *key = arg;
    return sv_eq(sv_of(pair->queue), key->queue) && sv_eq(sv_of(pair->source), key->source);
}

static uint64_t hash_of(struct strview queue, struct strview source)
{
    return hash_bytes(queue.ptr, queue.len) * 31 + hash_bytes(source.ptr, source.len);
}

struct pace *pace_new(struct limits *limits, struct strview pipe)
{
    struct pace *p = xcalloc(1, sizeof(*p));

    p->limits = limits;
    p->pipe = xstrndup(pipe.ptr, pipe.len);
    hash_init(&p->pairs, matches);
    list_init(&p->by_use);
    list_init(&p->warming);
    return p;
}

/* Out of by_use; a text that is being written goes on behind it. */
static void leave_by_use(struct pace_pair *pair)
{
    if (pair->owner->cursor == &pair->use)
        pair->owner->cursor = pair->use.next;
    list_remove(&pair->use);
}

static void pair_free(struct pace_pair *pair)
{
    BUG_ON(pair->refs);
    hash_remove(&pair->owner->pairs, &pair->node);
    leave_by_use(pair);
    list_remove(&pair->warm);
    heap_remove(&pair->owner->due, &pair->due);
    limit_unref(pair->rate_limit);
    limit_unref(pair->warm_limit);
    adaptive_fini(&pair->adaptive);
    warmup_fini(&pair->warmup);
    free(pair->queue);
    free(pair->source);
    free(pair);
}

void pace_free(struct pace *p)
{
    if (!p)
        return;
    while (!list_empty(&p->by_use))
        pair_free(list_entry(list_first(&p->by_use), struct pace_pair, use));
    hash_fini(&p->pairs);
    heap_fini(&p->due);
    free(p->pipe);
    free(p);
}

/* --- settings --- */

bool pace_is_wanted(const struct pace_settings *s)
{
    return s->adaptive || s->warmup_ms || s->warmup_schedule.count;
}

static double per_second(const struct rate *r)
{
    return r->count && r->period_ms > 0 ? (double)r->count * 1000 / (double)r->period_ms : 0;
}

/* In the unit that people would use; right to a few parts in a thousand. */
static struct rate rate_of(double per_s)
{
    static const struct {
        double from, seconds;
    } units[] = {{100, 1}, {1, 60}, {1.0 / 60, 3600}, {0, 86400}};
    size_t i = 0;

    while (per_s < units[i].from)
        i++;
    uint64_t count = (uint64_t)llround(per_s * units[i].seconds);
    return (struct rate){MAX_OF(count, UINT64_C(1)), (int64_t)(units[i].seconds * 1000)};
}

/* --- adaptive --- */

static void set_rate(struct pace_pair *pair)
{
    struct rate r = rate_of(pair->adaptive.rate);
    limit_set_rate(pair->rate_limit, &r);
}

static struct limit *pair_limit(const struct pace_pair *pair, const char *kind, const char *pipe)
{
    struct buf name = {0};

    buf_printf(&name, "%s %s%s%s from %s", kind, pair->queue, *pipe ? " of pipe " : "", pipe,
               *pair->source ? pair->source : "any address");
    struct limit *l = limit_get(pair->owner->limits, LIMIT_MESSAGES, buf_view(&name));
    buf_free(&name);
    return l;
}

static void start_adaptive(struct pace_pair *pair, const struct pace_settings *s, int64_t now_ms)
{
    double start = per_second(&s->start_rate), max = per_second(&s->max_rate);

    if (start <= 0) /* unlimited */
        start = max > 0 ? max : 1000;
    adaptive_init(&pair->adaptive, start, per_second(&s->min_rate), max, now_ms);
    if (pair->kept_rate > 0)
        adaptive_restore(&pair->adaptive, pair->kept_rate, pair->kept_failed, pair->kept_span_s,
                         now_ms);
    pair->is_adaptive = true;
    pair->rate_limit = pair_limit(pair, "adaptive", pair->owner->pipe);
    set_rate(pair);
}

static void stop_adaptive(struct pace_pair *pair)
{
    if (!pair->is_adaptive)
        return;
    pair->is_adaptive = false;
    limit_set_rate(pair->rate_limit, &(struct rate){0, 0});
    limit_unref(pair->rate_limit);
    pair->rate_limit = NULL;
    adaptive_fini(&pair->adaptive);
    pair->kept_rate = 0;
}

static void configure_adaptive(struct pace_pair *pair, const struct pace_settings *s,
                               int64_t now_ms)
{
    if (!s->adaptive)
        stop_adaptive(pair);
    else if (!pair->is_adaptive)
        start_adaptive(pair, s, now_ms);
    else if (adaptive_configure(&pair->adaptive, per_second(&s->min_rate), per_second(&s->max_rate),
                                now_ms))
        set_rate(pair);
}

/* --- warm-up --- */

uint64_t pace_pair_used(const struct pace_pair *pair)
{
    return pair->until_ms ? limit_quota_used(pair->warm_limit) : 0;
}

static void due_at(struct pace_pair *pair, int64_t now_ms)
{
    int64_t next_ms = warmup_next_ms(&pair->warmup, now_ms);
    heap_set(&pair->owner->due, &pair->due, MIN_OF(next_ms, now_ms + TICK_MS));
}

/* The count of another day that is far ahead, left by a clock that was wrong: it is today's. */
static void correct_day(struct pace_pair *pair, int64_t until_ms)
{
    int64_t level_ms = limit_cell_level_us(pair->warm_limit->cell) / 1000;

    if (level_ms - until_ms > AHEAD_MS)
        limit_cell_quota_move(pair->warm_limit->cell, warmup_midnight_ms(level_ms - 3600000) * 1000,
                              until_ms * 1000);
}

static void set_budget(struct pace_pair *pair, uint64_t budget, int64_t now_ms)
{
    if (budget == WARMUP_UNLIMITED) {
        limit_set_rate(pair->warm_limit, &(struct rate){0, 0});
        pair->until_ms = 0;
        return;
    }
    pair->until_ms = warmup_midnight_ms(now_ms);
    correct_day(pair, pair->until_ms);
    limit_set_quota(pair->warm_limit, budget, pair->until_ms * 1000);
}

static void set_warm_limit(struct pace_pair *pair, int64_t now_ms)
{
    const struct warmup *w = &pair->warmup;

    if (!pair->warm_limit)
        pair->warm_limit = pair_limit(pair, "warm-up", "");
    due_at(pair, now_ms);
    if (w->day_count) {
        set_budget(pair, warmup_budget(w, w->step), now_ms);
        return;
    }
    double rate = warmup_rate(w, w->step);
    struct rate r = rate > 0 ? rate_of(rate) : (struct rate){0, 0};
    pair->until_ms = 0;
    limit_set_rate(pair->warm_limit, &r);
}

static void log_step(const struct pace_pair *pair)
{
    const struct warmup *w = &pair->warmup;

    log_info(LOG_LIMIT, "warm-up step is over queue=%s source=%s next=%u verdict=%s percent=%d",
             pair->queue, *pair->source ? pair->source : "any", w->step,
             warmup_verdict_name(w->verdict), w->verdict_percent);
}

static void roll(struct pace_pair *pair, int64_t now_ms)
{
    bool over = warmup_advance(&pair->warmup, now_ms);

    if (over && (pair->warmup.day_count || pair->warmup.verdict == WARMUP_ADVANCED))
        log_step(pair);
    pair->owner->changed |= over;
    if (over || (pair->until_ms && now_ms >= pair->until_ms))
        set_warm_limit(pair, now_ms);
    else
        due_at(pair, now_ms);
}

static bool same_rate(const struct rate *a, const struct rate *b)
{
    return a->count == b->count && a->period_ms == b->period_ms;
}

static bool same_schedule(const struct warmup *w, const struct pace_settings *s)
{
    const struct rate_form *f = &s->warmup_schedule;
    return w->day_count == f->count && w->growth_percent == f->growth_percent &&
           (!f->count || memcmp(w->days, f->items, f->count * sizeof(f->items[0])) == 0) &&
           w->wanted_ms == s->warmup_ms && same_rate(&w->start, &s->warmup_start_rate) &&
           same_rate(&w->full, &s->max_rate);
}

static void stop_warmup(struct pace_pair *pair)
{
    if (list_empty(&pair->warm))
        return;
    list_remove(&pair->warm);
    heap_remove(&pair->owner->due, &pair->due);
    limit_set_rate(pair->warm_limit, &(struct rate){0, 0});
    limit_unref(pair->warm_limit);
    pair->warm_limit = NULL;
    pair->until_ms = 0;
    warmup_fini(&pair->warmup);
    pair->warmup = (struct warmup){0};
    pair->owner->changed = true;
}

static void configure_warmup(struct pace_pair *pair, const struct pace_settings *s, int64_t now_ms)
{
    struct warmup *w = &pair->warmup;

    if (!s->warmup_ms && !s->warmup_schedule.count) {
        stop_warmup(pair);
        return;
    }
    w->max_deferred = s->warmup_max_deferred_percent;
    w->max_bounced = s->warmup_max_bounced_percent;
    w->upon_trouble = (enum warmup_trouble)s->warmup_upon_trouble;
    if (!list_empty(&pair->warm) && same_schedule(w, s))
        return;
    warmup_configure(w, &s->warmup_schedule, s->warmup_ms, &s->warmup_start_rate, &s->max_rate);
    if (!w->step) {
        warmup_begin(w, now_ms);
        pair->owner->changed = true;
    } else if (w->date > warmup_date(now_ms) + 1) {
        warmup_clock_jumped(w, now_ms); /* read back, from a time that has not come */
    }
    if (list_empty(&pair->warm))
        list_push_back(&pair->owner->warming, &pair->warm);
    set_warm_limit(pair, now_ms);
    roll(pair, now_ms); /* read back: its day may be over */
}

/* --- pairs --- */

struct pace_pair *pace_pair_find(struct pace *p, struct strview queue, struct strview source)
{
    struct hash_node *n =
        hash_find(&p->pairs, hash_of(queue, source), &(struct key){queue, source});
    return n ? container_of(n, struct pace_pair, node) : NULL;
}

static void forget_oldest(struct pace *p)
{
    unsigned n = 0;

    list_for_each_safe (at, &p->by_use) {
        struct pace_pair *pair = list_entry(at, struct pace_pair, use);
        if (!pair->refs) {
            pair_free(pair);
            return;
        }
        if (++n == FORGOTTEN_AT_ONCE)
            return;
    }
}

struct pace_pair *pace_pair_new(struct pace *p, struct strview queue, struct strview source,
                                int64_t used_ms)
{
    struct pace_pair *pair = xcalloc(1, sizeof(*pair));

    if (p->pairs.count >= PACE_PAIRS_MAX)
        forget_oldest(p);
    pair->owner = p;
    pair->queue = xstrndup(queue.ptr, queue.len);
    pair->source = xstrndup(source.ptr, source.len);
    pair->used_ms = used_ms;
    list_init(&pair->warm);
    heap_node_init(&pair->due);
    list_push_back(&p->by_use, &pair->use);
    hash_insert(&p->pairs, &pair->node, hash_of(queue, source));
    p->changed = true;
    return pair;
}

struct pace_pair *pace_pair_get(struct pace *p, struct strview queue, struct strview source,
                                const struct pace_settings *s)
{
    int64_t now_ms = clock_wall_ms();
    struct pace_pair *pair = p->pairs.count ? pace_pair_find(p, queue, source) : NULL;

    if (!pair && !pace_is_wanted(s))
        return NULL;
    if (!pair)
        pair = pace_pair_new(p, queue, source, now_ms);
    configure_adaptive(pair, s, now_ms);
    configure_warmup(pair, s, now_ms);
    if (!pace_is_wanted(s)) /* not any more; it is forgotten in its time */
        return NULL;
    return pace_pair_ref(pair);
}

struct pace_pair *pace_pair_ref(struct pace_pair *pair)
{
    pair->refs++;
    return pair;
}

void pace_pair_put(struct pace_pair *pair)
{
    if (!pair)
        return;
    BUG_ON(!pair->refs);
    pair->refs--;
}

size_t pace_limits(const struct pace_pair *pair, struct limit **ret)
{
    size_t n = 0;

    if (pair && pair->rate_limit)
        ret[n++] = pair->rate_limit;
    if (pair && pair->warm_limit)
        ret[n++] = pair->warm_limit;
    return n;
}

void pace_outcome(struct pace *p, struct pace_pair *pair, const struct outcome *o, bool throttling,
                  int64_t now_ms)
{
    bool deferred = o->class_ == OUTCOME_DEFERRED || o->class_ == OUTCOME_EXPIRED;
    int64_t took_ms = MAX_OF(o->transmit_ms, (int64_t)0) + MAX_OF(o->connect_ms, (int64_t)0);

    if (!pair || !o->code || o->class_ == OUTCOME_DELETED) /* nobody answered: says nothing */
        return;
    pair->used_ms = now_ms;
    leave_by_use(pair);
    list_push_back(&p->by_use, &pair->use);
    if (!list_empty(&pair->warm)) {
        warmup_count(&pair->warmup, deferred, o->class_ == OUTCOME_BOUNCED);
        p->changed = true;
    }
    if (!pair->is_adaptive)
        return;
    if (adaptive_outcome(&pair->adaptive, o->class_ == OUTCOME_DELIVERED, throttling, o->text,
                         now_ms - took_ms, now_ms)) {
        set_rate(pair);
        p->changed = true;
    }
}

/* --- time --- */

/* A clock that was set: no day has passed, whatever the date is now. */
static void notice_jump(struct pace *p, int64_t now_ms)
{
    int64_t mono_ms = clock_mono_ms();
    int64_t off_ms = p->wall_ms ? (now_ms - p->wall_ms) - (mono_ms - p->mono_ms) : 0;

    p->wall_ms = now_ms;
    p->mono_ms = mono_ms;
    if (off_ms < JUMP_MS && off_ms > -JUMP_MS)
        return;
    log_warn(LOG_LIMIT, "the clock was set, warm-up counts no day for that by_s=%lld",
             (long long)(off_ms / 1000));
    list_for_each (at, &p->warming) {
        struct pace_pair *pair = list_entry(at, struct pace_pair, warm);
        int64_t until_ms = pair->until_ms;
        warmup_clock_jumped(&pair->warmup, now_ms);
        if (until_ms)
            limit_cell_quota_move(pair->warm_limit->cell, until_ms * 1000,
                                  warmup_midnight_ms(now_ms) * 1000);
        set_warm_limit(pair, now_ms);
    }
    p->changed = true;
}

static void forget_unused(struct pace *p, int64_t now_ms)
{
    p->forget_ms = now_ms + TICK_MS;
    list_for_each_safe (at, &p->by_use) {
        struct pace_pair *pair = list_entry(at, struct pace_pair, use);
        bool warm = pair->warmup.step > 0;
        int64_t idle_ms = now_ms - pair->used_ms;
        if (idle_ms < FORGET_ADAPTIVE_MS)
            return;
        if (!pair->refs && (!warm || idle_ms >= FORGET_WARMUP_MS)) {
            pair_free(pair);
            p->changed = true;
        }
    }
}

void pace_tick(struct pace *p, int64_t now_ms)
{
    struct heap_node *first;

    notice_jump(p, now_ms);
    for (int n = 0; n < ROLLED_AT_ONCE && (first = heap_min(&p->due)) && first->key <= now_ms; n++)
        roll(container_of(first, struct pace_pair, due), now_ms);
    if (now_ms >= p->forget_ms || p->forget_ms > now_ms + TICK_MS)
        forget_unused(p, now_ms);
}

int64_t pace_next_ms(const struct pace *p, int64_t now_ms)
{
    const struct heap_node *first = heap_min(&p->due);
    int64_t next_ms = p->wall_ms + TICK_MS;

    if (now_ms < p->wall_ms - JUMP_MS) /* set back */
        return now_ms;
    return first ? MIN_OF(next_ms, first->key) : next_ms;
}

/* --- to look at, and for operators --- */

static bool pattern_matches(struct strview pattern, const char *text)
{
    char p[512];

    if (!pattern.len)
        return true;
    snprintf(p, sizeof(p), "%.*s", SV_ARG(pattern));
    return fnmatch(p, text, FNM_NOESCAPE | FNM_CASEFOLD) == 0;
}

void pace_pair_view(const struct pace_pair *pair, struct pace_view *ret)
{
    bool warm = !list_empty(&pair->warm);

    *ret = (struct pace_view){
        .queue = pair->queue,
        .source = pair->source,
        .adaptive = pair->is_adaptive ? &pair->adaptive : NULL,
        .warmup = warm ? &pair->warmup : NULL,
        .used = warm ? pace_pair_used(pair) : 0,
        .adaptive_limit = pair->rate_limit,
        .warmup_limit = pair->warm_limit,
    };
}

void pace_visit(struct pace *p, struct strview pattern,
                void (*fn)(void *arg, const struct pace_view *v), void *arg)
{
    struct pace_view v;

    list_for_each (at, &p->by_use) {
        const struct pace_pair *pair = list_entry(at, struct pace_pair, use);
        if ((!pair->is_adaptive && list_empty(&pair->warm)) ||
            !pattern_matches(pattern, pair->queue))
            continue;
        pace_pair_view(pair, &v);
        fn(arg, &v);
    }
}

size_t pace_act(struct pace *p, enum pace_act act, struct strview queue, struct strview source,
                uint32_t day, int64_t now_ms)
{
    size_t changed = 0;

    list_for_each (at, &p->warming) {
        struct pace_pair *pair = list_entry(at, struct pace_pair, warm);
        if (!pattern_matches(queue, pair->queue) || !pattern_matches(source, pair->source))
            continue;
        if (act == PACE_SET_DAY) {
            warmup_set_step(&pair->warmup, day, now_ms);
            set_warm_limit(pair, now_ms);
        } else {
            pair->warmup.held = act == PACE_HOLD;
        }
        changed++;
    }
    p->changed |= changed > 0;
    return changed;
}
