/*
 * The quiet check at the start and after a reload: reverse names of the source addresses that the
 * configuration names, and SPF of the domains that it has signing keys for. What is wrong becomes a
 * warning in the log; nothing waits for it.
 */
#ifndef PMTA_PIPE_CHECK_WATCH_H
#define PMTA_PIPE_CHECK_WATCH_H

#include "check/check.h"
#include "mail/config.h"

struct watch;

/* What is looked at together. */
struct watch_group {
    const char *domain; /* SPF of this return path; NULL: reverse names */
    struct check_source *sources;
    size_t count;
};

struct watch *watch_new(uv_loop_t *loop, struct routes *routes);
/* The memory goes with the next turns of the loop. NULL is fine. */
void watch_free(struct watch *w);

enum { WATCH_DELAY_MS = 5000, WATCH_LINES = 20, WATCH_SLICE = 128, WATCH_PARALLEL = 4 };

/* Begins after delay_ms, so that what is busy at the start goes first; a round under way is given
 * up. Groups are copied. One round looks at a slice of addresses at a time, asks WATCH_PARALLEL
 * questions at a time, and writes WATCH_LINES lines at most. */
void watch_start(struct watch *w, const struct watch_group *groups, size_t count,
                 uint64_t delay_ms);
/* Rounds that have ended. */
unsigned watch_rounds(const struct watch *w);

#endif
