/*
 * Files with private signing keys, as root looks at them: who may read them, and which kind of key
 * is inside. Reads PEM and just enough DER for that (library pmta_config_load); it decides nothing
 * about the key itself, which the pipe loads with its cryptographic libraries.
 */
#ifndef PMTA_MAIL_KEY_FILE_H
#define PMTA_MAIL_KEY_FILE_H

#include "base/err.h"
#include "base/str.h"

#include <sys/types.h>

enum {
    KEY_FILE_MAX = 16 * 1024,
    KEY_FILE_MIN_RSA_BITS = 1024,
    KEY_FILE_GOOD_RSA_BITS = 2048,
    KEY_FILE_MAX_RSA_BITS = 4096,
};

enum key_file_kind { KEY_FILE_RSA, KEY_FILE_ED25519 };

struct key_file {
    enum key_file_kind kind;
    unsigned bits;
};

/* Opens and checks a key file: an ordinary file of root, of whoever runs this, or of `owner` (the
 * user that the children run as; -1: nobody else), which nobody else can read or write, but its
 * group may read it. *ret_fd is the caller's, and may be NULL. 0, -errno, or ERR_CONFIG; *e says
 * what was expected. */
int key_file_open(const char *path, uid_t owner, struct key_file *ret, int *ret_fd, struct err *e);

/* The same for a file with some other secret, at least SECRET_FILE_MIN bytes of it. */
enum { SECRET_FILE_MIN = 8 };
int secret_file_open(const char *path, uid_t owner, int *ret_fd, struct err *e);

/* What is in this PEM text. 0, or ERR_CONFIG with *e. */
int key_file_parse(struct strview text, struct key_file *ret, struct err *e);

#endif
