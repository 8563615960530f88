/*
 * The state file "pace": written about a second after something changed, and at the end.
 */
#ifndef PMTA_PIPE_PACE_PACE_FILE_H
#define PMTA_PIPE_PACE_PACE_FILE_H

#include "pace/pace.h"
#include "state/state_file.h"

struct pace_file;

/* Reads what a former process left into pace; dirfd is duplicated. 0 or -errno. */
int pace_file_open(struct pace_file **ret, struct pace *pace, uv_loop_t *loop, int dirfd,
                   struct err *e);
/* Saves once more, then done(arg); the file is freed by then. NULL: done at once. */
void pace_file_close(struct pace_file *f, void (*done)(void *arg), void *arg);

#endif
