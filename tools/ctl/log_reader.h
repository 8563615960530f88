/*
 * Reading a log file line by line: plain, or compressed by gzip or zstd; a plain one can be asked
 * again after its end.
 */
#ifndef PMTA_CTL_LOG_READER_H
#define PMTA_CTL_LOG_READER_H

#include "base/buf.h"
#include "base/err.h"

#include <sys/types.h>

struct log_reader {
    int fd; /* -1: not open */
    dev_t device;
    ino_t inode;
    struct buf in;
    size_t line;    /* bytes of the line handed out last, newline included */
    size_t scanned; /* bytes of `in` without a newline */
    void *gzip;     /* gzFile, which owns a copy of fd */
    void *zstd;     /* ZSTD_DStream */
    struct buf packed;
};

/* 0 or negative with *e. */
int log_reader_open(struct log_reader *r, const char *path, struct err *e);
void log_reader_close(struct log_reader *r);

/* The next whole line without its newline, valid until the next call: 1; 0: there is none (yet); or
 * negative: what is there cannot be read. A line of more than 1 MiB is given in pieces. */
int log_reader_line(struct log_reader *r, struct strview *ret, struct err *e);

/* Of a plain file: goes to where its last `lines` lines begin. */
int log_reader_tail(struct log_reader *r, uint64_t lines, struct err *e);
/* It has become shorter than what was read: begins anew. */
void log_reader_check_truncated(struct log_reader *r);

#endif
