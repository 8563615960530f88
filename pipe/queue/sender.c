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
#include "report/attempt_line.h"

enum {
    PREFETCH = 2,
    PREFETCH_SIGNED = 8,
    HOLD_MS = 10000,           /* after a refused connection while others are open */
    FAIR_SHARE_MESSAGES = 100, /* then a connection gives its place to queues that wait for one */
    FAIR_SHARE_MS = 10000,     /* or then */
    CREDIT_MS = 50,            /* a recipient granted longer ago is asked for again, */
    CREDIT_MAX_MS = 5000,      /* at slow rates later: after a tenth of what one event takes */
    EARLY_US = 10 * 1000,
    MOST_YIELDING = 16,   /* connections ending at a time so that others get their places */
    FAILED_PER_TURN = 64, /* messages that cannot be read or signed */
    MOST_LOOKED_AT = 256, /* idle connections, for one that holds a place */
};

enum sender_state {
    SENDER_COMING, /* connecting or woken: will ask for a message */
    SENDER_BUSY,
    SENDER_IDLE,
};

struct sender {
    struct list link;       /* queue->senders */
    struct list idle_link;  /* queue->idle */
    struct list idle_among; /* engine->idle_senders */
    struct engine *engine;
    struct queue *queue;
    struct delivery_conn *conn;
    enum sender_state state;
    bool is_yielding;

    struct vmta_source source;               /* without its name */
    struct delivery_host host;               /* without its name; that host_places are for */
    struct throttle_set places, host_places; /* to give back */
    struct throttle_set rates;
    struct pace_pair *pair; /* or NULL */
    uint32_t version;       /* throttle_numbers.version that these are of */
    uint32_t credit;        /* recipients that rates granted in advance */
    uint32_t credit_epoch;  /* limits_epoch at that time */
    int64_t credit_at_ms;
    int64_t opened_ms;
    struct limit *refused; /* the limit that the last take_load was refused by; not a reference */

    struct list loads; /* taken, not yet handed over */
    uint32_t load_count;
    uint32_t in_hand;  /* handed over, not yet done */
    uint64_t accepted; /* recipients the peer took */
    bool was_established;
    bool source_lost;   /* this machine does not have that address any more */
    bool quit;          /* a rule ends this connection */
    bool leaving;       /* counted in queue->leaving */
    bool hosts_missing; /* see sender_places */
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

/* --- limits --- */

static bool is_rate(const struct limit *l)
{
    return l->measure == LIMIT_MESSAGES || l->measure == LIMIT_BYTES;
}

/* The references of `from` go to where they belong: places, rates, or nowhere. */
static void sort_limits(struct throttle_set *from, struct throttle_set *places,
                        struct throttle_set *rates)
{
    places->count = rates->count = 0;
    for (size_t i = 0; i < from->count; i++) {
        struct limit *l = from->items[i];
        if (l->measure == LIMIT_CONNECTIONS)
            places->items[places->count++] = l;
        else if (is_rate(l))
            rates->items[rates->count++] = l;
        else
            limit_unref(l);
    }
    from->count = 0;
}

static bool holds(const struct throttle_set *s, const struct limit *l)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i] == l)
            return true;
    return false;
}

static void return_credit(struct sender *s)
{
    limits_refund_since(s->rates.items, s->rates.count, s->credit, s->credit_epoch);
    s->credit = 0;
}

/* The limit has become smaller than what is open: so many end at once. */
static void leave_when_too_many(struct sender *s, const struct limit *l)
{
    struct limit_level level;

    if (s->leaving || !l->max || !holds(&s->places, l))
        return;
    limit_level(l, clock_wall_us(), &level);
    if (level.used <= l->max + s->queue->leaving)
        return;
    s->leaving = true;
    s->queue->leaving++;
}

/* The limits of the queue are others now: rates count from here on, and places that the connection
 * does not hold yet are taken. False: there is none, the connection has to end. */
static bool renew_limits(struct sender *s)
{
    struct throttle_set all, places;
    struct limit *full;

    return_credit(s);
    throttle_set_fini(&s->rates);
    throttle_gather(s->engine, s->queue, &s->source, NULL, &all);
    sort_limits(&all, &places, &s->rates);
    pace_pair_put(s->pair);
    s->pair = throttle_pair(s->engine, s->queue, &s->source);
    s->version = throttle_numbers(s->engine, s->queue)->version;
    bool agreed = true;
    for (size_t i = 0; i < places.count; i++) {
        struct limit *l = places.items[i];
        leave_when_too_many(s, l);
        if (holds(&s->places, l) || s->places.count == THROTTLE_MAX || !agreed) {
            limit_unref(l);
        } else if (limits_connect(&l, 1, &full)) {
            s->places.items[s->places.count++] = l;
        } else {
            limit_unref(l);
            agreed = false;
        }
    }
    return agreed;
}

static bool limits_are_current(const struct sender *s)
{
    return s->version == throttle_numbers(s->engine, s->queue)->version;
}

/* Another pipe waits for one. */
static struct limit *owed_place(const struct throttle_set *places, bool idle)
{
    for (size_t i = 0; i < places->count; i++)
        if (limit_owes_place(places->items[i], idle))
            return places->items[i];
    return NULL;
}

/* Another queue waits for a place that this connection holds; by_anybody: this connection rests. */
static struct limit *wanted_place(const struct sender *s, bool by_anybody)
{
    const struct queue *q = s->queue;
    bool no_use = by_anybody && !q->ready_count;
    struct limit *l = scheduler_wanted(q, s->places.items, s->places.count, by_anybody);

    if (!l)
        l = scheduler_wanted(q, s->host_places.items, s->host_places.count, by_anybody);
    if (!l)
        l = owed_place(&s->places, no_use);
    return l ? l : owed_place(&s->host_places, no_use);
}

static bool is_more_urgent(const struct limit *l, const struct queue *than)
{
    const struct list *first = list_first(&l->waiters);
    return first && container_of(first, struct queue, waiter.link)->settings.priority >
                        than->settings.priority;
}

static void start_yielding(struct sender *s)
{
    if (s->is_yielding)
        return;
    s->is_yielding = true;
    s->engine->yielding++;
}

/* Others wait for this place and this connection had its share. */
static bool should_yield(struct sender *s)
{
    const struct limit *l = wanted_place(s, false);

    if (!l || s->is_yielding)
        return s->is_yielding;
    uint32_t most = MIN_OF(MAX_OF(l->waiting, 1u), (uint32_t)MOST_YIELDING);
    bool had_share = s->accepted >= FAIR_SHARE_MESSAGES ||
                     (s->accepted && clock_mono_ms() - s->opened_ms >= FAIR_SHARE_MS) ||
                     (s->accepted && is_more_urgent(l, s->queue));
    if (!had_share || s->engine->yielding >= most)
        return false;
    start_yielding(s);
    if (s->queue->line == l)
        scheduler_had_turn(s->engine, s->queue);
    return true;
}

/* How many recipients the next load will have, as far as the head of the queue tells. */
static uint32_t likely_rcpts(struct queue *q, uint32_t most)
{
    const struct entry *first = lanes_peek(q);
    if (!first)
        return 0;
    return first->message->single ? 1 : MIN_OF((uint32_t)first->message->live, most);
}

/* How long a recipient granted in advance may be used. A slow rate grants one while the connection
 * for it is still to be opened; asking again then would lose that time with every message. */
static int64_t credit_ms(const struct sender *s)
{
    int64_t ms = CREDIT_MS;

    for (size_t i = 0; i < s->rates.count; i++) {
        const struct limit *l = s->rates.items[i];
        if (l->measure == LIMIT_MESSAGES && l->rate.count)
            ms = MAX_OF(ms, l->rate.period_us / 10000 / (int64_t)l->rate.count);
    }
    return MIN_OF(ms, (int64_t)CREDIT_MAX_MS);
}

/* Up to `want` recipients from all rates; 0: s->refused. */
static uint32_t take_rcpts(struct sender *s, uint32_t want)
{
    uint32_t granted = s->credit;
    struct limit *full = NULL;

    if (granted && (clock_mono_ms() - s->credit_at_ms > credit_ms(s) ||
                    s->credit_epoch != limits_epoch(s->engine->limits) ||
                    limits_in_debt(s->rates.items, s->rates.count))) {
        return_credit(s); /* time has passed since: counted from now on */
        granted = 0;
    } else if (!granted) {
        s->refused = scheduler_line_before(s->queue, s->rates.items, s->rates.count);
        if (s->refused)
            return 0;
    }
    s->credit = 0;
    if (granted < want)
        granted += limits_take(s->rates.items, s->rates.count, want - granted, &full);
    s->refused = granted ? NULL : full;
    if (granted && s->queue->line && is_rate(s->queue->line))
        scheduler_had_turn(s->engine, s->queue);
    return granted;
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
    granted = take_rcpts(s, likely_rcpts(q, most));
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

/* Recipients of l that nothing was sent for are not counted, nor is content that was not sent. */
static void refund_load(struct sender *s, struct load *l)
{
    if (l->granted && l->version == s->version) {
        limits_refund_since(s->rates.items, s->rates.count, l->left, l->epoch);
        uint64_t went = l->was_sent ? l->env.content_bytes : 0;
        if (went > l->charged)
            limits_charge_bytes(s->rates.items, s->rates.count, went - l->charged);
        else
            limits_refund_bytes(s->rates.items, s->rates.count, l->charged - went);
    }
    l->granted = false;
}

/* What each connection takes one early is no more than what a rate lets by in EARLY_US. */
static bool early_is_little(const struct sender *s)
{
    for (size_t i = 0; i < s->rates.count; i++) {
        const struct limit *l = s->rates.items[i];
        if (l->measure != LIMIT_MESSAGES)
            return false;
        if (l->rate.count &&
            (double)l->rate.period_us * s->queue->sender_count > (double)l->rate.count * EARLY_US)
            return false;
    }
    return true;
}

/* A rate holds the queue back, so what a connection takes early would be sent late. */
static bool rate_binds(const struct sender *s)
{
    const struct queue *q = s->queue;

    if (!s->rates.count || !q->bound_until_ms || clock_mono_ms() >= q->bound_until_ms)
        return false;
    return !list_empty(&q->idle) || !early_is_little(s);
}

static void prefetch(struct sender *s)
{
    struct queue *q = s->queue;

    while (s->load_count < PREFETCH_SIGNED && queue_may_send(s->engine, q)) {
        struct load *last =
            list_empty(&s->loads) ? NULL : list_entry(s->loads.prev, struct load, link);
        /* signing takes longer than sending: several at a time */
        if (s->load_count >= PREFETCH && !load_is_signed(last))
            return;
        /* one that is in memory needs no prefetching, and the last ones are left to others; where a
         * rate binds, what is taken early would be sent late */
        if (last && ((last->body && !load_is_signed(last)) || q->ready_count <= q->sender_count ||
                     rate_binds(s)))
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

static bool is_of_one_address(const struct queue *q, const struct limit *l)
{
    return q->vmta->source_count > 1 && !throttle_is_common(q, l);
}

/* Nothing to send now, or a rate refused: the connection waits for work, unless its place is wanted
 * or the rate has room only when the connection would have been closed for idling. */
static enum delivery_next rest(struct sender *s)
{
    struct queue *q = s->queue;
    struct limit_level level = {.next_us = 0};

    return_credit(s);
    if (s->refused) {
        int64_t now_us = clock_wall_us();
        /* one of several addresses: another may still have room, the scheduler asks them all */
        if (is_of_one_address(q, s->refused))
            scheduler_retry(s->engine, q);
        else
            scheduler_wait(s->engine, q, s->refused);
        limit_level(s->refused, now_us, &level);
        level.next_us -= level.free_now || !level.next_us ? level.next_us : now_us;
    }
    bool long_wait = level.next_us / 1000 > q->settings.idle_timeout_ms;
    if (!queue_may_send(s->engine, q) || (!s->in_hand && (long_wait || wanted_place(s, true)))) {
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
    if (!limits_are_current(s) && !renew_limits(s))
        start_yielding(s);
    for (;;) {
        if (should_yield(s) && list_empty(&s->loads)) {
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
            refund_load(s, l);
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
        if ((!l->body || load_is_signed(l)) && !s->is_yielding && !rate_binds(s))
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
    refund_load(s, l);
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
        refund_load(s, l);
        load_put_back(l);
    }
    return_credit(s);
    set_state(s, SENDER_BUSY);
    g->yielding -= s->is_yielding;
    list_remove(&s->link);
    q->sender_count--;
    q->established -= s->was_established;
    g->connection_count--;
    limits_disconnect(s->places.items, s->places.count);
    limits_disconnect(s->host_places.items, s->host_places.count);
    if (s->host_places.count)
        scheduler_host_room(g);
    throttle_set_fini(&s->places);
    throttle_set_fini(&s->host_places);
    throttle_set_fini(&s->rates);
    pace_pair_put(s->pair);
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
    if (q->line && (!is_rate(q->line) || is_of_one_address(q, q->line)))
        scheduler_retry(g, q); /* in line, and its own place came back: for another address, too */
    else
        scheduler_kick(g, q);
    scheduler_check_drained(g);
}

/* A host could not be used and the next one is tried: the place changes with it. */
static bool on_may_use(void *owner, struct delivery_conn *c, const struct delivery_host *host)
{
    struct sender *s = owner;
    struct throttle_set taken;
    struct limit *full;

    (void)c;
    if (memcmp(&host->addr, &s->host.addr, sizeof(host->addr)) == 0)
        return true;
    /* the old one is done with, and may share a limit with the new one */
    limits_disconnect(s->host_places.items, s->host_places.count);
    throttle_set_fini(&s->host_places);
    s->host.addr = (struct sockaddr_storage){0};
    throttle_gather_host(s->engine, s->queue, &s->source, host, &taken);
    if (!limits_connect(taken.items, taken.count, &full)) {
        throttle_set_fini(&taken);
        return false;
    }
    s->host_places = taken;
    s->host.addr = host->addr;
    return true;
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
    sort_limits(&places->set, &s->places, &s->rates);
    s->host_places = places->host_set;
    s->pair = throttle_pair(g, q, source);
    s->version = numbers->version;
    s->hosts_missing = places->hosts_missing;
    s->credit = places->credit;
    s->credit_epoch = limits_epoch(g->limits);
    s->credit_at_ms = s->opened_ms = clock_mono_ms();
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

/* All rates agree that s sends one more: taken. */
static bool claim(struct sender *s, struct limit **ret_full)
{
    if (!limits_are_current(s) && !renew_limits(s)) {
        start_yielding(s); /* woken to end */
        return true;
    }
    if (!s->rates.count)
        return true;
    *ret_full = scheduler_line_before(s->queue, s->rates.items, s->rates.count);
    if (*ret_full)
        return false;
    s->credit += limits_take(s->rates.items, s->rates.count, 1, ret_full);
    s->credit_epoch = limits_epoch(s->engine->limits);
    s->credit_at_ms = clock_mono_ms();
    return s->credit != 0;
}

bool sender_wake_idle(struct queue *q, struct limit **ret_full)
{
    const struct sender *refused = NULL;

    *ret_full = NULL;
    list_for_each (n, &q->idle) {
        struct sender *s = list_entry(n, struct sender, idle_link);
        if (refused && memcmp(&refused->source.addr, &s->source.addr, sizeof(s->source.addr)) == 0)
            continue; /* the same limits */
        if (claim(s, ret_full)) {
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
        if (s->queue == q || !(holds(&s->places, l) || holds(&s->host_places, l)))
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
