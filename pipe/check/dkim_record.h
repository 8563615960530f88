/*
 * Whether the DNS publishes the key that we sign with (RFC 6376 section 3.6.1). Pure; for the sender
 * checks and for whoever has a key and an answer.
 */
#ifndef PMTA_PIPE_CHECK_DKIM_RECORD_H
#define PMTA_PIPE_CHECK_DKIM_RECORD_H

#include "mail/lookup.h"

/* RECORD(ID, level as in check.h, "what is the matter") */
#define DKIM_RECORDS(RECORD)                                                              \
    RECORD(MATCHES, OK, "published and ours")                                             \
    RECORD(TESTING, WARN, "published and ours, but t=y says that it is only a test")      \
    RECORD(SHORT, WARN, "published and ours, but an RSA key of less than 2048 bits")      \
    RECORD(UNKNOWN, WARN, "the DNS did not answer")                                       \
    RECORD(MISSING, FAIL, "no key is published")                                          \
    RECORD(SEVERAL, FAIL, "more than one record is published, verifiers may take either") \
    RECORD(REVOKED, FAIL, "the published key is revoked (p= is empty)")                   \
    RECORD(NO_KEY, FAIL, "the published record has no p=")                                \
    RECORD(VERSION, FAIL, "the published record is of another version than v=DKIM1")      \
    RECORD(TYPE, FAIL, "the published key is of another type (k=)")                       \
    RECORD(HASH, FAIL, "the published record does not allow sha256 (h=)")                 \
    RECORD(SERVICE, FAIL, "the published record is not for mail (s=)")                    \
    RECORD(OTHER_KEY, FAIL, "another key is published than the one that signs")

enum dkim_record {
#define DKIM_RECORD_ENUM(id, level, text) DKIM_RECORD_##id,
    DKIM_RECORDS(DKIM_RECORD_ENUM)
#undef DKIM_RECORD_ENUM
};

/* r: TXT of SELECTOR._domainkey.DOMAIN; algorithm: "rsa-sha256" or "ed25519-sha256"; bits of an RSA
 * key; public_key: p= as base 64. */
enum dkim_record dkim_record_check(const struct lookup_result *r, const char *algorithm,
                                   unsigned bits, struct strview public_key);
const char *dkim_record_text(enum dkim_record v);
/* "v=DKIM1; k=rsa; p=…": what to publish. */
void dkim_record_write(struct buf *out, const char *algorithm, struct strview public_key);

#endif
