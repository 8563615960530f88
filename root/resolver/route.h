/*
 * route: where mail for one domain goes (RFC 5321 section 5.1, RFC 7505), put together from
 * answers.
 */
#ifndef PMTA_RESOLVER_ROUTE_H
#define PMTA_RESOLVER_ROUTE_H

#include "lookup.h"
#include "mail/route.h"

enum {
    ROUTE_JOB_MAX_HOSTS = 20,     /* MX hosts looked at, best preference first */
    ROUTE_JOB_MAX_PER_HOST = 32,  /* addresses of one family taken of one host */
    ROUTE_JOB_PARTIAL_TTL_S = 60, /* when some host's addresses could not be had */
};

struct route_result {
    enum route_status status;
    uint32_t ttl_s;
    char text[320];   /* why there is no route; empty when there is one */
    struct buf hosts; /* as mail/route.h writes them */
};

void route_result_free(struct route_result *r);

struct route_job;

struct route_question {
    struct lookup_waiter waiter;
    struct route_job *job;
    struct answer *answer; /* a reference; NULL: not asked or not answered yet */
    uint32_t ttl_s;
};

struct route_host {
    uint16_t preference;
    const char *name; /* in the MX answer, or the domain */
    struct route_question v4, v6;
};

struct route_job {
    struct lookups *lookups;
    struct fair_client *client; /* who the questions are asked for; NULL: the cache alone */
    enum route_kind kind;
    enum route_status bad; /* with text: the domain cannot be asked about */
    char text[128];
    struct domain_address literal; /* family 0: none */
    char domain[DOMAIN_SIZE];
    struct route_question mx;
    struct route_host hosts[ROUTE_JOB_MAX_HOSTS];
    size_t host_count;
    unsigned pending; /* questions without an answer */
    void *owner;      /* the caller's */
    void (*done)(struct route_job *job, struct route_result *result);
};

/* Caller's memory. domain: as in an address (ASCII, UTF-8, address literal). */
void route_job_init(struct route_job *job, struct lookups *l, enum route_kind kind,
                    struct strview domain);
/* Not while questions are under way, but for the end of everything. */
void route_job_fini(struct route_job *job);

/* Whether the cache knows the whole route; then fills *ret, which the caller frees. Afterwards the
 * job can only be ended. */
bool route_job_try_cache(struct route_job *job, struct route_result *ret);

/* Asks what the cache does not know. done fires once, maybe inside this call; it may end and free
 * the job; the result is freed after it. */
void route_job_start(struct route_job *job, struct fair_client *client,
                     void (*done)(struct route_job *job, struct route_result *result));

#endif
