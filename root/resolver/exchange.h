/*
 * exchange: one question sent to one name server and its answer, or why there is none. The
 * interface that lookup.c works against, and its implementation with libuv sockets (exchange_pool).
 */
#ifndef PMTA_RESOLVER_EXCHANGE_H
#define PMTA_RESOLVER_EXCHANGE_H

#include "query.h"

#include <uv.h>

struct exchange;

/* How one exchange ended. */
struct exchange_result {
    int code;               /* 0, ERR_TIMEOUT, ERR_PROTOCOL (too many foreign packets), or -errno */
    enum query_match match; /* code 0: QUERY_ANSWER or QUERY_TRUNCATED */
    const uint8_t *data;    /* the packet; valid during the call */
    size_t len;
    int64_t took_ms;
};

typedef void (*exchange_cb)(void *arg, const struct exchange_result *result);

struct exchange_ops {
    /* Sends q, which stays valid until cb or cancel. cb fires once, never inside this call. */
    struct exchange *(*send)(void *owner, const struct query *q, const struct sockaddr *to,
                             bool tcp, int64_t timeout_ms, exchange_cb cb, void *arg);
    /* No cb will fire. */
    void (*cancel)(void *owner, struct exchange *x);
    /* Calls resolve_run soon, never inside this call; several calls may become one. */
    void (*wake)(void *owner);
};

enum {
    EXCHANGE_MAX_TCP = 64,     /* connections at a time; more wait their turn */
    EXCHANGE_MAX_FOREIGN = 16, /* packets that are no answer before an exchange is given up */
};

/* Sockets on a loop. Each question by UDP has a connected socket of its own: a random port, and the
 * kernel drops what comes from elsewhere. */
struct exchange_pool;

/* wake(arg) is what exchange_ops.wake leads to. */
struct exchange_pool *exchange_pool_new(uv_loop_t *loop, void (*wake)(void *arg), void *arg);
/* Cancels everything; memory goes when libuv is done with it. NULL is fine. */
void exchange_pool_close(struct exchange_pool *p);

/* For lookups: owner is the pool. */
extern const struct exchange_ops exchange_pool_ops;

/* Sockets that are open now. */
size_t exchange_pool_open(const struct exchange_pool *p);

/* Raises the limit of descriptors as far as `want` sockets need and returns how many there can be.
 */
unsigned exchange_socket_limit(unsigned want);

#endif
