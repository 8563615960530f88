/*
 * data_scan: the bytes of a message as the client sends them in, wire form (CRLF, dot-stuffed,
 * without the final dot line) out. Finds the end of DATA, which is CRLF.CRLF and nothing else, and
 * what must not be in a message: bare CR, bare LF (unless it is to be fixed), NUL, over-long lines.
 * The result does not depend on how the input is cut into pieces.
 */
#ifndef PMTA_RECEIVER_DATA_SCAN_H
#define PMTA_RECEIVER_DATA_SCAN_H

#include "base/buf.h"

enum data_fault {
    DATA_OK,
    DATA_BARE_CR,
    DATA_BARE_LF,
    DATA_NUL,
    DATA_LONG_LINE,
};

enum data_place {
    DATA_LINE_START,    /* after CRLF, or at the beginning */
    DATA_LF_LINE_START, /* after a bare LF: no end of data can begin here */
    DATA_IN_LINE,
    DATA_AFTER_CR,
    DATA_DOT,    /* a dot after CRLF, held back */
    DATA_DOT_CR, /* dot and CR after CRLF, held back */
};

struct data_scan {
    enum data_place place;
    enum data_fault fault; /* the first that was found; nothing is put out from there on */
    bool bdat;             /* BDAT: no end of data inside, and we stuff the dots */
    bool fix_lf;           /* turn bare LF into CRLF */
    bool eight_bit;        /* a byte with the high bit was seen */
    uint32_t stuffed_dots; /* dots in the output that are not part of the message */
    size_t line_bytes;     /* of the line so far */
    size_t line_max;       /* CRLF included */
};

void data_scan_reset(struct data_scan *d, bool bdat, bool fix_lf, size_t line_max);

/* Takes input, appends to out unless `out` is NULL or there is a fault. Returns how many bytes were
 * taken: all, or up to the end of data, and then *ret_ended is true. */
size_t data_scan(struct data_scan *d, const char *in, size_t len, struct buf *out, bool *ret_ended);

/* The last BDAT chunk was taken: an unfinished last line gets its CRLF. */
void data_scan_finish(struct data_scan *d, struct buf *out);

#endif
