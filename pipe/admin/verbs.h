/*
 * The admin verbs of a pipe, by file: looking (show.c, show_queues.c), why (why.c), what a setting
 * is (explain.c), where mail would go (resolve.c), acting (act.c), what holds queues (actions.c),
 * jobs (jobs.c), bounce categories (classify.c), bounce addresses (verp.c), inbound mail (inbound.c).
 */
#ifndef PMTA_PIPE_ADMIN_VERBS_H
#define PMTA_PIPE_ADMIN_VERBS_H

#include "net/admin.h"
#include "pipe.h"

void show_status(void *owner, struct admin *a);
void show_pipes(void *owner, struct admin *a);
void show_queues(void *owner, struct admin *a);
void show_limits(void *owner, struct admin *a);
void show_adaptive(void *owner, struct admin *a);
void show_warmup(void *owner, struct admin *a);
void plan_warmup(void *owner, struct admin *a);
void act_warmup_hold(void *owner, struct admin *a);
void act_warmup_resume(void *owner, struct admin *a);
void act_warmup_set_day(void *owner, struct admin *a);
void show_connections(void *owner, struct admin *a);
void show_vmtas(void *owner, struct admin *a);
void show_tls_report(void *owner, struct admin *a);
void show_message(void *owner, struct admin *a);
void show_ledger(void *owner, struct admin *a);
void why_message(void *owner, struct admin *a);
void explain_config(void *owner, struct admin *a);
void resolve_domain(void *owner, struct admin *a);
void act_pause_pipe(void *owner, struct admin *a);
void act_resume_pipe(void *owner, struct admin *a);
void act_pause_queue(void *owner, struct admin *a);
void act_resume_queue(void *owner, struct admin *a);
void act_schedule(void *owner, struct admin *a);
void show_actions(void *owner, struct admin *a);
void act_cancel(void *owner, struct admin *a);
void act_set_queue(void *owner, struct admin *a);
void act_disable_source(void *owner, struct admin *a);
void act_enable_source(void *owner, struct admin *a);
void act_delete(void *owner, struct admin *a);
void show_jobs(void *owner, struct admin *a);
void act_pause_job(void *owner, struct admin *a);
void act_resume_job(void *owner, struct admin *a);
void act_set_job(void *owner, struct admin *a);
void check_sender(void *owner, struct admin *a);
void check_spf_result(void *owner, struct admin *a);

void act_trace(void *owner, struct admin *a);
void act_debug_queue(void *owner, struct admin *a);
/* Patterns of queues that are debugged, for `status`: a new array. */
json_t *trace_status(const struct pipe *p);
/* Appends what the queue waits for: "for its rate ...", "its next attempt, in 4m". */
void queue_wait_text(const struct pipe *p, struct queue *q, struct buf *out);

void classify_reply(void *owner, struct admin *a);
void show_unclassified(void *owner, struct admin *a);
void show_inbound(void *owner, struct admin *a);
void verp_decode(void *owner, struct admin *a);
void show_stats(void *owner, struct admin *a);

/* Answers, and ends the request, once text is durable in the file. Takes the answer. */
void admin_save(struct pipe *p, const struct admin *a, struct state_file *file, struct strview text,
                json_t *answer);

/* The message that "id" or "id.N" in the arguments names, with *ret_rcpt = N or -1, and its
 * envelope, whose views are in arena. NULL after an empty or error answer was given: an id that
 * another pipe may hold is no error here. */
struct message *admin_find_message(struct pipe *p, struct admin *a, struct arena *arena,
                                   struct envelope *ret_env, int *ret_rcpt);

#endif
