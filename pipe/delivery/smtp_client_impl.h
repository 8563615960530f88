/*
 * What the parts of the engine share; nobody else includes this.
 */
#ifndef PMTA_PIPE_DELIVERY_SMTP_CLIENT_IMPL_H
#define PMTA_PIPE_DELIVERY_SMTP_CLIENT_IMPL_H

#include "pipe/delivery/smtp_client.h"

/* SKIPPED: told without asking the peer, no RCPT goes out for it. */
enum rcpt_state { RCPT_PENDING, RCPT_ACCEPTED, RCPT_TOLD, RCPT_SKIPPED };

/* One function per state and direction. send: writes the command, moves `sent`; false: it has to
 * wait. recv: looks at the reply, moves `answered`. */
#define SMTP_DECLARE(fn, ...)                   \
    bool smtp_send_##fn(struct smtp_client *c); \
    void smtp_recv_##fn(struct smtp_client *c, const struct reply *r);
SMTP_STATES(SMTP_DECLARE)
#undef SMTP_DECLARE

/* --- smtp_client.c --- */

/* A command was appended to c->out from `start` on: counts and logs it. */
void smtp_sent_command(struct smtp_client *c, size_t start);
void smtp_flush_out(struct smtp_client *c);
/* The last byte of the content is queued: the final dot follows. */
void smtp_content_queued(struct smtp_client *c, bool ends_with_crlf);
const char *smtp_state_name(enum smtp_state s);
/* Where the conversation is now, for outcomes of our own. */
enum outcome_phase smtp_client_phase_now(const struct smtp_client *c);

/* --- smtp_client_job.c --- */

/* Takes a message from next() into a free slot; NULL when all are in use. */
struct smtp_job *smtp_job_new(struct smtp_client *c);
/* Makes the slot ready for the job that next() filled in. */
void smtp_job_begin(struct smtp_job *j);
/* First position at or after `from` that is asked for; rcpt_count when there is none. */
uint32_t smtp_job_rcpt(const struct smtp_job *j, uint32_t from);
/* No reply is due for it any more; all recipients were told. */
void smtp_job_over(struct smtp_job *j);
void smtp_job_tell(struct smtp_job *j, uint32_t position, struct outcome *o);
/* Those that the peer had accepted. */
void smtp_job_tell_accepted(struct smtp_job *j, struct outcome *o);
/* All that were not told yet. */
void smtp_job_tell_all(struct smtp_job *j, struct outcome *o);

/* --- smtp_client_outcome.c --- */

/* From a reply; the text is valid until the next outcome is made. */
struct outcome smtp_outcome_reply(struct smtp_client *c, enum outcome_phase phase,
                                  const struct reply *r);
/* Our own sentence. */
struct outcome smtp_outcome_local(struct smtp_client *c, enum outcome_class class_,
                                  enum outcome_phase phase, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* Ends the conversation: tells everybody, calls ended. */
void smtp_end(struct smtp_client *c, const struct outcome *why, bool polite);
void smtp_end_reply(struct smtp_client *c, const struct reply *r, bool polite);
void smtp_end_protocol(struct smtp_client *c, const struct reply *r, const char *what);

/* --- smtp_client_command.c --- */

/* RFC 8689 section 4.2.1: a message with REQUIRETLS may be sent in this session. */
bool smtp_may_require_tls(const struct smtp_client *c);
/* Why not. */
const char *smtp_why_not_require_tls(const struct smtp_client *c);
/* Checks that need no MAIL: tells the recipients that cannot be sent to here, maybe all of them. */
void smtp_job_check(struct smtp_job *j);
void smtp_put_mail(struct smtp_client *c, const struct smtp_job *j);
void smtp_put_rcpt(struct smtp_client *c, const struct smtp_job *j, uint32_t position);
/* Content and prefix end with CRLF, or are empty. */
bool smtp_job_ends_with_crlf(const struct smtp_job *j);

#endif
