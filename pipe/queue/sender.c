/*
 * A sender: one outgoing connection of a queue and the messages it has in hand. The connection
 * (pipe/delivery) asks for messages, the sender takes them from the queue, prefetching one so that
 * the next transaction can be pipelined behind the last byte of the current one.
 *
 * Memory: a sender dies in on_closed; its loads are released one by one as their outcomes come.
 */
#include "base/clock.h"
#include "base/log.h"
#include "queue/load.h"

enum {
    PREFETCH = 2,
    HOLD_MS = 10000,           /* after a refused connection while others are open */
    FAIR_SHARE_MESSAGES = 100, /* then a connection gives its place to queues that wait for one */
};

enum sender_state {
    SENDER_COMING, /* connecting or woken: will ask for a message */
    SENDER_BUSY,
    SENDER_IDLE,
};

struct sender {
    struct list link;      /* queue->senders */
    struct list idle_link; /* queue->idle */
    struct engine *engine;
    struct queue *queue;
    struct vmta *vmta;
    struct vmta_source source; /* its address; the name is the virtual MTA's */
    struct delivery_conn *conn;
    enum sender_state state;
    struct list loads; /* taken, not yet handed over */
    uint32_t load_count;
    uint32_t in_hand;  /* handed over, not yet done */
    uint64_t accepted; /* recipients the peer took */
    bool was_established;
    bool source_lost; /* this machine does not have that address any more */
    bool quit;        /* a rule ends this connection */
    bool leaving;     /* counted in queue->leaving */
};

static void set_state(struct sender *s, enum sender_state to)
{
    if (s->state == SENDER_COMING)
        s->queue->coming--;
    if (s->state == SENDER_IDLE)
        list_remove(&s->idle_link);
    if (to == SENDER_COMING)
        s->queue->coming++;
    if (to == SENDER_IDLE)
        list_push_back(&s->queue->idle, &s->idle_link);
    s->state = to;
}

static void on_arrived(struct load *l)
{
    struct sender *s = l->owner;
    delivery_wakeup(s->conn);
}

static bool queue_may_send(const struct engine *g, const struct queue *q)
{
    return !g->paused && !g->draining && !q->paused && !engine_holds(g, q);
}

static void hear(struct sender *s, struct strview host, const struct outcome *o,
                 struct reaction *ret)
{
    react(s->engine, &(struct heard){s->queue, &s->source, host}, o, ret);
    s->quit |= ret->close;
}

/* The limit of the queue has become smaller than what is open. */
static bool is_one_too_many(struct sender *s)
{
    struct queue *q = s->queue;

    if (!s->leaving && q->slots.max && q->slots.used - q->leaving > q->slots.max) {
        s->leaving = true;
        q->leaving++;
    }
    return s->leaving;
}

/* An action or a smaller limit ends this connection; what it has not sent goes to others. */
static bool must_quit(struct sender *s)
{
    const struct queue *q = s->queue;

    if (s->quit || is_one_too_many(s))
        return true;
    if (!q->memo || !s->was_established)
        return false;
    if (q->memo->counts[ACTION_HOST]) {
        struct delivery_info i;
        delivery_info(s->conn, &i);
        s->quit = i.host && react_host_skipped(q, i.host);
    }
    return s->quit || react_source_disabled(q, &s->source);
}

static void prefetch(struct sender *s)
{
    struct queue *q = s->queue;

    while (s->load_count < PREFETCH && queue_may_send(s->engine, q)) {
        struct load *last =
            list_empty(&s->loads) ? NULL : list_entry(s->loads.prev, struct load, link);
        /* one that is in memory needs no prefetching, and the last ones are left to others */
        if (last && (last->body || q->ready_count <= q->sender_count))
            return;
        struct load *l =
            load_take(s->engine, q, q->settings.max_rcpt_per_transaction, on_arrived, s);
        if (!l)
            return;
        list_push_back(&s->loads, &l->link);
        s->load_count++;
    }
}

static struct load *pop_load(struct sender *s)
{
    struct load *l = list_entry(list_pop_front(&s->loads), struct load, link);
    s->load_count--;
    return l;
}

/* Others wait for this place and this connection had its share. */
static bool should_yield(const struct sender *s)
{
    return s->accepted >= FAIR_SHARE_MESSAGES && !list_empty(&s->engine->blocked);
}

static enum delivery_next on_next(void *owner, struct delivery_conn *c, struct delivery_job *ret)
{
    struct sender *s = owner;

    (void)c;
    for (;;) {
        if (should_yield(s) && list_empty(&s->loads))
            return DELIVERY_QUIT;
        if (must_quit(s) || !queue_may_send(s->engine, s->queue)) {
            set_state(s, SENDER_BUSY);
            return DELIVERY_QUIT;
        }
        prefetch(s);
        if (list_empty(&s->loads))
            break;
        struct load *l = list_entry(list_first(&s->loads), struct load, link);
        if (l->state == LOAD_READING) {
            set_state(s, SENDER_BUSY);
            return DELIVERY_WAIT;
        }
        pop_load(s);
        if (l->state == LOAD_FAILED) {
            load_fail(l);
            continue;
        }
        load_hand_over(l, ret);
        s->in_hand++;
        set_state(s, SENDER_BUSY);
        if (!l->body)
            prefetch(s); /* the next one is read while this one is sent */
        return DELIVERY_JOB;
    }
    set_state(s, s->in_hand ? SENDER_BUSY : SENDER_IDLE);
    return DELIVERY_IDLE;
}

/* The connection ended, or the peer ended it with 421, before this transaction had begun: not this
 * message's fault. It goes to the next connection at once, as long as this one moved something. */
static bool is_innocent(const struct sender *s, const struct outcome *o)
{
    bool stopped = o->phase == PHASE_QUEUE && o->code == 0;
    bool turned_away = o->phase == PHASE_MAIL && (o->code == 0 || o->code == 421) && s->accepted;
    return o->class_ == OUTCOME_DEFERRED && (stopped || turned_away);
}

static void on_rcpt_done(void *owner, struct delivery_conn *c, const struct delivery_job *job,
                         uint32_t position, const struct outcome *o)
{
    struct sender *s = owner;
    struct load *l = job->cookie;
    struct entry *e = l->entries[position];
    struct reaction r;

    (void)c;
    BUG_ON(!e || !l->left);
    hear(s, o->peer_host, o, &r);
    if (is_innocent(s, o) || (r.keep && o->class_ != OUTCOME_DELIVERED))
        return; /* put back with the load */
    l->left--;
    l->entries[position] = NULL;
    s->accepted += o->class_ == OUTCOME_DELIVERED;
    settle_entry(s->engine, e, &l->env, o, &r);
}

static void on_job_done(void *owner, struct delivery_conn *c, const struct delivery_job *job)
{
    struct sender *s = owner;
    struct load *l = job->cookie;

    (void)c;
    s->in_hand--;
    if (l->left)
        load_put_back(l);
    else
        load_release(l);
}

static void on_established(void *owner, struct delivery_conn *c, const struct delivery_host *host)
{
    struct sender *s = owner;

    (void)c;
    s->was_established = true;
    if (!s->queue->established++)
        s->queue->hold_until_ms =
            0; /* what others were refused was the host's trouble, and is over */
    s->queue->retry_at_ms = 0;
    log_debug(LOG_DELIVERY, "connected queue=%s host=%s", s->queue->name, host->name);
    scheduler_kick(s->engine, s->queue);
}

static void on_host_failed(void *owner, struct delivery_conn *c, const struct delivery_host *host,
                           const struct outcome *o)
{
    struct sender *s = owner;
    struct reaction r;
    char status[16];

    (void)c;
    if (o->phase == PHASE_CONNECT && !s->source_lost)
        s->source_lost = vmta_source_lost(s->vmta, &s->source.addr);
    hear(s, sv_of(host->name), o, &r);
    log_info(LOG_DELIVERY,
             "host could not be used, trying the next queue=%s host=%s ip=%.*s phase=%s status=%s "
             "reply='%s'",
             s->queue->name, host->name, SV_ARG(o->peer_ip), outcome_phase_name(o->phase),
             outcome_status(o, status), log_safe(o->text.ptr, o->text.len, 400));
}

static void on_closed(void *owner, struct delivery_conn *c, const struct outcome *o)
{
    struct sender *s = owner;
    struct engine *g = s->engine;
    struct queue *q = s->queue;
    struct slots *set[] = {&q->slots, &s->vmta->slots, &g->slots};

    (void)c;
    if (o && s->was_established && !g->draining) {
        struct reaction r;
        hear(s, o->peer_host, o, &r);
    }
    q->leaving -= s->leaving;
    while (!list_empty(&s->loads))
        load_put_back(pop_load(s));
    set_state(s, SENDER_BUSY);
    list_remove(&s->link);
    q->sender_count--;
    q->established -= s->was_established;
    g->connection_count--;
    slots_give_back(set, ARRAY_LEN(set));
    /* when the source is gone, the next attempt takes another one: not the hosts' fault */
    if (o && !s->was_established && !g->draining && !s->source_lost) {
        if (q->sender_count) {
            q->hold_until_ms = clock_wall_ms() + HOLD_MS;
            scheduler_rewake(g, q);
        } else {
            settle_queue_failure(g, q, o);
        }
    }
    free(s);
    scheduler_unblock(g); /* those who waited longer come first */
    scheduler_kick(g, q);
    scheduler_check_drained(g);
}

static const struct delivery_ops ops = {
    .next = on_next,
    .rcpt_done = on_rcpt_done,
    .job_done = on_job_done,
    .established = on_established,
    .host_failed = on_host_failed,
    .closed = on_closed,
};

void sender_open(struct engine *g, struct queue *q, const struct vmta_source *source,
                 const struct delivery_host *hosts, size_t host_count)
{
    const struct queue_settings *set = &q->settings;
    struct sender *s = xcalloc(1, sizeof(*s));

    s->engine = g;
    s->queue = q;
    s->vmta = q->vmta;
    s->source = (struct vmta_source){.addr = source->addr};
    q->vmta->turn++;
    s->state = SENDER_COMING;
    list_init(&s->loads);
    list_init(&s->idle_link);
    list_push_back(&q->senders, &s->link);
    q->coming++;
    q->sender_count++;
    g->connection_count++;
    s->conn = delivery_open(
        g->parts.delivery,
        &(struct delivery_params){
            .queue = q->name,
            .helo_name = source->helo_name,
            .source = source->addr.ss_family ? (const struct sockaddr *)&source->addr : NULL,
            .hosts = hosts,
            .host_count = host_count,
            .max_messages = set->max_msg_per_connection,
            .max_rcpts = set->max_rcpt_per_transaction,
            .connect_timeout_ms = set->connect_timeout_ms,
            .greeting_timeout_ms = set->greeting_timeout_ms,
            .command_timeout_ms = set->command_timeout_ms,
            .data_timeout_ms = set->data_timeout_ms,
            .idle_timeout_ms = set->idle_timeout_ms,
            .use_starttls = set->use_starttls,
            .use_pipelining = set->use_pipelining,
        },
        &ops, s);
}

void sender_wake_idle(struct queue *q)
{
    struct sender *s = list_entry(list_first(&q->idle), struct sender, idle_link);
    set_state(s, SENDER_COMING);
    delivery_wakeup(s->conn);
}

size_t sender_close_idle(struct queue *q, size_t most)
{
    size_t closed = 0;
    while (closed < most && !list_empty(&q->idle)) {
        struct sender *s = list_entry(list_first(&q->idle), struct sender, idle_link);
        set_state(s, SENDER_BUSY);
        delivery_close(s->conn);
        closed++;
    }
    return closed;
}

void sender_close_all(struct engine *g, bool abort)
{
    for (struct hash_node *n = NULL; (n = hash_next(&g->queues, n));) {
        struct queue *q = container_of(n, struct queue, node);
        list_for_each (l, &q->senders) {
            struct sender *s = list_entry(l, struct sender, link);
            if (abort)
                delivery_abort(s->conn);
            else
                delivery_close(s->conn);
        }
    }
}

void sender_visit(const struct queue *q,
                  void (*fn)(void *arg, const struct queue *q, const struct delivery_info *i),
                  void *arg)
{
    list_for_each (l, &q->senders) {
        struct delivery_info info;
        delivery_info(list_entry(l, struct sender, link)->conn, &info);
        fn(arg, q, &info);
    }
}
