/*
 * policies: what sts.c needs of the world: HTTPS, a directory, time. One per process.
 */
#ifndef PMTA_RESOLVER_POLICIES_H
#define PMTA_RESOLVER_POLICIES_H

#include "fetch.h"
#include "resolve.h"
#include "sts_store.h"

struct policies {
    struct sts *sts;
    struct fetch_pool *fetches;
    struct sts_store store;
    uv_timer_t tick;
    bool stopped;
};

/* Policies are fetched from now on. */
void policies_start(struct policies *p, uv_loop_t *loop, struct resolve *r);
void policies_configure(struct policies *p, const struct fetch_options *options);
/* Takes a directory that policies are kept in; done(arg) when those in it are known. */
void policies_load(struct policies *p, int dirfd, void (*done)(void *arg), void *arg);
/* Ends what is under way; what is being written is finished by the thread pool. Idempotent. */
void policies_stop(struct policies *p);

#endif
