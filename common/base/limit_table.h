/*
 * The limit table: levels of limits that several processes keep together, in one memfd that root
 * makes and every pipe maps. A cell is found by name and holds the level of a token bucket (GCRA:
 * the theoretical arrival time of the next event) and a count of connections, with a share per
 * process so that those of a dead process can be taken back. Take and give are lock-free
 * compare-and-swap on one cell; finding, making and forgetting cells takes a robust lock.
 *
 * The table outlives every pipe: a pipe that is started again finds the levels as they were. What a
 * limit allows (rate, count) is not in the table but given with each call, so a reload changes it
 * and keeps the level.
 *
 * All times are wall clock in microseconds, so that levels mean the same after a restart; a level
 * that lies further ahead than the limit allows (a clock set back) is cut down to what it allows.
 */
#ifndef PMTA_BASE_LIMIT_TABLE_H
#define PMTA_BASE_LIMIT_TABLE_H

#include "base/err.h"
#include "base/str.h"

enum {
    LIMIT_TABLE_PROCESSES = 32,                   /* shares, one for each pipe */
    LIMIT_TABLE_OBSERVER = LIMIT_TABLE_PROCESSES, /* the share of one who has no cells (root) */
    LIMIT_TABLE_CELLS = 1 << 19,
    LIMIT_NAME_MAX = 120, /* longer names are hashed by the table */
};

struct limit_table;
struct limit_cell;

/* A sealed memfd of the right size, zeroed; sparse, memory is used as cells are. 0 or -errno. */
int limit_table_create(int *ret_fd, struct err *e);
/* Maps it; fd stays the caller's. share: 0 … LIMIT_TABLE_PROCESSES - 1, of one process at a time;
 * what a former process had under it is taken back. Or LIMIT_TABLE_OBSERVER. 0, -errno, or ERR_CORRUPT when it is not such a table. */
int limit_table_map(struct limit_table **ret, int fd, unsigned share, struct err *e);
/* One of this process alone (tests, simulation). */
struct limit_table *limit_table_new_private(void);
/* References and connections of this process are given back. */
void limit_table_free(struct limit_table *t);

/* After a start of everything each process brings the levels that it kept: root says whose are
 * expected, each says when they are here, and nobody takes anything before all are. */
void limit_table_expect(struct limit_table *t, unsigned share);
void limit_table_brought(struct limit_table *t);
bool limit_table_is_complete(const struct limit_table *t);

/* Takes back what the process with this share held; root, when a pipe has died. Lock-free. */
void limit_table_forget(struct limit_table *t, unsigned share);

/* The cell of that name, made when it is new; holds a reference of this process. NULL when the
 * table is full: then the limit holds within this process only (the caller makes a private one). */
struct limit_cell *limit_cell_get(struct limit_table *t, struct strview name);
/* A cell that nobody refers to stays as long as its level means something. */
void limit_cell_put(struct limit_table *t, struct limit_cell *c);

/* --- token bucket --- */

struct limit_rate {
    uint64_t count; /* per period; never 0 */
    int64_t period_us;
    int64_t burst_us; /* how far ahead of time events may come: 0 spaces them evenly, but one that
                       * is late by less than 50 ms does not push those after it */
    int64_t until_us; /* not 0: a quota instead of a bucket. `count` events until this time, as fast
                       * as they come, and none of them comes back before; afterwards nothing, until
                       * the caller names the next time. What was taken under another time counts
                       * nothing, so nobody has to reset a level, and all who name the same time
                       * share the count exactly. */
};
/* A quota larger than this is no limit. */
#define LIMIT_QUOTA_MAX UINT64_C(50000000)

/* Takes up to `want` at now_us; returns how many were granted. 0: none, and *ret_at_us is when one
 * will be. Exact over all processes. */
uint64_t limit_cell_take(struct limit_cell *c, const struct limit_rate *r, uint64_t want,
                         int64_t now_us, int64_t *ret_at_us);
/* How many could be taken now, at most `most`; 0: *ret_at_us as above. Takes
 * nothing, but cuts a level that is too far ahead. */
uint64_t limit_cell_peek(struct limit_cell *c, const struct limit_rate *r, uint64_t most,
                         int64_t now_us, int64_t *ret_at_us);
/* Takes n whatever the level is: what is known only afterwards (bytes) goes into debt, of a week at
 * most. */
void limit_cell_charge(struct limit_cell *c, const struct limit_rate *r, uint64_t n,
                       int64_t now_us);
void limit_cell_refund(struct limit_cell *c, const struct limit_rate *r, uint64_t n);
/* What was taken of the quota that ends at until_us. */
uint64_t limit_cell_quota_used(const struct limit_cell *c, int64_t until_us);
/* The quota that ended at from_us ends at to_us from now on, with what was taken of it (a clock that
 * was set). Nothing happens when another process has done so already. */
void limit_cell_quota_move(struct limit_cell *c, int64_t from_us, int64_t to_us);
/* Raw level for show and for keeping: the theoretical arrival time, 0 when never used. */
int64_t limit_cell_level_us(const struct limit_cell *c);
/* Sets the level unless it is later already (levels read back after a restart). */
void limit_cell_raise(struct limit_cell *c, int64_t level_us);
/* Sets the level unless it is sooner already (a debt from the time of a lower rate). */
void limit_cell_lower(struct limit_cell *c, int64_t level_us);

/* --- connections --- */

/* One more, unless all processes together have max (0: no limit) already. Exact; a process that
 * dies between any two instructions leaks nothing that limit_table_forget does not find. */
bool limit_cell_connect(struct limit_table *t, struct limit_cell *c, uint32_t max);
void limit_cell_disconnect(struct limit_table *t, struct limit_cell *c);
uint32_t limit_cell_connections(const struct limit_cell *c);
/* Of these, this process's own. */
uint32_t limit_cell_own_connections(const struct limit_table *t, const struct limit_cell *c);

/* This process waits for a place that others hold: they are asked to give one back. Said again at
 * least every LIMIT_WANT_US / 2 for as long as it waits. */
enum { LIMIT_WANT_US = 300 * 1000 };
void limit_cell_want(struct limit_table *t, struct limit_cell *c, int64_t now_us);
/* Some process has ever said so: cheap, to ask first. */
bool limit_cell_was_wanted(const struct limit_cell *c);
/* Another process waits for a place: *ret_connections is how many it has. */
bool limit_cell_wanted(const struct limit_table *t, const struct limit_cell *c, int64_t now_us,
                       uint32_t *ret_connections);

#endif
