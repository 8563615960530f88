/*
 * Ends recipients outside of a connection: the DNS says no, an operator deletes, the time is over.
 * Each needs its envelope from the spool for the accounting record, and a queue may hold a million:
 * messages are found in slices, one slice per turn of the loop, and their envelopes are read by the
 * spool's own way (page cache, else thread pool), so that the loop never waits.
 *
 * Where the messages come from differs: everything that is queued (delete), one queue (its domain
 * does not exist), a list, or the lanes whose last delivery window is over. From the last two of
 * queue and lanes entries are taken at once (FINISHING); otherwise they are looked at again when
 * the envelope is there, and may have gone their way meanwhile.
 *
 * Finishers run one after the other. Memory: a finisher dies in finisher_turn, when it has found
 * everything and no read is out; it pins each message that it reads.
 */
#include "queue/engine_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "queue/signing.h"

#include <fnmatch.h>

enum {
    SLICE_MS = 3,
    SLICE_CHECK = 16,
    READS_MAX = 128,        /* at a time */
    AGED_LOOKS_MAX = 10000, /* entries looked at for one failure of a queue */
    UNREADABLE_RETRY_MS = 600000,
};

enum source {
    FROM_ALL,   /* the index, from marker to marker */
    FROM_QUEUE, /* everything in it */
    FROM_LIST,  /* ids */
    FROM_OVER,  /* engine->lanes_over */
};

struct finisher {
    struct list link; /* engine->finishers */
    struct engine *engine;
    enum source source;
    struct message *at, *stop; /* FROM_ALL: markers in index->by_age */
    message_id *ids;           /* FROM_LIST */
    size_t id_count, id_next;
    bool exhausted;
    uint32_t reads_out;
    struct list reads_free;

    struct strview queue_name; /* whole name; empty: any queue */
    struct engine_delete_filter filter;
    bool only_expired;
    bool only_suppressed; /* FINISHING already, when the message was recovered */
    bool dry_run;
    struct outcome outcome;
    char *text[5]; /* copies that the views point to */

    uint64_t matched;
    uint64_t ended;
    void (*done)(void *arg, uint64_t matched, uint64_t deleted);
    void *arg;
};

struct reading {
    struct list link; /* finisher->reads_free */
    struct spool_read read;
    struct finisher *finisher;
    struct message *message;
};

static struct strview copy(struct strview v, char **ret)
{
    *ret = v.len ? xstrndup(v.ptr, v.len) : NULL;
    return sv(*ret, v.len);
}

static struct outcome local_outcome(enum outcome_class class_, struct enhanced_code enhanced,
                                    struct strview text)
{
    return (struct outcome){
        .class_ = class_,
        .phase = PHASE_QUEUE,
        .enhanced = enhanced,
        .text = text,
        .connect_ms = -1,
        .transmit_ms = -1,
    };
}

static struct finisher *finisher_new(struct engine *g, enum source source, const struct outcome *o)
{
    struct finisher *f = xcalloc(1, sizeof(*f));

    f->engine = g;
    f->source = source;
    /* it lives longer than the connection that what is left out here points into */
    f->outcome = (struct outcome){
        .class_ = o->class_,
        .phase = o->phase,
        .code = o->code,
        .enhanced = o->enhanced,
        .text = copy(o->text, &f->text[0]),
        .retry_hint_ms = o->retry_hint_ms,
        .category = o->category, /* a constant */
        .tls = "",
        .connect_ms = o->connect_ms,
        .transmit_ms = o->transmit_ms,
    };
    list_init(&f->reads_free);
    list_push_back(&g->finishers, &f->link);
    scheduler_want_turn(g);
    return f;
}

static void finisher_free(struct finisher *f)
{
    list_remove(&f->link);
    for (struct list *l; (l = list_pop_front(&f->reads_free));)
        free(list_entry(l, struct reading, link));
    if (f->source == FROM_ALL) {
        list_remove(&f->at->by_age);
        list_remove(&f->stop->by_age);
    }
    for (size_t i = 0; i < ARRAY_LEN(f->text); i++)
        free(f->text[i]);
    free(f->at);
    free(f->stop);
    free(f->ids);
    free(f);
}

static void add_id(struct finisher *f, message_id id)
{
    if (f->id_count && f->ids[f->id_count - 1] == id)
        return;
    if ((f->id_count & (f->id_count - 1)) == 0) /* full at each power of two */
        f->ids = xrealloc(f->ids, MAX_OF(f->id_count * 2, (size_t)1) * sizeof(f->ids[0]));
    f->ids[f->id_count++] = id;
}

/* --- starting one --- */

void finisher_queue(struct engine *g, struct queue *q, const struct outcome *o)
{
    struct finisher *f = finisher_new(g, FROM_QUEUE, o);
    f->queue_name = copy(sv_of(q->name), &f->text[1]);
}

static bool is_old(const struct entry *e, int64_t now)
{
    int64_t end = e->message->received_ms + e->queue->settings.bounce_after_ms;
    return now >= windows_end(e->message->windows, end);
}

/* The old ones among the first that are ready in q; deferred ones have a last attempt when their
 * time is over. */
static struct finisher *collect_old(struct engine *g, struct queue *q, const struct outcome *o)
{
    struct finisher *f = NULL;
    int64_t now = clock_wall_ms();
    unsigned looks = 0;

    list_for_each (l, &q->lanes) {
        const struct lane *lane = list_entry(l, const struct lane, of_queue);
        list_for_each (x, &lane->entries) {
            const struct entry *e = list_entry(x, const struct entry, link);
            if (++looks > AGED_LOOKS_MAX)
                return f;
            if (!is_old(e, now))
                continue;
            if (!f)
                f = finisher_new(g, FROM_LIST, o);
            add_id(f, e->message->id);
        }
    }
    return f;
}

bool finisher_runs(const struct engine *g, const struct queue *q)
{
    list_for_each (l, &g->finishers) {
        const struct finisher *f = list_entry(l, struct finisher, link);
        if (f->source == FROM_QUEUE && sv_eq(f->queue_name, sv_of(q->name)))
            return true;
    }
    return false;
}

void finisher_expired(struct engine *g, struct queue *q, struct strview text)
{
    /* settle_entry finds that its time is over */
    struct outcome o = local_outcome(OUTCOME_DEFERRED, (struct enhanced_code){4, 4, 7}, text);
    struct finisher *f = collect_old(g, q, &o);

    if (!f)
        return;
    f->only_expired = true;
    f->queue_name = copy(sv_of(q->name), &f->text[1]);
}

void finisher_over(struct engine *g)
{
    struct outcome o = local_outcome(OUTCOME_EXPIRED, (struct enhanced_code){5, 4, 7},
                                     SV("last delivery window is over (X-Schedule)"));

    list_for_each (l, &g->finishers)
        if (list_entry(l, struct finisher, link)->source == FROM_OVER)
            return;
    finisher_new(g, FROM_OVER, &o);
}

void finisher_suppressed(struct engine *g, message_id id)
{
    struct outcome o =
        local_outcome(OUTCOME_BOUNCED, (struct enhanced_code){5, 7, 1}, sv("", 0));

    list_for_each (l, &g->finishers) {
        struct finisher *f = list_entry(l, struct finisher, link);
        if (f->only_suppressed && !f->exhausted) {
            add_id(f, id);
            return;
        }
    }
    struct finisher *f = finisher_new(g, FROM_LIST, &o);
    f->only_suppressed = true;
    add_id(f, id);
}

/* Markers around everything that is queued now; what comes later is not meant. */
static void mark_all(struct engine *g, struct finisher *f)
{
    f->at = xcalloc(1, sizeof(*f->at));
    f->stop = xcalloc(1, sizeof(*f->stop));
    list_push_front(&g->index.by_age, &f->at->by_age);
    list_push_back(&g->index.by_age, &f->stop->by_age);
}

void engine_delete(struct engine *g, const struct engine_delete_filter *filter, bool dry_run,
                   void (*done)(void *arg, uint64_t matched, uint64_t deleted), void *arg)
{
    struct outcome o = local_outcome(OUTCOME_DELETED, (struct enhanced_code){5, 7, 0},
                                     SV("deleted by an operator"));
    struct finisher *f = finisher_new(g, filter->id ? FROM_LIST : FROM_ALL, &o);

    f->dry_run = dry_run;
    f->done = done;
    f->arg = arg;
    f->filter.queue_pattern = copy(filter->queue_pattern, &f->text[1]);
    f->filter.job = copy(filter->job, &f->text[2]);
    f->filter.rcpt = copy(filter->rcpt, &f->text[3]);
    f->filter.sender = copy(filter->sender, &f->text[4]);
    if (filter->id)
        add_id(f, filter->id);
    else
        mark_all(g, f);
}

/* --- what matches --- */

static bool is_waiting(const struct entry *e)
{
    return e->state == ENTRY_READY || e->state == ENTRY_DEFERRED;
}

static bool takes_at_once(const struct finisher *f)
{
    return f->source == FROM_QUEUE || f->source == FROM_OVER;
}

static bool queue_matches(const struct finisher *f, const struct queue *q)
{
    if (f->queue_name.len)
        return sv_eq(f->queue_name, sv_of(q->name));
    return !f->filter.queue_pattern.len || engine_pattern_matches(f->filter.queue_pattern, q->name);
}

/* Whole text without case, with * and ?. */
static bool text_matches(struct strview pattern, struct strview text)
{
    char p[512], t[512];

    if (!pattern.len || sv_eq(pattern, SV("*")))
        return true;
    if (pattern.len >= sizeof(p) || text.len >= sizeof(t))
        return false;
    memcpy(p, pattern.ptr, pattern.len);
    p[pattern.len] = '\0';
    memcpy(t, text.ptr, text.len);
    t[text.len] = '\0';
    return fnmatch(p, t, FNM_CASEFOLD | FNM_NOESCAPE) == 0;
}

/* As far as it can be told without the envelope. */
static bool entry_matches(const struct finisher *f, const struct entry *e)
{
    if (f->only_suppressed)
        return e->state == ENTRY_FINISHING;
    if (takes_at_once(f))
        return e->state == ENTRY_FINISHING && queue_matches(f, e->queue);
    return is_waiting(e) && queue_matches(f, e->queue) &&
           (!f->only_expired || (e->state == ENTRY_READY && is_old(e, clock_wall_ms())));
}

static bool message_matches(const struct finisher *f, const struct message *m)
{
    if (!text_matches(f->filter.job, m->job ? job_id(m->job) : sv("", 0)))
        return false;
    for (uint16_t i = 0; i < m->entry_count; i++)
        if (m->entries[i].state != ENTRY_DONE && entry_matches(f, &m->entries[i]))
            return true;
    return false;
}

/* --- ending a message --- */

static void finish_entry(struct engine *g, struct finisher *f, struct entry *e,
                         const struct envelope *env)
{
    f->matched++;
    if (f->dry_run)
        return;
    if (e->state != ENTRY_FINISHING)
        queue_take(e->queue, e, ENTRY_FINISHING);
    f->ended++;
    settle_entry(g, e, env, &f->outcome, NULL);
}

static void finish_message(struct finisher *f, struct message *m, const struct envelope *env)
{
    if (f->only_suppressed) {
        suppressed_end(f->engine, m, env);
        return;
    }
    if (!text_matches(f->filter.sender, env->sender))
        return;
    for (uint16_t i = 0; i < m->entry_count; i++) {
        struct entry *e = &m->entries[i];
        if (e->state != ENTRY_DONE && e->rcpt < env->rcpt_count && entry_matches(f, e) &&
            text_matches(f->filter.rcpt, env->rcpts[e->rcpt].address))
            finish_entry(f->engine, f, e, env);
    }
}

/* A damaged message was set aside by the spool and leaves; one that cannot be read now stays, or
 * when it was taken already is tried again later. */
static void unreadable(struct finisher *f, struct message *m, int status)
{
    char id[MESSAGE_ID_SIZE];

    log_error(LOG_QUEUE, "envelope could not be read, %s id=%s reason='%s'",
              status == ERR_CORRUPT ? "set aside in quarantine" : "leaving the message queued",
              message_id_format(m->id, id), err_name(status));
    for (uint16_t i = 0; i < m->entry_count; i++) {
        struct entry *e = &m->entries[i];
        if (e->state == ENTRY_DONE)
            continue;
        if (status == ERR_CORRUPT && (is_waiting(e) || entry_matches(f, e))) {
            if (is_waiting(e))
                queue_take(e->queue, e, ENTRY_FINISHING);
            e->queue->live--;
            index_entry_done(&f->engine->index, e);
        } else if (takes_at_once(f) && entry_matches(f, e)) {
            queue_defer(e->queue, e, clock_wall_ms() + UNREADABLE_RETRY_MS);
            scheduler_rewake(f->engine, e->queue);
            f->exhausted = f->source == FROM_QUEUE; /* or it would be found again at once */
        }
    }
    if (!m->live) {
        body_unref(m->body);
        m->body = NULL;
        signing_forget(m);
    }
}

static void use_envelope(struct finisher *f, struct message *m, struct strview envelope)
{
    struct arena arena = {0};
    struct envelope env;
    int status = envelope_decode(envelope, &arena, &env, NULL);

    if (status < 0)
        unreadable(f, m, status);
    else
        finish_message(f, m, &env);
    arena_free(&arena);
}

/* --- reading --- */

static void on_read(struct spool_read *r, int status)
{
    struct reading *reading = container_of(r, struct reading, read);
    struct finisher *f = reading->finisher;
    struct engine *g = f->engine;
    struct message *m = reading->message;

    if (status < 0)
        unreadable(f, m, status);
    else
        use_envelope(f, m, r->content.envelope);
    spool_content_release(g->spool, &r->content);
    f->reads_out--;
    list_push_back(&f->reads_free, &reading->link);
    message_unpin(&g->index, m);
    scheduler_want_turn(g);
}

static void read_envelope(struct finisher *f, struct message *m)
{
    struct list *l = list_pop_front(&f->reads_free);
    struct reading *r = l ? list_entry(l, struct reading, link) : xcalloc(1, sizeof(*r));

    list_init(&r->link);
    r->finisher = f;
    r->message = m;
    r->read = (struct spool_read){.done = on_read, .envelope_only = true};
    f->reads_out++;
    spool_read(f->engine->spool, m->id, &m->place, 0, &r->read);
}

/* Counting alone needs no envelope, unless it is filtered by what stands there. */
static bool needs_envelope(const struct finisher *f)
{
    return !f->dry_run || f->filter.rcpt.len || f->filter.sender.len;
}

static void begin_message(struct finisher *f, struct message *m)
{
    if (!message_matches(f, m))
        return;
    if (!needs_envelope(f)) {
        for (uint16_t i = 0; i < m->entry_count; i++)
            f->matched += m->entries[i].state != ENTRY_DONE && entry_matches(f, &m->entries[i]);
        return;
    }
    message_pin(m);
    if (!m->body) {
        read_envelope(f, m); /* keeps the pin */
        return;
    }
    struct body *body = body_ref(m->body); /* it has just come: the envelope is in memory */
    use_envelope(f, m, body->envelope);
    body_unref(body);
    message_unpin(&f->engine->index, m);
}

/* --- finding messages --- */

static struct message *next_of_all(struct finisher *f)
{
    struct list *here = &f->at->by_age, *next = here->next;

    if (next == &f->stop->by_age)
        return NULL;
    list_remove(here);
    list_insert_between(here, next, next->next);
    return list_entry(next, struct message, by_age); /* or another finisher's marker: no entries */
}

static struct message *next_of_queue(struct finisher *f)
{
    struct queue *q = engine_find_queue(f->engine, f->queue_name);
    struct entry *e = q ? queue_any_waiting(q) : NULL;
    struct message *m = e ? e->message : NULL;

    for (uint16_t i = 0; m && i < m->entry_count; i++)
        if (is_waiting(&m->entries[i]) && m->entries[i].queue == q)
            queue_take(q, &m->entries[i], ENTRY_FINISHING);
    return m;
}

static struct message *next_of_over(struct finisher *f)
{
    struct list *l = list_first(&f->engine->lanes_over);

    if (!l)
        return NULL;
    struct lane *lane = list_entry(l, struct lane, over);
    struct queue *q = lane->queue;
    struct message *m = list_entry(list_first(&lane->entries), struct entry, link)->message;
    for (uint16_t i = 0; i < m->entry_count; i++)
        if (m->entries[i].state == ENTRY_READY && m->entries[i].queue == q)
            queue_take(q, &m->entries[i], ENTRY_FINISHING);
    return m;
}

/* NULL: there is no more. */
static struct message *next_message(struct finisher *f)
{
    struct message *m = NULL;

    switch (f->source) {
    case FROM_ALL:
        return next_of_all(f);
    case FROM_QUEUE:
        return next_of_queue(f);
    case FROM_OVER:
        return next_of_over(f);
    case FROM_LIST:
        while (!m && f->id_next < f->id_count)
            m = index_find(&f->engine->index, f->ids[f->id_next++]);
        return m;
    }
    return NULL;
}

/* Each message that it ends may owe a notice. */
static bool has_to_wait(const struct engine *g)
{
    return g->dsn.is_full && g->dsn.is_full(g->dsn.arg);
}

bool finisher_can_work(const struct engine *g)
{
    struct list *first = list_first(&g->finishers);

    if (!first)
        return false;
    const struct finisher *f = list_entry(first, const struct finisher, link);
    if (!f->exhausted && has_to_wait(g))
        return false;
    return f->exhausted ? !f->reads_out : f->reads_out < READS_MAX;
}

void finisher_turn(struct engine *g)
{
    struct list *first = list_first(&g->finishers);
    int64_t until = clock_mono_ms() + SLICE_MS;
    struct message *m;

    if (!first)
        return;
    struct finisher *f = list_entry(first, struct finisher, link);
    for (unsigned n = 1; !f->exhausted && f->reads_out < READS_MAX && !has_to_wait(g); n++) {
        if ((m = next_message(f)))
            begin_message(f, m);
        else
            f->exhausted = true;
        if (n % SLICE_CHECK == 0 && clock_mono_ms() >= until)
            return;
    }
    if (!f->exhausted || f->reads_out)
        return;
    if (f->done)
        f->done(f->arg, f->matched, f->ended);
    finisher_free(f);
}
