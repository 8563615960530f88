/*
 * The content of a message that has just arrived, kept from the socket to its first delivery
 * attempt so that the happy path never reads the spool. Bounded: past the limit nothing is kept and
 * delivery reads the spool, which is in the page cache anyway.
 */
#ifndef PMTA_PIPE_QUEUE_BODY_H
#define PMTA_PIPE_QUEUE_BODY_H

#include "net/ipc.h"

struct body_cache {
    size_t bytes;
    size_t max_bytes;
};

struct body {
    struct body_cache *cache;
    struct ipc_frame *frame; /* holds the memory that the views point into */
    struct strview envelope;
    struct strview content;
    struct buf own; /* what envelope points into, when not into frame */
    uint32_t refs;
};

/* NULL when the cache is full. The views point into frame, of which a reference is taken. */
struct body *body_keep(struct body_cache *cache, struct ipc_frame *frame, struct strview envelope,
                       struct strview content);
/* Another envelope than that of the frame; takes the buffer. */
void body_own_envelope(struct body *b, struct buf *envelope);
struct body *body_ref(struct body *b);
void body_unref(struct body *b); /* NULL is fine */

#endif
