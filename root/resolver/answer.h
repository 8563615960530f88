/*
 * answer: what a name server said to one question, reduced to what its type is about. Immutable
 * and refcounted: the cache and everyone who waits share it.
 */
#ifndef PMTA_RESOLVER_ANSWER_H
#define PMTA_RESOLVER_ANSWER_H

#include "query.h"

enum {
    ANSWER_MAX_RECORDS = 256, /* kept of one answer; more are ignored */
    ANSWER_MAX_IN_PACKET = 1024,
    ANSWER_MAX_ALIASES = 8, /* CNAMEs followed for one question */
    ANSWER_MAX_TTL_S = 86400,
    ANSWER_MAX_NEGATIVE_TTL_S = 900,
};

enum answer_status {
    ANSWER_OK,        /* records holds at least one */
    ANSWER_NO_DATA,   /* the name exists, the type does not */
    ANSWER_NO_DOMAIN, /* NXDOMAIN */
    ANSWER_FAILED,    /* SERVFAIL and the like, time-out; text says which */
    ANSWER_ALIAS,     /* a CNAME led to `text`, and the packet says no more: ask for that name */
    ANSWER_NO_EDNS,   /* the server does not take EDNS0: ask without */
};

struct answer_record {
    uint16_t preference; /* MX */
    uint16_t bytes;      /* TXT, TLSA: of data */
    uint8_t address[16]; /* A (4 bytes) and AAAA */
    union {
        const char *host;    /* MX, PTR, CNAME: the target, "" for the root */
        const uint8_t *data; /* TXT: the strings joined; TLSA: as in the packet */
    };
};

struct answer {
    uint32_t refs;
    enum answer_status status;
    uint32_t ttl_s;     /* smallest of the records used, bounded; 0: not to be cached */
    bool authenticated; /* AD bit; means something when the path to the server is trusted */
    bool unusable_host; /* some record had a target that is no host name */
    uint8_t aliases;    /* CNAMEs that were followed in this packet */
    uint16_t count;
    const char *text; /* ANSWER_FAILED: why; ANSWER_ALIAS: the name it led to; ANSWER_OK: the name
                         that has the records when CNAMEs led to it; else "" */
    size_t bytes;     /* memory, all of it in one piece */
    struct answer_record records[];
};

/* Reads a packet that query_match said is an answer. Returns an answer with one reference, or NULL
 * when the packet is broken. Any bytes are fine. */
struct answer *answer_parse(const struct query *q, const uint8_t *data, size_t len);

/* An answer of our own making: ANSWER_FAILED with this text. */
struct answer *answer_failed(uint32_t ttl_s, const char *fmt, ...) PRINTF_LIKE(2, 3);

struct answer *answer_ref(struct answer *a);
void answer_unref(struct answer *a); /* NULL is fine */

#endif
