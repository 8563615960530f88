/*
 * Where mail goes, as the resolver process said it: a cache by name with the TTLs of the DNS, and
 * the questions under way. One question per name, however many queues wait for it. When the
 * resolver dies, open questions are asked again of the next one.
 */
#ifndef PMTA_PIPE_ROUTE_ROUTES_H
#define PMTA_PIPE_ROUTE_ROUTES_H

#include "base/hash.h"
#include "base/list.h"
#include "mail/route.h"
#include "mail/tls_policy.h"
#include "net/ipc.h"

struct routes;
struct queue;

enum { ROUTE_PENDING = -1 };

/* What is wanted with a route besides its hosts. */
struct route_wants {
    uint8_t bits;  /* ROUTE_WANT_… */
    uint16_t port; /* that TLSA records are asked for; means nothing without ROUTE_WANT_TLSA */
};

/* One answer; refcounted, immutable once it is not pending. */
struct route {
    struct hash_node node;
    struct hash_node pending_node;
    struct list waiters;
    uint32_t refs;
    int status; /* enum route_status, or ROUTE_PENDING */
    enum route_kind kind;
    struct route_wants wants;
    uint64_t token;
    int64_t expires_ms; /* monotonic */
    char *domain;
    char *text; /* why, when status is not ROUTE_OK; never NULL once answered */
    struct arena arena;
    struct buf bytes; /* what the views in addresses and policy point into */
    struct route_address *addresses;
    size_t address_count;
    struct tls_policy policy; /* as far as it was wanted */
    bool cached;              /* still in the table */
};

/* Told once when a pending route is answered; not inside routes_get. */
struct route_waiter {
    struct list link;
    void (*answered)(struct route_waiter *w);
    struct queue *queue; /* whose it is; not looked at here */
};

struct routes *routes_new(uv_loop_t *loop);
void routes_free(struct routes *r);

/* A new edge to the resolver; takes fd. Open questions are asked again on it. */
void routes_set_edge(struct routes *r, int fd);

/* A reference to the cached or just asked-for answer; answers to different wants are different
 * routes (what makes no difference is left out of the comparison). When it is pending and waiter is not NULL,
 * the waiter (list_init'd by the caller) is put in line. */
struct route *routes_get(struct routes *r, enum route_kind kind, struct strview domain,
                         struct route_wants wants, struct route_waiter *waiter);
void route_unref(struct routes *r, struct route *route); /* NULL is fine */

/* False once the TTL is over. */
bool route_is_fresh(const struct route *route);

#endif
