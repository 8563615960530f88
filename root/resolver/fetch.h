/*
 * fetch: MTA-STS policy files by HTTPS (RFC 8461 section 3.3) with libcurl on the loop. The name of
 * the server is looked up by our own lookup.c, its certificate is verified, nothing is followed or
 * cached. A few at a time, the rest wait their turn.
 */
#ifndef PMTA_RESOLVER_FETCH_H
#define PMTA_RESOLVER_FETCH_H

#include "sts.h"

#include <uv.h>

enum {
    FETCH_MAX = 16, /* under way at a time; who asks bounds the rest */
    FETCH_TIMEOUT_S = 60,
    FETCH_CONNECT_TIMEOUT_S = 20,
    FETCH_MAX_ADDRESSES = 8, /* of each family, tried in the order of the answer */
};

struct fetch_pool;

struct fetch_options {
    const char *ca_file; /* NULL: the system's */
    uint16_t port;
};

struct fetch_pool *fetch_pool_new(uv_loop_t *loop, struct lookups *lookups);
void fetch_pool_configure(struct fetch_pool *p, const struct fetch_options *options);
/* No callback fires; memory goes when libuv is done with it. Before the lookups end. NULL is fine.
 */
void fetch_pool_close(struct fetch_pool *p);

/* For sts_ops: owner is the pool. */
struct fetch *fetch_start(void *owner, const char *domain, sts_fetch_cb cb, void *arg);
void fetch_cancel(void *owner, struct fetch *f);

#endif
