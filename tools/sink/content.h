/*
 * content: the bytes of one message as they arrive: finds the end of the data, counts what breaks
 * the protocol, and takes two header fields out. Does no I/O.
 */
#ifndef PMTA_SINK_CONTENT_H
#define PMTA_SINK_CONTENT_H

#include "base/buf.h"

#define CONTENT_LINE_MAX  998 /* RFC 5321 section 4.5.3.1.6, without CRLF */
#define CONTENT_VALUE_MAX 998

struct content_field {
    struct strview name; /* without the colon; len 0: not wanted */
    struct buf value;
};

struct content {
    bool dots; /* DATA: dot-stuffed, ended by CRLF.CRLF; false: BDAT */
    bool done;
    bool in_header;
    bool line_was_crlf; /* how the line before ended; true at the start */
    bool cr_pending;    /* the bytes so far end in CR */
    bool starts_with_dot;
    uint64_t line_len; /* bytes of the current line so far */
    uint64_t size;     /* bytes of the message without dot-stuffing */
    uint64_t bare_lf, bare_cr, long_lines, odd_ends;
    struct buf line; /* a header line that spans reads */
    struct content_field id;
    struct content_field sent;
    struct content_field *open; /* a field whose value continues on the next line */
    struct buf *save;           /* gets the message when set */
};

/* For a new message; keeps memory, field names and save. */
void content_reset(struct content *c, bool dots);
/* Takes bytes until the end of data or of the input; returns how many. c->done tells which. */
size_t content_feed(struct content *c, const char *data, size_t len);
void content_fini(struct content *c);

/* Something in the message broke the protocol. */
static inline bool content_is_unclean(const struct content *c)
{
    return c->bare_lf || c->bare_cr || c->long_lines || c->odd_ends;
}

#endif
