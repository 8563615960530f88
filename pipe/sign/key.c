/*
 * Private keys; see key.h. Read when root hands one over, used from the thread pool. The file's text
 * and an Ed25519 key live in memory of libsodium's (guarded, locked, wiped); an RSA key lives in
 * BoringSSL's own objects, which it wipes when they go.
 */
#include "sign/key.h"

#include <errno.h>
#include <openssl/base64.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <sodium.h>
#include <unistd.h>

struct sign_key {
    uint32_t refs;
    EVP_PKEY *rsa;          /* or NULL: */
    unsigned char *ed25519; /* secret key, sodium_malloc */
    unsigned bits;
};

/* Without it BoringSSL would ask on the terminal. */
static int no_password(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return 0;
}

static int read_all(int fd, char *to, size_t size, size_t *ret, const char *name, struct err *e)
{
    size_t n = 0;
    ssize_t got;

    do {
        got = pread(fd, to + n, size - n, (off_t)n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set(e, -errno, "key file '%s'", name);
        n += (size_t)got;
    } while (got && n < size);
    if (n == size)
        return err_set(e, ERR_CONFIG, "key file '%s' has more than %d bytes", name,
                       SIGN_KEY_MAX_FILE);
    *ret = n;
    return 0;
}

static int take_ed25519(struct sign_key *k, EVP_PKEY *pkey)
{
    unsigned char public[crypto_sign_PUBLICKEYBYTES];
    unsigned char *seed = sodium_malloc(crypto_sign_SEEDBYTES);
    size_t len = crypto_sign_SEEDBYTES;
    int r = ERR_TLS;

    k->ed25519 = sodium_malloc(crypto_sign_SECRETKEYBYTES);
    BUG_ON(!seed || !k->ed25519);
    if (EVP_PKEY_get_raw_private_key(pkey, seed, &len) == 1 && len == crypto_sign_SEEDBYTES)
        r = crypto_sign_seed_keypair(public, k->ed25519, seed);
    sodium_free(seed);
    k->bits = 256;
    return r;
}

/* Takes pkey. */
static int take(struct sign_key *k, EVP_PKEY *pkey, const char *name, struct err *e)
{
    int r = 0;

    if (EVP_PKEY_id(pkey) == EVP_PKEY_ED25519) {
        r = take_ed25519(k, pkey);
        EVP_PKEY_free(pkey);
        return r < 0 ? err_set(e, ERR_CONFIG, "key file '%s': the key is not usable", name) : 0;
    }
    if (EVP_PKEY_id(pkey) != EVP_PKEY_RSA) {
        EVP_PKEY_free(pkey);
        return err_set(e, ERR_CONFIG, "key file '%s': neither an RSA nor an Ed25519 key", name);
    }
    k->rsa = pkey;
    k->bits = (unsigned)EVP_PKEY_bits(pkey);
    if (k->bits < SIGN_KEY_MIN_RSA_BITS || k->bits > SIGN_KEY_MAX_SIGNATURE * 8)
        return err_set(e, ERR_CONFIG,
                       "key file '%s': an RSA key of %u bits (expected %d or more, at most %d)",
                       name, k->bits, SIGN_KEY_MIN_RSA_BITS, SIGN_KEY_MAX_SIGNATURE * 8);
    return 0;
}

int sign_key_load(int fd, const char *name, struct sign_key **ret, struct err *e)
{
    size_t n = 0;

    if (sodium_init() < 0)
        return err_set(e, ERR_TLS, "libsodium cannot be used");
    char *text = sodium_malloc(SIGN_KEY_MAX_FILE);
    BUG_ON(!text);
    int r = read_all(fd, text, SIGN_KEY_MAX_FILE, &n, name, e);
    if (r == 0) {
        BIO *bio = BIO_new_mem_buf(text, (int)n);
        EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
        struct sign_key *k = xcalloc(1, sizeof(*k));
        k->refs = 1;
        BIO_free(bio);
        r = pkey ? take(k, pkey, name, e)
                 : err_set(e, ERR_CONFIG,
                           "key file '%s': no private key in PEM form without a password", name);
        if (r == 0)
            *ret = k;
        else
            sign_key_unref(k);
    }
    sodium_free(text);
    return r;
}

struct sign_key *sign_key_ref(struct sign_key *k)
{
    k->refs++;
    return k;
}

void sign_key_unref(struct sign_key *k)
{
    if (!k || --k->refs)
        return;
    EVP_PKEY_free(k->rsa);
    sodium_free(k->ed25519);
    free(k);
}

const char *sign_key_algorithm(const struct sign_key *k)
{
    return k->rsa ? "rsa-sha256" : "ed25519-sha256";
}

bool sign_key_is_cheap(const struct sign_key *k)
{
    return k->ed25519 != NULL;
}

unsigned sign_key_bits(const struct sign_key *k)
{
    return k->bits;
}

int sign_key_sign(const struct sign_key *k, struct strview input,
                  uint8_t ret[SIGN_KEY_MAX_SIGNATURE], size_t *ret_len)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    unsigned len = 0;

    SHA256((const uint8_t *)input.ptr, input.len, digest);
    if (k->ed25519) {
        crypto_sign_detached(ret, NULL, digest, sizeof(digest), k->ed25519);
        *ret_len = crypto_sign_BYTES;
        return 0;
    }
    if (RSA_sign(NID_sha256, digest, sizeof(digest), ret, &len, EVP_PKEY_get0_RSA(k->rsa)) != 1)
        return ERR_TLS;
    *ret_len = len;
    return 0;
}

static char *base64(const uint8_t *bytes, size_t n)
{
    char *text = xcalloc(1, (n + 2) / 3 * 4 + 1);
    EVP_EncodeBlock((uint8_t *)text, bytes, n);
    return text;
}

char *sign_key_public(const struct sign_key *k)
{
    uint8_t *der = NULL;

    if (k->ed25519) /* the second half of libsodium's secret key */
        return base64(k->ed25519 + crypto_sign_SEEDBYTES, crypto_sign_PUBLICKEYBYTES);
    int n = i2d_PUBKEY(k->rsa, &der);
    BUG_ON(n <= 0);
    char *text = base64(der, (size_t)n);
    OPENSSL_free(der);
    return text;
}
