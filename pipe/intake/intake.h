/*
 * Messages from the receivers: one edge per receiver; each submit is made durable in the spool, and
 * only then answered with 250 and given to the engine.
 */
#ifndef PMTA_PIPE_INTAKE_INTAKE_H
#define PMTA_PIPE_INTAKE_INTAKE_H

#include "queue/engine.h"

struct intake;

struct intake *intake_new(uv_loop_t *loop, struct engine *engine);
void intake_free(struct intake *k);

/* The edge to receiver `name`; takes fd. An older edge to the same one is closed. */
void intake_add_edge(struct intake *k, const char *name, int fd);

/* Header fields that this report wants are picked out of messages from now on; borrowed. */
void intake_set_report(struct intake *k, const struct report *report);

/* Recipients are looked up in the suppression list from now on; borrowed. */
struct suppression;
void intake_set_suppression(struct intake *k, struct suppression *suppression);

/* Submits are taken from now on (the spool is open). Before that they wait in the sockets. */
void intake_start(struct intake *k, struct spool *spool);

/* Refuses what comes from now on with 451. What is being made durable is still answered. */
void intake_stop(struct intake *k);

/* Submits that wait for the disk. */
size_t intake_waiting(const struct intake *k);

/* spool_ops.health: while the disk cannot be written, submits are refused at once. */
void intake_set_health(struct intake *k, bool writable);

#endif
