/*
 * Adaptive and warm-up in a sentence, for `why`, `show queues`, `show limits` and `config explain`.
 */
#ifndef PMTA_PIPE_ADMIN_PACE_WORDS_H
#define PMTA_PIPE_ADMIN_PACE_WORDS_H

#include "base/buf.h"
#include "pace/pace.h"

/* "12/s, lowered at 14:03:22Z by reply '421 4.7.0 slow down'" */
void pace_say_adaptive(const struct adaptive *a, struct buf *out);
/* "50 of 50 sent today, day 3, next at midnight (2026-11-22 00:00 CET)" */
void pace_say_warmup(const struct pace_view *v, int64_t now_ms, struct buf *out);

/* What the view says of l, one of its two limits: "warm-up of 192.0.2.1 to google.rollup/mta1" and
 * the sentence. */
void pace_say_limit(const struct pace_view *v, const struct limit *l, int64_t now_ms,
                    struct buf *name, struct buf *sentence);

/* "50/d, day 3" */
void pace_say_allowed(const struct pace_view *v, const struct limit *l, struct buf *out);

/* "12/s", "40/m": three figures. */
void pace_say_rate(double per_s, struct buf *out);

#endif
