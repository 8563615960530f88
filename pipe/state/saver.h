/*
 * A state file that follows what changes often: a change is written a moment later together with
 * all that came meanwhile, one write at a time. An operator's change can be waited for.
 */
#ifndef PMTA_PIPE_STATE_SAVER_H
#define PMTA_PIPE_STATE_SAVER_H

#include "state/state_file.h"

struct saver {
    struct state_file file;
    uv_timer_t timer;
    int64_t delay_ms;
    void (*write)(void *arg, struct buf *out); /* the text, as it is now */
    void *arg;
    struct saver_waiter *waiters; /* for the next write */
    struct saver_waiter *served;  /* for the one under way */
    void (*closed)(void *arg);
    void *closed_arg;
    bool open, dirty, writing, closing;
};

/* Opens the file and appends to *ret what was saved last. 0 or an error as of state_file. */
int saver_open(struct saver *s, uv_loop_t *loop, int dirfd, const char *name, int64_t delay_ms,
               void (*write)(void *arg, struct buf *out), void *arg, struct buf *ret,
               struct err *e);
/* Something has changed. Nothing happens before saver_open and after saver_close. */
void saver_touch(struct saver *s);
/* Writes now; done(arg, status) once that is durable, never inside the call. */
void saver_flush(struct saver *s, void (*done)(void *arg, int status), void *arg);
/* Writes what is not written and closes; closed(arg) from the loop. */
void saver_close(struct saver *s, void (*closed)(void *arg), void *arg);

#endif
