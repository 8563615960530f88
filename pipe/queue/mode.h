/*
 * Normal or back-off: the mode of a queue, its last changes with their reasons, who is told, and
 * what operators set. The mode follows from the actions of kind BACKOFF; nobody sets the field.
 */
#ifndef PMTA_PIPE_QUEUE_MODE_H
#define PMTA_PIPE_QUEUE_MODE_H

#include "queue/actions.h"
#include "queue/queue.h"

/* The reason of modes that were in effect before a restart; nobody is told again. */
extern const char mode_restored[];

const char *mode_name(enum queue_mode m);

/* The mode of q is another one from now on: limits, and when there is a reason history and
 * notice. Called by actions.c. */
void mode_changed(struct engine *g, struct queue *q, enum queue_mode to, const char *reason);
/* Mode or rate of q have changed: its limits are set to what holds now. */
void mode_apply(struct engine *g, struct queue *q);

/* Tells backoff-notify of q. */
void mode_notice(struct engine *g, const struct queue *q, const char *what, const char *reason);

/* By hand, for queues by pattern ("domain/vmta" with * and ?); a name without them also means a
 * queue that comes later. Return how many queues it concerned. */
size_t mode_set(struct engine *g, struct strview pattern, enum queue_mode to);
size_t mode_disable_source(struct engine *g, struct strview pattern, const char *source,
                           int64_t reenable_after_ms);
size_t mode_enable_source(struct engine *g, struct strview pattern, const char *source);

#endif
