/*
 * Opens connections for queues, when a host and every limit agree.
 */
#ifndef PMTA_PIPE_QUEUE_CONNECT_H
#define PMTA_PIPE_QUEUE_CONNECT_H

#include <stdbool.h>

struct engine;
struct queue;

/* One more connection for q, whose route is known, from whichever of its source addresses may. Not
 * opened: q stands in line at a limit, waits for its retry, or its entries end. */
bool connect_queue(struct engine *g, struct queue *q);

#endif
