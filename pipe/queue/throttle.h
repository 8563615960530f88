/*
 * The limits that apply to one queue and its connections, gathered from everywhere they can stand:
 * the queue itself, its domain group (shared = yes), its group of MX hosts, virtual MTA, pool,
 * source address, MX host and address, pipe and process; and what pace (adaptive, warm-up) and a
 * rule's rate= put on top.
 */
#ifndef PMTA_PIPE_QUEUE_THROTTLE_H
#define PMTA_PIPE_QUEUE_THROTTLE_H

#include "limit/limit.h"

struct engine;
struct queue;
struct vmta_source;
struct delivery_host;

enum { THROTTLE_MAX = 40 };

/* A set of limits with a reference to each. */
struct throttle_set {
    struct limit *items[THROTTLE_MAX];
    uint8_t count;
};

/* Settings, mode, rate factor or pace of q have changed: its limits are set to what holds now.
 * Connections that are open keep the set that they were opened with for giving back. */
void throttle_configure(struct engine *g, struct queue *q);
void throttle_fini(struct queue *q);

/* Everything that applies to a connection of q from source to host (host NULL: what is known before
 * one is chosen). */
void throttle_gather(struct engine *g, struct queue *q, const struct vmta_source *source,
                     const struct delivery_host *host, struct throttle_set *ret);
void throttle_set_fini(struct throttle_set *s);

#endif
