/*
 * One outgoing queue: the mail for one recipient domain through one virtual MTA, named
 * "domain/vmta". It holds entries that may go now (ready, in lanes: see lane.h) and those that wait for their
 * time (deferred), has a clock of its own for when its hosts cannot be reached, and knows
 * its connections. It decides nothing: that is the engine's.
 */
#ifndef PMTA_PIPE_QUEUE_QUEUE_H
#define PMTA_PIPE_QUEUE_QUEUE_H

#include "limit/limit.h"
#include "mail/outcome.h"
#include "queue/group.h"
#include "queue/index.h"
#include "queue/lane.h"
#include "queue/settings.h"
#include "queue/vmta.h"
#include "route/routes.h"

struct engine;
struct local_queue;
struct queue_memo;
struct throttle;

/* The answers that a queue needs before it can connect, one per name in smtp-hosts, or the one for
 * its domain. */
struct queue_route {
    struct route **routes; /* NULL for an entry that is an address already */
    struct route_waiter *waiters;
    size_t count;
    size_t pending;
    struct queue *queue;
};

struct queue {
    struct hash_node node; /* in engine->queues, by name */
    struct engine *engine;
    char *name;
    struct strview domain; /* part of name */
    struct vmta *vmta;
    const struct local_queue *local; /* handled in this process; NULL: it has connections */
    enum tls_ask ask;   /* of its messages; then the name says so, too, and: */
    struct queue *base; /* the usual queue, whose identity and group it shares; NULL: this is one */
    struct queue *variants[TLS_ASK_COUNT]; /* of a usual queue, by ask; NULL where there is none */
    struct queue_settings settings;
    struct throttle *throttle; /* its limits; NULL until it wants to connect */
    enum queue_mode mode;
    uint8_t rate_percent;      /* of its rates are used; 100 but for a rule's rate= */
    struct queue_group *group; /* NULL: alone; see queue_identity */
    struct list in_group;      /* group->members */
    uint64_t grouped_by;       /* token of the route that said the group; 0: ask again */
    bool only_named_hosts;     /* of its route only the hosts that its group names */
    const char *reroute_to;    /* virtual MTA or pool; NULL: none. Lives in settings.config */
    const char *backoff_reroute_to;
    struct list moving;   /* in engine->movers while its mail goes to another queue */
    struct list stranded; /* in engine->stranded: its virtual MTA has no address here */

    struct lane plain;   /* ready, of usual priority, without job and windows */
    struct list lanes;   /* all that have entries, and the plain one */
    struct lane *recent; /* the last one looked up, or NULL */
    struct heap turns;   /* the others that may send, by priority and turn */
    int64_t turn_seq;
    struct heap deferred;
    uint32_t ready_count; /* ready and in lanes that may send */
    uint32_t held_count;  /* ready in lanes that stand aside */
    uint32_t live;        /* entries in any state but DONE */

    struct list senders; /* connections, all of them */
    struct list idle;    /* of these, the ones without work */
    uint32_t sender_count;
    uint32_t established;
    uint32_t coming; /* of the senders: will ask for a message soon (connecting, or woken) */
    struct limit_waiter waiter; /* in line where a limit has no room */
    struct limit *line;         /* that limit, with a reference; still set while it was told */
    struct list host_wait;      /* in engine->host_waiters, when line is that of a host */
    uint64_t ticket;            /* of its place in line: smaller came earlier */
    bool told;                  /* there was room at line: its turn has come */
    int64_t bound_until_ms;     /* monotonic; a rate held it back lately: nothing is prefetched */
    uint32_t turn;              /* rotates hosts of equal preference */

    struct queue_route route;
    struct list runnable;   /* in engine->runnable or engine->told, or alone */
    struct list configured; /* in engine->current or engine->stale */
    struct heap_node wake;  /* in engine->wake: the next time that something becomes due */

    bool held;               /* an action holds it: defer-queue, or every source is disabled */
    bool all_disabled;       /* every source is disabled */
    struct queue_memo *memo; /* actions and history of its identity; NULL: none of late */
    struct list in_memo;     /* memo->queues */
    struct list failing;     /* in actions->failing while failures is not 0 */

    bool paused;         /* a pause pattern matches */
    int64_t retry_at_ms; /* wall; 0: its hosts did not fail */
    int64_t
        hold_until_ms; /* wall; no further connection while some are open: the peer refused one */
    uint32_t failures; /* rounds in a row that failed for the whole queue; a delivery ends them */
    int64_t failed_at_ms;  /* wall; the latest of them */
    uint32_t leaving;      /* of the senders: told to end because there are too many */
    char *last_text;       /* why the queue waits for its retry, or the last temporary reply */
    int64_t idle_since_ms; /* monotonic; when the last entry left */
    uint64_t config_generation;
};

/* Domain is lower case. base: NULL for a usual queue (ask 0), else that of the same domain and virtual
 * MTA. Never NULL. */
struct queue *queue_new(struct engine *engine, struct strview domain, struct vmta *vmta,
                        struct queue *base, enum tls_ask ask);
/* No entries and no connections are left. */
void queue_free(struct queue *q);

/* The usual queue that q is or stands beside. */
static inline const struct queue *queue_base(const struct queue *q)
{
    return q->base ? q->base : q;
}

/* State moves of an entry that belongs to q. queue_ready_front puts back what a connection could
 * not send. */
void queue_ready(struct queue *q, struct entry *e);
void queue_ready_front(struct queue *q, struct entry *e);
void queue_defer(struct queue *q, struct entry *e, int64_t until_wall_ms);
/* Takes the entry out of ready or deferred; its state becomes `to` (SENDING, FINISHING). */
void queue_take(struct queue *q, struct entry *e, enum entry_state to);

/* Some entry that is ready (standing aside or not) or deferred; NULL: there is none. For who takes
 * them all out one by one. */
struct entry *queue_any_waiting(struct queue *q);

/* Moves what is due at `now` from deferred to ready. True when something moved. */
bool queue_collect_due(struct queue *q, int64_t now_wall_ms);

/* "active", "connecting", "paused", "retry" (its hosts failed), "held" (by an action, jobs or
 * windows), "waiting" (all deferred), "idle". */
const char *queue_state_name(const struct queue *q, bool pipe_paused);

void queue_set_text(struct queue *q, struct strview text);

#endif
