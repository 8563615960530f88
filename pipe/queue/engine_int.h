/*
 * Inside the engine: what its parts (engine, scheduler, sender, settle, finisher, pauses) share.
 */
#ifndef PMTA_PIPE_QUEUE_ENGINE_INT_H
#define PMTA_PIPE_QUEUE_ENGINE_INT_H

#include "queue/engine.h"

struct finisher;

struct engine {
    struct engine_parts parts;
    char *pipe;
    struct report *report;
    struct spool *spool;
    struct config *config;
    uint64_t config_generation;
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
    uint64_t max_queued;
    uint64_t pool_turn; /* counts messages, to take the members of a pool in turn */

    /* scheduling */
    struct list runnable; /* queues that want a connection */
    struct list blocked;  /* queues that wait for a place in the pipe or virtual MTA */
    struct heap wake;     /* queues by the time that something becomes due */
    uv_idle_t idle;       /* runs while runnable or a finisher has work */
    uv_timer_t timer;     /* the next wake, and housekeeping */
    bool idle_active;
    uint8_t handles_open;
    bool started;
    bool paused;
    struct slots slots; /* connections of the pipe */
    uint32_t connection_count;
    int64_t next_sweep_ms; /* monotonic */

    struct list loads_free; /* struct load, for reuse */
    uint32_t loads_out;

    struct list finishers;

    struct pause_pattern *pauses;

    /* drain */
    bool draining;
    int64_t drain_until_ms; /* monotonic */
    void (*drained)(void *arg);
    void *drained_arg;
};

/* scheduler.c: something changed for this queue (entry ready, place free, resumed, due) */
void scheduler_init(struct engine *g);
void scheduler_kick(struct engine *g, struct queue *q);
/* The wake-up time of q may have changed. */
void scheduler_rewake(struct engine *g, struct queue *q);
/* The next time that a lane's windows change may have come nearer. */
void scheduler_arm(struct engine *g);
/* A place became free: blocked queues may try again. */
void scheduler_unblock(struct engine *g);
/* Work for the idle handler exists. */
void scheduler_want_turn(struct engine *g);
void scheduler_check_drained(struct engine *g);
/* What the timer does: wakes queues that are due, forgets old ones. Tests call it after they moved
 * the clock. */
void scheduler_tick(struct engine *g);

/* sender.c: one outgoing connection of a queue */
struct sender;
struct load;
void sender_open(struct engine *g, struct queue *q, const struct delivery_host *hosts,
                 size_t host_count);
void sender_wake_idle(struct queue *q);
/* Ends idle connections so that others get their places; returns how many. */
size_t sender_close_idle(struct queue *q, size_t most);
void sender_close_all(struct engine *g, bool abort);
void sender_visit(const struct queue *q,
                  void (*fn)(void *arg, const struct queue *q, const struct delivery_info *i),
                  void *arg);
void sender_free_loads(struct engine *g);

/* settle.c: outcomes become states. `e` is SENDING or FINISHING. */
void settle_entry(struct engine *g, struct entry *e, const struct envelope *env,
                  const struct outcome *o);
/* The queue as a whole could not be tried. */
void settle_queue_failure(struct engine *g, struct queue *q, const struct outcome *o);
/* Length of the n-th wait (n from 1), with ±10% jitter that is the same for one seed. */
int64_t settle_retry_delay_ms(const struct queue_settings *s, unsigned n, uint64_t seed);

/* finisher.c: ends entries outside of a connection (DNS says no, deleted, expired), in slices */
/* What is in engine->lanes_over, until that is empty, ends as expired. */
void finisher_over(struct engine *g);
/* All READY and DEFERRED entries of q end with this outcome. Copies the outcome's text. */
void finisher_queue(struct engine *g, struct queue *q, const struct outcome *o);
/* Entries of q whose time is over (age >= bounce-after) end as expired, saying `text`. */
void finisher_expired(struct engine *g, struct queue *q, struct strview text);
/* There is something to do at once; otherwise nothing, or reads are under way that call
 * scheduler_want_turn at their end. */
bool finisher_can_work(const struct engine *g);
/* One slice of work. */
void finisher_turn(struct engine *g);

/* pauses.c */
bool pauses_match(const struct engine *g, const struct queue *q);
void pauses_free(struct engine *g);

#endif
