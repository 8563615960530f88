/*
 * The TXT record by which a domain asks for TLS reports (RFC 8460 section 3).
 */
#ifndef PMTA_PIPE_TLSRPT_RECORD_H
#define PMTA_PIPE_TLSRPT_RECORD_H

#include "base/str.h"

#include <stdbool.h>

enum { TLSRPT_MAX_RUA = 4 };

struct tlsrpt_record {
    struct strview rua[TLSRPT_MAX_RUA]; /* "mailto:a@x.org" or "https://…", as they stand there */
    size_t count;                       /* further ones are left out */
};

/* From the TXT records at _smtp._tls.DOMAIN. False when there is not exactly one that begins with
 * v=TLSRPTv1, or it names no place. Views point into the records. Total on any bytes. */
bool tlsrpt_record_find(const struct strview *records, size_t count, struct tlsrpt_record *ret);

/* The address of a mailto: URI, percent signs decoded into out (of size bytes). False when it is none
 * or has control characters, commas or quotes. */
bool tlsrpt_mailto(struct strview uri, char *out, size_t size);

#endif
