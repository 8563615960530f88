/*
 * https: requests by HTTPS with libcurl on the loop. The name of the server is looked up by our own
 * lookup.c, its certificate is verified, nothing is followed or cached. A few at a time, the rest wait
 * their turn.
 */
#ifndef PMTA_RESOLVER_HTTPS_H
#define PMTA_RESOLVER_HTTPS_H

#include "lookup.h"

#include <uv.h>

enum {
    HTTPS_TIMEOUT_S = 60,
    HTTPS_CONNECT_TIMEOUT_S = 20,
    HTTPS_MAX_ADDRESSES = 8, /* of each family, tried in the order of the answer */
};

struct https_pool;
struct https;

struct https_ask {
    const char *host;
    uint16_t port;
    const char *path; /* and query; "/" first */
    size_t max_bytes; /* of the answer's body; what is beyond it is an error */
    /* a POST with this body (copied) when content_type is set, else a GET */
    const char *content_type;
    struct strview body;
    bool public_only; /* addresses of this machine and of private networks are not used */
};

enum https_trouble {
    HTTPS_OK,        /* there is an answer, whatever its status */
    HTTPS_UNTRUSTED, /* the certificate is not valid, or not for this name */
    HTTPS_TOO_LARGE,
    HTTPS_FAILED, /* no address, no connection, no answer in time */
};

struct https_answer {
    enum https_trouble trouble;
    const char *text; /* what was wrong, unless OK */
    long status;
    const char *content_type; /* or NULL */
    struct strview body;
};

/* The answer is valid during the call. */
typedef void (*https_cb)(void *arg, const struct https_answer *a);

/* most: requests under way at a time; who asks bounds the rest. */
struct https_pool *https_pool_new(uv_loop_t *loop, struct lookups *lookups, unsigned most);
/* PEM file of the authorities; NULL: the system's. */
void https_pool_configure(struct https_pool *p, const char *ca_file);
/* No callback fires; memory goes when libuv is done with it. Before the lookups end. NULL is fine.
 */
void https_pool_close(struct https_pool *p);

/* cb fires once, never inside this call. ERR_LIMIT when host or path are too long. */
int https_start(struct https_pool *p, const struct https_ask *ask, https_cb cb, void *arg,
                struct https **ret);
/* No cb will fire. */
void https_cancel(struct https *h);

#endif
