/*
 * Loads; see load.h. Called by sender.c. The message is pinned while a load exists, so that its
 * entries stay where they are.
 */
#include "queue/load.h"

#include "base/log.h"
#include "queue/signing.h"
#include "verp/verp.h"

enum { LOAD_MEMORY_MAX = 1024 * 1024 }; /* larger content is streamed from the spool */

static struct load *load_new(struct engine *g)
{
    struct list *first = list_pop_front(&g->loads_free);
    struct load *l = first ? list_entry(first, struct load, link) : xcalloc(1, sizeof(*l));

    list_init(&l->link);
    l->engine = g;
    l->dropped = l->granted = l->was_sent = l->suppressed = l->signed_at_once = false;
    l->status = 0;
    l->signing = NULL;
    l->count = l->left = 0;
    l->read.content.fd = -1;
    g->loads_out++;
    return l;
}

static void add_entry(struct load *l, struct entry *e)
{
    if (l->count == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 1;
        l->entries = xrealloc(l->entries, l->cap * sizeof(struct entry *));
        l->rcpts = xrealloc(l->rcpts, l->cap * sizeof(l->rcpts[0]));
    }
    l->entries[l->count] = e;
    l->rcpts[l->count++] = e->rcpt;
    l->left++;
}

static int decode(struct load *l, struct strview envelope)
{
    struct err e;
    int status = envelope_decode(envelope, &l->arena, &l->env, &e);
    for (uint32_t i = 0; status == 0 && i < l->count; i++)
        if (l->rcpts[i] >= l->env.rcpt_count)
            status = ERR_CORRUPT;
    return status;
}

/* Whether somebody went on the suppression list while the message waited. What is local has no
 * recipient who could. */
static bool is_suppressed(struct load *l)
{
    const struct engine *g = l->engine;

    if (!g->suppressed || l->queue->local || l->queue->vmta->to_pipe)
        return false;
    l->suppressed =
        g->suppressed(g->suppressed_arg, &l->env,
                      l->body ? l->body->content : l->read.content.content, l->rcpts, l->count);
    return l->suppressed;
}

/* Envelope and content are there. */
static void go_on(struct load *l)
{
    if (is_suppressed(l))
        l->state = LOAD_FAILED;
    else
        signing_begin(l);
}

static void on_read(struct spool_read *r, int status)
{
    struct load *l = container_of(r, struct load, read);

    l->status = status == 0 ? decode(l, r->content.envelope) : status;
    l->state = l->status == 0 ? LOAD_READY : LOAD_FAILED;
    if (l->dropped) {
        load_put_back(l);
        return;
    }
    if (l->state == LOAD_READY)
        go_on(l);
    if (l->state != LOAD_SIGNING)
        l->arrived(l);
}

static void fetch(struct load *l)
{
    struct message *m = l->message;

    if (m->body) {
        l->body = body_ref(m->body);
        l->status = decode(l, l->body->envelope);
        if (l->status == 0) {
            go_on(l);
            return;
        }
        body_unref(l->body);
        l->body = NULL;
    }
    l->state = LOAD_READING;
    l->read.id = m->id;
    l->read.done = on_read;
    spool_read(l->engine->spool, m->id, &m->place, LOAD_MEMORY_MAX, &l->read);
}

struct load *load_take(struct engine *g, struct queue *q, uint32_t max_rcpts,
                       void (*arrived)(struct load *l), void *owner)
{
    uint32_t granted;
    struct lane *lane = lanes_next(q, max_rcpts, &granted);
    if (!lane)
        return NULL;
    struct list *at = list_first(&lane->entries);
    struct message *m = list_entry(at, struct entry, link)->message;
    struct load *l = load_new(g);

    l->queue = q;
    l->message = m;
    l->arrived = arrived;
    l->owner = owner;
    message_pin(m);
    if (m->single && granted > 1) {
        job_refund(m->job, granted - 1);
        granted = 1;
    }
    for (bool is_last = false; !is_last && l->count < granted;) {
        struct entry *e = list_entry(at, struct entry, link);
        if (e->message != m)
            break;
        at = at->next;
        is_last = at == &lane->entries; /* then the lane goes with it */
        queue_take(q, e, ENTRY_SENDING);
        add_entry(l, e);
    }
    message_id_format(m->id, l->id);
    fetch(l);
    return l;
}

/* The sender that goes out; empty: that of the envelope. */
static struct strview reverse_path(struct load *l)
{
    const struct queue_settings *set = &l->queue->settings;
    const struct envelope *env = &l->env;
    struct strview path = {NULL, 0}, rcpt = env->rcpts[l->rcpts[0]].address;
    const struct verp_mail m = {env->job, sv_of(l->queue->vmta->name), env->sender, rcpt};

    /* one in hand from before a reload may have several recipients: as it was */
    if (l->count != 1)
        return path;
    if (set->verp && l->engine->parts.verp)
        verp_sender(l->engine->parts.verp, &set->bounce_base, &m, &l->arena, &path);
    else if (l->message->single)
        verp_plain_sender(env->sender, rcpt, &l->arena, &path);
    return path;
}

void load_hand_over(struct load *l, struct delivery_job *ret)
{
    const struct spool_content *c = &l->read.content;

    BUG_ON(l->state != LOAD_READY);
    l->state = LOAD_HANDED;
    *ret = (struct delivery_job){
        .env = &l->env,
        .rcpts = l->rcpts,
        .rcpt_count = l->count,
        .reverse_path = reverse_path(l),
        .prefix = signing_fields(l),
        .content = l->body ? l->body->content : c->content,
        .content_fd = l->body ? -1 : c->fd,
        .content_offset = l->body ? 0 : c->fd_offset,
        .content_bytes = l->env.content_bytes,
        .id = l->id,
        .cookie = l,
    };
}

static void drop_message_body(struct message *m)
{
    body_unref(m->body);
    m->body = NULL;
    signing_forget(m);
}

void load_release(struct load *l)
{
    struct engine *g = l->engine;
    struct message *m = l->message;

    BUG_ON(l->left);
    signing_release(l);
    if (!m->body)
        signing_forget(m);
    if (l->body)
        body_unref(l->body);
    else if (l->read.content.owner)
        spool_content_release(g->spool, &l->read.content);
    l->body = NULL;
    l->read.content = (struct spool_content){.fd = -1};
    arena_reset(&l->arena);
    l->state = LOAD_FREE;
    list_remove(&l->link);
    list_push_back(&g->loads_free, &l->link);
    g->loads_out--;
    if (!m->live)
        drop_message_body(m);
    message_unpin(&g->index, m);
    if (g->draining)
        scheduler_want_turn(g);
}

void load_put_back(struct load *l)
{
    struct queue *q = l->queue;
    uint32_t untried = 0;

    if (l->state == LOAD_READING || l->state == LOAD_SIGNING) {
        l->dropped = true;
        list_remove(&l->link);
        return;
    }
    for (uint32_t i = l->count; i > 0; i--)
        if (l->entries[i - 1] && l->entries[i - 1]->state == ENTRY_SENDING) {
            queue_ready_front(q, l->entries[i - 1]);
            untried++;
        }
    job_refund(l->message->job, untried);
    l->left = 0;
    load_release(l);
    scheduler_kick(q->engine, q);
}

/* A key that has to sign cannot: each recipient waits for its next attempt and says so. */
static void defer_unsigned(struct load *l)
{
    struct outcome o = {
        .class_ = OUTCOME_DEFERRED,
        .phase = PHASE_QUEUE,
        .enhanced = {4, 7, 5},
        .text = sv_of(l->trouble),
        .connect_ms = -1,
        .transmit_ms = -1,
    };

    job_refund(l->message->job, l->count);
    for (uint32_t i = 0; i < l->count; i++)
        settle_entry(l->engine, l->entries[i], &l->env, &o, NULL);
    l->left = 0;
    load_release(l);
}

/* As when it had been on the list already when its message came. */
static void end_suppressed(struct load *l)
{
    char text[SUPPRESSED_TEXT];
    uint32_t ended = 0;

    for (uint32_t i = 0; i < l->count; i++) {
        const struct envelope_rcpt *rcpt = &l->env.rcpts[l->rcpts[i]];
        struct entry *e = l->entries[i];
        if (!rcpt->suppressed)
            continue;
        struct outcome o = suppressed_outcome(rcpt, text);
        l->entries[i] = NULL;
        l->left--;
        ended++;
        settle_entry(l->engine, e, &l->env, &o, NULL);
    }
    job_refund(l->message->job, ended);
    if (l->left)
        load_put_back(l);
    else
        load_release(l);
}

/* The record is damaged: spool_read set it aside and counted it; here the recipients leave the
 * index. Otherwise the disk could not be read now: they wait. */
void load_fail(struct load *l)
{
    struct engine *g = l->engine;
    struct queue *q = l->queue;

    if (l->suppressed) {
        end_suppressed(l);
        return;
    }
    if (l->status == ERR_KEY) {
        defer_unsigned(l);
        return;
    }
    log_error(LOG_QUEUE, "message could not be read back, %s id=%s queue=%s reason='%s'",
              l->status == ERR_CORRUPT ? "set aside in quarantine" : "trying again later", l->id,
              q->name, err_name(l->status));
    if (l->status != ERR_CORRUPT) {
        struct outcome o = {
            .class_ = OUTCOME_DEFERRED,
            .phase = PHASE_QUEUE,
            .enhanced = {4, 3, 0},
            .text = SV("the spool could not be read"),
            .connect_ms = -1,
            .transmit_ms = -1,
        };
        l->state = LOAD_READY;
        load_put_back(l);
        settle_queue_failure(g, q, &o);
        return;
    }
    for (uint32_t i = 0; i < l->count; i++) {
        q->live--;
        index_entry_done(&g->index, l->entries[i]);
    }
    l->left = 0;
    load_release(l);
}

void sender_free_loads(struct engine *g)
{
    for (struct list *n; (n = list_pop_front(&g->loads_free));) {
        struct load *l = list_entry(n, struct load, link);
        free(l->entries);
        free(l->rcpts);
        arena_free(&l->arena);
        free(l);
    }
}
