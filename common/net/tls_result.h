/*
 * How TLS to a host went, in the words of TLS reports (RFC 8460 section 4.3).
 */
#ifndef PMTA_NET_TLS_RESULT_H
#define PMTA_NET_TLS_RESULT_H

#include <stdbool.h>

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
/* The other way; false: no such result. */
bool tls_result_parse(const char *text, enum tls_result *ret);

#endif
