/*
 * Certificates that a test makes for itself: authorities, servers and clients, with BoringSSL.
 */
#ifndef PMTA_TESTS_TLS_CERTS_H
#define PMTA_TESTS_TLS_CERTS_H

#include "unit.h"

#include <openssl/bio.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/mman.h>
#include <unistd.h>

struct test_cert {
    X509 *x;
    EVP_PKEY *key;
};

struct test_cert_form {
    const char *cn;
    const char *alt;                /* "DNS:a.example,IP:127.0.0.1"; NULL: none */
    const struct test_cert *issuer; /* NULL: itself */
    bool is_ca;
    int days_from, days_to; /* 0, 0: valid now */
    const char *usage;      /* extended; NULL: serverAuth */
};

static void test_cert_extend(X509 *x, const X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, (X509 *)(uintptr_t)issuer, x, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
    assert_non_null(ext);
    assert_true(X509_add_ext(x, ext, -1));
    X509_EXTENSION_free(ext);
}

static struct test_cert test_cert_make(const struct test_cert_form *f)
{
    static long serial = 1;
    EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    struct test_cert c = {.x = X509_new(), .key = EVP_PKEY_new()};
    const struct test_cert *by = f->issuer ? f->issuer : &c;

    assert_true(EC_KEY_generate_key(ec) && EVP_PKEY_assign_EC_KEY(c.key, ec));
    X509_set_version(c.x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(c.x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(c.x), f->days_from * 86400L - (f->days_from ? 0 : 3600));
    X509_gmtime_adj(X509_getm_notAfter(c.x), f->days_to ? f->days_to * 86400L : 86400L);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(c.x), "CN", MBSTRING_UTF8,
                               (const unsigned char *)f->cn, -1, -1, 0);
    X509_set_issuer_name(c.x, X509_get_subject_name(by->x));
    X509_set_pubkey(c.x, c.key);
    test_cert_extend(c.x, by->x, NID_basic_constraints, f->is_ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (!f->is_ca)
        test_cert_extend(c.x, by->x, NID_ext_key_usage, f->usage ? f->usage : "serverAuth");
    if (f->alt)
        test_cert_extend(c.x, by->x, NID_subject_alt_name, f->alt);
    assert_true(X509_sign(c.x, by->key, EVP_sha256()) > 0);
    return c;
}

static inline void test_cert_free(struct test_cert *c)
{
    X509_free(c->x);
    EVP_PKEY_free(c->key);
}

static int test_memfd(BIO *bio)
{
    const uint8_t *data;
    size_t len;
    int fd = memfd_create("test", 0);

    assert_true(BIO_mem_contents(bio, &data, &len));
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    BIO_free(bio);
    return fd;
}

/* PEM of the leaf and of one more certificate of the chain, which may be NULL. */
static inline int test_cert_fd(const struct test_cert *leaf, const struct test_cert *more)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_true(PEM_write_bio_X509(bio, leaf->x));
    if (more)
        assert_true(PEM_write_bio_X509(bio, more->x));
    return test_memfd(bio);
}

static inline int test_key_fd(const struct test_cert *c)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_true(PEM_write_bio_PrivateKey(bio, c->key, NULL, NULL, 0, NULL, NULL));
    return test_memfd(bio);
}

#endif
