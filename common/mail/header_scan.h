/*
 * header_scan: finds the end of the header block of a message that arrives in pieces, takes out the
 * header fields that talk to us (HEADER_FIELDS) and remembers what they said. Works in wire form
 * (CRLF, dot-stuffed): a stuffed dot at the start of a line is not part of
 * it.
 *
 * A block that ends without a blank line (a line that is no header field, or the end of the
 * message) gets one. Zero-initialise or header_scan_reset before each message; header_scan_free at
 * the end.
 */
#ifndef PMTA_MAIL_HEADER_SCAN_H
#define PMTA_MAIL_HEADER_SCAN_H

#include "base/buf.h"

/* FIELD(ID, "Name") */
#define HEADER_FIELDS(FIELD)                          \
    FIELD(X_PIPE, "X-Pipe")                           \
    FIELD(X_VIRTUAL_MTA, "X-Virtual-MTA")             \
    FIELD(X_JOB, "X-Job")                             \
    FIELD(X_ENVID, "X-Envid")                         \
    FIELD(X_SCHEDULE, "X-Schedule")                   \
    FIELD(X_DELIVERY_PRIORITY, "X-Delivery-Priority") \
    FIELD(X_REMOTE_MTA_NAME, "X-Remote-MTA-Name")     \
    FIELD(X_DKIM_OPTIONS, "X-DKIM-Options")           \
    FIELD(BIMI_SELECTOR, "BIMI-Selector")             \
    FIELD(LIST_UNSUBSCRIBE, "List-Unsubscribe")       \
    FIELD(LIST_UNSUBSCRIBE_POST, "List-Unsubscribe-Post")

enum header_field {
#define FIELD_ENUM(id, name) HEADER_##id,
    HEADER_FIELDS(FIELD_ENUM)
#undef FIELD_ENUM
        HEADER_FIELD_COUNT
};

enum header_status {
    HEADER_MORE,      /* the block has not ended yet */
    HEADER_DONE,      /* it has; fields are taken out, end is set */
    HEADER_TOO_LARGE, /* more than max_bytes without an end */
};

struct header_scan {
    size_t start;     /* where the message begins in the content (after what we put in front) */
    size_t max_bytes; /* limit for the block */
    size_t at;        /* first byte of the first line that was not looked at */
    size_t end;       /* when done: one past the blank line */
    enum header_status status;
    unsigned received_count; /* Received fields, for loop protection */
    unsigned dots_removed;   /* stuffed dots in what was taken out */
    bool take_bimi;          /* set after reset: BIMI-Selector is taken out as well */
    bool take_list;          /* the same with List-Unsubscribe and List-Unsubscribe-Post */
    unsigned tls_count;      /* TLS-Required fields (RFC 8689 section 5), which stay where they are */
    bool in_tls;             /* the line before was of one */
    char tls_required[4];    /* its value without blanks, cut off */
    int field;               /* enum header_field being taken out, or -1 */
    bool taken_any;          /* something was taken out: at == start may not be the first line */
    bool field_first;        /* its value is the first of that name: remember it */
    bool seen[HEADER_FIELD_COUNT];
    struct buf values[HEADER_FIELD_COUNT]; /* unfolded and trimmed; the first of each name counts */
};

void header_scan_reset(struct header_scan *h, size_t start, size_t max_bytes);
void header_scan_free(struct header_scan *h);

/* Looks at what was appended to content since the last call. Whole lines only: a line without CRLF
 * waits. When the block ends, what was taken out is gone from content. */
enum header_status header_scan_feed(struct header_scan *h, struct buf *content);

/* The message has ended: whatever was seen is the header block. Content ends in CRLF, or is empty
 * from start on. */
enum header_status header_scan_finish(struct header_scan *h, struct buf *content);

/* "TLS-Required: No" is there, and nothing else of that name. */
bool header_scan_tls_optional(const struct header_scan *h);

/* Value of a field, trimmed; empty when it was not there. */
struct strview header_scan_value(const struct header_scan *h, enum header_field f);

#endif
