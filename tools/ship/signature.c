/*
 * Signatures of requests; see signature.h. target_http.c makes one per request, anew for each try,
 * so that a receiver may refuse old ones.
 */
#include "signature.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>

void signature_hmac(struct strview key, struct strview first, struct strview second,
                    unsigned char out[SIGNATURE_BYTES])
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *c = EVP_MAC_CTX_new(mac);
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    size_t len = 0;
    const unsigned char *k = (const unsigned char *)(key.len ? key.ptr : "");

    BUG_ON(!c || EVP_MAC_init(c, k, key.len, params) != 1 ||
           EVP_MAC_update(c, (const unsigned char *)first.ptr, first.len) != 1 ||
           EVP_MAC_update(c, (const unsigned char *)second.ptr, second.len) != 1 ||
           EVP_MAC_final(c, out, &len, SIGNATURE_BYTES) != 1 || len != SIGNATURE_BYTES);
    EVP_MAC_CTX_free(c);
    EVP_MAC_free(mac);
}

void signature_append(struct buf *out, const struct buf *secrets, size_t count, int64_t time_s,
                      struct strview body)
{
    unsigned char mac[SIGNATURE_BYTES];
    struct buf prefix = {0};

    buf_printf(&prefix, "%lld.", (long long)time_s);
    buf_printf(out, "t=%lld", (long long)time_s);
    for (size_t i = 0; i < count; i++) {
        signature_hmac(buf_view(&secrets[i]), buf_view(&prefix), body, mac);
        buf_append_str(out, ",v1=");
        for (size_t k = 0; k < sizeof(mac); k++)
            buf_printf(out, "%02x", mac[k]);
    }
    buf_free(&prefix);
}
