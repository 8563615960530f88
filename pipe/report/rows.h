/*
 * What the rows of one accounting file look like: its columns, in CSV (RFC 4180) or as JSON, one object
 * per line. Worked out once per configuration.
 */
#ifndef PMTA_PIPE_REPORT_ROWS_H
#define PMTA_PIPE_REPORT_ROWS_H

#include "report/event.h"

struct acct_rows;

struct acct_rows_settings {
    unsigned records;                     /* ACCT_BITs of the types that the file takes */
    const char *lists[ACCT_RECORD_COUNT]; /* columns of each type, as record-fields has them */
    const char *user_string;              /* NULL: none */
    bool json, iso_times;
};

/* Copies what it needs; the lists were checked when the configuration was read. Never NULL. */
struct acct_rows *acct_rows_new(const struct acct_rows_settings *s);
/* NULL is fine. */
void acct_rows_free(struct acct_rows *rows);

/* The first line of a file, with its CRLF; "" with JSON. */
const char *acct_rows_header_line(const struct acct_rows *rows);
/* Calls fn for each header field that some column wants. */
void acct_rows_headers(const struct acct_rows *rows, void (*fn)(void *arg, struct strview name),
                       void *arg);

/* Appends the row of an event, of one of the types that the file takes. */
void acct_rows_put(const struct acct_rows *rows, const struct acct_event *e, struct buf *out);

#endif
