/*
 * What limits say to an open connection: the places it holds, the rates it sends by, recipients it
 * was granted in advance, and when it has to make way for others.
 */
#ifndef PMTA_PIPE_QUEUE_SENDER_LIMITS_H
#define PMTA_PIPE_QUEUE_SENDER_LIMITS_H

#include "queue/sender_int.h"

/* Takes what was taken for the connection; at its end all of it is given back. */
void sender_limits_begin(struct sender *s, struct sender_places *places);
void sender_limits_end(struct sender *s);

/* The limits of the queue may be others now; those that are to hold are taken. False: the
 * connection has to end. */
bool sender_limits_take_over(struct sender *s);
static inline bool sender_limits_renew(struct sender *s)
{
    return s->version == throttle_numbers(s->engine, s->queue)->version ||
           sender_limits_take_over(s);
}

/* Changes the places of the host that was tried for those of the next one. False: that one has
 * none. */
bool sender_take_host(struct sender *s, const struct delivery_host *host);

/* Up to `want` recipients from all rates; 0: s->refused. */
uint32_t sender_take_rcpts(struct sender *s, uint32_t want);
/* Recipients granted in advance that nothing was taken for. */
void sender_return_credit(struct sender *s);
/* Recipients of l that nothing was sent for are not counted, nor is content that was not sent. */
void sender_refund_load(struct sender *s, struct load *l);
/* All rates agree that s sends one more: taken. */
bool sender_claim(struct sender *s, struct limit **ret_full);

bool sender_bound_by_rate(const struct sender *s);
/* A rate holds the queue back, so what a connection takes early would be sent late. */
static inline bool sender_rate_binds(const struct sender *s)
{
    return s->rates.count && s->queue->bound_until_ms && sender_bound_by_rate(s);
}

/* The limit is that of one of several addresses: another one may have room. */
static inline bool sender_is_of_one_address(const struct queue *q, const struct limit *l)
{
    return q->vmta->source_count > 1 && !throttle_is_common(q, l);
}

/* The limit of a place that this connection holds and another queue waits for; by_anybody: this
 * connection rests. */
struct limit *sender_wanted_place(const struct sender *s, bool by_anybody);
/* Others wait for this place and this connection had its share. */
bool sender_should_yield(struct sender *s);
void sender_start_yielding(struct sender *s);

#endif
