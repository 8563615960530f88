/*
 * A sender: one outgoing connection of a queue and the messages it has in hand. The connection
 * (pipe/delivery) asks for messages, the sender takes them from the queue, prefetching one so that
 * the next transaction can be pipelined behind the last byte of the current one. What limits say to
 * that is in sender_limits.c.
 *
 * Memory: a sender dies in on_closed; its loads are released one by one as their outcomes come.
 */
#include "queue/sender_limits.h"

#include "base/clock.h"
#include "base/log.h"
#include "report/attempt_line.h"
#include "sign/signer.h"

enum {
    PREFETCH = 2,
    PREFETCH_SIGNED = 8,
    ENOUGH_TO_SIGN = 128, /* requests that wait for the signer: it is at work for a while */
    HOLD_MS = 10000,      /* after a refused connection while others are open */
    FAILED_PER_TURN = 64, /* messages that cannot be read or signed */
    MOST_LOOKED_AT = 256, /* idle connections, for one that holds a place */
};

static void set_state(struct sender *s, enum sender_state to)
{
    if (s->state == SENDER_COMING)
        s->queue->coming--;
    if (s->state == SENDER_IDLE) {
        list_remove(&s->idle_link);
        list_remove(&s->idle_among);
    }
    if (to == SENDER_COMING)
        s->queue->coming++;
    if (to == SENDER_IDLE) {
        list_push_back(&s->queue->idle, &s->idle_link);
        list_push_back(&s->engine->idle_senders, &s->idle_among);
    }
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

/* An action or a smaller limit ends this connection; what it has not sent goes to others. */
static bool must_quit(struct sender *s)
{
    const struct queue *q = s->queue;

    if (s->quit || s->leaving)
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

/* How many recipients the next load will have, as far as the head of the queue tells. */
static uint32_t likely_rcpts(struct queue *q, uint32_t most)
{
    const struct entry *first = lanes_peek(q);
    if (!first)
        return 0;
    return first->message->single ? 1 : MIN_OF((uint32_t)first->message->live, most);
}

/* --- loads --- */

/* The next message, with as many recipients as all limits grant; NULL: there is none, or s->refused
 * says who refused. */
static struct load *take_load(struct sender *s)
{
    struct queue *q = s->queue;
    uint32_t most = throttle_numbers(s->engine, q)->max_rcpt_per_transaction, granted;

    if (q->settings.verp)
        most = 1;
    s->refused = NULL;
    if (!q->ready_count)
        return NULL;
    if (!s->rates.count)
        return load_take(s->engine, q, most, on_arrived, s);
    granted = sender_take_rcpts(s, likely_rcpts(q, most));
    if (!granted)
        return NULL;
    struct load *l = load_take(s->engine, q, granted, on_arrived, s);
    uint32_t used = l ? l->count : 0;
    limits_refund(s->rates.items, s->rates.count, granted - used);
    if (l) {
        l->granted = true;
        l->version = s->version;
        l->epoch = limits_epoch(s->engine->limits);
        /* now, or every connection that is open would send one more */
        l->charged = l->message->place.length;
        limits_charge_bytes(s->rates.items, s->rates.count, l->charged);
    }
    return l;
}

/* With loads in hand, whether more are taken only when these are used up: together they come back
 * from the threads that sign, which are behind, and go out pipelined, where one by one each would be
 * waited for; and signatures that are made here cost less in a row. */
static bool takes_together(const struct sender *s)
{
    const struct signer *signer = s->engine->parts.signer;

    if (list_empty(&s->loads) || !signer)
        return false;
    return signer_pending(signer) >= ENOUGH_TO_SIGN ||
           list_entry(s->loads.prev, struct load, link)->signed_at_once;
}

static void prefetch(struct sender *s)
{
    struct queue *q = s->queue;
    bool together = takes_together(s);

    while (s->load_count < PREFETCH_SIGNED && queue_may_send(s->engine, q)) {
        struct load *last =
            list_empty(&s->loads) ? NULL : list_entry(s->loads.prev, struct load, link);
        /* signing takes longer than sending: several at a time */
        if (last && (load_is_signed(last) ? together : s->load_count >= PREFETCH))
            return;
        /* one that is in memory needs no prefetching, and the last ones are left to others; where a
         * rate binds, what is taken early would be sent late */
        if (last && ((last->body && !load_is_signed(last)) || q->ready_count <= q->sender_count ||
                     sender_rate_binds(s)))
            return;
        struct load *l = take_load(s);
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

/* Nothing to send now, or a rate refused: the connection waits for work, unless its place is wanted
 * or the rate has room only when the connection would have been closed for idling. */
static enum delivery_next rest(struct sender *s)
{
    struct queue *q = s->queue;
    struct limit_level level = {.next_us = 0};

    sender_return_credit(s);
    if (s->refused) {
        int64_t now_us = clock_wall_us();
        /* one of several addresses: another may still have room, the scheduler asks them all */
        if (sender_is_of_one_address(q, s->refused))
            scheduler_retry(s->engine, q);
        else
            scheduler_wait(s->engine, q, s->refused);
        limit_level(s->refused, now_us, &level);
        level.next_us -= level.free_now || !level.next_us ? level.next_us : now_us;
    }
    bool long_wait = level.next_us / 1000 > q->settings.idle_timeout_ms;
    if (!queue_may_send(s->engine, q) ||
        (!s->in_hand && (long_wait || sender_wanted_place(s, true)))) {
        set_state(s, SENDER_BUSY);
        return DELIVERY_QUIT;
    }
    set_state(s, s->in_hand ? SENDER_BUSY : SENDER_IDLE);
    return DELIVERY_IDLE;
}

static enum delivery_next on_next(void *owner, struct delivery_conn *c, struct delivery_job *ret)
{
    struct sender *s = owner;
    unsigned failed = 0;

    (void)c;
    s->refused = NULL;
    if (!sender_limits_renew(s))
        sender_start_yielding(s);
    for (;;) {
        if (sender_should_yield(s) && list_empty(&s->loads)) {
            set_state(s, SENDER_BUSY);
            return DELIVERY_QUIT;
        }
        if (must_quit(s) || !queue_may_send(s->engine, s->queue)) {
            set_state(s, SENDER_BUSY);
            return DELIVERY_QUIT;
        }
        if (!s->is_yielding)
            prefetch(s);
        if (list_empty(&s->loads))
            return rest(s);
        struct load *l = list_entry(list_first(&s->loads), struct load, link);
        if (l->state == LOAD_READING || l->state == LOAD_SIGNING) {
            set_state(s, SENDER_BUSY);
            return DELIVERY_WAIT;
        }
        pop_load(s);
        if (l->state == LOAD_FAILED) {
            sender_refund_load(s, l);
            load_fail(l);
            if (++failed < FAILED_PER_TURN)
                continue;
            set_state(s, SENDER_BUSY); /* the rest in the next turn of the loop */
            delivery_wakeup(s->conn);
            return DELIVERY_WAIT;
        }
        load_hand_over(l, ret);
        s->in_hand++;
        set_state(s, SENDER_BUSY);
        if ((!l->body || load_is_signed(l)) && !s->is_yielding && !sender_rate_binds(s))
            prefetch(s); /* the next one is read while this one is sent */
        return DELIVERY_JOB;
    }
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
    if (s->pair) /* also of a 421 that is not this message's fault */
        pace_outcome(s->engine->pace, s->pair, o, reply_is_throttling(o), clock_wall_ms());
    hear(s, o->peer_host, o, &r);
    if (is_innocent(s, o) || (r.keep && o->class_ != OUTCOME_DELIVERED))
        return; /* put back with the load */
    l->left--;
    l->entries[position] = NULL;
    s->accepted += o->class_ == OUTCOME_DELIVERED;
    l->was_sent |= o->phase >= PHASE_END_OF_DATA;
    settle_entry(s->engine, e, &l->env, o, &r);
}

static void on_job_done(void *owner, struct delivery_conn *c, const struct delivery_job *job)
{
    struct sender *s = owner;
    struct load *l = job->cookie;

    (void)c;
    s->in_hand--;
    sender_refund_load(s, l);
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

    (void)c;
    if (o->phase == PHASE_CONNECT && !s->source_lost)
        s->source_lost = vmta_source_lost(s->queue->vmta, &s->source.addr);
    hear(s, sv_of(host->name), o, &r);
    if (s->pair && reply_is_throttling(o))
        pace_outcome(s->engine->pace, s->pair, o, true, clock_wall_ms());
    attempt_line_write(&(struct attempt_line){
        .message = "host could not be used, trying the next",
        .queue = s->queue->name,
        .outcome = o,
    });
}

static void on_tls_done(void *owner, struct delivery_conn *c, const struct delivery_host *host,
                        enum tls_result result, const char *tls, const char *text)
{
    struct sender *s = owner;
    struct delivery_info i;

    delivery_info(c, &i);
    engine_tell_tls(s->queue, &(struct tls_told){
                                  .host = host->name,
                                  .peer_ip = i.peer_ip,
                                  .source_ip = i.source_ip,
                                  .need = host->tls,
                                  .result = result,
                                  .tls = tls,
                                  .text = text,
                              });
}

static void on_closed(void *owner, struct delivery_conn *c, const struct outcome *o)
{
    struct sender *s = owner;
    struct engine *g = s->engine;
    struct queue *q = s->queue;

    (void)c;
    if (o && s->was_established && !g->draining) {
        struct reaction r;
        hear(s, o->peer_host, o, &r);
    }
    q->leaving -= s->leaving;
    while (!list_empty(&s->loads)) {
        struct load *l = pop_load(s);
        sender_refund_load(s, l);
        load_put_back(l);
    }
    set_state(s, SENDER_BUSY);
    g->yielding -= s->is_yielding;
    list_remove(&s->link);
    q->sender_count--;
    q->established -= s->was_established;
    g->connection_count--;
    sender_limits_end(s);
    /* when the source is gone, the next attempt takes another one: not the hosts' fault */
    if (o && !s->was_established && !g->draining && !s->source_lost) {
        if (o->class_ == OUTCOME_BOUNCED && !s->hosts_missing && !q->established) {
            finisher_queue(g, q, o); /* REQUIRETLS, and no host can do that */
        } else if (q->sender_count) {
            q->hold_until_ms = clock_wall_ms() + HOLD_MS;
            scheduler_rewake(g, q);
        } else {
            settle_queue_failure(g, q, o);
        }
    }
    free(s);
    if (q->line && (!limit_is_rate(q->line) || sender_is_of_one_address(q, q->line)))
        scheduler_retry(g, q); /* in line, and its own place came back: for another address, too */
    else
        scheduler_kick(g, q);
    scheduler_check_drained(g);
}

static bool on_may_use(void *owner, struct delivery_conn *c, const struct delivery_host *host)
{
    (void)c;
    return sender_take_host(owner, host);
}

static const struct delivery_ops ops = {
    .may_use = on_may_use,
    .next = on_next,
    .rcpt_done = on_rcpt_done,
    .job_done = on_job_done,
    .established = on_established,
    .host_failed = on_host_failed,
    .tls_done = on_tls_done,
    .closed = on_closed,
};

void sender_open(struct engine *g, struct queue *q, const struct vmta_source *source,
                 const struct delivery_host *hosts, size_t host_count, struct sender_places *places)
{
    const struct queue_settings *set = &q->settings;
    const struct throttle_numbers *numbers = throttle_numbers(g, q);
    struct sender *s = xcalloc(1, sizeof(*s));

    s->engine = g;
    s->queue = q;
    s->state = SENDER_COMING;
    s->source.addr = source->addr;
    s->host.addr = hosts[0].addr;
    s->hosts_missing = places->hosts_missing;
    s->opened_ms = clock_mono_ms();
    sender_limits_begin(s, places);
    list_init(&s->loads);
    list_init(&s->idle_link);
    list_init(&s->idle_among);
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
            .max_messages = numbers->max_msg_per_connection,
            .max_rcpts = numbers->max_rcpt_per_transaction,
            .connect_timeout_ms = set->connect_timeout_ms,
            .greeting_timeout_ms = set->greeting_timeout_ms,
            .command_timeout_ms = set->command_timeout_ms,
            .data_timeout_ms = set->data_timeout_ms,
            .idle_timeout_ms = set->idle_timeout_ms,
            .use_starttls = set->tls.use_starttls,
            .requiretls = q->ask == TLS_ASK_REQUIRETLS,
            .tls_min_version = set->tls.min_version,
            .tls_broken_ms = set->tls.broken_ms,
            .tls_ca_file = set->tls.ca_file,
            .tls_certificate = set->tls.certificate,
            .tls_key = set->tls.key,
            .use_pipelining = set->use_pipelining,
        },
        &ops, s);
}

bool sender_wake_idle(struct queue *q, struct limit **ret_full)
{
    const struct sender *refused = NULL;

    *ret_full = NULL;
    list_for_each (n, &q->idle) {
        struct sender *s = list_entry(n, struct sender, idle_link);
        if (refused && memcmp(&refused->source.addr, &s->source.addr, sizeof(s->source.addr)) == 0)
            continue; /* the same limits */
        if (sender_claim(s, ret_full)) {
            set_state(s, SENDER_COMING);
            delivery_wakeup(s->conn);
            return true;
        }
        refused = s;
    }
    return false;
}

void sender_make_room(struct engine *g, const struct queue *q, const struct limit *l)
{
    unsigned looked_at = 0;

    list_for_each (n, &g->idle_senders) {
        struct sender *s = list_entry(n, struct sender, idle_among);
        if (++looked_at > MOST_LOOKED_AT)
            return;
        if (s->queue == q ||
            !(throttle_set_has(&s->places, l) || throttle_set_has(&s->host_places, l)))
            continue;
        set_state(s, SENDER_BUSY);
        delivery_close(s->conn);
        return;
    }
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
