/*
 * sts: MTA-STS policies by domain (RFC 8461): which one holds now, when it has to be fetched, what is
 * kept over a restart. Does no I/O itself: DNS goes through lookup.c, HTTPS and files through
 * sts_ops.
 *
 * A policy holds until its max_age ends, whatever becomes of its TXT record or server. It is fetched
 * when a TXT record names an id that it is not of, and again about once a day (twice within a
 * max_age that is shorter than two days) while somebody sends to the domain. A failed fetch is tried
 * again after five minutes, or at once for another id.
 */
#ifndef PMTA_RESOLVER_STS_H
#define PMTA_RESOLVER_STS_H

#include "base/heap.h"
#include "lookup.h"
#include "mail/tls_policy.h"

enum {
    STS_ID_SIZE = 33,
    STS_FAILURE_SIZE = 200,
    STS_PATIENCE_MS = 4000,               /* after which a route goes without; see sts_ask */
    STS_RETRY_MS = 5 * 60 * 1000,         /* after a failed fetch of the same id */
    STS_REFRESH_MS = 24 * 60 * 60 * 1000, /* the longest time between fetches */
    STS_UNUSED_DAYS = 30,                 /* policies that nobody asked for are not refreshed */
    STS_PENDING_TTL_S = 10,               /* of an answer that did not wait for the fetch */
    STS_MIN_TTL_S = 30,                   /* of what is known, however short the TTL in the DNS */
};

/* What came of a fetch. */
struct sts_fetched {
    const char *failure; /* NULL: fetched; else a result type of RFC 8460 section 4.3.2 */
    const char *text;    /* why */
    struct strview file; /* valid during the call */
};

typedef void (*sts_fetch_cb)(void *arg, const struct sts_fetched *f);
struct fetch;

struct sts_ops {
    /* Gets the policy file of a domain by HTTPS. cb fires once, never inside this call. */
    struct fetch *(*fetch)(void *owner, const char *domain, sts_fetch_cb cb, void *arg);
    /* No cb will fire. */
    void (*cancel)(void *owner, struct fetch *f);
    /* Keeps these bytes for sts_restore, and forgets them. */
    void (*save)(void *owner, const char *domain, struct strview bytes);
    void (*forget)(void *owner, const char *domain);
};

struct sts_limits {
    size_t domains; /* with a policy, or a fetch that failed of late */
    size_t bytes;   /* of memory for them */
};

#define STS_LIMITS_DEFAULT ((struct sts_limits){.domains = 50000, .bytes = 64u << 20})

/* A policy; immutable and refcounted. */
struct sts_version {
    uint32_t refs;
    struct sts_policy policy;
    int64_t expires_ms; /* monotonic */
    /* what the views above point into */
    struct arena arena;
    struct buf text;
    char id[STS_ID_SIZE];
};

void sts_version_unref(struct sts_version *v); /* NULL is fine */

/* What is known about a domain. */
struct sts_view {
    struct sts_version *version;    /* a reference, or NULL: no policy holds */
    char failure[STS_FAILURE_SIZE]; /* "TYPE: text" when the TXT record's policy is not to be had;
                                       an older one may hold */
    uint32_t ttl_s;
    bool pending; /* the fetch goes on: more will be known soon */
};

void sts_view_fini(struct sts_view *v);

/* Somebody who waits; the memory is the caller's. */
struct sts_waiter {
    struct list link, all;
    struct sts_entry *entry; /* NULL: does not wait */
    int64_t until_ms;
    /* Fires once, never inside sts_ask; the view is the callee's to end. */
    void (*done)(struct sts_waiter *w, struct sts_view *view);
};

struct sts {
    struct lookups *lookups;
    const struct sts_ops *ops;
    void *ops_owner;
    struct sts_limits limits;
    struct hash entries;
    struct list lru;     /* most recently used first */
    struct list waiters; /* all of them */
    struct heap due;     /* refresh, expiry */
    size_t bytes;
    bool loading; /* between sts_set_loading and sts_loaded nothing is fetched */
    uint64_t fetches, failures, evictions;
};

void sts_init(struct sts *s, struct lookups *l, const struct sts_limits *limits);
/* Before it nothing is fetched: domains have no policy, but for those restored. */
void sts_set_ops(struct sts *s, const struct sts_ops *ops, void *ops_owner);
/* Nobody waits any more. Before lookups_fini. */
void sts_fini(struct sts *s);

/* What is known without asking anybody; then fills *ret for the caller to end. */
bool sts_cached(struct sts *s, const char *domain, struct sts_view *ret);
/* Asks on behalf of a client, at once after sts_cached returned false. w->done has the view after
 * wait_ms at the latest (as of the next tick), with what is known by then. */
void sts_ask(struct sts *s, struct fair_client *client, const char *domain, int64_t wait_ms,
             struct sts_waiter *w);
/* done will not fire. Fine for one that is done, or zero. */
void sts_cancel(struct sts_waiter *w);

/* About once a second: waiters whose time is over, policies to be fetched again. */
void sts_tick(struct sts *s);

/* Policies of an earlier run, as ops.save got them; what is over or broken is forgotten. */
void sts_set_loading(struct sts *s);
void sts_restore(struct sts *s, const char *domain, struct strview bytes);
void sts_loaded(struct sts *s);

/* RFC 8461 section 3.1: 1 and the id of a TXT record, 0 when it is none of MTA-STS, ERR_SYNTAX when
 * it is a broken one. */
int sts_record_parse(struct strview txt, struct strview *ret_id);

#endif
