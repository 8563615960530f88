/*
 * One accounting record before it has columns: what report.c and the parsers of inbound reports
 * know. Views live until the call that takes the event returns; empty is unknown.
 */
#ifndef PMTA_PIPE_REPORT_EVENT_H
#define PMTA_PIPE_REPORT_EVENT_H

#include "base/buf.h"
#include "mail/acct_fields.h"
#include "mail/envelope.h"
#include "mail/outcome.h"

/* What a report that came in by mail says (rb, rs, f). */
struct acct_remote {
    struct strview action, status, diagnostic, remote_mta; /* rb, rs */
    struct strview category;                               /* rb */
    struct strview reporting_mta, format;
    struct strview source_ip, feedback_type, user_agent, reported_domain; /* f */
};

struct acct_event {
    enum acct_record record;
    int64_t logged_ms, queued_ms, next_ms, first_attempt_ms; /* wall; 0: none */
    int64_t receive_ms, commit_ms; /* before queued_ms, and behind it until it was durable */
    struct strview pipe, queue, vmta, pool;
    struct strview orig, rcpt, orcpt, job, envid;
    struct strview source_host, source_ip, local_ip, user;
    bool is_notice; /* a delivery notice of ours */
    const char *dlv_type;                 /* NULL: smtp */
    const struct outcome *outcome;        /* of d, b, t, tq */
    const struct acct_remote *remote;     /* of rb, rs, f */
    const char *category;                 /* NULL: none */
    const char *bounce_file, *reply_file; /* rules that matched, or NULL */
    unsigned bounce_line, reply_line;
    uint64_t size;
    unsigned attempt;
    struct strview id;      /* "message id.N" */
    struct strview headers; /* "Name: value" lines, LF behind each */
};

/* The value of a column, empty when the event has none. It is a view of the event, of scratch or of
 * static memory. header is the column's name behind "header_", for ACCT_FIELD_HEADER. */
enum { ACCT_SCRATCH = 768 };
struct strview acct_event_text(const struct acct_event *e, enum acct_field f, struct strview header,
                               struct strview user_string, bool iso_times, char *scratch);

/* Of the recipient, else of the queue; or empty. */
struct strview acct_event_domain(const struct acct_event *e);

/* "2026-11-21 04:05:06+0000". Memory that is used again after some calls. */
struct strview acct_time(int64_t wall_ms);

#endif
