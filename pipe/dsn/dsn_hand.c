/*
 * Notices that go through another pipe (dsn-pipe). They are durable in this pipe's spool as messages
 * of the queue "notices/pipe:NAME"; when it is that queue's turn they are submitted over the edge to
 * the other pipe, as a receiver submits mail. With its 250 they are delivered as far as this pipe is
 * concerned, and received by the other one: the books of both hold. While the other pipe is down they
 * wait here, and nothing of this pipe waits for them; when it refuses, the queue is tried again by
 * retry-after. When dsn-pipe changes, what waits for the old pipe goes to where a notice of now would
 * go, whether the old one is there or not.
 *
 * Memory: a submission has its load; both end together.
 */
#include "dsn/dsn_int.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "queue/load.h"

#include <stdio.h>
#include <unistd.h>

enum {
    WINDOW = 16,            /* submissions at a time */
    INLINE_MAX = 64 * 1024, /* content in the frame; else in a file of memory */
    CONTENT_MAX = 4 << 20,  /* a notice is smaller */
    LOOK_MS = 60000,        /* for mail that is too old */
    RCPTS_MAX = 1000,
};

struct dsn_hand {
    struct list link; /* dsn->hands */
    struct dsn *dsn;
    char *pipe;
    struct ipc_edge *edge; /* borrowed; NULL: that pipe is not there */
    struct list items;
    uint32_t count;
    uint64_t token;
    int64_t looked_ms; /* monotonic */
};

struct submission {
    struct list link; /* hand->items */
    struct dsn_hand *hand;
    struct load *load;
    uint64_t token; /* 0: not sent */
};

static struct dsn_hand *find(const struct dsn *d, const char *pipe)
{
    list_for_each (l, &d->hands) {
        struct dsn_hand *h = list_entry(l, struct dsn_hand, link);
        if (sv_eq_nocase(sv_of(h->pipe), sv_of(pipe)))
            return h;
    }
    return NULL;
}

static struct dsn_hand *get(struct dsn *d, const char *pipe)
{
    struct dsn_hand *h = find(d, pipe);

    if (h)
        return h;
    h = xcalloc(1, sizeof(*h));
    h->dsn = d;
    h->pipe = xstrdup(pipe);
    h->looked_ms = clock_mono_ms();
    list_init(&h->items);
    list_push_back(&d->hands, &h->link);
    return h;
}

static struct queue *queue_of(const struct dsn_hand *h)
{
    char name[400];
    int n = snprintf(name, sizeof(name), QUEUE_NOTICES "/" VMTA_PIPE "%.255s", h->pipe);

    str_lower(name, (size_t)n);
    return engine_find_queue(h->dsn->engine, sv(name, (size_t)n));
}

static struct load *drop(struct submission *s)
{
    struct load *l = s->load;

    list_remove(&s->link);
    s->hand->count--;
    free(s);
    return l;
}

static void put_back_all(struct dsn_hand *h)
{
    while (!list_empty(&h->items))
        load_put_back(drop(list_entry(h->items.prev, struct submission, link)));
}

/* --- sending --- */

/* As it goes into the other pipe's spool: that chooses for itself. */
static void encode_envelope(const struct load *l, struct buf *out)
{
    struct envelope env = l->env;
    struct arena arena = {0};

    env.rcpts = arena_alloc(&arena, l->count * sizeof(*env.rcpts));
    env.rcpt_count = l->count;
    env.chosen_vmta = env.acct_headers = sv(NULL, 0);
    for (uint32_t i = 0; i < l->count; i++) {
        env.rcpts[i] = l->env.rcpts[l->rcpts[i]];
        env.rcpts[i].vmta = sv(NULL, 0);
    }
    envelope_encode(out, &env);
    arena_free(&arena);
}

/* Content in memory, read from its file where it is large. False: it cannot be read. */
static bool content_of(const struct delivery_job *job, struct buf *own, struct strview *ret)
{
    *ret = job->content;
    if (job->content_fd < 0)
        return true;
    if (job->content_bytes > CONTENT_MAX)
        return false;
    char *to = buf_reserve(own, job->content_bytes);
    ssize_t n = pread(job->content_fd, to, job->content_bytes, (off_t)job->content_offset);
    if (n < 0 || (uint64_t)n != job->content_bytes)
        return false;
    buf_advance(own, (size_t)n);
    *ret = buf_view(own);
    return true;
}

static bool send_content(struct submission *s, struct strview envelope, struct strview content)
{
    struct ipc_submit m = {
        .token = s->token,
        .content_bytes = content.len,
        .envelope = envelope,
    };
    int fd = -1;

    if (content.len + envelope.len <= INLINE_MAX)
        m.content = content;
    else if ((fd = file_in_memory("pmta-notice", content)) < 0)
        return false;
    ipc_send_fds(s->hand->edge, submit, &m, &fd, fd >= 0 ? 1 : 0);
    if (fd >= 0)
        close(fd);
    return true;
}

static void refuse(struct submission *s, struct strview text)
{
    struct dsn_hand *h = s->hand;
    struct engine *g = h->dsn->engine;
    struct load *l = drop(s);
    struct queue *q = l->queue;
    struct outcome o = {
        .class_ = OUTCOME_DEFERRED,
        .phase = PHASE_CONNECT,
        .enhanced = {4, 3, 0},
        .text = text,
        .tls = "",
        .connect_ms = -1,
        .transmit_ms = -1,
    };

    load_put_back(l); /* first: a queue that waits is woken for what is in it */
    settle_queue_failure(g, q, &o);
}

static void submit(struct submission *s)
{
    struct delivery_job job;
    struct buf own = {0}, envelope = {0};
    struct strview content;

    load_hand_over(s->load, &job);
    s->token = ++s->hand->token;
    encode_envelope(s->load, &envelope);
    if (!content_of(&job, &own, &content) || !send_content(s, buf_view(&envelope), content))
        refuse(s, SV("the notice cannot be read for the pipe that it goes through (dsn-pipe)"));
    buf_free(&envelope);
    buf_free(&own);
}

/* dsn-pipe is another one now, or none. */
static bool is_left(const struct queue *q)
{
    return !q->vmta->is_defined;
}

static void send_elsewhere(struct submission *s)
{
    struct engine *g = s->hand->dsn->engine;
    struct load *l = drop(s);

    for (uint32_t i = 0; i < l->count; i++) {
        struct entry *e = l->entries[i];
        l->entries[i] = NULL;
        l->left--;
        engine_choose_again(g, e, &l->env);
    }
    load_release(l);
}

static void go_on(struct submission *s)
{
    if (s->load->state != LOAD_READY)
        load_fail(drop(s));
    else if (is_left(s->load->queue))
        send_elsewhere(s);
    else if (!s->hand->edge)
        load_put_back(drop(s));
    else
        submit(s);
}

static void on_arrived(struct load *l)
{
    struct engine *g = l->engine;
    struct queue *q = l->queue;

    go_on(l->owner);
    if (is_left(q)) /* the next ones: no answer asks for them */
        scheduler_kick(g, q);
}

static bool may_take(const struct dsn_hand *h, const struct queue *q)
{
    /* what goes elsewhere does not wait for what this pipe has in hand */
    if (h->count >= (is_left(q) ? 2 * WINDOW : WINDOW) || q->retry_at_ms)
        return false;
    return is_left(q) || (h->edge && !ipc_edge_congested(h->edge));
}

void dsn_hand_turn(struct dsn *d, struct queue *q)
{
    struct dsn_hand *h = get(d, q->vmta->to_pipe);

    while (may_take(h, q)) {
        struct submission *s = xcalloc(1, sizeof(*s));
        s->hand = h;
        s->load = load_take(d->engine, q, RCPTS_MAX, on_arrived, s);
        if (!s->load) {
            free(s);
            return;
        }
        list_push_back(&h->items, &s->link);
        h->count++;
        if (s->load->state == LOAD_READY || s->load->state == LOAD_FAILED)
            go_on(s);
    }
}

/* --- answers --- */

static void accepted(struct submission *s, const struct ipc_submit_reply *r)
{
    struct engine *g = s->hand->dsn->engine;
    char peer[300], text[600];
    struct load *l;

    snprintf(peer, sizeof(peer), VMTA_PIPE "%.255s", s->hand->pipe);
    snprintf(text, sizeof(text), "%u %.*s", r->code, (int)MIN_OF(r->text.len, (size_t)500),
             r->text.ptr);
    struct outcome o = {
        .class_ = OUTCOME_DELIVERED,
        .phase = PHASE_END_OF_DATA,
        .code = r->code,
        .enhanced = {2, 0, 0},
        .text = sv_of(text),
        .peer_host = sv_of(peer),
        .tls = "",
        .connect_ms = -1,
        .transmit_ms = -1,
    };
    l = drop(s);
    for (uint32_t i = 0; i < l->count; i++) {
        struct entry *e = l->entries[i];
        l->entries[i] = NULL;
        l->left--;
        settle_entry(g, e, &l->env, &o, NULL);
    }
    struct queue *q = l->queue;
    load_release(l);
    q->failures = 0;
    scheduler_kick(g, q);
}

void dsn_peer_reply(struct dsn *d, const char *pipe, const struct ipc_submit_reply *r)
{
    struct dsn_hand *h = find(d, pipe);
    char text[700];

    if (!h)
        return; /* its pipe was never one that we send to */
    list_for_each (l, &h->items) {
        struct submission *s = list_entry(l, struct submission, link);
        if (s->token != r->token || !s->token)
            continue;
        if (r->code == 250) {
            accepted(s, r);
        } else {
            snprintf(text, sizeof(text), "pipe %.80s said: %u %.*s", h->pipe, r->code,
                     (int)MIN_OF(r->text.len, (size_t)500), r->text.ptr);
            refuse(s, sv_of(text));
        }
        return;
    }
}

void dsn_peer(struct dsn *d, const char *pipe, struct ipc_edge *edge)
{
    struct dsn_hand *h = get(d, pipe);

    h->edge = NULL;
    put_back_all(h);
    h->edge = edge;
    struct queue *q = queue_of(h);
    if (!edge || !q)
        return;
    q->retry_at_ms = 0;
    scheduler_rewake(d->engine, q);
    scheduler_kick(d->engine, q);
}

bool dsn_peer_is_there(const struct dsn *d, const char *pipe)
{
    const struct dsn_hand *h = find(d, pipe);
    return h && h->edge;
}

/* --- time --- */

void dsn_hand_tick(struct dsn *d)
{
    int64_t now = clock_mono_ms();
    char text[200];

    list_for_each (l, &d->hands) {
        struct dsn_hand *h = list_entry(l, struct dsn_hand, link);
        struct queue *q = queue_of(h);
        if (h->edge || !q || now - h->looked_ms < LOOK_MS)
            continue;
        h->looked_ms = now;
        snprintf(text, sizeof(text), "pipe %.80s is not there (dsn-pipe)", h->pipe);
        finisher_expired(d->engine, q, sv_of(text));
    }
}

bool dsn_hand_is_busy(const struct dsn *d)
{
    list_for_each (l, &d->hands)
        if (!list_empty(&list_entry(l, struct dsn_hand, link)->items))
            return true;
    return false;
}

void dsn_hand_give_up(struct dsn *d)
{
    list_for_each (l, &d->hands) {
        struct dsn_hand *h = list_entry(l, struct dsn_hand, link);
        h->edge = NULL;
        put_back_all(h);
    }
}

void dsn_hand_free(struct dsn *d)
{
    for (struct list *l; (l = list_pop_front(&d->hands));) {
        struct dsn_hand *h = list_entry(l, struct dsn_hand, link);
        list_for_each_safe (x, &h->items)
            free(list_entry(x, struct submission, link));
        free(h->pipe);
        free(h);
    }
}
