/*
 * Certificate checks; see tls_verify.h. Called once per connection, after the handshake. The text
 * says for a person what was wrong; the result is what reports count.
 */
#include "net/tls_verify.h"

#include "base/clock.h"
#include "net/stream_int.h"
#include "net/stream_tls_int.h"

#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>

bool tls_tlsa_is_usable(const struct tls_tlsa *t)
{
    static const size_t lengths[] = {0, SHA256_DIGEST_LENGTH, SHA512_DIGEST_LENGTH};

    if (t->usage < 2 || t->usage > 3 || t->selector > 1 || t->matching > 2 || !t->len)
        return false;
    return t->matching == 0 || t->len == lengths[t->matching];
}

static STACK_OF(X509) * peer_chain(const struct stream *s)
{
    const struct tls *tls = s->tls;
    return tls ? SSL_get_peer_full_cert_chain(tls->ssl) : NULL;
}

static enum tls_result result_of(int error)
{
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CRL_HAS_EXPIRED:
        return TLS_RESULT_EXPIRED;
    case X509_V_ERR_HOSTNAME_MISMATCH:
        return TLS_RESULT_HOST_MISMATCH;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
        return TLS_RESULT_NOT_TRUSTED;
    default:
        return TLS_RESULT_FAILURE;
    }
}

/* The name as an address, with or without brackets: 1 the certificate is for it, 0 it is not, -1 the
 * name is no address. */
static int is_for_address(X509 *leaf, const char *name, size_t len)
{
    char text[64];
    bool brackets = name[0] == '[' && name[len - 1] == ']';

    if (len >= sizeof(text))
        return -1;
    memcpy(text, name + brackets, len);
    text[len - 2 * brackets] = '\0';
    int r = X509_check_ip_asc(leaf, text, 0); /* -2: no address */
    ERR_clear_error();
    return r < 0 ? -1 : r;
}

/* RFC 6125: a wildcard stands for one whole label; addresses stand in fields of their own. */
static bool is_named(X509 *leaf, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(names[i]);
        if (len && names[i][len - 1] == '.')
            len--;
        int is = len ? is_for_address(leaf, names[i], len) : 0;
        if (is < 0)
            is = X509_check_host(leaf, names[i], len, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL);
        if (is == 1)
            return true;
    }
    return false;
}

static enum tls_result wrong_name(const char *const *names, size_t count, char *text, size_t size)
{
    snprintf(text, size, "the certificate is not for '%s'", count ? names[0] : "");
    return TLS_RESULT_HOST_MISMATCH;
}

/* Verifies the chain against the store. */
static enum tls_result check_chain(X509_STORE *store, STACK_OF(X509) * chain, const char *purpose,
                                   unsigned long flags, char *text, size_t size)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    enum tls_result r = TLS_RESULT_FAILURE;

    BUG_ON(!ctx);
    if (X509_STORE_CTX_init(ctx, store, sk_X509_value(chain, 0), chain) == 1) {
        X509_STORE_CTX_set_default(ctx, purpose);
        X509_STORE_CTX_set_flags(ctx, flags);
        X509_STORE_CTX_set_time(ctx, 0, clock_wall_ms() / 1000);
        if (X509_verify_cert(ctx) == 1) {
            r = TLS_RESULT_VERIFIED;
        } else {
            int error = X509_STORE_CTX_get_error(ctx);
            r = result_of(error);
            snprintf(text, size, "the certificate is not valid: %s",
                     X509_verify_cert_error_string(error));
        }
    } else {
        snprintf(text, size, "the certificate cannot be checked");
    }
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return r;
}

enum tls_result stream_tls_verify_roots(const struct stream *s, const struct tls_roots *roots,
                                        const char *const *names, size_t count, char *ret_text,
                                        size_t size)
{
    STACK_OF(X509) *chain = peer_chain(s);

    ret_text[0] = '\0';
    if (!chain || !sk_X509_num(chain)) {
        snprintf(ret_text, size, "the server showed no certificate");
        return TLS_RESULT_FAILURE;
    }
    if (!roots) {
        snprintf(ret_text, size, "there are no root certificates to check against");
        return TLS_RESULT_NOT_TRUSTED;
    }
    enum tls_result r = check_chain(roots->store, chain, "ssl_server", 0, ret_text, size);
    if (r == TLS_RESULT_VERIFIED && !is_named(sk_X509_value(chain, 0), names, count))
        r = wrong_name(names, count, ret_text, size);
    return r;
}

/* --- DANE --- */

static bool matches(const struct tls_tlsa *t, X509 *cert)
{
    uint8_t digest[SHA512_DIGEST_LENGTH];
    uint8_t *der = NULL;
    int n =
        t->selector == 0 ? i2d_X509(cert, &der) : i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    const uint8_t *bytes = der;
    size_t len = n > 0 ? (size_t)n : 0;

    if (n <= 0) {
        ERR_clear_error();
        return false;
    }
    if (t->matching == 1) {
        bytes = SHA256(der, len, digest);
        len = SHA256_DIGEST_LENGTH;
    } else if (t->matching == 2) {
        bytes = SHA512(der, len, digest);
        len = SHA512_DIGEST_LENGTH;
    }
    bool same = len == t->len && memcmp(bytes, t->data, len) == 0;
    OPENSSL_free(der);
    return same;
}

/* The certificate in the chain that the record names, or the one in the record itself, with a
 * reference. */
static X509 *find_anchor(const struct tls_tlsa *t, STACK_OF(X509) * chain)
{
    for (size_t i = 0; i < sk_X509_num(chain); i++) {
        X509 *cert = sk_X509_value(chain, i);
        if (!matches(t, cert))
            continue;
        X509_up_ref(cert);
        return cert;
    }
    if (t->selector != 0 || t->matching != 0)
        return NULL;
    const uint8_t *p = t->data;
    X509 *cert = d2i_X509(NULL, &p, (long)t->len);
    ERR_clear_error();
    return cert;
}

/* The chain below this anchor, and the name. */
static enum tls_result check_anchor(const struct tls_tlsa *t, STACK_OF(X509) * chain,
                                    const char *const *names, size_t count, char *text, size_t size)
{
    X509 *anchor = find_anchor(t, chain);
    enum tls_result r = TLS_RESULT_NOT_TRUSTED;

    if (!anchor)
        return r;
    X509_STORE *store = X509_STORE_new();
    BUG_ON(!store);
    X509_STORE_add_cert(store, anchor);
    r = check_chain(store, chain, "ssl_server", X509_V_FLAG_PARTIAL_CHAIN, text, size);
    if (r == TLS_RESULT_VERIFIED && !is_named(sk_X509_value(chain, 0), names, count))
        r = wrong_name(names, count, text, size);
    X509_STORE_free(store);
    X509_free(anchor);
    return r;
}

enum tls_result stream_tls_verify_dane(const struct stream *s, const struct tls_tlsa *records,
                                       size_t record_count, const char *const *names, size_t count,
                                       char *ret_text, size_t size)
{
    STACK_OF(X509) *chain = peer_chain(s);
    enum tls_result worst = TLS_RESULT_FAILURE;

    snprintf(ret_text, size, "no TLSA record matches the certificate");
    if (!chain || !sk_X509_num(chain)) {
        snprintf(ret_text, size, "the server showed no certificate");
        return TLS_RESULT_FAILURE;
    }
    for (size_t i = 0; i < record_count; i++) {
        const struct tls_tlsa *t = &records[i];
        if (!tls_tlsa_is_usable(t))
            continue;
        if (t->usage == 3) { /* no name, no dates: RFC 7672 section 3.1.1 */
            if (matches(t, sk_X509_value(chain, 0)))
                return TLS_RESULT_VERIFIED;
            continue;
        }
        enum tls_result r = check_anchor(t, chain, names, count, ret_text, size);
        if (r == TLS_RESULT_VERIFIED)
            return r;
        if (r != TLS_RESULT_NOT_TRUSTED)
            worst = r;
    }
    return worst;
}

/* --- clients --- */

enum tls_client stream_tls_client_certificate(const struct stream *s, char *ret_text, size_t size)
{
    STACK_OF(X509) *chain = peer_chain(s);
    const struct tls *tls = s->tls;

    ret_text[0] = '\0';
    if (!chain || !sk_X509_num(chain))
        return TLS_CLIENT_NONE;
    if (!tls->ctx->client_roots)
        return TLS_CLIENT_BAD;
    return check_chain(tls->ctx->client_roots->store, chain, "ssl_client", 0, ret_text, size) ==
                   TLS_RESULT_VERIFIED
               ? TLS_CLIENT_VALID
               : TLS_CLIENT_BAD;
}

bool stream_tls_client_is(const struct stream *s, const char *name)
{
    STACK_OF(X509) *chain = peer_chain(s);

    if (!chain || !sk_X509_num(chain) || !name[0])
        return false;
    X509 *leaf = sk_X509_value(chain, 0);
    if (strchr(name, '@'))
        return X509_check_email(leaf, name, strlen(name), 0) == 1;
    return X509_check_host(leaf, name, strlen(name), X509_CHECK_FLAG_NO_WILDCARDS, NULL) == 1;
}
