/*
 * Connections without sockets: the functions of pipe/delivery that the engine calls. A connection
 * opens after --connect-time, each transaction takes --latency, an idle one ends after the queue's
 * idle-timeout-out. Above --accept-rate a peer says 421 and hangs up, as large providers do.
 *
 * Each connection has one place in the heap of events, at the time of the next thing that happens
 * to it; callbacks fire from peers_step only, never inside a call of the engine.
 */
#include "simulate.h"

#include "base/clock.h"

enum conn_state {
    CONN_OPENING,
    CONN_ASKING, /* asks for a message */
    CONN_SENDING,
    CONN_IDLE,    /* closes when its time comes */
    CONN_WAITING, /* a message is being loaded: no event */
    CONN_CLOSING,
};

struct delivery {
    char unused;
};

struct delivery_conn {
    struct heap_node event; /* in sim.events */
    const struct delivery_ops *ops;
    void *owner;
    enum conn_state state;
    const char *queue; /* borrowed, as in delivery_info */
    struct delivery_host host;
    char host_name[256];
    int64_t idle_ms, opened_ms, handed_ms;
    uint32_t max_messages;
    uint64_t messages;
    bool wants_end; /* after what is under way */
    bool refused;   /* the peer says 421 to what is under way */
    struct delivery_job job;
};

struct delivery *peers_new(void)
{
    return xcalloc(1, sizeof(struct delivery));
}

static void go(struct delivery_conn *c, enum conn_state to, int64_t in_ms)
{
    c->state = to;
    heap_set(&sim.events, &c->event, clock_wall_ms() + in_ms);
}

struct delivery_conn *delivery_open(struct delivery *d, const struct delivery_params *params,
                                    const struct delivery_ops *ops, void *owner)
{
    struct delivery_conn *c = xcalloc(1, sizeof(*c));

    (void)d;
    c->ops = ops;
    c->owner = owner;
    c->queue = params->queue;
    c->host = params->hosts[0];
    snprintf(c->host_name, sizeof(c->host_name), "%s", c->host.name);
    c->host.name = c->host_name;
    c->idle_ms = params->idle_timeout_ms;
    c->max_messages = params->max_messages;
    c->opened_ms = clock_wall_ms();
    heap_node_init(&c->event);
    go(c, CONN_OPENING, sim.options->connect_ms);
    return c;
}

void delivery_wakeup(struct delivery_conn *c)
{
    if (c->state == CONN_IDLE || c->state == CONN_WAITING)
        go(c, CONN_ASKING, 0);
}

void delivery_close(struct delivery_conn *c)
{
    c->wants_end = true;
    if (c->state != CONN_SENDING)
        go(c, CONN_CLOSING, 0);
}

void delivery_abort(struct delivery_conn *c)
{
    c->wants_end = true;
    go(c, c->state == CONN_SENDING ? CONN_SENDING : CONN_CLOSING, 0);
}

void delivery_info(const struct delivery_conn *c, struct delivery_info *ret)
{
    *ret = (struct delivery_info){
        .queue = c->queue,
        .host = c->host_name,
        .phase = "",
        .tls = "",
        .messages = c->messages,
        .opened_ms = c->opened_ms,
    };
}

/* --- the peer --- */

static struct outcome said(const struct delivery_conn *c, enum outcome_class class_,
                           enum outcome_phase phase, uint16_t code, const char *text)
{
    return (struct outcome){
        .class_ = class_,
        .phase = phase,
        .code = code,
        .enhanced = {(uint8_t)(code / 100), code == 421 ? 7 : 0, 0},
        .text = sv_of(text),
        .peer_host = sv_of(c->host_name),
        .tls = "",
        .transmit_ms = clock_wall_ms() - c->handed_ms,
    };
}

static struct outcome too_much(const struct delivery_conn *c)
{
    return said(c, OUTCOME_DEFERRED, PHASE_MAIL, 421, "421 4.7.0 Too much mail, slow down");
}

static struct row *row_of(const struct delivery_job *job)
{
    uint64_t n = 0;
    sv_to_u64(job->env->envid, &n);
    return world_row((uint32_t)n);
}

/* A bucket of one second, which is full at the start. */
static bool accepts(struct row *r, uint32_t rcpts)
{
    if (!r->accept)
        return true;
    const struct rate *rate = &r->accept->rate;
    double per_ms = (double)rate->count / (double)rate->period_ms;
    double most = per_ms * 1000 > 1 ? per_ms * 1000 : 1;
    int64_t now = clock_wall_ms();

    if (!r->tokens_ms)
        r->tokens = most;
    else
        r->tokens += per_ms * (double)(now - r->tokens_ms);
    r->tokens_ms = now;
    if (r->tokens > most)
        r->tokens = most;
    if (r->tokens < rcpts)
        return false;
    r->tokens -= rcpts;
    return true;
}

/* --- a connection --- */

static void end(struct delivery_conn *c, const struct outcome *o)
{
    heap_remove(&sim.events, &c->event);
    c->ops->closed(c->owner, c, o);
    free(c);
}

static void ask(struct delivery_conn *c)
{
    if (c->wants_end || (c->max_messages && c->messages >= c->max_messages)) {
        go(c, CONN_CLOSING, 0);
        return;
    }
    switch (c->ops->next(c->owner, c, &c->job)) {
    case DELIVERY_JOB:
        c->handed_ms = clock_wall_ms();
        c->messages++;
        c->refused = !accepts(row_of(&c->job), c->job.rcpt_count);
        go(c, CONN_SENDING, sim.options->latency_ms);
        break;
    case DELIVERY_IDLE:
        go(c, CONN_IDLE, c->idle_ms);
        break;
    case DELIVERY_WAIT:
        c->state = CONN_WAITING;
        heap_remove(&sim.events, &c->event);
        break;
    case DELIVERY_QUIT:
        go(c, CONN_CLOSING, 0);
        break;
    }
}

static void finish_job(struct delivery_conn *c)
{
    struct outcome o = c->refused
                           ? too_much(c)
                           : said(c, OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 2.0.0 Ok");
    struct row *r = row_of(&c->job);

    if (!c->refused)
        r->last_ms = MAX_OF(r->last_ms, c->handed_ms);
    for (uint32_t i = 0; i < c->job.rcpt_count; i++)
        c->ops->rcpt_done(c->owner, c, &c->job, i, &o);
    c->ops->job_done(c->owner, c, &c->job);
    if (c->refused)
        end(c, &o);
    else
        ask(c);
}

static void step(struct delivery_conn *c)
{
    switch (c->state) {
    case CONN_OPENING:
        c->ops->established(c->owner, c, &c->host);
        ask(c);
        break;
    case CONN_ASKING:
        ask(c);
        break;
    case CONN_SENDING:
        finish_job(c);
        break;
    case CONN_IDLE:
    case CONN_CLOSING:
        end(c, NULL);
        break;
    case CONN_WAITING:
        break;
    }
}

bool peers_step(void)
{
    int64_t now = clock_wall_ms();
    bool any = false;

    for (struct heap_node *n; (n = heap_min(&sim.events)) && n->key <= now; any = true)
        step(container_of(n, struct delivery_conn, event));
    return any;
}

int64_t peers_next_ms(void)
{
    const struct heap_node *n = heap_min(&sim.events);
    return n ? n->key : INT64_MAX;
}
