/*
 * dane: the TLSA records of one host and what they oblige to (RFC 7672 section 2.2), asked when the
 * host's addresses are known.
 */
#ifndef PMTA_RESOLVER_DANE_H
#define PMTA_RESOLVER_DANE_H

#include "mail/tls_policy.h"
#include "question.h"

enum {
    DANE_MAX_RECORDS = 32,    /* usable ones kept of a host */
    DANE_MAX_BYTES = 4 * 1024 /* of these, per host */
};

struct dane {
    struct question alias;   /* CNAME of the host: is it secure although its target is not? */
    struct question tlsa[2]; /* of the name that CNAMEs lead to, and of the host itself */
    const char *bases[2];    /* names whose records are asked for, in this order; in answers or
                                the job */
    unsigned base_count;
    unsigned asked;
    uint16_t port;
};

/* After the addresses: decides where TLSA records may be, or asks one question more to know. v4 and
 * v6 are answered and outlive d; host as well. */
void dane_begin(struct dane *d, struct question_set *set, const char *host, uint16_t port,
                const struct question *v4, const struct question *v6);
/* Each time the set is answered; true when it asked again. */
bool dane_next(struct dane *d, struct question_set *set, const char *host);
void dane_fini(struct dane *d);

/* The outcome. Records are in the arena, views point into the answers. */
void dane_result(const struct dane *d, const char *host, struct arena *a, struct dane_host *ret);
/* Least TTL of what the outcome rests on; UINT32_MAX when nothing was asked. */
uint32_t dane_ttl(const struct dane *d);

/* RFC 7672 section 3.1: DANE-TA or DANE-EE, a known selector, a known form of the right length. */
bool dane_record_is_usable(const struct answer_record *r);

#endif
