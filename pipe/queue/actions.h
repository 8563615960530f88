/*
 * What holds or slows a queue because of a reply or by hand: every such act is an action with a
 * kind, a cause, the reply that triggered it, since and until when. It ends by its time, by a
 * delivery, by a mode=normal rule or by `pmtactl cancel`. Actions belong to the name of a queue, not
 * to its memory: one of a queue that is not there (yet, or any more) waits for it. They survive a
 * restart, and so does the clock of queues that cannot be reached.
 */
#ifndef PMTA_PIPE_QUEUE_ACTIONS_H
#define PMTA_PIPE_QUEUE_ACTIONS_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/heap.h"
#include "base/list.h"
#include "rules/rules.h"

struct engine;
struct queue;

/* KIND(ID, "name", "what it does") */
#define ACTION_KINDS(KIND)                                                 \
    KIND(BACKOFF, "backoff", "the queue is in back-off")                   \
    KIND(RATE, "rate", "rates and connections of the queue are cut")       \
    KIND(SOURCE, "disable-source-ip", "the queue does not use an address") \
    KIND(HOST, "skip-mx", "the queue leaves a host alone")                 \
    KIND(DEFER, "defer-queue", "the queue waits")                          \
    KIND(BOUNCE, "bounce-queue", "what the queue held has bounced")        \
    KIND(SUSPEND, "suspend-pipe", "the pipe sends nothing")

enum action_kind {
#define ACTION_ENUM(id, name, help) ACTION_##id,
    ACTION_KINDS(ACTION_ENUM)
#undef ACTION_ENUM
        ACTION_KIND_COUNT
};

const char *action_kind_name(enum action_kind k);
const char *action_kind_help(enum action_kind k);

enum { MODE_CHANGES_KEPT = 10 };

struct mode_change {
    int64_t at_ms; /* wall */
    uint8_t to;    /* enum queue_mode */
    char *reason;
};

/* What is remembered under the name that a queue goes by (queue_identity): its own, or that of the
 * group whose members share it. */
struct queue_memo {
    struct hash_node node; /* in actions->memos */
    char *name;
    struct list queues;  /* those that go by it now, struct queue.in_memo */
    struct list actions; /* struct action.in_memo */
    uint32_t counts[ACTION_KIND_COUNT];
    struct mode_change changes[MODE_CHANGES_KEPT]; /* oldest first */
    uint8_t change_count;
    int64_t noticed_ms; /* the last `notify`; wall */
};

struct action {
    struct list link;        /* in actions->all, oldest first */
    struct list in_memo;     /* alone for one of the pipe */
    struct heap_node due;    /* by until_ms; in no heap when that is 0 */
    struct queue_memo *memo; /* NULL: of the pipe */
    uint64_t id;
    enum action_kind kind;
    uint32_t percent;          /* RATE */
    uint32_t times;            /* how often its cause has come */
    int64_t since_ms;          /* wall */
    int64_t until_ms;          /* wall; 0: until somebody ends it */
    char *subject;             /* address or host, or "" */
    char *by;                  /* "reply", "operator", or the directive that it is from */
    char *list, *file, *regex; /* the rule; "" when there is none */
    unsigned line;
    char *reply; /* that triggered it, or "" */
};

struct action_spec {
    enum action_kind kind;
    const char *queue;   /* "domain/vmta"; NULL: the pipe */
    const char *subject; /* NULL: "" */
    uint32_t percent;
    int64_t until_ms;
    const char *by;                /* NULL: "reply" */
    const struct rule_match *rule; /* NULL: none */
    struct strview reply;
};

struct actions {
    struct engine *engine;
    struct list all;
    struct heap due;
    struct hash memos;   /* by name */
    struct list failing; /* queues with failures, struct queue.failing */
    uint64_t next_id;
    uint32_t count;
    uint32_t suspends;    /* of kind SUSPEND */
    int64_t full_told_ms; /* monotonic */
    /* what has to be saved has changed */
    void (*changed)(void *arg, bool clocks);
    void *changed_arg;
};

/* Most actions at a time, and most clocks that are kept over a restart. */
enum { ACTIONS_MAX = 20000, CLOCKS_KEPT = 10000 };
/* No further action is taken until one ends. */
bool actions_are_full(const struct engine *g);

void actions_init(struct actions *a, struct engine *g);
void actions_fini(struct actions *a);

/* Begins an action and puts it into effect at once; when one of that kind and subject is in effect
 * for the queue, it lasts longer instead (and cuts deeper). NULL when there are too many. */
struct action *actions_start(struct engine *g, const struct action_spec *spec);
/* Ends it; reason becomes part of the mode history. */
void action_end(struct engine *g, struct action *x, const char *reason);
/* Ends those of these kinds (1 << ACTION_x) of q; returns how many. */
size_t actions_end_of(struct engine *g, struct queue *q, uint32_t kinds, const char *reason);

/* NULL when there is none. */
struct action *actions_find(const struct engine *g, uint64_t id);
/* The one of that kind that lasts longest, or NULL. */
const struct action *actions_of(const struct queue *q, enum action_kind k);
/* The one that ends first. */
const struct action *actions_first(const struct queue *q, enum action_kind k);
/* That of the queue with this subject, or NULL. */
struct action *actions_on(const struct queue *q, enum action_kind k, const char *subject);
/* The action that suspends the pipe longest, or NULL. */
const struct action *actions_suspend(const struct engine *g);

/* The memo of q, made when there is none. */
struct queue_memo *actions_memo(struct engine *g, struct queue *q);
/* A queue has come, goes, or goes by another name from now on. */
void actions_adopt(struct engine *g, struct queue *q);
void actions_forget(struct engine *g, struct queue *q);
void actions_regroup(struct engine *g, struct queue *q);
/* What is in effect for q is worked out anew (its sources may have changed). */
void actions_refresh(struct engine *g, struct queue *q);

/* Wall time of the next end; INT64_MAX: none. actions_tick ends what is due. */
int64_t actions_next_ms(const struct engine *g);
void actions_tick(struct engine *g);

/* The clock of q has moved, or starts again. */
void actions_clock(struct engine *g, struct queue *q);

/* --- over a restart: engine_actions_write and its kin are in actions_state.c --- */

/* Puts back one that was saved; for actions_read. */
struct action *actions_restore(struct engine *g, uint64_t id, int64_t since_ms, uint32_t times,
                               const struct action_spec *spec);
struct queue_memo *actions_memo_named(struct engine *g, const char *name);

#endif
