/*
 * Which virtual MTA takes a message, which group a queue is in, and mail that moves from one queue
 * to another because its virtual MTA changed.
 */
#ifndef PMTA_PIPE_QUEUE_CHOOSE_H
#define PMTA_PIPE_QUEUE_CHOOSE_H

#include "mail/envelope.h"

struct engine;
struct queue;
struct vmta;
struct vmta_pool;

/* --- choose.c --- */

/* Fills env->chosen_vmta and, where it differs, env->rcpts[i].vmta of a message that has just come:
 * the virtual MTA asked for or the default one, a pool's member whose turn it is, a cold one when
 * its share of the day is not used up. Both stay empty when the message names one virtual MTA and
 * there was nothing to choose. Called once per message, before it is made durable; the names live
 * as long as the engine. True when something was filled in. */
bool choose_vmta(struct engine *g, struct envelope *env);

/* The virtual MTA of a recipient as the envelope says it, of a message whose others go with
 * `rest`. */
struct vmta *choose_of_message(struct engine *g, const struct envelope *env);
struct vmta *choose_of_rcpt(struct engine *g, const struct envelope *env, uint32_t rcpt,
                            struct vmta *rest);

/* By name, made when it is new. */
struct vmta *choose_get_vmta(struct engine *g, struct strview name);
struct vmta_pool *choose_find_pool(const struct engine *g, struct strview name);

void choose_init(struct engine *g);
void choose_configure(struct engine *g);
void choose_fini(struct engine *g);
/* Once in a while: looks whether missing source addresses came back. */
void choose_recheck_sources(struct engine *g);
/* Queues that wait for a source address try again. */
void choose_wake_stranded(struct engine *g);

/* --- routing.c --- */

/* The queue that takes the mail of q now: q, or where it is rerouted to. */
struct queue *routing_final(struct engine *g, struct queue *q);

/* The mode of q or its settings changed: mail that it holds goes to the virtual MTA that
 * reroute-to-virtual-mta or, in back-off, backoff-reroute-to-virtual-mta names, in slices. */
void routing_mode_changed(struct engine *g, struct queue *q);
/* The virtual MTA or pool that the mail of q goes to instead, or NULL. */
const char *routing_target(const struct queue *q);
/* One slice of moving; there is more while g->movers is not empty. */
void routing_turn(struct engine *g);

/* The answers for q are known (called before each connection, cheap when they are the same as
 * before): puts q into the group that they say. */
void routing_regroup(struct engine *g, struct queue *q);
/* The same for what the configuration alone says (queue-to); settings of q were just read. */
void routing_configure(struct engine *g, struct queue *q);
/* The domain whose MX hosts take the mail of q. */
struct strview routing_domain(const struct queue *q);
/* False for a host of q's route that its group does not use. */
bool routing_uses_host(const struct queue *q, struct strview host);

#endif
