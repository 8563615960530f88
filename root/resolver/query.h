/*
 * query: one DNS question in wire form, and whether a packet is an answer to it.
 */
#ifndef PMTA_RESOLVER_QUERY_H
#define PMTA_RESOLVER_QUERY_H

#include "base/err.h"
#include "domain.h"

/* TYPE(NAME, number) of RFC 1035 section 3.2.2, RFC 3596 and RFC 6698 */
#define QUERY_TYPES(TYPE) \
    TYPE(A, 1)            \
    TYPE(CNAME, 5)        \
    TYPE(PTR, 12)         \
    TYPE(MX, 15)          \
    TYPE(TXT, 16)         \
    TYPE(AAAA, 28)        \
    TYPE(TLSA, 52)

enum query_type {
#define QUERY_ENUM(name, number) QUERY_##name = (number),
    QUERY_TYPES(QUERY_ENUM)
#undef QUERY_ENUM
};

enum {
    QUERY_WIRE_MAX = 512,
    QUERY_EDNS_BYTES = 1232, /* what fits every path without fragments */
};

struct query {
    char name[DOMAIN_SIZE];
    enum query_type type;
    bool edns;
    bool aliased; /* name is where CNAMEs have led, not what was asked at first; false when built */
    uint16_t id;
    size_t question_bytes; /* name, type, class after the 12 bytes of header */
    size_t wire_bytes;
    uint8_t wire[QUERY_WIRE_MAX];
};

const char *query_type_name(enum query_type t);

/* Builds the wire form with a random id, RD and AD set (RFC 6840 section 5.7), and EDNS0 when
 * asked. name is a normalised domain. Returns 0, or ERR_SYNTAX when libldns does not take the name.
 */
int query_build(struct query *q, const char *name, enum query_type type, bool edns);

enum query_match {
    QUERY_OTHER,     /* not an answer to this question: go on waiting */
    QUERY_ANSWER,    /* an answer */
    QUERY_TRUNCATED, /* an answer that did not fit: ask by TCP */
};

/* Compares id and question (names without regard to case). The source address was compared by the
 * kernel: sockets are connected. Any bytes are fine. */
enum query_match query_match(const struct query *q, const uint8_t *data, size_t len);

#endif
