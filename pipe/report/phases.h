/*
 * Where the time of a message went, for a log line and an accounting record alike.
 */
#ifndef PMTA_PIPE_REPORT_PHASES_H
#define PMTA_PIPE_REPORT_PHASES_H

#include "base/util.h"
#include "mail/outcome.h"

struct phases {
    int64_t total, receive, queue, connect, transmit; /* ms; the last four add up to the first */
};

/*
 * receive_ms: what went before the queue, of it durable_ms while it was made durable, which the
 * wall clock counts as time in the queue, too; queued_ms: wall, from the last byte until now.
 * Never says less than what was measured: each part is rounded by itself, and the wall clock may be
 * set back, so the total grows where the parts come to more, and no part is negative.
 */
static inline struct phases phases_of(int64_t receive_ms, int64_t durable_ms, int64_t queued_ms,
                                      const struct outcome *o)
{
    struct phases p = {
        .receive = receive_ms + durable_ms,
        .connect = MAX_OF(o->connect_ms, (int64_t)0),
        .transmit = MAX_OF(o->transmit_ms, (int64_t)0),
    };
    int64_t known = p.receive + p.connect + p.transmit;

    p.total = MAX_OF(receive_ms + MAX_OF(queued_ms, (int64_t)0), known);
    p.queue = p.total - known;
    return p;
}

#endif
