/*
 * Who the peer of a TLS stream is: the certificate that it showed, checked against the roots of the
 * system (RFC 5280, with the reference name as RFC 8461 section 4.1 has it) or against TLSA records
 * (DANE, RFC 7671 and RFC 7672). Asked after the handshake, so that a session goes on, or not, as
 * the policy of the moment says. Part of library pmta_tls.
 */
#ifndef PMTA_NET_TLS_VERIFY_H
#define PMTA_NET_TLS_VERIFY_H

#include "net/stream.h"

/* RESULT(NAME, "result-type of RFC 8460 section 4.3") */
#define TLS_RESULTS(RESULT)                            \
    RESULT(VERIFIED, "verified")                       \
    RESULT(NO_STARTTLS, "starttls-not-supported")      \
    RESULT(HOST_MISMATCH, "certificate-host-mismatch") \
    RESULT(EXPIRED, "certificate-expired")             \
    RESULT(NOT_TRUSTED, "certificate-not-trusted")     \
    RESULT(FAILURE, "validation-failure")              \
    RESULT(TLSA_INVALID, "tlsa-invalid")               \
    RESULT(DNSSEC_INVALID, "dnssec-invalid")           \
    RESULT(DANE_REQUIRED, "dane-required")             \
    RESULT(STS_FETCH, "sts-policy-fetch-error")        \
    RESULT(STS_INVALID, "sts-policy-invalid")          \
    RESULT(STS_WEBPKI, "sts-webpki-invalid")

enum tls_result {
#define TLS_ENUM(name, text) TLS_RESULT_##name,
    TLS_RESULTS(TLS_ENUM)
#undef TLS_ENUM
        TLS_RESULT_COUNT
};

const char *tls_result_text(enum tls_result r);

/* RFC 6698 section 2.1 */
struct tls_tlsa {
    uint8_t usage;    /* 2 DANE-TA, 3 DANE-EE */
    uint8_t selector; /* 0 full certificate, 1 public key */
    uint8_t matching; /* 0 as it is, 1 SHA-256, 2 SHA-512 */
    const uint8_t *data;
    size_t len;
};

/* Usable for SMTP: usage 2 or 3, and a form that we know (RFC 7672 sections 3.1.3 and 3.1.4). */
bool tls_tlsa_is_usable(const struct tls_tlsa *t);

/* Root certificates, a PEM bundle. 0, or the error with *e; then nothing verifies by roots. */
int tls_context_set_roots(struct tls_context *t, const char *file, struct err *e);

/* The chain ends at a root, is valid now, and the certificate is for one of the names. */
enum tls_result stream_tls_verify_roots(const struct stream *s, const char *const *names,
                                        size_t count, char *ret_text, size_t size);

/* One of the records matches: a DANE-EE record by itself, a DANE-TA record with a valid chain below
 * it and a certificate for one of the names. */
enum tls_result stream_tls_verify_dane(const struct stream *s, const struct tls_tlsa *records,
                                       size_t record_count, const char *const *names, size_t count,
                                       char *ret_text, size_t size);

#endif
