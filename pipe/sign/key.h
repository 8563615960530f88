/*
 * Private keys that sign: RSA (RFC 8301) and Ed25519 (RFC 8463). Read once from a descriptor that
 * root opened, then only used; never written, never logged.
 */
#ifndef PMTA_PIPE_SIGN_KEY_H
#define PMTA_PIPE_SIGN_KEY_H

#include "base/err.h"
#include "base/str.h"

enum {
    SIGN_KEY_MAX_FILE = 16 * 1024,
    SIGN_KEY_MAX_SIGNATURE = 512, /* RSA-4096 */
    SIGN_KEY_MIN_RSA_BITS = 1024,
    SIGN_KEY_GOOD_RSA_BITS = 2048,
};

struct sign_key;

/* Reads a PEM file (PKCS #1 or PKCS #8, not encrypted). name is for messages. 0 with one reference,
 * -errno, or ERR_CONFIG with *e saying what is wrong with it. */
int sign_key_load(int fd, const char *name, struct sign_key **ret, struct err *e);
struct sign_key *sign_key_ref(struct sign_key *k);
void sign_key_unref(struct sign_key *k); /* NULL is fine; the memory is wiped */

const char *sign_key_algorithm(const struct sign_key *k); /* "rsa-sha256", "ed25519-sha256" */
bool sign_key_is_cheap(const struct sign_key *k);         /* a signature takes less than 50 µs */
unsigned sign_key_bits(const struct sign_key *k);

/* Signs the SHA-256 of input. From any thread. 0, or ERR_STATE when the library refuses. */
int sign_key_sign(const struct sign_key *k, struct strview input,
                  uint8_t ret[SIGN_KEY_MAX_SIGNATURE], size_t *ret_len);

/* The public key as a DKIM record's p= has it (RFC 6376 section 3.6.1, RFC 8463 section 4), base 64.
 * Allocated. */
char *sign_key_public(const struct sign_key *k);

#endif
