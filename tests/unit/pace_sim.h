/*
 * A provider with a hidden limit and a sender with adaptive, on a virtual clock: the real code of
 * pipe/pace and pipe/limit, one step per millisecond. For test_pace.c (what it must reach) and
 * tests/bench/adaptive_curve.c (how it looks).
 */
#ifndef PMTA_TESTS_PACE_SIM_H
#define PMTA_TESTS_PACE_SIM_H

#include "base/clock.h"
#include "pace/adaptive.h"
#include "pace/pace.h"

#include <math.h>

enum sim_window { SIM_BUCKET, SIM_FIXED };

struct sim {
    enum sim_window window;
    double window_s;                      /* of SIM_FIXED, and the burst of SIM_BUCKET */
    double (*limit)(void *arg, double t); /* hidden, per second, at this second of the run */
    void *arg;
    int rtt_ms;
    double seconds;
    double settle_s;  /* results count from here on; 0: SIM_SETTLED_S */
    double penalty_s; /* after an excess it takes nothing for so long */
    bool drops;       /* 421 and the end of the connection: what was under way on it is lost too */
    struct rate max_rate; /* configured; count 0: none */
    /* called each second with what happened in it; may be NULL */
    void (*sample)(void *user, int second, double rate, double limit, unsigned delivered,
                   unsigned deferred);
    void *user;
};

struct sim_result {
    uint64_t delivered, deferred; /* after the first two minutes */
    double capacity;              /* what the provider would have taken in that time */
    double highest_rate;
};

enum { SIM_SETTLED_S = 120, SIM_FLIGHT = 1 << 16 };

struct sim_provider {
    const struct sim *sim;
    double tokens, last_s, used, until_s;
    int64_t number;
};

static inline bool sim_fits(struct sim_provider *p, double t, double wall_s)
{
    const struct sim *s = p->sim;
    double limit = s->limit(s->arg, t);

    if (s->window == SIM_BUCKET) {
        p->tokens += (t - p->last_s) * limit;
        p->tokens = fmin(p->tokens, fmax(limit * s->window_s, 1));
        p->last_s = t;
        if (p->tokens < 1)
            return false;
        p->tokens--;
        return true;
    }
    int64_t number = (int64_t)floor(wall_s / s->window_s);
    if (number != p->number) {
        p->number = number;
        p->used = 0;
    }
    if (p->used + 1 > limit * s->window_s + 1e-9)
        return false;
    p->used++;
    return true;
}

static inline bool sim_accepts(struct sim_provider *p, double t, double wall_s)
{
    if (t < p->until_s)
        return false;
    bool fits = sim_fits(p, t, wall_s);
    if (!fits)
        p->until_s = t + p->sim->penalty_s;
    return fits;
}

struct sim_flight {
    int64_t arrives_ms, back_ms;
    bool was_there, accepted;
};

static inline void sim_answer(struct pace *p, struct pace_pair *pair, const struct sim *s,
                              const struct sim_flight *f)
{
    struct outcome o = {
        .class_ = f->accepted ? OUTCOME_DELIVERED : OUTCOME_DEFERRED,
        .phase = s->drops ? PHASE_RCPT : PHASE_MAIL,
        .code = f->accepted ? 250 : 421,
        .text = f->accepted ? SV("250 2.0.0 Ok") : SV("421 4.7.0 Too many messages, slow down"),
        .connect_ms = -1,
        .transmit_ms = s->rtt_ms,
    };
    pace_outcome(p, pair, &o, !f->accepted, clock_wall_ms());
    if (s->drops &&
        !f->accepted) { /* the recipient behind it on that connection was not answered */
        struct outcome lost = {
            .class_ = OUTCOME_DEFERRED, .phase = PHASE_MAIL, .connect_ms = -1, .transmit_ms = -1};
        pace_outcome(p, pair, &lost, false, clock_wall_ms());
    }
}

/* begin_ms: wall time of the start. */
static inline struct sim_result sim_run(const struct sim *s, int64_t begin_ms)
{
    struct sim_result r = {0};
    double settle_s = s->settle_s > 0 ? s->settle_s : SIM_SETTLED_S;
    static struct sim_flight flights[SIM_FLIGHT];
    uint64_t sent = 0, arrived = 0, answered = 0;
    struct sim_provider provider = {.sim = s, .number = -1};
    struct pace_settings set = {.adaptive = true,
                                .min_rate = {1, 60000},
                                .start_rate = {10, 1000},
                                .max_rate = s->max_rate};
    clock_fake_set(begin_ms);
    struct limits *limits = limits_new(limit_table_new_private());
    struct pace *p = pace_new(limits, SV("bulk"));
    struct pace_pair *pair = pace_pair_get(p, SV("example.com/mta1"), SV("192.0.2.1"), &set);
    struct limit *list[2], *full;
    size_t count = pace_limits(pair, list);
    unsigned delivered = 0, deferred = 0;
    struct limit_level level;

    for (int64_t ms = 0; ms < (int64_t)(s->seconds * 1000); ms++, clock_fake_advance(1)) {
        double t = (double)ms / 1000;
        for (; arrived < sent && flights[arrived % SIM_FLIGHT].arrives_ms <= ms; arrived++)
            flights[arrived % SIM_FLIGHT].accepted =
                sim_accepts(&provider, t, (double)(begin_ms + ms) / 1000);
        for (; answered < arrived && flights[answered % SIM_FLIGHT].back_ms <= ms; answered++) {
            const struct sim_flight *f = &flights[answered % SIM_FLIGHT];
            sim_answer(p, pair, s, f);
            delivered += f->accepted;
            deferred += !f->accepted;
            if (t >= settle_s) {
                r.delivered += f->accepted;
                r.deferred += !f->accepted;
            }
        }
        while (sent - answered < SIM_FLIGHT && limits_take(list, count, 1, &full) == 1)
            flights[sent++ % SIM_FLIGHT] =
                (struct sim_flight){.arrives_ms = ms + s->rtt_ms / 2, .back_ms = ms + s->rtt_ms};
        if (ms % 1000 != 999)
            continue;
        limit_level(list[0], clock_wall_us(), &level);
        double rate = (double)level.rate.count * 1000 / (double)level.rate.period_ms;
        r.highest_rate = fmax(r.highest_rate, rate);
        if (t >= settle_s)
            r.capacity += s->limit(s->arg, t);
        if (s->sample)
            s->sample(s->user, (int)t, rate, s->limit(s->arg, t), delivered, deferred);
        delivered = deferred = 0;
    }
    pace_pair_put(pair);
    pace_free(p);
    limits_free(limits);
    return r;
}

#endif
