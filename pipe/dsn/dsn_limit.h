/*
 * How many notices one sender gets (dsn-max-rate): a bucket per sender, for so many senders as are
 * heard of at a time. What was held back is counted until the next notice, which says so.
 */
#ifndef PMTA_PIPE_DSN_LIMIT_H
#define PMTA_PIPE_DSN_LIMIT_H

#include "base/buf.h"
#include "base/str.h"
#include "base/units.h"

struct dsn_limit;

/* max_senders: the one that was silent for longest makes room. */
struct dsn_limit *dsn_limit_new(size_t max_senders);
void dsn_limit_free(struct dsn_limit *l); /* NULL is fine */

struct dsn_held {
    uint32_t count;   /* notices held back since the last one went out */
    int64_t since_ms; /* wall */
};

/* One more notice to sender at this rate: true, and *ret says what was held back before it; false: it
 * is held back, and counted. */
bool dsn_limit_take(struct dsn_limit *l, struct strview sender, const struct rate *rate,
                    int64_t wall_ms, struct dsn_held *ret);

/* Appends what would be missed: senders whose bucket is not full, or from whom something was held
 * back; of many, the DSN_LIMIT_KEPT that were heard of last. Addresses are not in it. */
enum { DSN_LIMIT_KEPT = 10000 };
void dsn_limit_write(const struct dsn_limit *l, int64_t wall_ms, struct buf *out);
/* Takes over what was written, into a limit that counted nothing yet. Lines that cannot be right are
 * passed over. */
void dsn_limit_read(struct dsn_limit *l, struct strview text);

#endif
