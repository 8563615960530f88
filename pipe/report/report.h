/*
 * What came of it: each recipient's outcome becomes accounting records, one log line and a count.
 * Accounting bytes go through the spool, which puts them on disk before the journal record that
 * makes the outcome final, so that no crash can lose the record of a final outcome.
 *
 * There is one file per [acct-file] that concerns the pipe; without such a section there is
 * acct-PIPE.csv. docs/accounting.md is the operator's side of it.
 */
#ifndef PMTA_PIPE_REPORT_REPORT_H
#define PMTA_PIPE_REPORT_REPORT_H

#include "mail/config.h"
#include "mail/envelope.h"
#include "mail/outcome.h"
#include "report/event.h"
#include "rules/rules.h"
#include "spool/spool.h"

#include <uv.h>

struct report;
struct classify;
struct unclassified;
struct stats;

struct report_counts {
    uint64_t received; /* recipients, since the process started */
    uint64_t delivered;
    uint64_t deferred; /* attempts that ended in a temporary failure */
    uint64_t bounced;  /* also expired and deleted */
};

/* acct_dirfd: directory of acct-PIPE.csv, borrowed; -1: no such file. Records made before
 * report_set_spool (during recovery) wait for it. */
int report_new(struct report **ret, const char *pipe, int acct_dirfd, struct err *e);
void report_free(struct report *r);
void report_set_spool(struct report *r, struct spool *spool);
/* Ends the commands of [acct-file |command] in good order; closed(arg), maybe inside the call. */
void report_close_feeds(struct report *r, void (*closed)(void *arg), void *arg);

/* Takes bounce categories and [acct-file]s from a configuration, at the start and at each reload.
 * open_dir gives a descriptor of its own of the directory that root has opened for a section's files
 * (or, with move, for its move-to), -1 when there is none; acct_dirfd is borrowed. A file that cannot be
 * opened is an error at the start; later it is logged, and the files of before are kept. */
struct report_places {
    uv_loop_t *loop;
    int acct_dirfd;
    int (*open_dir)(void *arg, const char *section, bool move);
    void *arg;
};
int report_configure(struct report *r, struct config *cfg, const struct report_places *places,
                     struct err *e);

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
    uint32_t first_attempt_s; /* wall; 0: there was none */
    uint32_t commit_ms;       /* as in the envelope that was accepted */
    int64_t next_ms;   /* wall; of a deferral */
    const struct outcome *outcome;
    const struct rule_match *rule; /* reply rule that matched; NULL or without rule: none */
    const char *dlv_type;          /* how it was tried; NULL: smtp */
};
void report_rcpt(struct report *r, const struct report_rcpt *what);

/* A whole queue could not be tried. */
void report_queue(struct report *r, const char *queue, const char *vmta, int64_t next_ms,
                  const struct outcome *o);

/* A message was accepted. `queue_of(arg, i)` names recipient i's queue. */
void report_received(struct report *r, message_id id, const struct envelope *env,
                     const char *(*queue_of)(void *arg, uint32_t i), void *arg);

/* A report that came in by mail: rb, rs or f, with what is known of the original message. logged_ms
 * and pipe are filled in here. On disk before any journal record that is written after it. */
void report_remote(struct report *r, struct acct_event *event);

void report_counts(const struct report *r, struct report_counts *ret);
/* Recipients received and delivered in the last full minute, per minute. */
void report_rates(const struct report *r, uint64_t *ret_in, uint64_t *ret_out);

/* Names of header fields that some file wants, each behind a LF ("\nsubject\nx-campaign\n", lower
 * case); empty: none. Who takes a message in puts their values into env->acct_headers. */
struct strview report_header_names(const struct report *r);

/* Never NULL once configured. */
const struct classify *report_classify(const struct report *r);
struct unclassified *report_unclassified(struct report *r);
/* Rolling counters of everything that is reported. */
struct stats *report_stats(struct report *r);

#endif
