/*
 * Questions of a job; see question.h. Called by route.c, dane.c and ask.c. What the cache knows is
 * there at once; the rest comes through lookup.c, whose waiter is part of the question, so the
 * question's memory stays until then.
 */
#include "question.h"

static void on_answer(struct lookup_waiter *w, struct answer *a, uint32_t ttl_s)
{
    struct question *q = container_of(w, struct question, waiter);

    q->answer = answer_ref(a);
    q->ttl_s = ttl_s;
    if (--q->set->pending == 0)
        q->set->step(q->set);
}

void question_ask(struct question_set *set, struct question *q, const char *name,
                  enum query_type type)
{
    struct answer *a = lookup_cached(set->lookups, name, type, &q->ttl_s);

    BUG_ON(q->set);
    q->set = set;
    q->waiter.done = on_answer;
    if (a) {
        q->answer = answer_ref(a);
        return;
    }
    set->pending++;
    if (set->client)
        lookup_start(set->lookups, set->client, name, type, &q->waiter);
}

void question_fini(struct question *q)
{
    answer_unref(q->answer);
    *q = (struct question){0};
}
