/*
 * Small state that survives a restart (what operators paused, actions, warm-up progress, levels of
 * limits), each in a file of its own in the pipe's spool directory. Written in the thread pool: new
 * file, sync, rename, sync of the directory.
 */
#ifndef PMTA_PIPE_STATE_STATE_FILE_H
#define PMTA_PIPE_STATE_STATE_FILE_H

#include "base/buf.h"
#include "base/err.h"

#include <uv.h>

struct state_file {
    int dirfd; /* owned; -1 before open */
    uv_loop_t *loop;
    const char *name;
    uint32_t writes_out;
};

/* Duplicates dirfd; name ("paused") is borrowed. */
int state_file_open(struct state_file *f, uv_loop_t *loop, int dirfd, const char *name,
                    struct err *e);
void state_file_close(struct state_file *f);

/* The text that was saved last; empty when there is none. 0 or -errno. */
int state_file_read(struct state_file *f, struct buf *ret, struct err *e);

/* Saves text; done(arg, status) from the loop once it is durable. */
void state_file_write(struct state_file *f, struct strview text,
                      void (*done)(void *arg, int status), void *arg);
/* The same; the text is taken and left empty. */
void state_file_write_own(struct state_file *f, struct buf *text,
                          void (*done)(void *arg, int status), void *arg);

#endif
