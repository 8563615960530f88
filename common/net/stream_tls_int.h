/*
 * Inside library pmta_tls: what stream_tls.c and tls_verify.c share.
 */
#ifndef PMTA_NET_STREAM_TLS_INT_H
#define PMTA_NET_STREAM_TLS_INT_H

#include "base/hash.h"
#include "base/list.h"

#include <openssl/ssl.h>

struct tls_context {
    int refs;
    SSL_CTX *ctx;
    X509_STORE *roots; /* of a client; or NULL */
    struct hash sessions;
    struct list by_age;
};

struct tls {
    SSL *ssl;
    struct tls_context *ctx;
    char *host; /* key in ctx->sessions, or NULL */
    bool said_bye;
    char trouble[160];
};

#endif
