/*
 * Whole writes, for files: everything or an error. Not for sockets and pipes.
 */
#ifndef PMTA_BASE_FILE_H
#define PMTA_BASE_FILE_H

#include "base/str.h"

/* 0 or -errno; an interrupted or short write goes on. */
int file_write_all(int fd, struct strview bytes);
/* A file in memory with these bytes, close-on-exec, or -errno. */
int file_in_memory(const char *name, struct strview bytes);

#endif
