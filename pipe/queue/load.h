/*
 * A load: one message on its way to one connection, from its lane in the queue to the last
 * outcome. It brings envelope and content together (from memory when the message has just arrived,
 * else from the spool) and is reused, because there is one per message sent.
 */
#ifndef PMTA_PIPE_QUEUE_LOAD_H
#define PMTA_PIPE_QUEUE_LOAD_H

#include "queue/engine_int.h"

enum load_state {
    LOAD_FREE,
    LOAD_READING, /* the spool reads it */
    LOAD_SIGNING, /* the signer has it */
    LOAD_READY,
    LOAD_FAILED, /* could not be read, or not be signed; status says why. Or somebody is suppressed */
    LOAD_HANDED, /* a connection has it */
};

struct load {
    struct list link; /* sender->loads, or engine->loads_free */
    struct engine *engine;
    struct queue *queue;
    struct message *message;
    enum load_state state;
    int status;
    bool granted;    /* rates of this version counted its recipients */
    bool was_sent;   /* content went out */
    bool suppressed; /* FAILED: some of its recipients went on the suppression list meanwhile */
    uint32_t version;
    uint64_t charged;                /* bytes that volume rates counted when it was taken */
    uint32_t epoch;                  /* limits_epoch when they were counted */
    bool dropped;                    /* its connection went away while it was read or signed */
    void (*arrived)(struct load *l); /* that has ended; not inside load_take */
    void *owner;

    struct entry **entries; /* those of the message that go in this transaction */
    uint32_t *rcpts;
    uint32_t count;
    uint32_t cap;
    uint32_t left; /* without outcome yet */

    struct signing *signing; /* what goes before the content; NULL: nothing */
    bool signed_at_once;     /* a cheap signature, or one that was made already */
    struct list sign_link;   /* SIGNING: with those that wait for it */
    const char *trouble;     /* FAILED with ERR_KEY: one sentence, in the arena or for ever */

    struct body *body;
    struct spool_read read;
    struct arena arena;
    struct envelope env;
    char id[MESSAGE_ID_SIZE];
};

/* Takes the message whose turn it is in q, with at most max_rcpts recipients; fewer when its job's
 * rate grants fewer. NULL when nothing may go. READY, READING, SIGNING or FAILED. */
struct load *load_take(struct engine *g, struct queue *q, uint32_t max_rcpts,
                       void (*arrived)(struct load *l), void *owner);

/* It waits for a signature, or has one. */
static inline bool load_is_signed(const struct load *l)
{
    return l->signing != NULL;
}

/* What delivery needs; the load is READY and becomes HANDED. */
void load_hand_over(struct load *l, struct delivery_job *ret);

/* Puts entries without outcome back at the head of their lane and releases the load; when it is
 * being read or signed, once that has ended. */
void load_put_back(struct load *l);
/* All entries have their outcome. */
void load_release(struct load *l);
/* A load that FAILED: a corrupt message is closed in the books, one that cannot be read or signed
 * now is retried later; of one with suppressed recipients these end, and the others are put back.
 * Releases it. */
void load_fail(struct load *l);

#endif
