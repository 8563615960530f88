/*
 * Inside the engine: what its parts (engine, scheduler, sender, settle, finisher, pauses) share.
 */
#ifndef PMTA_PIPE_QUEUE_ENGINE_INT_H
#define PMTA_PIPE_QUEUE_ENGINE_INT_H

#include "queue/choose.h"
#include "queue/cold.h"
#include "queue/actions.h"
#include "queue/engine.h"
#include "queue/react.h"
#include "queue/throttle.h"

struct finisher;

/* In place of a domain: mail for another pipe is one queue. */
#define QUEUE_NOTICES "notices"

enum { LINE_BOUND_MS = 1000 }; /* a rate that refused is taken to bind this long */

struct engine {
    struct engine_parts parts;
    char *pipe;
    struct report *report;
    struct spool *spool;
    struct config *config;
    uint64_t config_generation;
    bool signs; /* the configuration has keys or BIMI selectors for this pipe */
    char *helo_fallback;

    struct index index;
    struct body_cache bodies;
    struct hash queues; /* by name */
    struct limits *limits;
    struct jobs *jobs;
    struct hash windows;    /* of messages, by text */
    struct hash lanes;      /* by queue, job, windows, priority; not the plain ones */
    struct list lanes_over; /* the last window is over: a finisher takes what is in them */
    struct heap shutters;   /* lanes with windows, by the time that these open or shut next */
    struct hash groups;     /* struct queue_group, by name */
    struct vmta *vmtas;
    struct hash vmta_names; /* struct vmta, without regard to case */
    struct hash pools;      /* struct vmta_pool, the same */
    char *default_vmta;     /* of this pipe; virtual MTA or pool */
    struct cold cold;
    void (*cold_changed)(void *arg);
    void *cold_arg;
    uint64_t max_queued;

    /* scheduling */
    struct list runnable; /* queues that want a connection */
    struct list told;     /* queues whose turn at a limit has come: before the runnable ones */
    struct list current;  /* queues whose settings are of this configuration */
    struct list stale;    /* those that take it over, in slices */
    struct list idle_senders;
    struct list host_waiters; /* queues in line at a host; another one of theirs may do as well */
    uint64_t tickets;
    uint32_t yielding; /* connections that were told to end so that others get their place */
    struct heap wake;  /* queues by the time that something becomes due */
    uv_idle_t idle;    /* runs while runnable or a finisher has work */
    uv_timer_t timer;  /* the next wake, and housekeeping */
    bool idle_active;
    uint8_t handles_open;
    bool started;
    bool paused;
    struct pace *pace;
    uint32_t connection_count;
    int64_t armed_ms;      /* the timer, monotonic; INT64_MAX: not */
    int64_t next_sweep_ms; /* monotonic */

    struct list loads_free; /* struct load, for reuse */
    uint32_t loads_out;

    struct list finishers;
    struct list movers;   /* queues whose mail goes to another one */
    struct list stranded; /* queues whose virtual MTA has no address on this machine */
    int64_t tell_loop_ms; /* monotonic; when a loop of rerouting is logged again */

    struct pause_pattern *pauses;

    struct rules *rules; /* of the configuration */
    struct actions actions;
    bool suspended; /* an action holds the pipe */
    void (*bounced)(void *arg, const struct envelope *env, uint32_t rcpt, const struct outcome *o);
    void *bounced_arg;
    engine_suppressed_fn *suppressed; /* NULL: nobody is */
    void *suppressed_arg;
    void (*notice)(void *arg, struct strview to_list, struct strview subject, struct strview body);
    void *notice_arg;
    struct engine_dsn dsn;
    void (*tls_told)(void *arg, struct strview domain, const struct tls_policy *policy,
                     const struct tls_told *t);
    void *tls_told_arg;
    const struct engine_local_ops *local; /* NULL: everything goes out */
    void *local_arg;

    /* drain */
    bool draining;
    int64_t drain_until_ms; /* monotonic */
    void (*drained)(void *arg);
    void *drained_arg;
};

/* engine.c */
struct queue *engine_queue_of(struct engine *g, struct strview domain, struct vmta *vmta,
                              enum tls_ask ask);
/* Reads the settings of q again. */
void engine_configure_queue(struct engine *g, struct queue *q);

/* engine.c: to the log, and to who asked for it */
void engine_tell_tls(const struct queue *q, const struct tls_told *t);

/* scheduler.c: something changed for this queue (entry ready, place free, resumed, due) */
void scheduler_init(struct engine *g);
/* The answers that q has do not fit any more: asked for again before the next connection. */
void scheduler_forget_route(struct engine *g, struct queue *q);
void scheduler_kick(struct engine *g, struct queue *q);
/* An action may end sooner than anything was due before. */
void scheduler_rearm(struct engine *g);
/* The wake-up time of q may have changed. */
void scheduler_rewake(struct engine *g, struct queue *q);
/* The same for a queue that may stand in line at a limit: it keeps its place there. */
void scheduler_retry(struct engine *g, struct queue *q);

/* line.c: queues in line at limits */
/* l has no room for q: it waits there, and nowhere else. */
void scheduler_wait(struct engine *g, struct queue *q, struct limit *l);
void scheduler_wait_host(struct engine *g, struct queue *q, struct limit *l);
/* q stands in no line. */
void scheduler_leave(struct queue *q);
/* A place at a host was given back: those who stand in line at another one look again. */
void scheduler_host_room(struct engine *g);
/* The limit of the set at which another queue stands in line before q; NULL: none. */
struct limit *scheduler_line_before(const struct queue *q, struct limit *const *set, size_t count);
/* The limit of the set that another queue waits for, and unless by_anybody, one that is not less
 * urgent than q; NULL: none. */
struct limit *scheduler_wanted(const struct queue *q, struct limit *const *set, size_t count,
                               bool by_anybody);
/* q got something without its turn, or gave a place away after its share: to the end of its line. */
void scheduler_had_turn(struct engine *g, struct queue *q);
/* scheduler.c: All queues take over g->config: what is about to act at once, the others in slices. */
void scheduler_reconfigure(struct engine *g);
/* Settings of q are those of g->config. */
void scheduler_refresh(struct engine *g, struct queue *q);
/* Work for the idle handler exists. */
void scheduler_want_turn(struct engine *g);
void scheduler_check_drained(struct engine *g);
/* What the timer does: wakes queues that are due, forgets old ones. Tests call it after they moved
 * the clock. */
void scheduler_tick(struct engine *g);
/* When scheduler_tick has something to do next, wall; for who drives it with a clock of its own. */
int64_t scheduler_next_ms(const struct engine *g);

/* sender.c: one outgoing connection of a queue */
struct sender;
struct load;
/* The places were taken in `set` and `host_set`, which become the sender's; credit: recipients that
 * the rates of set granted in advance. */
struct sender_places {
    struct throttle_set set, host_set;
    uint32_t credit;
    bool hosts_missing; /* hosts of the queue that may be usable later are not among those given */
};
void sender_open(struct engine *g, struct queue *q, const struct vmta_source *source,
                 const struct delivery_host *hosts, size_t host_count,
                 struct sender_places *places);
/* Wakes an idle connection that all rates agree with. False: there is none, *ret_full is what
 * refused, NULL when no connection is idle. */
bool sender_wake_idle(struct queue *q, struct limit **ret_full);
/* Ends one idle connection, of whatever queue but q, that holds a place in l. */
void sender_make_room(struct engine *g, const struct queue *q, const struct limit *l);
/* Ends idle connections so that others get their places; returns how many. */
size_t sender_close_idle(struct queue *q, size_t most);
void sender_close_all(struct engine *g, bool abort);
void sender_visit(const struct queue *q,
                  void (*fn)(void *arg, const struct queue *q, const struct delivery_info *i),
                  void *arg);
void sender_free_loads(struct engine *g);

/* An action holds the queue or the pipe. */
static inline bool engine_holds(const struct engine *g, const struct queue *q)
{
    return q->held || g->suspended;
}

/* settle.c: outcomes become states. `e` is SENDING or FINISHING; what a rule made of the reply may
 * be NULL. */
void settle_entry(struct engine *g, struct entry *e, const struct envelope *env,
                  const struct outcome *o, const struct reaction *r);
/* The end of an entry that `dsn.owed` took: journalled and reported. */
void settle_decided(struct engine *g, struct entry *e, const struct envelope *env,
                    const struct outcome *o, const struct rule_match *rule);
/* The queue as a whole could not be tried. */
void settle_queue_failure(struct engine *g, struct queue *q, const struct outcome *o);

/* finisher.c: ends entries outside of a connection (DNS says no, deleted, expired), in slices */
/* What is in engine->lanes_over, until that is empty, ends as expired. */
void finisher_over(struct engine *g);
/* All READY and DEFERRED entries of q end with this outcome. Copies the outcome's text. */
void finisher_queue(struct engine *g, struct queue *q, const struct outcome *o);
/* Recipients of this message that are suppressed and FINISHING end, when the spool can be read. */
void finisher_suppressed(struct engine *g, message_id id);
/* One that was started for q by finisher_queue is not done. */
bool finisher_runs(const struct engine *g, const struct queue *q);
/* Entries of q whose time is over (age >= bounce-after) end as expired, saying `text`. */
void finisher_expired(struct engine *g, struct queue *q, struct strview text);
/* There is something to do at once; otherwise nothing, or reads are under way that call
 * scheduler_want_turn at their end. */
bool finisher_can_work(const struct engine *g);
/* One slice of work. */
void finisher_turn(struct engine *g);

/* engine.c */
void engine_configure_queue(struct engine *g, struct queue *q);

/* suppressed.c: recipients that are on the suppression list */
enum { SUPPRESSED_TEXT = 160 };
struct outcome suppressed_outcome(const struct envelope_rcpt *rcpt, char text[SUPPRESSED_TEXT]);
/* Ends the FINISHING entries of the message whose recipients are suppressed. */
void suppressed_end(struct engine *g, struct message *m, const struct envelope *env);

/* pauses.c */
bool pauses_match(const struct engine *g, const struct queue *q);
void pauses_free(struct engine *g);

#endif
