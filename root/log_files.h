/*
 * Old log files: PATH.1 is the newest of them, PATH.2 the one before; compressed ones end in .gz or
 * .zst. Root only, on its loop.
 */
#ifndef PMTA_ROOT_LOG_FILES_H
#define PMTA_ROOT_LOG_FILES_H

#include "base/err.h"
#include "mail/log_config.h"

#include <sys/types.h>
#include <uv.h>

/* Opens the log file for appending, making it when it is not there. A descriptor, or negative with
 * *e. group: of a file that is made, (gid_t)-1: none. */
int log_file_open(const char *path, bool world_readable, gid_t group, struct err *e);

/* Moves each old file one number up, PATH to PATH.1, and removes those beyond keep - 1 (keep >= 2).
 * On failure PATH is still there. */
int log_file_shift(const char *path, unsigned keep, struct err *e);

/* One at a time: compresses PATH.2, or an older one that was left, in a process of its own, which runs
 * as uid and gid when drop. */
struct log_compressor {
    uv_process_t process;
    bool runs;
    bool left; /* somebody still writes to one; ask again later */
    char *from, *to, *partial;
    uid_t uid;
    gid_t gid;
    bool drop;
    void (*done)(void *arg);
    void *arg;
};

/* Starts, or does nothing when there is no such file, or one that is still written; done(arg) is called at the end of it. */
void log_compress(struct log_compressor *c, uv_loop_t *loop, const char *path,
                  enum log_compression how);
/* The process, if there is one, goes on by itself. */
void log_compressor_fini(struct log_compressor *c);

#endif
