/*
 * Groups of queues: the queues of one virtual MTA that share limits, mode, pace and settings because
 * one operator receives their mail ([mx-rollup], queue-to, or the same best MX hosts). Each domain
 * keeps a queue of its own, with its own mail, hosts and clock, so that a member can be paused and
 * looked at alone; what is counted or decided about "the queue" goes by queue_identity.
 */
#ifndef PMTA_PIPE_QUEUE_GROUP_H
#define PMTA_PIPE_QUEUE_GROUP_H

#include "base/hash.h"
#include "base/list.h"

struct engine;
struct queue;

enum queue_group_kind {
    GROUP_ROLLUP,   /* [mx-rollup NAME]: "NAME.rollup" */
    GROUP_QUEUE_TO, /* queue-to = NAME */
    GROUP_SITE,     /* auto-mx-rollup: named after the hosts */
};

struct queue_group {
    struct hash_node node; /* in engine->groups, by name */
    struct engine *engine;
    char *name;            /* "google.rollup/mta1" */
    struct strview domain; /* part of name: "google.rollup" */
    struct strview rollup; /* GROUP_ROLLUP: part of name, "google"; else empty */
    enum queue_group_kind kind;
    struct list members; /* queue->in_group */
    uint32_t member_count;
    bool is_shared; /* a GROUP_SITE had two members once; the others always */
};

/* What limits, mode, actions and pace of q go by: "google.rollup/mta1" when it is in a group, else
 * its own name. Changes when the queue joins or leaves a group (queue_group_changed). */
const char *queue_identity(const struct queue *q);
/* The domain that settings of limits are looked up with: the group's, else q->domain. */
struct strview queue_identity_domain(const struct queue *q);
/* The domain of the group alone, empty when there is none: `group` of a config_query. */
struct strview queue_group_domain(const struct queue *q);
/* The queues with q's identity, q among them, each followed by the ones beside it (queue->base): NULL
 * begins, NULL ends. */
struct queue *queue_sibling_next(const struct queue *q, struct queue *prev);

/* Puts q into the group of that name (made when it is new), out of any other; empty domain: none.
 * True when the identity or the group of q changed. */
bool queue_group_join(struct queue *q, struct strview domain, enum queue_group_kind kind);
void queue_group_leave(struct queue *q);
/* Those of engine->groups. */
struct queue_group *queue_group_find(const struct engine *g, struct strview name);
void queue_groups_init(struct engine *g);
void queue_groups_fini(struct engine *g);

#endif
