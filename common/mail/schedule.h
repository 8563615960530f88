/*
 * Delivery windows, as X-Schedule gives them: "START / END, START / END". Times are UTC, written
 * "2026-11-21 08:00:00" or "2026-11-21T08:00:00Z". The receiver checks them, the pipe asks when a
 * message may go. A plain value: copied, never freed.
 */
#ifndef PMTA_MAIL_SCHEDULE_H
#define PMTA_MAIL_SCHEDULE_H

#include "base/err.h"
#include "base/str.h"

enum { SCHEDULE_MAX_WINDOWS = 16, SCHEDULE_MAX_TEXT = 1000 };

/* schedule_next: the last window has passed. */
#define SCHEDULE_OVER INT64_MAX

/* Wall clock; start_ms belongs to the window, end_ms does not. */
struct schedule_window {
    int64_t start_ms, end_ms;
};

struct schedule {
    size_t count; /* at least one after a parse that went well */
    struct schedule_window windows[SCHEDULE_MAX_WINDOWS]; /* in order; none touches the next */
};

/* Windows may come in any order and overlap; they are sorted and joined. 0, or ERR_SYNTAX with *e
 * saying what is wrong. */
int schedule_parse(struct strview text, struct schedule *ret, struct err *e);

/* The next time, not before now_ms, at which delivery is allowed: now_ms itself inside a window,
 * the start of the next one between two, SCHEDULE_OVER after the last. */
int64_t schedule_next(const struct schedule *s, int64_t now_ms);

/* When the last window ends: what is not delivered then will not be. */
int64_t schedule_end(const struct schedule *s);

#endif
