/*
 * What limits say about a queue, in words for operators.
 */
#ifndef PMTA_PIPE_ADMIN_LIMITS_H
#define PMTA_PIPE_ADMIN_LIMITS_H

#include "mail/config.h"

#include <jansson.h>

struct engine;
struct pipe;
struct queue;

/* The limit that a queue waits for. */
struct limit_hold {
    char text[500];                   /* "max-msg-rate of virtual-mta mta1: next in 3.2s" */
    char what[256];                   /* "its rate: max-msg-rate of virtual-mta mta1" */
    char because[400];                /* "max-msg-rate = 20/m; 3 queues wait" */
    const struct config_value *value; /* where it stands, NULL: unknown; lives in the config */
    int64_t next_ms;                  /* wall; 0: nobody knows */
    char next[100];                   /* when next_ms is 0 */
};

/* False: q waits for no limit. */
bool limit_hold(struct engine *g, struct queue *q, struct limit_hold *ret);

/* For `show limits`: what the queue is counted as, and why it is in its group or in none. A new
 * reference. */
json_t *group_of_queue(const struct pipe *p, const struct queue *q);

/* "20 at a time, 500/s"; returns out. */
const char *limits_in_short(struct engine *g, struct queue *q, char *out, size_t size);

#endif
