/*
 * Mail to addresses of our own: bounces, complaints and unsubscriptions that came in are read and
 * recorded here instead of being sent anywhere. Such a message waits in a queue like all others
 * ({bounce}, {feedback-loop}, {unsubscribe}; it can be looked at, paused and deleted) and ends as
 * delivered, after its records are on their way to the disk and its suppressions are durable.
 *
 * A crash in between repeats the records, with the same ids; it loses none.
 */
#ifndef PMTA_PIPE_INBOUND_H
#define PMTA_PIPE_INBOUND_H

#include "queue/engine.h"
#include "suppress/suppress.h"
#include "verp/verp.h"

struct inbound;

/* suppress_client_add, with its client as arg. */
typedef int inbound_suppress_fn(void *arg, const struct suppress_entry *e,
                                void (*done)(void *arg, int code), void *done_arg);

/* Takes over the engine's local mail. verp stays the caller's, and longer than this. */
struct inbound *inbound_new(uv_loop_t *loop, struct engine *engine, struct verp *verp);
/* After the engine was drained; NULL is fine. */
void inbound_free(struct inbound *in);
/* Recovery asks too which mail is local, so both before the spool is opened. */
void inbound_configure(struct inbound *in, struct config *cfg);
void inbound_set_report(struct inbound *in, struct report *report);
/* Who takes suppressions. Without it reports that would suppress somebody wait. */
void inbound_on_suppress(struct inbound *in, inbound_suppress_fn *add, void *arg);

enum { INBOUND_PARALLEL = 4 }; /* messages of one queue at a time */

/* Reads what was counted before, and keeps what is from now on, in the file "inbound" of the spool,
 * whose directory stays the caller's. A kill -9 loses what was counted in its last seconds. */
int inbound_open(struct inbound *in, int dirfd, struct err *e);
/* Writes what is not written; closed(arg) from the loop. */
void inbound_close(struct inbound *in, void (*closed)(void *arg), void *arg);

/* Since since_ms, over restarts. */
struct inbound_stats {
    int64_t since_ms; /* wall */
    uint64_t reports, unmatched, errors; /* messages */
    uint64_t records, suppressed, forwarded;
    uint64_t kinds[8];           /* messages by enum inbound_kind, without the unsubscriptions */
    uint64_t unsubscriptions;    /* messages to unsubscribe addresses that were some */
    uint32_t under_way, waiting; /* messages; waiting: for the suppression list */
    uint64_t queued;             /* recipients in our queues, those under way included */
};
void inbound_stats(const struct inbound *in, struct inbound_stats *ret);
/* The name of kinds[i] for JSON, or NULL: there is no such kind. */
const char *inbound_kind_counter(size_t i);

#endif
