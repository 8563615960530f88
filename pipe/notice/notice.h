/*
 * Messages of our own to people: somebody asked to be told (backoff-notify). Each becomes an
 * ordinary message of this pipe, durable in its spool and delivered like any other, with the null
 * reverse path, so that no failure of it ever makes another message (RFC 5321 section 4.5.5, RFC
 * 3834).
 *
 * No flood: at most one a minute of one subject and 30 an hour in all. What was held back is
 * counted, and the next notice says how many.
 */
#ifndef PMTA_PIPE_NOTICE_NOTICE_H
#define PMTA_PIPE_NOTICE_NOTICE_H

#include "queue/engine.h"

struct notice;

/* The engine is asked for configuration and spool when a notice is sent: both may come later. */
struct notice *notice_new(struct engine *engine);
/* NULL is fine. What is on its way to the disk is still stored, but given to no engine. */
void notice_free(struct notice *n);

/* to_list: addresses separated by commas, at most 20, each valid on its own; others are left out
 * and logged. subject: one line. body: lines separated by LF, UTF-8. All are copied; control
 * characters become blanks. Never fails for the caller: what cannot be sent is logged and counted.
 */
void notice_send(struct notice *n, struct strview to_list, struct strview subject,
                 struct strview body);

/* The same, about trouble with mail to a domain: nothing is sent to addresses in that domain, as it
 * would only wait in the same queue and be part of the trouble. */
void notice_send_about(struct notice *n, struct strview domain, struct strview to_list,
                       struct strview subject, struct strview body);

/* notice_send as a callback (engine_on_notice); arg is the struct notice. */
void notice_tell(void *arg, struct strview to_list, struct strview subject, struct strview body);

/* The message is one of these: nothing that becomes of it may cause another one. */
bool notice_is(const struct envelope *env);

struct notice_stats {
    uint64_t sent; /* durable and queued */
    uint64_t held; /* by the limits */
    uint64_t lost; /* no valid recipient, no spool, disk full, pipe full */
    uint32_t under_way;
};
void notice_stats(const struct notice *n, struct notice_stats *ret);

#endif
