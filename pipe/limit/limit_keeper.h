/*
 * Keeps the levels that lie far ahead (limits_write) in the state file "limits" of a pipe, so that
 * hourly and daily budgets are not spent twice when everything is started again.
 */
#ifndef PMTA_PIPE_LIMIT_LIMIT_KEEPER_H
#define PMTA_PIPE_LIMIT_LIMIT_KEEPER_H

#include "base/err.h"

#include <uv.h>

struct limits;
struct limit_keeper;

/* Reads what was kept into limits, and from now on writes what changes, at most once a second and
 * with at most one hundredth of the time of the loop. dirfd: the spool directory, duplicated. */
int limit_keeper_new(struct limit_keeper **ret, uv_loop_t *loop, int dirfd, struct limits *limits,
                     struct err *e);

/* Writes what changed last, then done(arg), from the loop; limits may be freed after that. */
void limit_keeper_close(struct limit_keeper *k, void (*done)(void *arg), void *arg);
/* After limit_keeper_close is done, or when the loop will not run again. NULL is fine. */
void limit_keeper_free(struct limit_keeper *k);

#endif
