/*
 * question: the questions that one job (a route, an answer to a pipe) is made of, asked together and
 * counted: the job goes on when none is open any more.
 */
#ifndef PMTA_RESOLVER_QUESTION_H
#define PMTA_RESOLVER_QUESTION_H

#include "lookup.h"

struct question_set {
    struct lookups *lookups;
    struct fair_client *client; /* who they are asked for; NULL: the cache alone */
    unsigned pending;           /* without an answer */
    /* The last open one is answered; never inside question_ask. */
    void (*step)(struct question_set *set);
};

struct question {
    struct lookup_waiter waiter;
    struct question_set *set;
    struct answer *answer; /* a reference; NULL: not asked or not answered yet */
    uint32_t ttl_s;
};

/* Asks; the answer may be there afterwards. A question is asked once. */
void question_ask(struct question_set *set, struct question *q, const char *name,
                  enum query_type type);
/* Gives the answer back; not while the question is under way, but for the end of everything. */
void question_fini(struct question *q);

/* Answered with records, and these were validated. */
static inline bool question_is_secure(const struct question *q)
{
    return q->answer && q->answer->status == ANSWER_OK &&
           lookup_is_secure(q->set->lookups, q->answer);
}

#endif
