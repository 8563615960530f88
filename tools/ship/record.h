/*
 * One line of an accounting file to one JSON object, with an id that is the same whenever the same
 * record is sent again.
 */
#ifndef PMTA_SHIP_RECORD_H
#define PMTA_SHIP_RECORD_H

#include "base/buf.h"
#include "mail/acct_fields.h"

enum { RECORD_LINE_MAX = 1024 * 1024 };

/* The columns of a CSV file, by its header line. */
struct columns;

/* 0, or ERR_SYNTAX with *e: it is no header line. */
int columns_new(struct strview header, struct columns **ret, struct err *e);
void columns_free(struct columns *c); /* NULL is fine */

/* The line is one of a JSON file, which has no header. */
bool record_is_json(struct strview line);

enum record_verdict {
    RECORD_TAKEN,
    RECORD_LEFT_OUT, /* not of the wanted types */
    RECORD_BROKEN,   /* not a record: torn by a power cut, or no accounting file */
};

struct record_request {
    const struct columns *columns; /* NULL: JSON */
    struct strview line;           /* without line end */
    struct strview pipe, stem;     /* where it stands, for the id of records without msgId */
    uint64_t offset;
    unsigned records; /* wanted types, ACCT_BITs */
};

struct record_result {
    struct strview id; /* in *ids */
    int64_t time_ms;   /* when it was made, 0: it does not say */
    const char *why;   /* RECORD_BROKEN: what is wrong, a constant */
};

/* Appends the object to *json and its id to *ids; when it is not taken, both are as before. */
enum record_verdict record_convert(const struct record_request *q, struct buf *json,
                                   struct buf *ids, struct record_result *ret);

/* Appends a JSON string of any bytes: what is not UTF-8 becomes U+FFFD. */
void json_append_text(struct buf *out, struct strview v);

#endif
