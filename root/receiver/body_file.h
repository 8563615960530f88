/*
 * body_file: the temporary file of a large message, written in the thread pool, one piece at a
 * time.
 */
#ifndef PMTA_RECEIVER_BODY_FILE_H
#define PMTA_RECEIVER_BODY_FILE_H

#include "base/buf.h"

#include <uv.h>

struct body_file;

/* Takes fd. done fires after each body_file_write, from the loop, never inside the call. */
struct body_file *body_file_new(uv_loop_t *loop, int fd, void (*done)(void *owner, int status),
                                void *owner);
/* Writes the bytes at the end, and takes them. One at a time. */
void body_file_write(struct body_file *f, struct buf *piece);
int body_file_fd(const struct body_file *f);
/* A write is under way. NULL: no. */
bool body_file_busy(const struct body_file *f);
/* Closes, now or when a write that is under way ends; done does not fire any more. NULL is fine. */
void body_file_close(struct body_file *f);

#endif
