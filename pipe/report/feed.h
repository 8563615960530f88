/*
 * Gives the records of one [acct-file |command] to its command. The records are in files like those
 * of any other section, written and synced by the spool; here they are read again and written to the
 * command's standard input, one run of the command per file, header line first. A file goes when the
 * command has read it to its end and exited with status 0; until then, and whatever happens to the
 * command, its records stay on disk. So each record is given at least once.
 */
#ifndef PMTA_PIPE_REPORT_FEED_H
#define PMTA_PIPE_REPORT_FEED_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct feed;

struct feed_settings {
    const char *command; /* behind the |, checked */
    const char *prefix;  /* of its files: "feed-NAME-HASH-PIPE-" */
    const char *suffix;
    int dirfd; /* of its files; borrowed, duplicated */
    int64_t retry_ms;
    int64_t
        write_timeout_ms; /* that the command may take to read a piece, and to exit in the end */
};

struct feed *feed_new(uv_loop_t *loop, const struct feed_settings *s);
const char *feed_command(const struct feed *f);
/* After a reload: a command that had failed is tried at once. */
void feed_set(struct feed *f, const struct feed_settings *s);

/* The file that records are written to now. Those before it in the order of names are whole once
 * settled: the spool has nothing left for them. */
void feed_active(struct feed *f, const char *name, bool settled);

/* Ends the command's input after a whole record, waits a moment for it to exit, notes how far it is
 * when its status is 0. closed(arg) from the loop; f is freed then. */
void feed_close(struct feed *f, void (*closed)(void *arg), void *arg);

#endif
