/*
 * fair: work of several clients started round robin, with a bounded number under way. One client
 * alone gets at most half of the places, two a third each, and so on: there is always room for one
 * who comes next, however long the others' work takes.
 */
#ifndef PMTA_RESOLVER_FAIR_H
#define PMTA_RESOLVER_FAIR_H

#include "base/list.h"

enum { FAIR_MIN_SHARE = 4 };

struct fair {
    struct list ring; /* clients that have something queued; the next to be served first */
    unsigned busy;    /* clients with something queued or under way */
    unsigned active;
    unsigned max_active;
    size_t queued;
};

struct fair_client {
    struct list link;  /* in fair.ring */
    struct list queue; /* of fair_item.link */
    size_t queued;
    unsigned active;
};

struct fair_item {
    struct list link;
    struct fair_client *client;
};

void fair_init(struct fair *f, unsigned max_active);
void fair_client_init(struct fair_client *c);

/* Queues an item; the memory stays the caller's. */
void fair_add(struct fair *f, struct fair_client *c, struct fair_item *item);
/* The next item that may begin, taken off its queue and counted as under way, or NULL. */
struct fair_item *fair_next(struct fair *f);
/* An item that fair_next gave has ended. */
void fair_done(struct fair *f, struct fair_item *item);
/* Takes the first queued item of a client off without starting it, or NULL. */
struct fair_item *fair_drop(struct fair *f, struct fair_client *c);

static inline bool fair_client_idle(const struct fair_client *c)
{
    return !c->queued && !c->active;
}

#endif
