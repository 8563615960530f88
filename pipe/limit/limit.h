/*
 * The limits of a pipe. A limit has a name, what it measures and what it allows; its level is in
 * the table that all pipes share (base/limit_table.h). A queue that wants to connect or to send
 * asks for everything that applies at once and gets all or nothing; refused, it waits in line at
 * the limit that refused and is told when there is room. Nothing polls: a limit with waiters has
 * one wake-up time, and limits_next_us is the earliest of these.
 *
 * No loop and no timers in here: the owner calls limits_tick when the time has come, so the
 * scheduler tests and the simulator drive it with a clock of their own.
 */
#ifndef PMTA_PIPE_LIMIT_LIMIT_H
#define PMTA_PIPE_LIMIT_LIMIT_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/heap.h"
#include "base/limit_table.h"
#include "base/list.h"
#include "base/units.h"

/* MEASURE(ID, "directive it is set with", "unit") */
#define LIMIT_MEASURES(MEASURE)                       \
    MEASURE(CONNECTIONS, "max-smtp-out", "at a time") \
    MEASURE(CONNECTS, "max-connect-rate", "connects") \
    MEASURE(MESSAGES, "max-msg-rate", "recipients")   \
    MEASURE(BYTES, "max-data-volume-rate", "bytes")

enum limit_measure {
#define MEASURE_ENUM(id, name, unit) LIMIT_##id,
    LIMIT_MEASURES(MEASURE_ENUM)
#undef MEASURE_ENUM
        LIMIT_MEASURE_COUNT
};

struct limits; /* of one process */

struct limit {
    struct hash_node node; /* in limits, by measure and name */
    struct limits *owner;
    struct limit_cell *cell;
    enum limit_measure measure;
    char *name; /* "queue gmail.com/mta1", "virtual-mta mta1", "source 192.0.2.1", "pipe bulk" … */
    uint32_t refs;
    uint32_t max;           /* CONNECTIONS; 0: no limit */
    struct limit_rate rate; /* the others; count 0: no limit */
    struct list waiters;    /* struct limit_waiter, first come first served */
    uint32_t waiting;       /* their number */
    struct heap_node wake;  /* those who wait; without references: when the level means no more */
    struct limit_table *table;
    bool is_private; /* the table was full */
    int64_t kept_us; /* level that limits_write wrote last */
    bool is_kept;    /* one event leads further ahead than LIMITS_KEEP_US */
    uint32_t epoch;  /* limits_epoch when its quota began */
    struct list far; /* in limits, while its level is to be kept over a restart */
};

/* It says how much may go in a time, not how many there may be. */
static inline bool limit_is_rate(const struct limit *l)
{
    return l->measure == LIMIT_MESSAGES || l->measure == LIMIT_BYTES;
}

/* One who waits: in line at one limit at a time. */
struct limit_waiter {
    struct list link; /* list_init'd; alone when it does not wait */
    struct limit *at; /* the limit that it waits for, or NULL */
    /* There may be room: try again. Not inside the call that gave the room back. */
    void (*room)(struct limit_waiter *w);
};

/* Takes the table. */
struct limits *limits_new(struct limit_table *table);
struct limit_table *limits_table(const struct limits *s);
/* fn(arg) whenever limits_next_us has become earlier (also from inside calls of this module that
 * give room back or wait), so that the owner can set its timer. Optional. */
void limits_on_earlier(struct limits *s, void (*fn)(void *arg), void *arg);
void limits_free(struct limits *s); /* all limits were released, nobody waits */

/* fn(arg) when limits_changed (below) becomes true. Optional. */
void limits_on_changed(struct limits *s, void (*fn)(void *arg), void *arg);

/* The limit of that name and measure, with a reference. Its value is what was set last; a new one
 * allows everything. */
struct limit *limit_get(struct limits *s, enum limit_measure measure, struct strview name);
void limit_unref(struct limit *l); /* NULL is fine */

/* What it allows from now on; those who wait are told when it became wider. Bursts are chosen here:
 * as much as comes in 50 ms, so that a slow clock does not lower a high rate; a rate with less than
 * one event in that time has none. Rates in bytes may run one message ahead. */
void limit_set_max(struct limit *l, uint32_t max);
void limit_set_rate(struct limit *l, const struct rate *r);
/* A quota (MESSAGES): count until until_us, at most LIMIT_QUOTA_MAX, and then nothing until it is
 * set again; see struct limit_rate. Kept over a restart within about a second. */
void limit_set_quota(struct limit *l, uint64_t count, int64_t until_us);
uint64_t limit_quota_used(const struct limit *l);

/* --- all or nothing --- */

/* One connection in each of set (CONNECTIONS and CONNECTS). False: nothing was taken, *ret_full is
 * the limit that refused; pass it to limit_wait. NULL entries are skipped. */
bool limits_connect(struct limit *const *set, size_t count, struct limit **ret_full);
/* The CONNECTIONS among them are given back (an event of a rate has happened). */
void limits_disconnect(struct limit *const *set, size_t count);

/* Recipients (in MESSAGES), as many as all grant, at most want. BYTES must not be in debt. 0:
 * nothing was taken, *ret_full refused. */
uint32_t limits_take(struct limit *const *set, size_t count, uint32_t want,
                     struct limit **ret_full);
void limits_refund(struct limit *const *set, size_t count, uint32_t n);
/* The same for what was taken at another time, when limits_epoch was `epoch`: a quota of which the
 * next day has begun since gets nothing back. */
void limits_refund_since(struct limit *const *set, size_t count, uint32_t n, uint32_t epoch);
/* Moves on with the days of quotas. */
uint32_t limits_epoch(const struct limits *s);
/* Bytes that go out, in each BYTES; and those that did not. */
void limits_charge_bytes(struct limit *const *set, size_t count, uint64_t bytes);
void limits_refund_bytes(struct limit *const *set, size_t count, uint64_t bytes);
/* One of BYTES is in debt: limits_take would refuse. */
bool limits_in_debt(struct limit *const *set, size_t count);

/* Another pipe waits for a place of l and has fewer than this one; idle: or has as many, as what
 * this one holds is of no use to it. Who holds one gives it back, who wants one leaves it. */
bool limit_owes_place(const struct limit *l, bool idle);

/* --- waiting --- */

void limit_wait(struct limit *l, struct limit_waiter *w); /* at the end of the line */
void limit_wait_first(struct limit *l, struct limit_waiter *w);
void limit_leave(struct limit_waiter *w); /* nothing happens when it does not wait */

/* Earliest wall time in us at which limits_tick has something to do; INT64_MAX: none. */
int64_t limits_next_us(const struct limits *s);
/* Tells those whose turn has come: per limit at most as many as there is room for, in order. */
void limits_tick(struct limits *s, int64_t now_us);

/* --- to look at, and to keep --- */

struct limit_level {
    const char *name;
    enum limit_measure measure;
    uint32_t max, used, used_here; /* CONNECTIONS: over all pipes, and of this one */
    struct rate rate;              /* others, as configured; count 0: no limit */
    uint64_t free_now;             /* events that may happen at once */
    int64_t next_us;  /* wall time of the next one when free_now is 0; 0: nobody knows */
    uint32_t waiting; /* queues of this pipe in line */
};
void limit_level(const struct limit *l, int64_t now_us, struct limit_level *ret);

/* Levels that lie further ahead than this are kept over a restart of everything (hourly and daily
 * budgets, debts of bytes); nearer ones are past before mail flows again. */
enum { LIMITS_KEEP_US = 5 * 1000 * 1000 };

/* One of these has moved since the last text began. */
bool limits_changed(const struct limits *s);
/* These levels as text, one line each, and back. Reading never lowers a level; a limit that does
 * not exist yet has it once it is made. What is no such text is skipped. */
void limits_write(struct limits *s, int64_t now_us, struct buf *out);
/* A text in slices: appends at most `most` of these levels. True when it is whole; until then the
 * same again. limits_write drops a text that is not. */
bool limits_write_some(struct limits *s, int64_t now_us, struct buf *out, size_t most);
void limits_read(struct limits *s, struct strview text);

#endif
