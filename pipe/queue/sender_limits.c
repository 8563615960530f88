/*
 * What limits say to an open connection. Called by sender.c, whenever the connection asks for a
 * message, rests, tries another host or ends.
 *
 * A connection holds places (of queue, source, pipe and the like, and of its host), which
 * scheduler.c took before it was opened, and asks the rates for each recipient; one recipient may be
 * granted in advance (credit). When the settings of its queue change it takes over the new limits
 * before its next message. It makes way when others wait for a place that it holds and it had its
 * share. Sets hold references, given back in sender_limits_end.
 */
#include "queue/sender_limits.h"

#include "base/clock.h"

enum {
    FAIR_SHARE_MESSAGES = 100, /* then a connection gives its place to queues that wait for one */
    FAIR_SHARE_MS = 10000,     /* or then */
    CREDIT_MS = 50,            /* a recipient granted longer ago is asked for again, */
    CREDIT_MAX_MS = 5000,      /* at slow rates later: after a tenth of what one event takes */
    EARLY_US = 10 * 1000,
    MOST_YIELDING = 16, /* connections ending at a time so that others get their places */
};

/* The references of `from` go to where they belong: places, rates, or nowhere. */
static void sort_limits(struct throttle_set *from, struct throttle_set *places,
                        struct throttle_set *rates)
{
    places->count = rates->count = 0;
    for (size_t i = 0; i < from->count; i++) {
        struct limit *l = from->items[i];
        if (l->measure == LIMIT_CONNECTIONS)
            places->items[places->count++] = l;
        else if (limit_is_rate(l))
            rates->items[rates->count++] = l;
        else
            limit_unref(l);
    }
    from->count = 0;
}

void sender_return_credit(struct sender *s)
{
    limits_refund_since(s->rates.items, s->rates.count, s->credit, s->credit_epoch);
    s->credit = 0;
}

/* The limit has become smaller than what is open: so many end at once. */
static void leave_when_too_many(struct sender *s, const struct limit *l)
{
    struct limit_level level;

    if (s->leaving || !l->max || !throttle_set_has(&s->places, l))
        return;
    limit_level(l, clock_wall_us(), &level);
    if (level.used <= l->max + s->queue->leaving)
        return;
    s->leaving = true;
    s->queue->leaving++;
}

void sender_limits_begin(struct sender *s, struct sender_places *places)
{
    sort_limits(&places->set, &s->places, &s->rates);
    s->host_places = places->host_set;
    s->pair = throttle_pair(s->engine, s->queue, &s->source);
    s->version = throttle_numbers(s->engine, s->queue)->version;
    s->credit = places->credit;
    s->credit_epoch = limits_epoch(s->engine->limits);
    s->credit_at_ms = clock_mono_ms();
}

void sender_limits_end(struct sender *s)
{
    sender_return_credit(s);
    limits_disconnect(s->places.items, s->places.count);
    limits_disconnect(s->host_places.items, s->host_places.count);
    if (s->host_places.count)
        scheduler_host_room(s->engine);
    throttle_set_fini(&s->places);
    throttle_set_fini(&s->host_places);
    throttle_set_fini(&s->rates);
    pace_pair_put(s->pair);
}

/* The limits of the queue are others now: rates count from here on, and places that the connection
 * does not hold yet are taken. False: there is none, the connection has to end. */
bool sender_limits_take_over(struct sender *s)
{
    struct throttle_set all, places;
    struct limit *full;

    sender_return_credit(s);
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
        if (throttle_set_has(&s->places, l) || s->places.count == THROTTLE_MAX || !agreed) {
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

bool sender_take_host(struct sender *s, const struct delivery_host *host)
{
    struct throttle_set taken;
    struct limit *full;

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

/* Another pipe waits for one. */
static struct limit *owed_place(const struct throttle_set *places, bool idle)
{
    for (size_t i = 0; i < places->count; i++)
        if (limit_owes_place(places->items[i], idle))
            return places->items[i];
    return NULL;
}

struct limit *sender_wanted_place(const struct sender *s, bool by_anybody)
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

void sender_start_yielding(struct sender *s)
{
    if (s->is_yielding)
        return;
    s->is_yielding = true;
    s->engine->yielding++;
}

bool sender_should_yield(struct sender *s)
{
    const struct limit *l = sender_wanted_place(s, false);

    if (!l || s->is_yielding)
        return s->is_yielding;
    uint32_t most = MIN_OF(MAX_OF(l->waiting, 1u), (uint32_t)MOST_YIELDING);
    bool had_share = s->accepted >= FAIR_SHARE_MESSAGES ||
                     (s->accepted && clock_mono_ms() - s->opened_ms >= FAIR_SHARE_MS) ||
                     (s->accepted && is_more_urgent(l, s->queue));
    if (!had_share || s->engine->yielding >= most)
        return false;
    sender_start_yielding(s);
    if (s->queue->line == l)
        scheduler_had_turn(s->engine, s->queue);
    return true;
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

uint32_t sender_take_rcpts(struct sender *s, uint32_t want)
{
    uint32_t granted = s->credit;
    struct limit *full = NULL;

    if (granted && (clock_mono_ms() - s->credit_at_ms > credit_ms(s) ||
                    s->credit_epoch != limits_epoch(s->engine->limits) ||
                    limits_in_debt(s->rates.items, s->rates.count))) {
        sender_return_credit(s); /* time has passed since: counted from now on */
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
    if (granted && s->queue->line && limit_is_rate(s->queue->line))
        scheduler_had_turn(s->engine, s->queue);
    return granted;
}

void sender_refund_load(struct sender *s, struct load *l)
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

bool sender_bound_by_rate(const struct sender *s)
{
    const struct queue *q = s->queue;

    return clock_mono_ms() < q->bound_until_ms && (!list_empty(&q->idle) || !early_is_little(s));
}

bool sender_claim(struct sender *s, struct limit **ret_full)
{
    if (!sender_limits_renew(s)) {
        sender_start_yielding(s); /* woken to end */
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
