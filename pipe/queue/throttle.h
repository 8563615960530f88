/*
 * The limits that apply to one queue and its connections, gathered from everywhere they can stand:
 * the queue itself, its domain group (shared = yes), its group of MX hosts, virtual MTA, pool,
 * source address, MX host and address, pipe and process; and what pace (adaptive, warm-up) and a
 * rule's rate= put on top.
 */
#ifndef PMTA_PIPE_QUEUE_THROTTLE_H
#define PMTA_PIPE_QUEUE_THROTTLE_H

#include "limit/limit.h"
#include "queue/settings.h"

struct engine;
struct queue;
struct vmta_source;
struct delivery_host;

enum { THROTTLE_MAX = 48 };

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
/* Puts what applies to this host alone into ret, which was empty. */
void throttle_gather_host(struct engine *g, struct queue *q, const struct vmta_source *source,
                          const struct delivery_host *host, struct throttle_set *ret);
void throttle_set_fini(struct throttle_set *s);

static inline bool throttle_set_has(const struct throttle_set *s, const struct limit *l)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i] == l)
            return true;
    return false;
}

/* What paces q from that address, with a reference, for outcomes; NULL: nothing does. */
struct pace_pair *throttle_pair(struct engine *g, struct queue *q,
                                const struct vmta_source *source);

/* The same when there is one already, without a reference. */
struct pace_pair *throttle_known_pair(struct engine *g, struct queue *q,
                                      const struct vmta_source *source);

/* A directive of pace, as it holds for q. */
const struct config_value *throttle_pace_value(struct engine *g, struct queue *q, enum directive d);

/* l holds for q whatever address it sends from. */
bool throttle_is_common(const struct queue *q, const struct limit *l);

/* Plain numbers of q in its mode. */
struct throttle_numbers {
    uint32_t version; /* changes with every throttle_configure */
    uint32_t max_connections;
    uint32_t max_msg_per_connection;
    uint32_t max_rcpt_per_transaction;
    bool has_host_limits; /* throttle_gather_host may give something */
};
const struct throttle_numbers *throttle_numbers(struct engine *g, struct queue *q);

/* A value of q in its mode; lives until the next throttle_configure. */
const struct config_value *throttle_value(struct engine *g, struct queue *q,
                                          enum queue_limit which);

/* One limit as the configuration says it. */
struct throttle_rule {
    enum limit_measure measure;
    const char *name; /* of the limit */
    uint32_t max;     /* CONNECTIONS */
    struct rate rate; /* the others */
    const struct config_value *value;
};
/* Calls fn for everything that throttle_gather would give but for pace; name and value are valid
 * during the call. */
void throttle_explain(struct engine *g, struct queue *q, const struct vmta_source *source,
                      const struct delivery_host *host,
                      void (*fn)(void *arg, const struct throttle_rule *r), void *arg);

/* The value that sets a limit of q, or NULL; lives in the configuration of q. */
const struct config_value *throttle_origin(struct engine *g, struct queue *q,
                                           const struct limit *l);

#endif
