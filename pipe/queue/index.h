/*
 * The index of what is queued: one block of memory per message with an entry per unfinished
 * recipient. Addresses and bodies stay in the spool; a message with one recipient costs about 150
 * bytes here.
 */
#ifndef PMTA_PIPE_QUEUE_INDEX_H
#define PMTA_PIPE_QUEUE_INDEX_H

#include "base/hash.h"
#include "base/heap.h"
#include "base/list.h"
#include "jobs/jobs.h"
#include "jobs/windows.h"
#include "spool/spool.h"

struct queue;
struct body;
struct signing;

enum { PRIORITY_USUAL = 50, PRIORITY_MAX = 100 }; /* within a queue; higher goes first */

/* What an entry does; each is in exactly the place that its state names. */
enum entry_state {
    ENTRY_DETACHED,  /* in no queue yet */
    ENTRY_READY,     /* in its lane of the queue */
    ENTRY_DEFERRED,  /* in queue->deferred until its time */
    ENTRY_SENDING,   /* with a connection */
    ENTRY_FINISHING, /* its end is decided, the record is being made */
    ENTRY_OWING,     /* its end is decided, a delivery notice about it is being made durable */
    ENTRY_DONE,      /* final; the memory goes with the message */
};

struct entry {
    union {
        struct list link;      /* READY */
        struct heap_node wake; /* DEFERRED: key is wall ms */
    };
    struct queue *queue;
    struct message *message;
    spool_journal_place journal; /* newest journal record, 0 when there is none */
    uint16_t rcpt;               /* index in the envelope */
    uint16_t attempts;
    unsigned state : 8;            /* enum entry_state */
    unsigned first_attempt_s : 24; /* after received_ms, plus 1; 0: none yet */
};

struct message {
    struct hash_node node; /* in index->by_id */
    struct list by_age;    /* in index->by_age while an entry is live */
    message_id id;
    int64_t received_ms;
    struct job *job;         /* a reference, or NULL */
    struct windows *windows; /* a reference, or NULL */
    struct body *body;       /* content still in memory from its arrival, or NULL */
    struct signing *signing; /* signatures made for its recipients, while in memory; or NULL */
    struct spool_place place;
    uint32_t pins; /* reads and jobs under way that need the message to stay */
    uint16_t live; /* entries that are not DONE */
    uint16_t entry_count;
    uint8_t priority; /* 0 to PRIORITY_MAX */
    bool single;      /* each recipient has a sender of its own (plain VERP) */
    uint16_t commit_ms; /* from received_ms until it was durable, at most; 0 after a restart */
    struct entry entries[];
};

struct index {
    struct hash by_id;
    struct list by_age;    /* messages with live entries, as they came; and markers (live 0) */
    bool is_mixed;         /* by_age was filled out of order (recovery) and not sorted since */
    uint64_t live;         /* entries not DONE */
    uint64_t memory_bytes; /* of messages and entries */
};

void index_init(struct index *x);
/* Frees all messages too. */
void index_fini(struct index *x);

/* A new message, all entries DETACHED with rcpt = 0 … count - 1. */
struct message *index_add(struct index *x, message_id id, const struct spool_place *place,
                          int64_t received_ms, uint16_t entry_count);
struct message *index_find(const struct index *x, message_id id);
/* The entry for envelope recipient rcpt, or NULL. Entries are in rising order of rcpt. */
struct entry *message_entry(struct message *m, uint16_t rcpt);

/* What else the envelope says about where the message stands: job, delivery windows (shared in
 * `windows`), priority. Before its entries enter a queue. */
void message_order(struct message *m, const struct envelope *env, struct jobs *jobs,
                   struct hash *windows);

/* After recovery, which finds messages in the order of the disk: by_age is in order again. */
void index_sort(struct index *x);
/* The oldest message with a live entry, or NULL. */
const struct message *index_oldest(const struct index *x);

/* When it was tried first, wall seconds; 0: never. Noted once, for half a year
 * after it was accepted. */
uint32_t entry_first_attempt_s(const struct entry *e);
void entry_set_first_attempt(struct entry *e, int64_t wall_ms);

/* The entry is final. */
void index_entry_done(struct index *x, struct entry *e);
/* Keeps the message's memory while something refers to it. */
static inline void message_pin(struct message *m)
{
    m->pins++;
}
/* Frees the message when nothing refers to it and no entry is live. Call after index_entry_done and
 * instead of m->pins--. */
void message_unpin(struct index *x, struct message *m);

#endif
