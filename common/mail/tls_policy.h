/*
 * What the outside world says about TLS to a domain's MX hosts: MTA-STS (RFC 8461) and DANE
 * (RFC 7672), as the resolver found it and the pipe keeps it with the route.
 */
#ifndef PMTA_MAIL_TLS_POLICY_H
#define PMTA_MAIL_TLS_POLICY_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

/* RFC 8461 section 5; NONE also when there is no policy. */
enum sts_mode { STS_NONE = 0, STS_TESTING = 1, STS_ENFORCE = 2 };

enum { STS_MAX_MX = 64, STS_MAX_BYTES = 64 * 1024 };

struct sts_policy {
    enum sts_mode mode;
    struct strview id; /* of the TXT record */
    uint32_t max_age_s;
    struct strview *mx; /* patterns: host names, or *.example.com */
    size_t mx_count;
    struct strview text;    /* the policy as fetched, for reports (RFC 8460 section 4.4) */
    struct strview failure; /* why it could not be fetched although there is a record: result type
                               of RFC 8460 section 4.3.2, ": ", text; or empty */
};

/* Reads a policy file. Total on any bytes. 0, or ERR_SYNTAX with *e filled. */
int sts_policy_parse(struct strview file, struct arena *a, struct sts_policy *ret, struct err *e);
/* RFC 8461 section 4.1: one label for the star. */
bool sts_policy_matches(const struct sts_policy *p, struct strview host);

struct tlsa_record {
    uint8_t usage, selector, matching;
    struct strview data;
};

/* DANE of one MX host, RFC 7672 section 2.2: whether it applies and with which records. */
enum dane_status {
    DANE_NONE = 0,     /* no secure TLSA records: DANE does not apply */
    DANE_USABLE = 1,   /* at least one usable record: the host must match one of them */
    DANE_UNUSABLE = 2, /* secure records, none usable: TLS is required, without a check */
    DANE_FAILED = 3,   /* the DNS failed or a signature was bad: the host may not be used now */
};

struct dane_host {
    struct strview host; /* MX host name */
    enum dane_status status;
    struct strview base_domain;  /* where the records were found, when that is not the host's own
                                    name: further name that the certificate may have (DANE-TA) */
    struct tlsa_record *records; /* the usable ones */
    size_t count;
};

/* With a route of one domain. */
struct tls_policy {
    struct sts_policy sts;
    struct dane_host *dane; /* per MX host; only hosts that have something to say */
    size_t dane_count;
    bool mx_secure;              /* the MX answer itself was validated */
    struct strview domain_alias; /* what CNAMEs make of the domain, when that is another name: the
                                    third name for certificates (RFC 7672 section 3.2.2) */
};

/* Wire form in ipc route_reply.policy. decode: views point into `in`; total on any bytes. */
void tls_policy_encode(struct buf *out, const struct tls_policy *p);
int tls_policy_decode(struct strview in, struct arena *a, struct tls_policy *ret);

#endif
