/*
 * Rolling counters of one pipe: what became of its mail, by domain, virtual MTA, job, queue and
 * bounce category, per minute, hour and day (UTC). report.c counts; `pmtactl stats` asks.
 *
 * Memory is bounded: of each dimension so many keys are kept, the busiest; what others had is in one
 * row for the rest (name ""), so that sums are always exact. A key that comes back has a row of its
 * own again from then on. docs/stats.md is the operator's side.
 */
#ifndef PMTA_PIPE_STATS_STATS_H
#define PMTA_PIPE_STATS_STATS_H

#include "stats/cell.h"

/* DIMENSION(ID, "name", keys kept) */
#define STATS_DIMENSIONS(DIMENSION)   \
    DIMENSION(PIPE, "pipe", 1)        \
    DIMENSION(DOMAIN, "domain", 1024) \
    DIMENSION(VMTA, "vmta", 512)      \
    DIMENSION(JOB, "job", 1024)       \
    DIMENSION(QUEUE, "queue", 1024)   \
    DIMENSION(CATEGORY, "category", 64)

enum stats_dimension {
#define DIMENSION_ENUM(id, name, keys) STATS_BY_##id,
    STATS_DIMENSIONS(DIMENSION_ENUM)
#undef DIMENSION_ENUM
        STATS_DIMENSION_COUNT,
    STATS_BY_TIME = STATS_DIMENSION_COUNT, /* of questions: one row per minute, hour or day */
};

struct stats;

struct stats *stats_new(void);
void stats_free(struct stats *s); /* NULL is fine */

/* One thing that happened. Empty names are counted as "(none)"; category is only counted where there
 * is one. */
struct stats_event {
    enum stats_counter what;
    int64_t wall_ms;
    struct strview domain, vmta, job, queue;
    const char *category; /* or NULL */
    uint64_t bytes;       /* delivered */
    int64_t delay_ms;     /* of a delivery; -1: none */
};
void stats_count(struct stats *s, const struct stats_event *e);

/* Called when something was counted, so that it can be kept. `past`: an hour has ended. */
void stats_on_change(struct stats *s, void (*changed)(void *arg, bool past), void *arg);

/* Everything since the process started, per counter; for metrics. */
const uint64_t *stats_totals(const struct stats *s);

/* --- questions --- */

struct stats_row {
    char *name; /* "" is the rest; of STATS_BY_TIME NULL */
    int64_t start_ms;
    struct stats_cell cell;
};

struct stats_answer {
    struct stats_row *rows; /* busiest first, the rest last; or in order of time */
    size_t count;
    size_t folded;         /* rows that are in the rest because of the limit */
    struct stats_cell all; /* of the whole pipe */
    int64_t from_ms;       /* what is in the answer happened since then */
    int64_t step_ms;       /* of the spans it was put together from */
};

/* What happened in the last since_ms, rounded up to whole minutes (up to two hours), hours (up to
 * three days) or days (up to 35, more is cut). limit: rows besides the rest; 0: all. */
void stats_ask(struct stats *s, unsigned by, int64_t now_ms, int64_t since_ms, size_t limit,
               struct stats_answer *ret);
void stats_answer_free(struct stats_answer *a);

/* Name of a category of cells, or NULL. */
const char *stats_category_name(const struct stats *s, unsigned i);
const char *stats_dimension_name(unsigned by); /* "domain" ... "time" */

/* --- over a restart --- */

/* The last two hours and what runs; and the hours and days before. */
void stats_write(struct stats *s, struct buf *out);
void stats_write_past(const struct stats *s, struct buf *out);
/* Takes what was written, the past first; false: damaged, what could be read is taken. Before
 * anything is counted. */
bool stats_read_past(struct stats *s, struct strview text);
bool stats_read(struct stats *s, struct strview text);

#endif
