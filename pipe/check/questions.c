/*
 * See questions.h. Called by the checks. A question goes waiting -> asked -> answered; waiters of
 * an answered one go to `ready` and are told from questions_drain, one after the other, so that a
 * waiter may ask again without nesting. Memory of everything is the arena's.
 */
#include "check/questions.h"

struct question {
    struct hash_node node;
    struct list link; /* in waiting or asked */
    struct list waiters;
    struct questions *all;
    struct lookup lookup;
    enum lookup_kind kind;
    struct strview name;
    bool is_answered;
    struct lookup_result result;
};

struct key {
    enum lookup_kind kind;
    struct strview name;
};

static bool match(const struct hash_node *n, const void *key)
{
    const struct question *q = container_of(n, const struct question, node);
    const struct key *k = key;
    return q->kind == k->kind && sv_eq_nocase(q->name, k->name);
}

void questions_init(struct questions *q, struct routes *routes, unsigned parallel)
{
    *q = (struct questions){.routes = routes, .parallel = parallel};
    hash_init(&q->all, match);
    list_init(&q->waiting);
    list_init(&q->asked);
    list_init(&q->ready);
}

void questions_fini(struct questions *q)
{
    for (struct list *l; (l = list_pop_front(&q->asked));)
        lookup_cancel(&list_entry(l, struct question, link)->lookup);
    hash_fini(&q->all);
    arena_free(&q->arena);
}

static void answered(struct question *q)
{
    q->is_answered = true;
    for (struct list *l; (l = list_pop_front(&q->waiters));)
        list_push_back(&q->all->ready, l);
}

static void keep(struct question *q, const struct lookup_result *r)
{
    struct arena *a = &q->all->arena;

    q->result = *r;
    q->result.text = arena_sv(a, r->text);
    q->result.count = r->status == LOOKUP_OK ? r->count : 0;
    q->result.records = arena_alloc(a, (q->result.count + 1) * sizeof(struct strview));
    for (size_t i = 0; i < q->result.count; i++)
        q->result.records[i] = arena_sv(a, r->records[i]);
}

static void fail(struct question *q, struct strview why)
{
    keep(q, &(struct lookup_result){.status = LOOKUP_TEMPORARY, .text = why});
    answered(q);
}

static void on_done(struct lookup *l, const struct lookup_result *r)
{
    struct question *q = l->owner;

    list_remove(&q->link);
    q->all->under_way--;
    keep(q, r);
    answered(q);
    questions_drain(q->all);
}

static void ask_some(struct questions *all)
{
    while (all->under_way < all->parallel) {
        struct list *l = list_pop_front(&all->waiting);
        if (!l)
            return;
        struct question *q = list_entry(l, struct question, link);
        list_push_back(&all->asked, &q->link);
        all->under_way++;
        q->lookup = (struct lookup){.done = on_done, .owner = q};
        lookup_start(all->routes, &q->lookup, q->kind, q->name);
    }
}

static struct question *question_new(struct questions *all, const struct key *k, uint64_t h)
{
    struct question *q = arena_alloc(&all->arena, sizeof(*q));

    *q = (struct question){.all = all, .kind = k->kind};
    q->name = arena_sv(&all->arena, k->name);
    list_init(&q->link);
    list_init(&q->waiters);
    hash_insert(&all->all, &q->node, h);
    if (all->is_over)
        fail(q, SV("there was no time left to ask"));
    else if (all->all.count > QUESTIONS_MAX)
        fail(q, SV("too many questions for one check"));
    else
        list_push_back(&all->waiting, &q->link);
    return q;
}

void questions_ask(struct questions *all, enum lookup_kind kind, struct strview name,
                   struct question_waiter *w)
{
    struct key k = {kind, name};
    uint64_t h = hash_bytes_nocase(name.ptr, name.len) ^ hash_u64(kind);
    struct hash_node *n = hash_find(&all->all, h, &k);
    struct question *q = n ? container_of(n, struct question, node) : question_new(all, &k, h);

    w->question = q;
    list_push_back(q->is_answered ? &all->ready : &q->waiters, &w->link);
}

void questions_drain(struct questions *all)
{
    if (all->is_draining)
        return;
    all->is_draining = true;
    for (struct list *l; (l = list_pop_front(&all->ready));) {
        struct question_waiter *w = list_entry(l, struct question_waiter, link);
        w->answered(w, &w->question->result);
    }
    all->is_draining = false;
    ask_some(all);
}

void questions_expire(struct questions *all)
{
    all->is_over = true;
    for (struct list *l; (l = list_pop_front(&all->asked));) {
        struct question *q = list_entry(l, struct question, link);
        lookup_cancel(&q->lookup);
        all->under_way--;
        fail(q, SV("no answer in time"));
    }
    for (struct list *l; (l = list_pop_front(&all->waiting));)
        fail(list_entry(l, struct question, link), SV("there was no time left to ask"));
    questions_drain(all);
}
