/*
 * When something that did not succeed is tried again. There are two clocks. That of a queue runs
 * when the queue as a whole could not be tried (hosts down, DNS); its index moves with each failed
 * round and starts again with a delivery. That of a recipient runs when the peer answered this
 * recipient for now; its index is the number of attempts.
 */
#ifndef PMTA_PIPE_QUEUE_RETRY_H
#define PMTA_PIPE_QUEUE_RETRY_H

#include "mail/config.h"
#include "mail/outcome.h"

struct entry;
struct queue;
struct reaction;

/* Lists live in the configuration. */
struct retry_settings {
    struct retry_form queue;      /* retry-after */
    struct retry_form backoff;    /* backoff-retry-after */
    struct retry_form recipients; /* retry-recipients-after; count 0: as the queue */
    int64_t dns_error_ms;         /* retry-after-dns-error */
    int64_t greylisting_ms;       /* retry-after-greylisting; 0: as any other reply */
    bool upon_new_mail;           /* retry-upon-new-mail */
};

void retry_settings_resolve(struct retry_settings *ret, const struct config *cfg,
                            const struct config_query *q);

/* The n-th wait (n from 1): the items in order, then the last one times the factor for each further
 * one, at most max. Without jitter. */
int64_t retry_form_wait_ms(const struct retry_form *f, unsigned n);
/* The same with ±10% jitter that is the same for one seed and n. */
int64_t retry_form_delay_ms(const struct retry_form *f, unsigned n, uint64_t seed);

/* How long the queue waits after its latest failed round (q->failures, which counts it). */
int64_t retry_queue_delay_ms(const struct queue *q, const struct outcome *o);
/* How long this recipient waits; e->attempts counts the attempt that has just ended. A rule's
 * retry-after comes first, then what the outcome itself hints, then greylisting, then the list. r
 * may be NULL. */
int64_t retry_recipient_delay_ms(const struct entry *e, const struct outcome *o,
                                 const struct reaction *r);
/* The directive that this recipient's wait is from, for `why`. */
enum directive retry_recipient_directive(const struct queue *q);

/* New mail has come for a queue that waits for its retry time: true when it should try now. */
bool retry_upon_new_mail(const struct queue *q);

#endif
