/*
 * Notices of delay, for senders who asked (NOTIFY=DELAY). Each such message is watched: at every
 * multiple of notify-of-delay-every of its age its envelope is read, and what still waits is told in
 * one notice. Messages whose sender did not ask cost nothing.
 *
 * What survives a restart is one time: up to then all delays were told. Recovery watches each message
 * from there on, so a crash repeats at most the notices of its last moments.
 *
 * Memory: a watch is in the heap, or with its notice.
 */
#include "dsn/dsn_int.h"

#include "base/clock.h"
#include "classify/classify.h"

#include <stdlib.h>

enum { AGAIN_MS = 60000, PER_RUN = 64 };

struct dsn_watch {
    struct heap_node node; /* key: the next look */
    message_id id;
    int64_t looked_ms; /* wall; what was due by then was told */
    int64_t next_ms;
};

static int64_t next_look(int64_t received_ms, int64_t every_ms, int64_t looked_ms)
{
    int64_t age = MAX_OF(looked_ms - received_ms, (int64_t)0);
    return received_ms + (age / every_ms + 1) * every_ms;
}

static bool waits(const struct entry *e)
{
    return e->state == ENTRY_READY || e->state == ENTRY_DEFERRED || e->state == ENTRY_SENDING;
}

/* The first look after looked_ms that concerns some recipient; INT64_MAX: none. */
static int64_t first_look(const struct dsn *d, const struct message *m, const struct envelope *env,
                          int64_t looked_ms)
{
    int64_t first = INT64_MAX;

    for (uint16_t i = 0; i < m->entry_count; i++) {
        const struct entry *e = &m->entries[i];
        if (!waits(e) || e->rcpt >= env->rcpt_count || !(env->rcpts[e->rcpt].notify & NOTIFY_DELAY))
            continue;
        int64_t every = dsn_every_ms(d, e->queue);
        if (every > 0)
            first = MIN_OF(first, next_look(m->received_ms, every, looked_ms));
    }
    return first;
}

void dsn_delay_watch(struct dsn *d, const struct message *m, const struct envelope *env)
{
    int64_t looked = MAX_OF(m->received_ms, d->told_ms);
    int64_t first = d->config ? first_look(d, m, env, looked) : INT64_MAX;

    if (first == INT64_MAX)
        return;
    struct dsn_watch *w = xcalloc(1, sizeof(*w));
    w->id = m->id;
    w->looked_ms = looked;
    heap_node_init(&w->node);
    heap_set(&d->watches, &w->node, first);
    dsn_arm(d, clock_mono_ms() + MAX_OF(first - clock_wall_ms(), (int64_t)0));
}

static void begin(struct dsn *d, struct dsn_watch *w, int64_t now)
{
    struct message *m = index_find(&d->engine->index, w->id);

    if (!m || !m->live) {
        free(w);
        return;
    }
    struct dsn_note *n = dsn_note_new(d, m, DSN_DELAYED);
    n->state = NOTE_WAITING; /* nothing joins it */
    n->watch = w;
    n->since_ms = w->looked_ms;
    n->now_ms = now;
    d->watching++;
}

void dsn_delay_run(struct dsn *d)
{
    int64_t now = clock_wall_ms();
    unsigned begun = 0;

    for (struct heap_node *x; (x = heap_min(&d->watches)) && x->key <= now;) {
        if (d->note_count >= DSN_SOFT_MAX || begun++ >= PER_RUN) {
            dsn_arm(d, clock_mono_ms() + 10);
            return;
        }
        heap_remove(&d->watches, x);
        begin(d, container_of(x, struct dsn_watch, node), now);
    }
}

int64_t dsn_delay_next_ms(const struct dsn *d)
{
    const struct heap_node *x = heap_min(&d->watches);

    if (!x || d->note_count >= DSN_SOFT_MAX)
        return INT64_MAX;
    return x->key;
}

/* --- what is told --- */

/* What was said about it last: by the peer, or why its queue waits. */
static struct outcome last_outcome(struct dsn *d, const struct entry *e, struct arena *a)
{
    struct outcome o = {.class_ = OUTCOME_DEFERRED, .text = SV("it waits for its turn"), .tls = ""};
    struct spool_event ev;
    struct outcome parsed;
    struct buf text = {0};

    if (e->journal && spool_read_event(engine_spool(d->engine), e->journal, a, &ev) == 0) {
        o.phase = (enum outcome_phase)ev.phase;
        o.code = ev.code;
        o.text = ev.text;
        if (ev.code && classify_parse_reply(ev.text, o.phase, &text, &parsed, NULL) == 0)
            o.enhanced = parsed.enhanced;
    }
    if (e->queue->retry_at_ms && e->queue->last_text) {
        o.code = 0;
        o.enhanced = (struct enhanced_code){4, 4, 1};
        o.text = arena_sv(a, sv_of(e->queue->last_text));
    }
    buf_free(&text);
    return o;
}

static bool is_due(const struct dsn_note *n, const struct entry *e, const struct envelope *env)
{
    if (!waits(e) || e->rcpt >= env->rcpt_count || !(env->rcpts[e->rcpt].notify & NOTIFY_DELAY))
        return false;
    if (e->message->windows && !e->attempts && !e->queue->failures)
        return false; /* its sender asked for that delay */
    int64_t every = dsn_every_ms(n->dsn, e->queue);
    return dsn_delays_between(n->message->received_ms, every, n->since_ms, n->now_ms) > 0;
}

static void add(struct dsn_note *n, const struct entry *e)
{
    const struct queue *q = e->queue;

    dsn_note_add(n, &(struct dsn_owed){
                        .outcome = last_outcome(n->dsn, e, &n->arena),
                        .rcpt = e->rcpt,
                        .attempts = e->attempts,
                        .next_ms = e->state == ENTRY_DEFERRED ? e->wake.key : q->retry_at_ms,
                        .bounce_after_ms = q->settings.bounce_after_ms,
                        .vmta = q->vmta->name,
                    });
}

void dsn_delay_gather(struct dsn_note *n, const struct envelope *env)
{
    struct dsn *d = n->dsn;
    const struct message *m = n->message;
    struct dsn_facts facts = {
        .class_ = OUTCOME_DEFERRED, .sender = env->sender, .notify = NOTIFY_DELAY};

    n->watch->next_ms = first_look(d, m, env, n->now_ms);
    if (dsn_decide(&facts, NULL) != DSN_DELAYED || dsn_is_suppressed(d, env))
        return;
    for (uint16_t i = 0; i < m->entry_count && n->count < DSN_MAX_RCPTS; i++)
        if (is_due(n, &m->entries[i], env))
            add(n, &m->entries[i]);
    if (n->count && !dsn_may_send(d, env->sender, &n->held))
        n->count = 0;
}

void dsn_delay_over(struct dsn_note *n, bool done)
{
    struct dsn *d = n->dsn;
    struct dsn_watch *w = n->watch;

    if (!w)
        return;
    n->watch = NULL;
    d->watching--;
    if (!done) {
        heap_set(&d->watches, &w->node, clock_wall_ms() + AGAIN_MS);
    } else if (w->next_ms && w->next_ms != INT64_MAX) {
        w->looked_ms = n->now_ms;
        heap_set(&d->watches, &w->node, w->next_ms);
    } else {
        free(w);
    }
    const struct heap_node *first = heap_min(&d->watches);
    if (done && !d->watching && (!first || first->key > n->now_ms)) {
        d->told_ms = MAX_OF(d->told_ms, n->now_ms);
        dsn_keep_delays(d);
    }
    if (first)
        dsn_arm(d, clock_mono_ms() + MAX_OF(first->key - clock_wall_ms(), (int64_t)0));
}

void dsn_delay_free(struct dsn *d)
{
    for (struct heap_node *x; (x = heap_min(&d->watches));) {
        heap_remove(&d->watches, x);
        free(container_of(x, struct dsn_watch, node));
    }
    heap_fini(&d->watches);
}
