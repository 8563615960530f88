/*
 * What came of it: each recipient's outcome becomes one accounting record, one log line and a
 * count. Accounting bytes go through the spool, which puts them on disk before the journal record
 * that makes the outcome final, so that no crash can lose the record of a final outcome.
 */
#ifndef PMTA_PIPE_REPORT_REPORT_H
#define PMTA_PIPE_REPORT_REPORT_H

#include "mail/envelope.h"
#include "mail/outcome.h"
#include "spool/spool.h"

struct report;

/* Columns of the accounting file, in order. COLUMN(ID, "name", "help") */
#define REPORT_COLUMNS(COLUMN)                                                                \
    COLUMN(TYPE, "type", "d delivered, b bounced, t deferred, tq queue deferred, r received") \
    COLUMN(TIME_LOGGED, "timeLogged", "when the record was made, UTC")                        \
    COLUMN(TIME_QUEUED, "timeQueued", "when the message was accepted, UTC")                   \
    COLUMN(ORIG, "orig", "envelope sender")                                                   \
    COLUMN(RCPT, "rcpt", "envelope recipient")                                                \
    COLUMN(DSN_ACTION, "dsnAction", "relayed, failed, delayed, expired, deleted")             \
    COLUMN(DSN_STATUS, "dsnStatus", "enhanced status code (RFC 3463)")                        \
    COLUMN(DSN_DIAG, "dsnDiag", "smtp; and the reply, or x-pmta; and our own reason")         \
    COLUMN(DSN_MTA, "dsnMta", "host (address) of the peer")                                   \
    COLUMN(SRC_MTA, "srcMta", "submitting host: X-Remote-MTA-Name, EHLO name or address")     \
    COLUMN(VMTA, "vmta", "virtual MTA")                                                       \
    COLUMN(PIPE, "pipe", "pipe")                                                              \
    COLUMN(QUEUE, "queue", "queue, as domain/vmta")                                           \
    COLUMN(JOB_ID, "jobId", "X-Job of the message")                                           \
    COLUMN(ENV_ID, "envId", "ENVID of the message (RFC 3461)")                                \
    COLUMN(DLV_SIZE, "dlvSize", "size of the message in bytes")                               \
    COLUMN(DLV_TLS_PROTOCOL, "dlvTlsProtocol", "version of TLS to the peer; empty: in clear") \
    COLUMN(DLV_TLS_CIPHER, "dlvTlsCipher", "cipher suite")                                    \
    COLUMN(DLV_TLS_VERIFIED, "dlvTlsVerified",                                                \
           "by what the peer was checked: dane, sts, trusted; unchecked; or what was wrong")  \
    COLUMN(MSG_ID, "msgId",                                                                   \
           "message id and recipient number; a record repeated after a crash has the same")

struct report_counts {
    uint64_t received; /* recipients, since the process started */
    uint64_t delivered;
    uint64_t deferred; /* attempts that ended in a temporary failure */
    uint64_t bounced;  /* also expired and deleted */
};

/* acct_dirfd: directory of the accounting file, borrowed; -1: no accounting file. Records made
 * before report_set_spool (during recovery) wait for it. */
int report_new(struct report **ret, const char *pipe, int acct_dirfd, struct err *e);
void report_free(struct report *r);
void report_set_spool(struct report *r, struct spool *spool);

/* True when a crash came between the acknowledgement of this message and its r record: ids rise, so
 * it has none when it is newer than the newest one in the file. */
bool report_lacks_received(const struct report *r, message_id id);

/* One attempt (or decision) for one recipient. */
struct report_rcpt {
    message_id id;
    const struct envelope *env;
    uint32_t rcpt; /* index in env->rcpts */
    const char *queue;
    const char *vmta;
    unsigned attempts; /* this one included */
    int64_t next_ms;   /* wall; of a deferral */
    const struct outcome *outcome;
};
void report_rcpt(struct report *r, const struct report_rcpt *what);

/* A whole queue could not be tried. */
void report_queue(struct report *r, const char *queue, const char *vmta, int64_t next_ms,
                  const struct outcome *o);

/* A message was accepted. `queue_of(arg, i)` names recipient i's queue. */
void report_received(struct report *r, message_id id, const struct envelope *env,
                     const char *(*queue_of)(void *arg, uint32_t i), void *arg);

void report_counts(const struct report *r, struct report_counts *ret);
/* Recipients received and delivered in the last full minute, per minute. */
void report_rates(const struct report *r, uint64_t *ret_in, uint64_t *ret_out);

#endif
