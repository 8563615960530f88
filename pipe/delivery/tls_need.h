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

enum { TLS_NEED_NAMES = 8 };

struct tls_need {
    enum tls_check check;
    bool required;                     /* nothing may be sent in clear */
    bool enforced;                     /* the check must succeed; otherwise it is only told */
    const char *names[TLS_NEED_NAMES]; /* that the certificate may be for; the first is the host */
    size_t name_count;
    const struct tls_tlsa *records;
    size_t record_count;
    const char *sni; /* name that the server is asked for; NULL: the host's */
    const char
        *policy; /* what asks for it: "" nothing, "dane", "sts", "sts-testing", "configured" */
    /* What is wrong already before anybody connects, and only to be told; VERIFIED: nothing. */
    enum tls_result known;
    const char *known_text;
};

/* A copy with everything it points to, in the arena. */
struct tls_need *tls_need_copy(const struct tls_need *n, struct arena *a);

/* Checks the peer of a stream whose handshake is over. Without a check the result is VERIFIED and
 * the text empty. roots: for TLS_CHECK_ROOTS; or NULL. */
enum tls_result tls_need_check(const struct tls_need *n, const struct stream *s,
                               const struct tls_roots *roots, char *ret_text, size_t size);

/* The session was checked and passed: it is known whose it is. */
static inline bool tls_need_proves(const struct tls_need *n, enum tls_result r)
{
    return n && n->check != TLS_CHECK_NONE && r == TLS_RESULT_VERIFIED;
}

/* One word for accounting and log about an encrypted session: "dane", "sts", "trusted" when a check
 * passed, "unchecked" without one, or the name of what was wrong and did not matter. */
const char *tls_need_word(const struct tls_need *n, enum tls_result r);

/* Sessions are shared among connections with equal scopes only (struct tls_connect). */
uint64_t tls_need_scope(const struct tls_need *n);

#endif
