/*
 * TLS reports (RFC 8460): how TLS went on the way to each domain that asks to be told, counted per UTC
 * day, policy and kind of failure, and sent by mail or HTTPS in the night after. Sessions are counted, not
 * messages. Counts survive a restart (state file "tls-reports"). Each pipe reports its own sessions.
 */
#ifndef PMTA_PIPE_TLSRPT_TLSRPT_H
#define PMTA_PIPE_TLSRPT_TLSRPT_H

#include "queue/engine.h"
#include "route/lookups.h"

#include <jansson.h>

struct tlsrpt;

enum {
    TLSRPT_MAX_DOMAINS = 4000, /* per day; sessions to further ones are not counted */
    TLSRPT_MAX_POLICIES = 8, /* of a domain on one day; sessions under further ones do not count */
    TLSRPT_MAX_DETAILS =
        32, /* kinds of failure per domain and policy; further ones only in the sum */
    TLSRPT_SPREAD_MS = 4 * 3600 * 1000, /* after midnight, so that not everybody reports at once */
};

struct tlsrpt *tlsrpt_new(uv_loop_t *loop, struct engine *engine, struct routes *routes);
/* Reads what was counted before, and saves there from now on. dirfd is borrowed. */
int tlsrpt_open(struct tlsrpt *t, int dirfd, struct err *e);
/* Off, nothing is counted, and what was counted is kept until its time is over. */
void tlsrpt_configure(struct tlsrpt *t, const struct config *cfg, const char *pipe);
/* Saves; closed(arg) from the loop. Nothing is counted any more. */
void tlsrpt_close(struct tlsrpt *t, void (*closed)(void *arg), void *arg);
void tlsrpt_free(struct tlsrpt *t); /* NULL is fine */

/* One session (engine_on_tls). */
void tlsrpt_told(void *arg, struct strview domain, const struct tls_policy *policy,
                 const struct tls_told *told);
/* Sends what is due; called by a timer of its own every minute, and by tests. */
void tlsrpt_tick(struct tlsrpt *t);

/* One object per domain and day. */
void tlsrpt_visit(const struct tlsrpt *t, void (*fn)(void *arg, json_t *o), void *arg);

#endif
