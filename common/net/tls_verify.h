/*
 * Who the peer of a TLS stream is: the certificate that it showed, checked against the roots of the
 * system (RFC 5280, with the reference name as RFC 8461 section 4.1 has it) or against TLSA records
 * (DANE, RFC 7671 and RFC 7672). Asked after the handshake, so that a session goes on, or not, as
 * the policy of the moment says. Part of library pmta_tls.
 */
#ifndef PMTA_NET_TLS_VERIFY_H
#define PMTA_NET_TLS_VERIFY_H

#include "net/stream.h"
#include "net/tls_result.h"

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

/* The chain ends at a root, is valid now, and the certificate is for one of the names: host names, or
 * addresses with or without brackets. roots may be NULL: then nothing is trusted. */
enum tls_result stream_tls_verify_roots(const struct stream *s, const struct tls_roots *roots,
                                        const char *const *names, size_t count, char *ret_text,
                                        size_t size);

enum tls_client { TLS_CLIENT_NONE, TLS_CLIENT_VALID, TLS_CLIENT_BAD };

/* What the client of a server context with client roots showed: nothing, a certificate that is valid
 * for clients below one of these roots, or one that is not (ret_text says why). */
enum tls_client stream_tls_client_certificate(const struct stream *s, char *ret_text, size_t size);
/* The client's certificate is for this name: a DNS name or a mail address among its alternative
 * names, or else its common name. Says nothing about its validity. */
bool stream_tls_client_is(const struct stream *s, const char *name);

/* One of the records matches: a DANE-EE record by itself, a DANE-TA record with a valid chain below
 * it and a certificate for one of the names. */
enum tls_result stream_tls_verify_dane(const struct stream *s, const struct tls_tlsa *records,
                                       size_t record_count, const char *const *names, size_t count,
                                       char *ret_text, size_t size);

#endif
