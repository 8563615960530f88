/*
 * Reads the records of one segment in order, over damaged places. Blocking: for the thread pool.
 */
#ifndef PMTA_SUPPRESS_SEGMENT_READER_H
#define PMTA_SUPPRESS_SEGMENT_READER_H

#include "format.h"

struct segment_reader {
    int fd; /* owned; -1: not open */
    struct segment_header header;
    struct buf window;
    uint64_t offset; /* in the file, of the window's first byte */
    size_t out;      /* bytes at the start of the window that were handed out */
    bool at_end;     /* the window holds the last byte */
};

/* from: an offset where a record begins, or 0 for the first. 0; ERR_NOT_FOUND, ERR_CORRUPT (the header),
 * ERR_VERSION or -errno. */
int segment_reader_open(struct segment_reader *r, int dirfd, uint32_t number, uint64_t from);
void segment_reader_close(struct segment_reader *r);

enum segment_item { SEGMENT_END, SEGMENT_RECORD, SEGMENT_DAMAGE };

/* The next record, or a stretch that holds none, at *ret_offset and *ret_bytes long. A stretch that
 * reaches the end of the file is followed by SEGMENT_END. *ret is valid until the next call. Negative:
 * the disk failed. segment_reader_bytes: the record as it is on disk. */
int segment_reader_next(struct segment_reader *r, struct record *ret, uint64_t *ret_offset,
                        uint64_t *ret_bytes);
struct strview segment_reader_bytes(const struct segment_reader *r);

#endif
