/*
 * A message that came in, on to somebody else: the same content as a new message of this pipe, with
 * the null reverse path, so that nothing that becomes of it ever comes back.
 */
#ifndef PMTA_PIPE_INBOUND_FORWARD_H
#define PMTA_PIPE_INBOUND_FORWARD_H

#include "queue/engine.h"
#include "queue/load.h"

/* Name of the source in accounting; no [source] can have it. */
#define FORWARD_SOURCE "{forward}"

/* l holds the message and stays until done(arg, status), which comes later, never inside: 0 when the
 * new message is durable and queued, or negative. to: addresses; why: one line that goes on top as
 * the field X-Inbound. */
void forward_start(struct engine *g, uv_loop_t *loop, const struct load *l, const struct strview *to,
                   size_t to_count, struct strview why, void (*done)(void *arg, int status),
                   void *arg);

#endif
