/*
 * A message that came to an address of ours, read: which kind of report it is and what it says. Runs
 * in the thread pool; touches nothing but its arguments. Bounded in depth, parts, size and time
 * whatever the bytes are.
 */
#ifndef PMTA_PIPE_INBOUND_PARSE_H
#define PMTA_PIPE_INBOUND_PARSE_H

#include "inbound/parsed.h"

struct inbound_wanted {
    bool null_sender;         /* of the envelope */
    bool for_feedback;        /* it came to a feedback loop processor */
    struct strview own;       /* the address that it came to */
    int64_t time_ms;          /* it may take */
};

/* message: header and body without dot-stuffing; it stays, views point into it. */
void inbound_parse(struct strview message, const struct inbound_wanted *w, struct arena *a,
                   struct inbound_report *ret);

#endif
