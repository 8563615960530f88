/*
 * What operators paused, kept in a small file in the pipe's spool directory so that it survives a
 * restart. Written in the thread pool: new file, sync, rename, sync of the directory.
 */
#ifndef PMTA_PIPE_ADMIN_PAUSE_FILE_H
#define PMTA_PIPE_ADMIN_PAUSE_FILE_H

#include "base/buf.h"
#include "base/err.h"

#include <uv.h>

struct pause_file {
    int dirfd; /* owned; -1 before open */
    uv_loop_t *loop;
    uint32_t writes_out;
};

/* Duplicates dirfd. */
int pause_file_open(struct pause_file *f, uv_loop_t *loop, int dirfd, struct err *e);
void pause_file_close(struct pause_file *f);

/* The text that was saved last; empty when there is none. 0 or -errno. */
int pause_file_read(struct pause_file *f, struct buf *ret, struct err *e);

/* Saves text; done(arg, status) from the loop once it is durable. */
void pause_file_write(struct pause_file *f, struct strview text,
                      void (*done)(void *arg, int status), void *arg);

#endif
