/*
 * Inside a check: what its topics share. Each topic is some tasks; a task asks, looks at the answer,
 * asks on or adds what it found, and ends. Memory of tasks is the check's arena.
 */
#ifndef PMTA_PIPE_CHECK_CHECK_INT_H
#define PMTA_PIPE_CHECK_CHECK_INT_H

#include "base/list.h"
#include "check/check.h"
#include "check/org_domain.h"
#include "check/questions.h"
#include "check/tags.h"

struct check_tally {
    unsigned all, good;
};

struct check {
    struct arena arena;
    struct questions questions;
    uv_timer_t timer; /* the deadline; then the turn in which done is called */
    check_done *done;
    void *arg;
    bool is_closing;
    unsigned tasks; /* not ended */

    struct check_request req; /* copied into the arena */
    struct strview domain;    /* lower case; of From */
    struct strview mail_from;
    struct strview from_org; /* organisational domain of `domain` */

    struct check_finding **findings;
    size_t finding_count, finding_room;
    struct list spf_runs; /* struct spf_run */

    /* what the verdict on DMARC and the proposed records are made of */
    struct check_tally spf; /* of the return path, over all sources */
    bool spf_unknown;       /* of an address the DNS did not answer */
    bool spf_is_aligned;
    bool *key_is_good;                 /* by key: it is published */
    bool dmarc_unknown;                /* the DNS did not answer */
    struct strview dmarc;              /* the record; ptr NULL: none that counts */
    struct strview dmarc_policy;       /* that holds for the domain: none, quarantine, reject */
    struct strview spf_record;         /* of the return path; or empty */
    struct check_finding *spf_refused; /* the first address that SPF does not let pass */
    struct buf spf_missing;            /* terms for addresses that do not pass */
    unsigned spf_missing_count;
};

/* Of findings on DMARC. */
enum {
    CHECK_ORDER_RECORD,
    CHECK_ORDER_REPORTS,
    CHECK_ORDER_RECEIVERS,
    CHECK_ORDER_PERCENT,
    CHECK_ORDER_SPF,
    CHECK_ORDER_DKIM,
    CHECK_ORDER_VERDICT,
};

/* One evaluation of SPF; memory of the caller's, which is in the check's arena. */
struct spf_run {
    struct list link;
    struct question_waiter waiter;
    struct check *check;
    struct spf *spf;
    void (*ended)(struct spf_run *r); /* spf_result(r->spf) counts; r->spf goes afterwards */
};

void spf_run_start(struct check *c, struct spf_run *r, const struct sockaddr *ip,
                   struct strview helo, struct strview mail_from);

/* A task begins and ends; all begin before the first answer comes, or within a task. */
void check_begin(struct check *c);
void check_end(struct check *c);
void check_ask(struct check *c, enum lookup_kind kind, struct strview name,
               struct question_waiter *w);

/* Never NULL; subject and text are copied. */
struct check_finding *check_add(struct check *c, enum check_topic topic, enum check_level level,
                                unsigned order, const char *subject, const char *fmt, ...)
    PRINTF_LIKE(6, 7);
const char *check_printf(struct check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "192.0.2.1 (mta1)" */
const char *check_source_text(struct check *c, const struct check_source *s);
/* What the answer means when it is not OK: "the name does not exist". */
const char *check_status_text(struct check *c, const struct lookup_result *r);

/* The topics; each begins its tasks. */
void check_spf_begin(struct check *c);
void check_names_begin(struct check *c);
void check_dkim_begin(struct check *c);
void check_policy_begin(struct check *c); /* DMARC, and BIMI behind it */
/* Behind DMARC: whether who is to get its reports takes them. The record was found at `at`. */
void check_reports_begin(struct check *c, struct strview at, const char *name,
                         struct strview record);
void check_bounces_begin(struct check *c);
/* When all have ended: what is drawn from several. */
void check_spf_conclude(struct check *c);
void check_policy_conclude(struct check *c);

#endif
