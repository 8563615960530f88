/*
 * Which virtual MTA takes a message, which group a queue is in, and mail that moves from one queue
 * to another because its virtual MTA changed.
 */
#ifndef PMTA_PIPE_QUEUE_CHOOSE_H
#define PMTA_PIPE_QUEUE_CHOOSE_H

#include "mail/envelope.h"

struct engine;
struct queue;

/* Fills env->chosen_vmta and, where it differs, env->rcpts[i].vmta of a message that has just come:
 * the virtual MTA asked for or the default one, a pool's member whose turn it is, a cold one when
 * its share of the day is not used up. Called once per message, before it is made durable; the
 * names live as long as the engine. */
void choose_vmta(struct engine *g, struct envelope *env);

/* The mode of q or its settings changed: mail that it holds goes to the virtual MTA that
 * reroute-to-virtual-mta or, in back-off, backoff-reroute-to-virtual-mta names, in slices. */
void routing_mode_changed(struct engine *g, struct queue *q);

#endif
