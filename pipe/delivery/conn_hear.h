/*
 * Who listens to an outgoing connection: debugging of its queue, and a trace that was asked for
 * (delivery_watch, delivery_listen). A connection that nobody listens to pays a test per event.
 */
#ifndef PMTA_PIPE_DELIVERY_CONN_HEAR_H
#define PMTA_PIPE_DELIVERY_CONN_HEAR_H

#include "pipe/delivery/connection.h"

/* Tells who listens what happens; costs nothing when nobody does. */
#define CONN_NOTE(c, ...)                                \
    do {                                                 \
        if (smtp_is_heard(&(c)->hearing))                \
            smtp_hear_event(&(c)->hearing, __VA_ARGS__); \
    } while (0)

/* Of a message of this connection. */
static inline unsigned conn_hear_bit(const struct delivery_conn *c, const struct delivery_job *job)
{
    return 1u << (container_of(job, struct smtp_job, job) - c->client.slots);
}

/* The connection begins; its hosts are known. */
void conn_hear_begin(struct delivery_conn *c);
/* The connection is over. */
void conn_hear_end(struct delivery_conn *c);

void conn_hear_begun(struct delivery_conn *c, const struct delivery_job *job);
void conn_hear_outcome(struct delivery_conn *c, const struct delivery_job *job, uint32_t position,
                       const struct outcome *o);
void conn_hear_over(struct delivery_conn *c, const struct delivery_job *job);

/* A message begins. */
static inline void conn_hear_job(struct delivery_conn *c, const struct delivery_job *job)
{
    if (c->d->watcher || smtp_is_heard(&c->hearing))
        conn_hear_begun(c, job);
}

/* One of its recipients ended. */
static inline void conn_hear_rcpt(struct delivery_conn *c, const struct delivery_job *job,
                                  uint32_t position, const struct outcome *o)
{
    if (c->heard_jobs & conn_hear_bit(c, job))
        conn_hear_outcome(c, job, position, o);
}

/* All of them did. */
static inline void conn_hear_job_done(struct delivery_conn *c, const struct delivery_job *job)
{
    if (c->heard_jobs & conn_hear_bit(c, job))
        conn_hear_over(c, job);
}

#endif
