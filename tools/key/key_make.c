/*
 * New keys; see key_make.h. Called by pmta-key. Key material passes through memory of libsodium's or
 * BoringSSL's own, both wiped.
 */
#include "key_make.h"

#include "base/buf.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/base64.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* RFC 8410 section 7: what stands before the 32 bytes of an Ed25519 seed */
static const unsigned char ed25519_head[] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                             0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};

enum { ED25519_DER = sizeof(ed25519_head) + crypto_sign_SEEDBYTES, PEM_ROOM = 256 };

static int write_file(const char *file, const char *text, size_t len, struct err *e)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);

    if (fd < 0)
        return err_set(e, -errno, "'%s' is not written", file);
    int status = fchmod(fd, 0600) < 0 ? -errno : file_write_all(fd, sv(text, len));
    if (status == 0 && fsync(fd) < 0)
        status = -errno;
    if (close(fd) < 0 && status == 0)
        status = -errno;
    if (status < 0) {
        unlink(file);
        return err_set(e, status, "'%s' cannot be written", file);
    }
    return 0;
}

static int make_ed25519(const char *file, struct err *e)
{
    unsigned char *der = sodium_malloc(ED25519_DER);
    char *pem = sodium_malloc(PEM_ROOM);

    BUG_ON(!der || !pem);
    memcpy(der, ed25519_head, sizeof(ed25519_head));
    randombytes_buf(der + sizeof(ed25519_head), crypto_sign_SEEDBYTES);
    size_t n = (size_t)snprintf(pem, PEM_ROOM, "-----BEGIN PRIVATE KEY-----\n");
    n += EVP_EncodeBlock((uint8_t *)pem + n, der, ED25519_DER);
    n += (size_t)snprintf(pem + n, PEM_ROOM - n, "\n-----END PRIVATE KEY-----\n");
    int status = write_file(file, pem, n, e);
    sodium_free(der);
    sodium_free(pem);
    return status;
}

static EVP_PKEY *generate_rsa(unsigned bits)
{
    EVP_PKEY *pkey = EVP_PKEY_new();
    RSA *rsa = RSA_new();
    BIGNUM *exponent = BN_new();
    bool ok = pkey && rsa && exponent && BN_set_word(exponent, RSA_F4) &&
              RSA_generate_key_ex(rsa, (int)bits, exponent, NULL) && EVP_PKEY_set1_RSA(pkey, rsa);

    BN_free(exponent);
    RSA_free(rsa);
    if (ok)
        return pkey;
    EVP_PKEY_free(pkey);
    return NULL;
}

static int make_rsa(const char *file, unsigned bits, struct err *e)
{
    EVP_PKEY *pkey = generate_rsa(bits);
    BIO *bio = BIO_new(BIO_s_mem());
    const uint8_t *text = NULL;
    size_t len = 0;
    int status;

    if (!pkey || !bio || !PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) ||
        !BIO_mem_contents(bio, &text, &len))
        status = err_set(e, ERR_TLS, "no key could be made");
    else
        status = write_file(file, (const char *)text, len, e);
    BIO_free(bio);
    EVP_PKEY_free(pkey);
    return status;
}

int key_make(const char *file, unsigned rsa_bits, struct err *e)
{
    if (sodium_init() < 0)
        return err_set(e, ERR_TLS, "libsodium cannot be used");
    return rsa_bits ? make_rsa(file, rsa_bits, e) : make_ed25519(file, e);
}
