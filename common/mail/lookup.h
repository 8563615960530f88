/*
 * Questions to the DNS (and for MTA-STS policies) that a pipe puts to the resolver process: what is
 * asked, and the wire form of what comes back (ipc lookup_reply.records): per record u16 length
 * (little endian) and its bytes.
 */
#ifndef PMTA_MAIL_LOOKUP_H
#define PMTA_MAIL_LOOKUP_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

/* KIND(NAME, number, "name", record bytes) */
#define LOOKUP_KINDS(KIND)                                                     \
    KIND(A, 1, "A", "4 bytes of address")                                      \
    KIND(PTR, 12, "PTR", "the name")                                           \
    KIND(MX, 15, "MX", "u16 preference in network order, then the name")       \
    KIND(TXT, 16, "TXT", "the strings of one record, joined")                  \
    KIND(AAAA, 28, "AAAA", "16 bytes of address")                              \
    KIND(TLSA, 52, "TLSA", "usage, selector, matching type, association data") \
    KIND(STS_POLICY, 250, "MTA-STS", "the policy file, or why there is none as text")

enum lookup_kind {
#define LOOKUP_ENUM(name, number, text, form) LOOKUP_##name = (number),
    LOOKUP_KINDS(LOOKUP_ENUM)
#undef LOOKUP_ENUM
};

enum lookup_status {
    LOOKUP_OK = 0,
    LOOKUP_NO_DATA = 1,   /* the name exists, the type does not */
    LOOKUP_NO_DOMAIN = 2, /* NXDOMAIN */
    LOOKUP_TEMPORARY = 3, /* SERVFAIL, time-out */
};

struct lookup_result {
    enum lookup_status status;
    bool secure; /* validated by a name server that the configuration trusts (AD bit) */
    uint32_t ttl_s;
    struct strview text; /* why, when not OK */
    struct strview *records;
    size_t count;
};

enum { LOOKUP_MAX_RECORDS = 256 };

void lookup_records_append(struct buf *out, struct strview record);
/* Array in arena, views point into `in`. 0 or ERR_PROTOCOL. */
int lookup_records_decode(struct strview in, struct arena *arena, struct strview **ret,
                          size_t *ret_count);
const char *lookup_kind_name(enum lookup_kind k);

#endif
