/*
 * record: the file of accepted messages, one line per message and recipient, the same columns in
 * both tools, so that `cut -f1,2 | sort` of the two files can be compared:
 *
 *   message-id TAB recipient TAB sender TAB size TAB unix time with microseconds
 *
 * The first line starts with "#" and names the columns.
 */
#ifndef PMTA_TOOLS_RECORD_H
#define PMTA_TOOLS_RECORD_H

#include "base/buf.h"
#include "base/err.h"

/* Zero-initialised is "no record wanted": all calls do nothing. */
struct record {
    const char *path;
    int fd;
    bool open;
    int failed; /* first error that writing met, or 0 */
    struct buf pending;
};

/* Creates or empties the file. 0 or -errno. */
int record_open(struct record *r, const char *path, struct err *e);
/* Control bytes in the views are written as '?'. */
void record_add(struct record *r, struct strview id, struct strview recipient,
                struct strview sender, uint64_t size, int64_t wall_us);
/* Writes what is gathered; record_add does it by itself when much is. */
void record_flush(struct record *r);
void record_close(struct record *r);

#endif
