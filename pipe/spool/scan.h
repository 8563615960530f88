/*
 * Walking over the records of a segment and the events of a journal file, stepping over damage:
 * after bytes that are no record, the next place that holds one with a valid checksum is looked
 * for. Reads through a window with pread, and skips the bodies of large messages.
 */
#ifndef PMTA_PIPE_SPOOL_SCAN_H
#define PMTA_PIPE_SPOOL_SCAN_H

#include "spool/record.h"

/* A window over a file. */
struct scan_window {
    int fd;
    uint64_t end; /* bytes from here on do not count */
    char *mem;
    size_t cap;
    uint64_t at; /* file offset of mem[0] */
    size_t len;
    int error; /* first read error, -errno */
};

void scan_window_init(struct scan_window *w, int fd, uint64_t end);
/* Bytes at an offset, valid until the next call; *have tells how many there are, up to `want`. */
const char *scan_window_at(struct scan_window *w, uint64_t offset, size_t want, size_t *have);
void scan_window_fini(struct scan_window *w);

struct segment_scan {
    uint32_t tag; /* of the segment; 0 when its header is lost: that of the first record is taken */
    bool verify_content;
    /* One record; `in` holds header and envelope. content_ok is true when it was not verified. */
    void (*record)(void *arg, uint32_t offset, const struct record *r, const char *in,
                   bool content_ok);
    /* Bytes that are no record. to_end: no valid record follows. */
    void (*damage)(void *arg, uint64_t from, uint64_t to, bool to_end);
    void *arg;
};

/* 0, or -errno of a read that failed (what follows was treated as damage). */
int segment_scan(struct segment_scan *scan, int fd, uint64_t end);

/* Verifies the content of one record. */
bool segment_content_ok(int fd, uint64_t content_at, const struct record *r);

struct journal_scan {
    void (*event)(void *arg, uint64_t offset, const struct event *e, struct strview encoded);
    void (*damage)(void *arg, uint64_t from, uint64_t to, bool to_end);
    void *arg;
};
int journal_scan(const struct journal_scan *scan, int fd, uint64_t end);

#endif
