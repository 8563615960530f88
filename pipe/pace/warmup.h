/*
 * Warm-up of one source address towards one queue or group: which day of its schedule it is on, how
 * much it may send on that day, how the day went, and what follows from that at midnight. Plain
 * data and decisions; the limits and the clock are the pair's (pace.c).
 *
 * A step is a day of `warmup-schedule` (local time), or a 96th part of `warmup`. It is left only
 * when the address was used during it and the results were good.
 */
#ifndef PMTA_PIPE_PACE_WARMUP_H
#define PMTA_PIPE_PACE_WARMUP_H

#include "base/limit_table.h"
#include "mail/config.h"

/* VERDICT(NAME, "name", "what it says to people"): how the last step ended */
#define WARMUP_VERDICTS(VERDICT)                                                  \
    VERDICT(BEGINS, "begins", "no step is over yet")                              \
    VERDICT(ADVANCED, "advanced", "the last step went well")                      \
    VERDICT(UNUSED, "unused", "waits: the address was not used in the last step") \
    VERDICT(DEFERRED, "deferred", "too many deferrals in the last step")          \
    VERDICT(BOUNCED, "bounced", "too many bounces in the last step")              \
    VERDICT(OPERATOR, "operator", "held by an operator")

enum warmup_verdict {
#define VERDICT_ENUM(id, name, text) WARMUP_##id,
    WARMUP_VERDICTS(VERDICT_ENUM)
#undef VERDICT_ENUM
        WARMUP_VERDICT_COUNT
};

const char *warmup_verdict_name(enum warmup_verdict v);
const char *warmup_verdict_text(enum warmup_verdict v);

enum warmup_trouble { WARMUP_HOLD, WARMUP_STEP_BACK, WARMUP_IGNORE }; /* warmup-upon-trouble */

enum {
    WARMUP_RAMP_STEPS = 96,
    WARMUP_SAMPLE = 20, /* attempts from which percentages mean something */
    WARMUP_STEP_MAX = 100000,
};
#define WARMUP_RAMP_END   100.0 /* per second, when there is no max-msg-rate: after it, no limit */
#define WARMUP_UNLIMITED  UINT64_MAX
#define WARMUP_BUDGET_MAX LIMIT_QUOTA_MAX /* per day; more is no limit */

struct warmup {
    /* what is wanted, as configured, and what follows from it */
    int64_t wanted_ms;
    struct rate start, full;
    struct rate *days; /* owned; of the schedule */
    size_t day_count;
    uint32_t growth_percent;
    int64_t ramp_ms;                    /* of `warmup`, when there is no schedule; 0: none */
    double ramp_start, ramp_end;        /* per second */
    bool ramp_is_open;                  /* after the ramp nothing limits */
    unsigned max_deferred, max_bounced; /* percent */
    enum warmup_trouble upon_trouble;

    /* where it is */
    uint32_t step;                        /* from 1; 0: never began */
    int32_t date;                         /* local day of the step, days since 1970-01-01 */
    int64_t began_ms;                     /* the warm-up */
    int64_t step_ms;                      /* the step */
    uint64_t attempts, deferred, bounced; /* in this step */
    enum warmup_verdict verdict;
    int verdict_percent; /* of DEFERRED and BOUNCED */
    bool stepped_back;
    bool held; /* by an operator */
};

void warmup_fini(struct warmup *w);
/* The schedule is copied. */
void warmup_configure(struct warmup *w, const struct rate_form *schedule, int64_t ramp_ms,
                      const struct rate *start, const struct rate *full);

void warmup_begin(struct warmup *w, int64_t now_ms);
/* The step that comes after this one is due: decides. True when the step ended. */
bool warmup_advance(struct warmup *w, int64_t now_ms);
/* The clock jumped: no step has passed, today is another date. */
void warmup_clock_jumped(struct warmup *w, int64_t now_ms);
/* When warmup_advance is due next, wall ms. */
int64_t warmup_next_ms(const struct warmup *w, int64_t now_ms);

/* One recipient's attempt was answered. */
void warmup_count(struct warmup *w, bool deferred, bool bounced);

/* What a step allows: messages per day (WARMUP_UNLIMITED), for a schedule … */
uint64_t warmup_budget(const struct warmup *w, uint32_t step);
/* … or per second, for a ramp; 0: no limit. */
double warmup_rate(const struct warmup *w, uint32_t step);

void warmup_set_step(struct warmup *w, uint32_t step, int64_t now_ms);

/* Local calendar: the day of a time, and when the next one begins. */
int32_t warmup_date(int64_t now_ms);
int64_t warmup_midnight_ms(int64_t now_ms);

#endif
