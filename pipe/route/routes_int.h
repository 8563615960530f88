/*
 * What routes.c and lookups.c share: the edge to the resolver, and what goes over it.
 */
#ifndef PMTA_PIPE_ROUTE_ROUTES_INT_H
#define PMTA_PIPE_ROUTE_ROUTES_INT_H

#include "route/lookups.h"
#include "route/posts.h"

struct lookup_room; /* lookups.c */
struct post_room;   /* posts.c */

struct routes {
    uv_loop_t *loop;
    struct ipc_edge *edge; /* NULL: open questions wait for one */
    struct hash by_name;
    struct hash pending; /* by token */
    uint64_t last_token;
    struct lookup_room *lookups; /* NULL before the first one */
    struct post_room *posts;     /* the same */
};

/* A new edge is there: asks what is open again. */
void lookups_ask_again(struct routes *r);
/* Frame lookup_reply. 0, or ERR_PROTOCOL. */
int lookups_take(struct routes *r, struct strview frame);
/* No done will fire. */
void lookups_close(struct routes *r);

/* The same of posts; what was under way when the edge went down is lost. */
void posts_lost(struct routes *r);
int posts_take(struct routes *r, struct strview frame);
void posts_close(struct routes *r);

#endif
