/*
 * A TLS report as it leaves: JSON (RFC 8460 section 4), compressed, in a mail (section 5.3).
 */
#ifndef PMTA_PIPE_TLSRPT_LETTER_H
#define PMTA_PIPE_TLSRPT_LETTER_H

#include "base/buf.h"
#include "mail/envelope.h"

#include <jansson.h>

struct tlsrpt_report {
    const char *domain;       /* that the report is about */
    const char *organization; /* who reports: our host name */
    const char *contact;      /* where to ask */
    const char *from;         /* address that the mail is from */
    const char *pipe;
    int64_t day;            /* since 1970, UTC */
    const json_t *policies; /* as struct day_entry has them */
};

enum { TLSRPT_NAME_SIZE = 700 };

/* The report as JSON, compressed with gzip. */
void tlsrpt_compress(const struct tlsrpt_report *r, struct buf *out);
/* "reporter!domain!begin!end!pipe.json.gz" (section 5.1). */
void tlsrpt_file_name(const struct tlsrpt_report *r, char out[TLSRPT_NAME_SIZE]);
/* The mail to these addresses in wire form; *env points into a. */
void tlsrpt_letter(const struct tlsrpt_report *r, struct strview gz, const char *const *to,
                   size_t count, struct arena *a, struct buf *content, struct envelope *env);

#endif
