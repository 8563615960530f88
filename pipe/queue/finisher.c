/*
 * Ends recipients outside of a connection: the DNS says no, an operator deletes, the time is over.
 * Works on a list of message ids in slices, one slice per turn of the loop, because each needs its
 * envelope from the spool for the accounting record, and a queue may hold a million.
 */
#include "queue/engine_int.h"

#include "base/clock.h"
#include "base/log.h"

#include <fnmatch.h>

enum { SLICE_MS = 3, SLICE_CHECK = 16 };

struct finisher {
    struct list link; /* engine->finishers */
    message_id *ids;
    size_t count;
    size_t next;

    struct strview queue_name; /* whole name; empty: any queue */
    struct engine_delete_filter filter;
    bool only_expired;
    bool dry_run;
    struct outcome outcome;
    char *text[5]; /* copies that the views point to */

    uint64_t matched;
    uint64_t ended;
    void (*done)(void *arg, uint64_t matched, uint64_t deleted);
    void *arg;
};

static struct strview copy(struct strview v, char **ret)
{
    *ret = v.len ? xstrndup(v.ptr, v.len) : NULL;
    return sv(*ret, v.len);
}

static struct finisher *finisher_new(struct engine *g, const struct outcome *o)
{
    struct finisher *f = xcalloc(1, sizeof(*f));

    f->outcome = *o;
    f->outcome.text = copy(o->text, &f->text[0]);
    f->outcome.peer_host = f->outcome.peer_ip = sv(NULL, 0);
    f->outcome.tls = "";
    list_push_back(&g->finishers, &f->link);
    scheduler_want_turn(g);
    return f;
}

static void add_id(struct finisher *f, size_t *cap, message_id id)
{
    if (f->count && f->ids[f->count - 1] == id)
        return;
    if (f->count == *cap) {
        *cap = *cap ? *cap * 2 : 64;
        f->ids = xrealloc(f->ids, *cap * sizeof(f->ids[0]));
    }
    f->ids[f->count++] = id;
}

static bool is_waiting(const struct entry *e)
{
    return e->state == ENTRY_READY || e->state == ENTRY_DEFERRED;
}

static bool is_old(const struct entry *e, int64_t now)
{
    return now >= e->message->received_ms + e->queue->settings.bounce_after_ms;
}

static void collect_queue(struct finisher *f, struct queue *q, bool only_expired)
{
    int64_t now = clock_wall_ms();
    size_t cap = 0;

    list_for_each (l, &q->ready) {
        struct entry *e = list_entry(l, struct entry, link);
        if (!only_expired || is_old(e, now))
            add_id(f, &cap, e->message->id);
    }
    if (only_expired)
        return; /* deferred ones have a last attempt when their time is over */
    for (uint32_t i = 0; i < q->deferred.count; i++)
        add_id(f, &cap, container_of(q->deferred.nodes[i], struct entry, wake)->message->id);
}

void finisher_queue(struct engine *g, struct queue *q, const struct outcome *o)
{
    struct finisher *f = finisher_new(g, o);
    f->queue_name = copy(sv_of(q->name), &f->text[1]);
    collect_queue(f, q, false);
}

bool finisher_runs(const struct engine *g, const struct queue *q)
{
    list_for_each (l, &g->finishers) {
        const struct finisher *f = list_entry(l, struct finisher, link);
        if (!f->only_expired && sv_eq(f->queue_name, sv_of(q->name)))
            return true;
    }
    return false;
}

void finisher_expired(struct engine *g, struct queue *q, struct strview text)
{
    struct list *first = list_first(&q->ready);

    if (!first || !is_old(list_entry(first, struct entry, link), clock_wall_ms()))
        return;
    struct outcome o = {
        .class_ = OUTCOME_DEFERRED, /* settle_entry finds that its time is over */
        .phase = PHASE_QUEUE,
        .enhanced = {4, 4, 7},
        .text = text,
        .connect_ms = -1,
        .transmit_ms = -1,
    };
    struct finisher *f = finisher_new(g, &o);
    f->only_expired = true;
    f->queue_name = copy(sv_of(q->name), &f->text[1]);
    collect_queue(f, q, true);
}

static bool queue_matches(const struct finisher *f, const struct queue *q)
{
    if (f->queue_name.len)
        return sv_eq(f->queue_name, sv_of(q->name));
    return !f->filter.queue_pattern.len || engine_pattern_matches(f->filter.queue_pattern, q->name);
}

void engine_delete(struct engine *g, const struct engine_delete_filter *filter, bool dry_run,
                   void (*done)(void *arg, uint64_t matched, uint64_t deleted), void *arg)
{
    struct outcome o = {
        .class_ = OUTCOME_DELETED,
        .phase = PHASE_QUEUE,
        .enhanced = {5, 7, 0},
        .text = SV("deleted by an operator"),
        .connect_ms = -1,
        .transmit_ms = -1,
    };
    struct finisher *f = finisher_new(g, &o);
    size_t cap = 0;

    f->dry_run = dry_run;
    f->done = done;
    f->arg = arg;
    f->filter.id = filter->id;
    f->filter.queue_pattern = copy(filter->queue_pattern, &f->text[1]);
    f->filter.job = copy(filter->job, &f->text[2]);
    f->filter.rcpt = copy(filter->rcpt, &f->text[3]);
    f->filter.sender = copy(filter->sender, &f->text[4]);
    if (filter->id) {
        add_id(f, &cap, filter->id);
        return;
    }
    for (struct hash_node *n = NULL; (n = hash_next(&g->index.by_id, n));)
        add_id(f, &cap, container_of(n, struct message, node)->id);
}

/* Whole text without case, with * and ?. */
static bool text_matches(struct strview pattern, struct strview text)
{
    char p[512], t[512];

    if (!pattern.len)
        return true;
    if (pattern.len >= sizeof(p) || text.len >= sizeof(t))
        return false;
    memcpy(p, pattern.ptr, pattern.len);
    p[pattern.len] = '\0';
    memcpy(t, text.ptr, text.len);
    t[text.len] = '\0';
    return fnmatch(p, t, FNM_CASEFOLD | FNM_NOESCAPE) == 0;
}

static void finish_entry(struct engine *g, struct finisher *f, struct entry *e,
                         const struct envelope *env)
{
    f->matched++;
    if (f->dry_run)
        return;
    queue_take(e->queue, e, ENTRY_FINISHING);
    f->ended++;
    settle_entry(g, e, env, &f->outcome, NULL);
}

static bool entry_matches(const struct finisher *f, const struct entry *e,
                          const struct envelope *env)
{
    return is_waiting(e) && queue_matches(f, e->queue) &&
           (!f->only_expired || (e->state == ENTRY_READY && is_old(e, clock_wall_ms()))) &&
           text_matches(f->filter.rcpt, env->rcpts[e->rcpt].address);
}

static bool any_entry_waits(const struct finisher *f, const struct message *m)
{
    for (uint16_t i = 0; i < m->entry_count; i++)
        if (is_waiting(&m->entries[i]) && queue_matches(f, m->entries[i].queue))
            return true;
    return false;
}

static void finish_message(struct engine *g, struct finisher *f, message_id id)
{
    struct message *m = index_find(&g->index, id);
    struct arena arena = {0};
    struct envelope env;

    if (!m || !any_entry_waits(f, m))
        return;
    message_pin(m);
    if (spool_read_envelope(g->spool, m->id, &m->place, &arena, &env) < 0)
        log_warn(LOG_QUEUE, "envelope could not be read, leaving the message in its queue");
    else if (text_matches(f->filter.job, env.job) && text_matches(f->filter.sender, env.sender))
        for (uint16_t i = 0; i < m->entry_count; i++)
            if (m->entries[i].rcpt < env.rcpt_count && entry_matches(f, &m->entries[i], &env))
                finish_entry(g, f, &m->entries[i], &env);
    arena_free(&arena);
    message_unpin(&g->index, m);
}

static void finisher_free(struct finisher *f)
{
    list_remove(&f->link);
    for (size_t i = 0; i < ARRAY_LEN(f->text); i++)
        free(f->text[i]);
    free(f->ids);
    free(f);
}

void finisher_turn(struct engine *g)
{
    struct list *first = list_first(&g->finishers);
    int64_t until = clock_mono_ms() + SLICE_MS;

    if (!first)
        return;
    struct finisher *f = list_entry(first, struct finisher, link);
    while (f->next < f->count) {
        finish_message(g, f, f->ids[f->next++]);
        if (f->next % SLICE_CHECK == 0 && clock_mono_ms() >= until)
            return;
    }
    if (f->done)
        f->done(f->arg, f->matched, f->ended);
    finisher_free(f);
}
