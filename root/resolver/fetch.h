/*
 * fetch: MTA-STS policy files by HTTPS (RFC 8461 section 3.3).
 */
#ifndef PMTA_RESOLVER_FETCH_H
#define PMTA_RESOLVER_FETCH_H

#include "https.h"
#include "sts.h"

enum { FETCH_MAX = 16 /* under way at a time */ };

struct fetch_pool;

struct fetch_options {
    const char *ca_file; /* NULL: the system's */
    uint16_t port;
};

struct fetch_pool *fetch_pool_new(uv_loop_t *loop, struct lookups *lookups);
void fetch_pool_configure(struct fetch_pool *p, const struct fetch_options *options);
/* No callback fires. Before the lookups end. NULL is fine. */
void fetch_pool_close(struct fetch_pool *p);

/* For sts_ops: owner is the pool. */
struct fetch *fetch_start(void *owner, const char *domain, sts_fetch_cb cb, void *arg);
void fetch_cancel(void *owner, struct fetch *f);

#endif
