/*
 * route: where mail for one domain goes (RFC 5321 section 5.1, RFC 7505), put together from
 * answers.
 */
#ifndef PMTA_RESOLVER_ROUTE_H
#define PMTA_RESOLVER_ROUTE_H

#include "dane.h"
#include "mail/route.h"
#include "sts.h"

enum {
    ROUTE_JOB_MAX_HOSTS = 20,          /* MX hosts looked at, best preference first */
    ROUTE_JOB_MAX_PER_HOST = 32,       /* addresses of one family taken of one host */
    ROUTE_JOB_PARTIAL_TTL_S = 60,      /* when some host's addresses could not be had */
    ROUTE_JOB_MIN_TLS_TTL_S = 30,      /* what the TTLs of TLSA records count at least */
    ROUTE_JOB_POLICY_BYTES = 8 * 1024, /* of a policy's text that goes to the pipe */
    ROUTE_JOB_TLSA_BYTES = 32 * 1024,  /* of all hosts' records together */
};

struct route_result {
    enum route_status status;
    uint32_t ttl_s;
    char text[320];    /* why there is no route; empty when there is one */
    struct buf hosts;  /* as mail/route.h writes them */
    struct buf policy; /* as mail/tls_policy.h writes it; empty when there is nothing to say */
};

void route_result_free(struct route_result *r);

/* What is asked for. */
struct route_request {
    enum route_kind kind;
    struct strview domain; /* as in an address: ASCII, UTF-8, address literal */
    uint8_t wants;         /* ROUTE_WANT_ bits */
    uint16_t port;         /* of TLSA records; 0: 25 */
};

struct route_host {
    uint16_t preference;
    const char *name; /* in the MX answer, or the domain */
    struct question v4, v6;
    struct dane dane;
};

enum route_phase {
    ROUTE_BEGIN,
    ROUTE_ASKED_MX,
    ROUTE_ASKED_ADDRESSES,
    ROUTE_ASKED_TLSA,
    ROUTE_KNOWN
};

struct route_job {
    struct question_set questions;
    struct sts *sts;
    enum route_phase phase;
    enum route_kind kind;
    uint8_t wants;
    uint16_t port;
    enum route_status bad; /* with text: the domain cannot be asked about */
    char text[128];
    struct domain_address literal; /* family 0: none */
    char domain[DOMAIN_SIZE];
    struct question mx;
    struct route_host hosts[ROUTE_JOB_MAX_HOSTS];
    size_t host_count;
    struct sts_waiter sts_waiter;
    bool sts_pending;
    struct sts_view sts_view;
    void *owner; /* the caller's */
    void (*done)(struct route_job *job, struct route_result *result);
};

/* Caller's memory. sts may be NULL: then there are no policies. */
void route_job_init(struct route_job *job, struct lookups *l, struct sts *sts,
                    const struct route_request *q);
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
