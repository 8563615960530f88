/*
 * Lanes: the ready recipients of one queue, apart by priority, job and delivery windows. Within a
 * queue the lane of the highest priority goes first; lanes of equal priority take turns, message by
 * message, so that a large job does not delay a small one; within a lane first come, first served,
 * where a retried recipient comes when its time has come. Priority never reaches over queues: each
 * queue has connections of its own.
 *
 * A lane that may not send (its job is paused or has used up its rate, its windows are shut) stands
 * aside with all its entries in one move, and nothing looks at it until that changes.
 *
 * Mail without any of these is in the queue's plain lane, which costs a list and a counter.
 */
#ifndef PMTA_PIPE_QUEUE_LANE_H
#define PMTA_PIPE_QUEUE_LANE_H

#include "jobs/jobs.h"
#include "jobs/windows.h"
#include "queue/index.h"

struct queue;
struct engine;

enum lane_hold {
    LANE_PAUSED = 1,  /* the job is */
    LANE_NO_ROOM = 2, /* the job's rate: waits in the limit's line */
    LANE_SHUT = 4,    /* outside its windows */
};

struct lane {
    struct heap_node turn; /* in queue->turns, while it has entries and nothing holds it */
    struct list entries;   /* READY */
    struct queue *queue;
    uint32_t count;
    uint8_t priority;
    uint8_t held; /* LANE_x bits */
    /* not in the plain lane: */
    struct hash_node node; /* in engine->lanes */
    struct job *job;       /* these two are borrowed: the entries' messages hold them */
    struct windows *windows;
    struct list of_queue;       /* in queue->lanes; the plain lane too */
    struct list of_job;         /* in job->lanes */
    struct heap_node change;    /* in engine->shutters: when the windows open or shut next */
    struct list over;           /* in engine->lanes_over: the last window has passed */
    struct limit_waiter waiter; /* in line at job->limit */
};

void lanes_init(struct engine *g);
void lanes_fini(struct engine *g);

/* The queue's own lane. */
void lane_init_plain(struct lane *lane, struct queue *q);

/* The entry (whose message says where it belongs) into its lane and out of it. */
void lane_put(struct queue *q, struct entry *e, bool in_front);
void lane_take(struct queue *q, struct entry *e);

/* The lane whose turn it is, with how many recipients of its first message may go (at most `most`,
 * less when its job's rate says so: that many were taken from the rate). The next lane of equal
 * priority has its turn then. NULL: nothing may go. */
struct lane *lanes_next(struct queue *q, uint32_t most, uint32_t *ret_granted);

/* The entry whose turn it is, as far as can be told without asking a job's rate; NULL: none. */
const struct entry *lanes_peek(struct queue *q);

/* All lanes of the job stand aside, or come back. */
void lanes_pause(struct job *job, bool paused);

/* Windows that opened, shut or passed by now; and when the next does (INT64_MAX: none). */
void lanes_tick(struct engine *g, int64_t now_ms);
int64_t lanes_next_ms(const struct engine *g);

/* What holds an entry that is READY: LANE_x bits. */
unsigned lane_holds(struct queue *q, const struct entry *e);

/* Lets go of the lanes of a queue that ends, whatever is in them. */
void lanes_free_all(struct queue *q);

#endif
