/*
 * key_make: a new signing key in a file of its own.
 */
#ifndef PMTA_TOOLS_KEY_MAKE_H
#define PMTA_TOOLS_KEY_MAKE_H

#include "base/err.h"

/* Writes a PKCS #8 PEM file, mode 0600: RSA of so many bits, or Ed25519 when rsa_bits is 0. A file
 * that exists is not touched: -EEXIST. 0 or negative with *e; then there is no file. */
int key_make(const char *file, unsigned rsa_bits, struct err *e);

#endif
