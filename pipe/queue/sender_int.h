/*
 * The inside of a sender, for sender.c and sender_limits.c alone.
 */
#ifndef PMTA_PIPE_QUEUE_SENDER_INT_H
#define PMTA_PIPE_QUEUE_SENDER_INT_H

#include "queue/load.h"

enum sender_state {
    SENDER_COMING, /* connecting or woken: will ask for a message */
    SENDER_BUSY,
    SENDER_IDLE,
};

struct sender {
    struct list link;       /* queue->senders */
    struct list idle_link;  /* queue->idle */
    struct list idle_among; /* engine->idle_senders */
    struct engine *engine;
    struct queue *queue;
    struct delivery_conn *conn;
    enum sender_state state;
    bool is_yielding;

    struct vmta_source source;               /* without its name */
    struct delivery_host host;               /* without its name; that host_places are for */
    struct throttle_set places, host_places; /* to give back */
    struct throttle_set rates;
    struct pace_pair *pair; /* or NULL */
    uint32_t version;       /* throttle_numbers.version that these are of */
    uint32_t credit;        /* recipients that rates granted in advance */
    uint32_t credit_epoch;  /* limits_epoch at that time */
    int64_t credit_at_ms;
    int64_t opened_ms;
    struct limit *refused; /* the limit that the last take_load was refused by; not a reference */

    struct list loads; /* taken, not yet handed over */
    uint32_t load_count;
    uint32_t in_hand;  /* handed over, not yet done */
    uint64_t accepted; /* recipients the peer took */
    bool was_established;
    bool source_lost;   /* this machine does not have that address any more */
    bool quit;          /* a rule ends this connection */
    bool leaving;       /* counted in queue->leaving */
    bool hosts_missing; /* see sender_places */
};

#endif
