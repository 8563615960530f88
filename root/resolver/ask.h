/*
 * ask: one question of a pipe besides routes: records of a name, or the MTA-STS policy of a domain.
 */
#ifndef PMTA_RESOLVER_ASK_H
#define PMTA_RESOLVER_ASK_H

#include "mail/lookup.h"
#include "question.h"
#include "sts.h"

enum { ASK_STS_PATIENCE_MS = 30 * 1000 };

struct ask_result {
    enum lookup_status status;
    bool secure;
    uint32_t ttl_s;
    char text[320];     /* why, when the status is not LOOKUP_OK */
    struct buf records; /* as mail/lookup.h writes them */
};

void ask_result_free(struct ask_result *r);

struct ask_job {
    struct question_set questions;
    struct sts *sts;
    enum lookup_kind kind;
    char text[128]; /* not empty: the name cannot be asked about */
    char name[DOMAIN_SIZE];
    struct question question;
    struct sts_waiter sts_waiter;
    struct sts_view sts_view;
    void *owner; /* the caller's */
    void (*done)(struct ask_job *job, struct ask_result *result);
};

/* Whether a number from outside is a kind. */
bool ask_kind_is_known(unsigned kind);

/* Caller's memory. sts may be NULL: then no domain has a policy. */
void ask_job_init(struct ask_job *job, struct lookups *l, struct sts *sts, enum lookup_kind kind,
                  struct strview name);
/* Not while the question is under way, but for the end of everything. */
void ask_job_fini(struct ask_job *job);

/* Whether the answer is known; then fills *ret, which the caller frees. Afterwards the job can only
 * be ended. */
bool ask_job_try_cache(struct ask_job *job, struct ask_result *ret);

/* Asks. done fires once, maybe inside this call; it may end and free the job; the result is freed
 * after it. */
void ask_job_start(struct ask_job *job, struct fair_client *client,
                   void (*done)(struct ask_job *job, struct ask_result *result));

#endif
