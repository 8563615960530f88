/*
 * Queues in line at the limits that have no room for them. Called by scheduler.c and sender.c when
 * something was refused. The line itself is the limit's; here it is kept in order of priority
 * (queue-priority), first come first served among equals. A queue stands in one line at a time.
 *
 * When there is room the limit tells the first ones; each gets a turn in the scheduler and keeps
 * its claim (`told`) until that turn is over, so that nobody who came later passes it, and it comes
 * back to where its ticket stands when something else was in the way. A queue in line that has nothing to send any more
 * is not taken out: its turn is short.
 */
#include "queue/engine_int.h"

#include "base/clock.h"

enum { MOST_AT_ONCE = 16 }; /* queues that look again when a host has room */

static struct queue *queue_of(const struct list *l)
{
    return container_of(l, struct queue, waiter.link);
}

static void on_room(struct limit_waiter *w)
{
    struct queue *q = container_of(w, struct queue, waiter);

    q->told = true;
    list_remove(&q->runnable);
    list_push_back(&q->engine->told, &q->runnable);
    scheduler_want_turn(q->engine);
}

static bool comes_before(const struct queue *a, const struct queue *b)
{
    if (a->settings.priority != b->settings.priority)
        return a->settings.priority > b->settings.priority;
    return a->ticket < b->ticket;
}

/* The limit put q at one end; it goes where priority and ticket belong. */
static void put_in_order(struct limit *l, struct queue *q, bool first)
{
    struct list *head = &l->waiters, *me = &q->waiter.link, *at = me;

    list_remove(me);
    if (first || (!list_empty(head) && comes_before(q, queue_of(head->next)))) {
        for (at = head->next; at != head && comes_before(queue_of(at), q);)
            at = at->next;
    } else {
        for (at = head; at->prev != head && comes_before(q, queue_of(at->prev));)
            at = at->prev;
    }
    list_insert_between(me, at->prev, at);
}

void scheduler_leave(struct queue *q)
{
    struct limit *l = q->line;

    limit_leave(&q->waiter);
    q->line = NULL;
    q->told = false;
    list_remove(&q->host_wait);
    limit_unref(l);
}

void scheduler_wait(struct engine *g, struct queue *q, struct limit *l)
{
    bool first = q->told && q->line == l;

    if (q->waiter.at == l)
        return;
    l->refs++;
    scheduler_leave(q);
    q->line = l;
    q->waiter.room = on_room;
    if (limit_is_rate(l))
        q->bound_until_ms = clock_mono_ms() + LINE_BOUND_MS;
    if (!first)
        q->ticket = ++g->tickets;
    if (first)
        limit_wait_first(l, &q->waiter);
    else
        limit_wait(l, &q->waiter);
    put_in_order(l, q, first);
    if (l->measure == LIMIT_CONNECTIONS)
        sender_make_room(g, q, l);
}

void scheduler_wait_host(struct engine *g, struct queue *q, struct limit *l)
{
    scheduler_wait(g, q, l);
    if (list_empty(&q->host_wait))
        list_push_back(&g->host_waiters, &q->host_wait);
}

void scheduler_host_room(struct engine *g)
{
    for (unsigned i = 0; i < MOST_AT_ONCE && !list_empty(&g->host_waiters); i++) {
        struct list *n = list_pop_front(&g->host_waiters);
        list_push_back(&g->host_waiters, n);
        scheduler_retry(g, list_entry(n, struct queue, host_wait));
        if (list_first(&g->host_waiters) == n)
            return;
    }
}

/* The most urgent queue in line at l; behind_too: that is not q. */
static const struct queue *first_in_line(const struct limit *l, const struct queue *q,
                                         bool behind_too)
{
    const struct list *first = list_first(&l->waiters);

    if (first && behind_too && queue_of(first) == q)
        first = first->next != &l->waiters ? first->next : NULL;
    return first ? queue_of(first) : NULL;
}

struct limit *scheduler_line_before(const struct queue *q, struct limit *const *set, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct queue *other = first_in_line(set[i], q, false);
        if (other && other != q && !(q->told && q->line == set[i]) &&
            other->settings.priority >= q->settings.priority)
            return set[i];
    }
    return NULL;
}

struct limit *scheduler_wanted(const struct queue *q, struct limit *const *set, size_t count,
                               bool by_anybody)
{
    for (size_t i = 0; i < count; i++) {
        const struct queue *other = first_in_line(set[i], q, true);
        if (other && (by_anybody || other->settings.priority >= q->settings.priority))
            return set[i];
    }
    return NULL;
}

void scheduler_had_turn(struct engine *g, struct queue *q)
{
    struct limit *l = q->line;

    if (!l || q->told || l->waiting < 2)
        return;
    l->refs++;
    scheduler_leave(q);
    scheduler_wait(g, q, l);
    limit_unref(l);
}
