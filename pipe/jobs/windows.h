/*
 * Delivery windows (X-Schedule) of queued messages. A campaign gives all its messages the same, so
 * each distinct schedule is parsed once and shared; a message without one pays a NULL pointer.
 */
#ifndef PMTA_PIPE_JOBS_WINDOWS_H
#define PMTA_PIPE_JOBS_WINDOWS_H

#include "base/hash.h"
#include "mail/schedule.h"

struct windows {
    struct hash_node node; /* by text */
    struct hash *table;
    uint32_t refs; /* messages */
    uint16_t text_len;
    struct schedule schedule;
    char text[]; /* as the message gave it */
};

void windows_table_init(struct hash *table);

/* With a reference; NULL for an empty text, or one that cannot be read (the receiver refuses those,
 * so it is none of today's: the message then goes at any time). */
struct windows *windows_get(struct hash *table, struct strview text);
void windows_unref(struct windows *w); /* NULL is fine */

/* Inside a window at now. */
bool windows_open(const struct windows *w, int64_t now_ms);
/* The last one has passed. */
bool windows_over(const struct windows *w, int64_t now_ms);
/* When that changes next: the end of the window that is open, or the start of the next one;
 * SCHEDULE_OVER after the last. */
int64_t windows_change(const struct windows *w, int64_t now_ms);

/* For settling; w may be NULL. A retry time moved into a window: the time itself, the start of the
 * next window, or when there is none the end of the last, when the message ends. */
int64_t windows_fit(const struct windows *w, int64_t at_ms);
/* When the message's time is over: the end of its last window overrides bounce-after. */
int64_t windows_end(const struct windows *w, int64_t bounce_ms);

#endif
