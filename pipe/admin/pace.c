/*
 * `show adaptive`, `show warmup` and what operators do to a warm-up: the pairs of pipe/pace as
 * objects.
 */
#include "admin/verbs.h"
#include "base/clock.h"
#include "base/log.h"
#include "pace/adaptive.h"
#include "pace/pace.h"
#include "pace/warmup.h"

#include <stdio.h>
#include <time.h>

struct looking {
    const struct pipe *pipe;
    const struct admin *admin;
    bool warmup;
};

static json_t *pair_object(const struct looking *l, const struct pace_view *v)
{
    json_t *o = json_pack("{s:s}", "pipe", l->pipe->name);

    json_object_set_new(o, "queue", admin_json_text(sv_of(v->queue)));
    json_object_set_new(o, "source", admin_json_text(sv_of(*v->source ? v->source : "any")));
    return o;
}

static json_t *history(const struct adaptive *a)
{
    json_t *list = json_array();
    const struct adaptive_event *e;

    for (unsigned i = 0; (e = adaptive_event(a, i)); i++) {
        json_t *o = json_pack("{s:I, s:f, s:s, s:s}", "at_ms", (json_int_t)e->at_ms, "rate",
                              e->rate, "change", adaptive_change_name(e->change), "because",
                              adaptive_change_text(e->change));
        if (e->reply)
            json_object_set_new(o, "reply", admin_json_text(sv_of(e->reply)));
        json_array_append_new(list, o);
    }
    return list;
}

/* Rates of the last hour by the minute, the present one last; 0: not used. */
static json_t *curve(const struct adaptive *a)
{
    json_t *list = json_array();
    int64_t old = clock_wall_ms() / 60000 - a->minute;

    for (int64_t i = MAX_OF(old, (int64_t)0); i < ADAPTIVE_MINUTES; i++)
        json_array_append_new(list, json_real(a->minutes[i]));
    for (int64_t i = 0; i < MIN_OF(old, (int64_t)ADAPTIVE_MINUTES); i++)
        json_array_append_new(list, json_real(0));
    return list;
}

static void show_adaptive_pair(const struct looking *l, const struct pace_view *v)
{
    static const char *const states[] = {[ADAPTIVE_STATE_SEEK] = "seeking",
                                         [ADAPTIVE_STATE_HELD] = "held",
                                         [ADAPTIVE_STATE_CLIMB] = "climbing"};
    const struct adaptive *a = v->adaptive;
    const struct adaptive_event *e = adaptive_event(a, 0);
    json_t *o = pair_object(l, v);
    json_t *more =
        json_pack("{s:s, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:s, s:s}", "state", states[a->state],
                  "rate", a->rate, "floor", a->floor, "ceiling", a->ceiling, "failed_at", a->failed,
                  "delivered", (json_int_t)a->delivered, "throttled", (json_int_t)a->throttled,
                  "changed_ms", (json_int_t)e->at_ms, "change", adaptive_change_name(e->change),
                  "because", adaptive_change_text(e->change));

    for (unsigned i = 0; (e = adaptive_event(a, i)); i++)
        if (e->reply) {
            json_object_set_new(more, "reply", admin_json_text(sv_of(e->reply)));
            break;
        }
    json_object_update(o, more);
    json_decref(more);
    json_object_set_new(o, "minutes", curve(a));
    json_object_set_new(o, "history", history(a));
    admin_send(l->admin, o);
}

static const char *warmup_state(const struct warmup *w)
{
    if (w->held)
        return "held";
    if (w->stepped_back)
        return "step-back";
    if (w->verdict == WARMUP_DEFERRED || w->verdict == WARMUP_BOUNCED)
        return "hold";
    if (w->ramp_ms && w->step > WARMUP_RAMP_STEPS)
        return "done";
    return w->verdict == WARMUP_UNUSED ? "unused" : "advancing";
}

static const char *warmup_because(const struct pace_view *v)
{
    const struct warmup *w = v->warmup;

    if (w->held)
        return warmup_verdict_text(WARMUP_OPERATOR);
    if (w->day_count && v->used >= warmup_budget(w, w->step) &&
        (w->verdict == WARMUP_BEGINS || w->verdict == WARMUP_ADVANCED))
        return "today's messages are sent";
    return warmup_verdict_text(w->verdict);
}

static void put_budget(json_t *o, const char *name, uint64_t budget)
{
    if (budget != WARMUP_UNLIMITED)
        json_object_set_new(o, name, json_integer((json_int_t)budget));
}

static void show_warmup_pair(const struct looking *l, const struct pace_view *v)
{
    const struct warmup *w = v->warmup;
    double attempts = (double)MAX_OF(w->attempts, (uint64_t)1);
    int64_t now_ms = clock_wall_ms(), next_ms = warmup_next_ms(w, now_ms);
    json_t *o = pair_object(l, v);
    json_t *more = json_pack(
        "{s:s, s:I, s:I, s:I, s:f, s:f, s:i, s:i, s:s, s:s, s:i, s:I, s:I}", "state",
        warmup_state(w), "step", (json_int_t)w->step, "used", (json_int_t)v->used, "attempts",
        (json_int_t)w->attempts, "deferred_percent", (double)w->deferred * 100 / attempts,
        "bounced_percent", (double)w->bounced * 100 / attempts, "max_deferred",
        (int)w->max_deferred, "max_bounced", (int)w->max_bounced, "verdict",
        warmup_verdict_name(w->verdict), "because", warmup_because(v), "verdict_percent",
        w->verdict_percent, "began_ms", (json_int_t)w->began_ms, "next_ms",
        (json_int_t)(next_ms == INT64_MAX ? 0 : next_ms));

    json_object_set_new(more, "kind", json_string(w->day_count ? "schedule" : "ramp"));
    if (w->day_count) {
        put_budget(more, "budget", warmup_budget(w, w->step));
        put_budget(more, "next_budget", warmup_budget(w, w->step + 1));
    } else {
        json_object_set_new(more, "steps", json_integer(WARMUP_RAMP_STEPS));
        json_object_set_new(more, "rate", json_real(warmup_rate(w, w->step)));
    }
    json_object_update(o, more);
    json_decref(more);
    admin_send(l->admin, o);
}

static void on_pair(void *arg, const struct pace_view *v)
{
    const struct looking *l = arg;

    if (l->warmup && v->warmup)
        show_warmup_pair(l, v);
    else if (!l->warmup && v->adaptive)
        show_adaptive_pair(l, v);
}

static void show(void *owner, struct admin *a, bool warmup)
{
    struct pipe *p = owner;

    pace_visit(engine_pace(p->engine), admin_text(a, "queue"), on_pair,
               &(struct looking){p, a, warmup});
    admin_end(a);
}

void show_adaptive(void *owner, struct admin *a)
{
    show(owner, a, false);
}

void show_warmup(void *owner, struct admin *a)
{
    show(owner, a, true);
}

/* --- the days ahead --- */

enum { PLAN_DAYS = 30, PLAN_DAYS_MAX = 1000, SCHEDULE_MAX = 100 };

static void date_text(int32_t date, char *out, size_t size)
{
    time_t t = (time_t)date * 86400;
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(out, size, "%a %Y-%m-%d", &tm);
}

struct plan {
    const struct pipe *pipe;
    const struct admin *admin;
    int64_t days;
    uint64_t target; /* 0: none */
};

/* The last day of the plan is that of the target, if it is reached at all. */
static json_t *target_note(const struct plan *plan, uint64_t budget, const char *date, size_t days)
{
    char text[200];

    if (budget < plan->target)
        snprintf(text, sizeof(text), "%llu a day is not reached in %zu days",
                 (unsigned long long)plan->target, days);
    else
        snprintf(text, sizeof(text), "%llu a day is reached on %s, day %zu of this plan",
                 (unsigned long long)plan->target, date, days);
    return json_string(text);
}

/* Takes o. */
static void send_plan(const struct plan *plan, const struct warmup *w, json_t *o)
{
    json_t *days = json_array();
    int32_t today = warmup_date(clock_wall_ms());
    uint64_t total = 0, budget = 0;
    char date[40] = "";

    for (int64_t i = 0; i < plan->days && budget != WARMUP_UNLIMITED; i++) {
        budget = warmup_budget(w, w->step + (uint32_t)i);
        date_text(today + (int32_t)i, date, sizeof(date));
        json_t *day = json_pack("{s:s, s:I}", "date", date, "day", (json_int_t)w->step + i);
        put_budget(day, "budget", budget);
        if (budget != WARMUP_UNLIMITED) {
            total += budget;
            put_budget(day, "total", total);
        }
        json_array_append_new(days, day);
        if (plan->target && budget >= plan->target)
            break;
    }
    if (plan->target)
        json_object_set_new(o, "note", target_note(plan, budget, date, json_array_size(days)));
    json_object_set_new(o, "days", days);
    admin_send(plan->admin, o);
}

static void plan_pair(void *arg, const struct pace_view *v)
{
    const struct plan *plan = arg;
    const struct looking l = {plan->pipe, plan->admin, true};

    if (v->warmup && v->warmup->day_count)
        send_plan(plan, v->warmup, pair_object(&l, v));
}

/* "50/d, 100/d" or "50/d +10%/d". False: it is neither. */
static bool parse_schedule(struct strview text, struct rate *items, struct rate_form *ret)
{
    ptrdiff_t plus = sv_find(text, '+');
    struct strview growth = {NULL, 0}, part;
    uint64_t percent = 0;

    if (plus >= 0) {
        growth = sv_trim(sv(text.ptr + plus + 1, text.len - (size_t)plus - 1));
        text = sv(text.ptr, (size_t)plus);
        if (sv_ends_nocase(growth, SV("/d")))
            growth.len -= 2;
        if (!growth.len || growth.ptr[growth.len - 1] != '%' ||
            !sv_to_u64(sv(growth.ptr, growth.len - 1), &percent) || percent > 1000)
            return false;
    }
    *ret = (struct rate_form){.items = items, .growth_percent = (uint32_t)percent};
    while (sv_split(&text, ',', &part)) {
        if (ret->count == SCHEDULE_MAX || units_parse_rate(sv_trim(part), &items[ret->count]) < 0)
            return false;
        ret->count++;
    }
    return ret->count > 0;
}

void plan_warmup(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview schedule = admin_text(a, "schedule");
    int64_t days = admin_number(a, "days", 0), target = admin_number(a, "target", 0);
    struct plan plan = {p, a,
                        days > 0     ? days
                        : target > 0 ? PLAN_DAYS_MAX
                                     : PLAN_DAYS,
                        target > 0 ? (uint64_t)target : 0};
    struct rate items[SCHEDULE_MAX];
    struct rate_form form;

    plan.days = MIN_OF(plan.days, (int64_t)PLAN_DAYS_MAX);
    if (!schedule.len) {
        pace_visit(engine_pace(p->engine), admin_text(a, "queue"), plan_pair, &plan);
    } else if (!parse_schedule(schedule, items, &form)) {
        admin_error(a, "'schedule' is not understood, expected 50/d, 100/d, 200/d or 50/d +10%%/d");
        return;
    } else {
        struct warmup w = {.step = 1};
        warmup_configure(&w, &form, 0, &(struct rate){0, 0}, &(struct rate){0, 0});
        send_plan(&plan, &w, json_object());
        warmup_fini(&w);
    }
    admin_end(a);
}

/* --- acts --- */

static void act(void *owner, struct admin *a, enum pace_act what, const char *state)
{
    struct pipe *p = owner;
    struct strview queue = admin_text(a, "queue"), source = admin_text(a, "source");
    int64_t day = admin_number(a, "day", 0);

    if (!queue.len || queue.len >= 500) {
        admin_error(a, "'queue' is missing: the queue or group as 'show warmup' names it, * for "
                       "any");
        return;
    }
    if (what == PACE_SET_DAY && (day < 1 || day > WARMUP_STEP_MAX)) {
        admin_error(a, "'day' is missing: a day of the schedule, from 1");
        return;
    }
    size_t changed =
        pace_act(engine_pace(p->engine), what, queue, sv_eq(source, SV("any")) ? SV("") : source,
                 (uint32_t)day, clock_wall_ms());
    if (changed)
        engine_retry_addresses(p->engine);
    log_info(LOG_ADMIN, "warm-up changed by an operator queue=%s state=%s day=%lld changed=%zu",
             log_safe(queue.ptr, queue.len, 500), state, (long long)day, changed);
    json_t *o = json_pack("{s:s, s:I, s:s}", "pipe", p->name, "changed", (json_int_t)changed,
                          "state", state);
    json_object_set_new(o, "queue", admin_json_text(queue));
    admin_send(a, o);
    admin_end(a);
}

void act_warmup_hold(void *owner, struct admin *a)
{
    act(owner, a, PACE_HOLD, "held");
}

void act_warmup_resume(void *owner, struct admin *a)
{
    act(owner, a, PACE_RESUME, "resumed");
}

void act_warmup_set_day(void *owner, struct admin *a)
{
    act(owner, a, PACE_SET_DAY, "day-set");
}
