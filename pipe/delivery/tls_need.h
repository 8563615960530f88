/*
 * What TLS has to be on the way to one host, and whether it was.
 */
#ifndef PMTA_PIPE_DELIVERY_TLS_NEED_H
#define PMTA_PIPE_DELIVERY_TLS_NEED_H

#include "base/arena.h"
#include "net/tls_verify.h"

enum tls_check {
    TLS_CHECK_NONE,  /* any certificate */
    TLS_CHECK_ROOTS, /* a chain to a root of the system, and the name */
    TLS_CHECK_DANE,  /* TLSA records */
};

enum { TLS_NEED_NAMES = 3 };

struct tls_need {
    enum tls_check check;
    bool required;                     /* nothing may be sent in clear */
    bool enforced;                     /* the check must succeed; otherwise it is only told */
    const char *names[TLS_NEED_NAMES]; /* that the certificate may be for; the first is the host */
    size_t name_count;
    const struct tls_tlsa *records;
    size_t record_count;
    const char
        *policy; /* what asks for it: "" nothing, "dane", "sts", "sts-testing", "configured" */
};

/* A copy with everything it points to, in the arena. */
struct tls_need *tls_need_copy(const struct tls_need *n, struct arena *a);

/* Checks the peer of a stream whose handshake is over. Without a check the result is VERIFIED and
 * the text empty. */
enum tls_result tls_need_check(const struct tls_need *n, const struct stream *s, char *ret_text,
                               size_t size);

#endif
