/*
 * One row of CSV (RFC 4180) appended to a buf.
 */
#ifndef PMTA_PIPE_REPORT_CSV_H
#define PMTA_PIPE_REPORT_CSV_H

#include "base/buf.h"

struct csv {
    struct buf *out;
    bool begun;
    size_t commas; /* due before the next value: empty fields cost nothing else */
};

static inline struct csv csv_row(struct buf *out)
{
    return (struct csv){out, false, 0};
}

/* `count` empty fields. */
static inline void csv_empty(struct csv *row, size_t count)
{
    row->commas += count - !row->begun;
    row->begun = true;
}

/* A field; quoted when it needs to be. Control bytes become blanks: one record is one line. */
void csv_field(struct csv *row, struct strview value);
void csv_end(struct csv *row);

#endif
