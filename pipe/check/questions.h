/*
 * The questions of one check: each is asked once, however many want its answer, some at a time, and
 * all have an answer when the time is over.
 */
#ifndef PMTA_PIPE_CHECK_QUESTIONS_H
#define PMTA_PIPE_CHECK_QUESTIONS_H

#include "base/hash.h"
#include "route/lookups.h"

enum { QUESTIONS_MAX = 4096, QUESTIONS_PARALLEL = 32 };

struct questions {
    struct routes *routes;
    struct arena arena; /* answers live until questions_fini */
    struct hash all;
    struct list waiting; /* to be asked */
    struct list asked;
    struct list ready; /* waiters whose answer is there */
    unsigned under_way;
    unsigned parallel; /* at most so many under way */
    bool is_over;
    bool is_draining;
};

/* Caller's memory until it is answered or the questions are gone. */
struct question_waiter {
    struct list link;
    struct question *question;
    /* Not inside questions_ask. r is valid until questions_fini. */
    void (*answered)(struct question_waiter *w, const struct lookup_result *r);
};

void questions_init(struct questions *q, struct routes *routes, unsigned parallel);
/* What is under way is cancelled, nobody is told. */
void questions_fini(struct questions *q);

void questions_ask(struct questions *q, enum lookup_kind kind, struct strview name,
                   struct question_waiter *w);
/* Tells waiters whose answer is there; call after asking from outside of an answer. */
void questions_drain(struct questions *q);
/* Nothing is asked any more: what has no answer yet, and what comes, failed for the time being. */
void questions_expire(struct questions *q);

#endif
