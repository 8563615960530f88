/*
 * HTTPS POSTs that the resolver makes for this pipe (TLS reports). Unlike questions they are not made
 * again when the resolver goes away: whoever started one decides about that.
 */
#ifndef PMTA_PIPE_ROUTE_POSTS_H
#define PMTA_PIPE_ROUTE_POSTS_H

#include "route/routes.h"

enum { POST_TIME_LIMIT_MS = 15 * 60 * 1000 }; /* there may be a line; then the status is 0 */

/* Caller's memory until done or post_cancel. owner is the caller's, the rest is not looked at. */
struct post {
    struct list link;
    struct routes *routes; /* NULL: not under way */
    uint64_t token;
    int64_t until_ms;
    /* status: HTTP's, 0 when there was no answer; text: what went wrong, valid during the call */
    void (*done)(struct post *p, unsigned status, struct strview text);
    void *owner;
};

/* Sends body (not kept); p->done is set by the caller before, and fires once, not inside the call. */
void post_start(struct routes *r, struct post *p, struct strview url, const char *content_type,
                struct strview body);
/* done will not fire. Fine for one that is done, or zero. */
void post_cancel(struct post *p);

#endif
