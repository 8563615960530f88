/*
 * The files that the counters of a pipe survive a restart in: `stats` (what runs, the last two
 * hours) and `stats-past` in its spool directory. What was counted in the last half minute before a
 * kill -9 is lost with it.
 */
#ifndef PMTA_PIPE_STATS_KEEPER_H
#define PMTA_PIPE_STATS_KEEPER_H

#include "base/err.h"
#include "stats/stats.h"

#include <uv.h>

struct stats_keeper;

/* Reads what is there into stats (borrowed), and keeps what changes from now on. Damaged files are
 * logged, and counting begins anew. dirfd stays the caller's. */
int stats_keeper_open(struct stats_keeper **ret, struct stats *stats, uv_loop_t *loop, int dirfd,
                      struct err *e);
/* Writes what is not written and frees; closed(arg) from the loop. */
void stats_keeper_close(struct stats_keeper *k, void (*closed)(void *arg), void *arg);
#endif
