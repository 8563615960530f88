/*
 * One error space. Functions return 0 or a negative number: either -errno (which is also libuv's
 * number on Linux) or one of the codes below. The text is filled in once, where the error happened.
 */
#ifndef PMTA_BASE_ERR_H
#define PMTA_BASE_ERR_H

#include "base/util.h"

/* ERR(NAME, number, text) */
#define ERR_TABLE(ERR)                                           \
    ERR(CONFIG, 10001, "configuration error")                    \
    ERR(PROTOCOL, 10002, "peer broke the protocol")              \
    ERR(LIMIT, 10003, "limit reached")                           \
    ERR(CORRUPT, 10004, "data is corrupt")                       \
    ERR(VERSION, 10005, "format or build version not supported") \
    ERR(NOT_FOUND, 10006, "not found")                           \
    ERR(BUSY, 10007, "busy")                                     \
    ERR(CLOSED, 10008, "closed")                                 \
    ERR(TIMEOUT, 10009, "timed out")                             \
    ERR(TLS, 10010, "TLS failure")                               \
    ERR(SYNTAX, 10011, "syntax error")                           \
    ERR(CANCELLED, 10012, "cancelled")                           \
    ERR(KEY, 10013, "signing key cannot be used")                \
    ERR(AUTH, 10014, "forged, or not ours")

enum err_code {
#define ERR_ENUM(name, number, text) ERR_##name = -(number),
    ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
};

struct err {
    int code;       /* 0 or negative */
    char text[512]; /* one line: what, where; empty when code is 0 */
};

/* Text for a code alone; never NULL. */
const char *err_name(int code);

/* Fills *e (which may be NULL) and returns code, so that `return err_set(e, ERR_X, "…")` works. For
 * a -errno the system's text is appended after ": ". */
int err_set(struct err *e, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "prefix: " before the text that is there. Returns e->code. */
int err_prefix(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
