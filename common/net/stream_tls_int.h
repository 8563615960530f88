/*
 * Inside library pmta_tls: what stream_tls.c and tls_verify.c share.
 */
#ifndef PMTA_NET_STREAM_TLS_INT_H
#define PMTA_NET_STREAM_TLS_INT_H

#include "base/hash.h"
#include "base/list.h"

#include <openssl/ssl.h>

struct tls_roots {
    int refs;
    X509_STORE *store;
    STACK_OF(X509_NAME) * names; /* of the certificates, for who asks clients for one */
};

struct tls_identity {
    int refs;
    SSL_CTX *ctx; /* holds chain and key; no connection uses it */
};

/* One more certificate of a server. */
struct tls_sni {
    struct list link;
    SSL_CTX *ctx;
    char name[];
};

struct tls_context {
    int refs;
    SSL_CTX *ctx;
    struct list more;               /* struct tls_sni; of a server */
    struct tls_roots *client_roots; /* of a server that asks for certificates; or NULL */
    struct hash sessions;           /* of a client */
    struct list by_age;
};

struct tls {
    SSL *ssl;
    struct tls_context *ctx;
    char *host; /* for SNI and, with scope, the key in ctx->sessions; or NULL */
    uint64_t scope;
    bool said_bye;
    char trouble[160];
};

#endif
