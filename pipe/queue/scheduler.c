/*
 * Who may connect next. A queue with ready entries is kicked; when an idle connection can take the
 * work it is woken, else the queue joins the runnable list and gets a connection, in turn with the
 * others, as soon as its route is known and its queue, virtual MTA and pipe have a place. What
 * waits for a time sleeps on one timer; what waits for a place sleeps in the blocked list.
 */
#include "queue/engine_int.h"

#include "base/clock.h"
#include <stdio.h>

enum {
    OPENS_PER_TURN = 64,
    SWEEP_MS = 10000,
    QUEUE_KEEP_MS = 300000, /* an empty queue is remembered this long */
};

static void on_idle(uv_idle_t *h);
static void on_earlier(void *arg);
static void on_timer(uv_timer_t *h);

void scheduler_init(struct engine *g)
{
    uv_idle_init(g->parts.loop, &g->idle);
    uv_timer_init(g->parts.loop, &g->timer);
    g->idle.data = g->timer.data = g;
    g->handles_open = 2;
    g->next_sweep_ms = clock_mono_ms() + SWEEP_MS;
    limits_on_earlier(g->limits, on_earlier, g);
    uv_timer_start(&g->timer, on_timer, SWEEP_MS, 0);
}

void scheduler_want_turn(struct engine *g)
{
    if (g->idle_active)
        return;
    g->idle_active = true;
    uv_idle_start(&g->idle, on_idle);
}

/* The peer refused a connection while it serves others: it has a limit of its own. */
static bool on_hold(const struct queue *q)
{
    return q->sender_count && q->hold_until_ms && clock_wall_ms() < q->hold_until_ms;
}

static bool may_send(const struct engine *g, const struct queue *q)
{
    return g->started && !g->draining && !g->paused && !q->paused && q->ready_count &&
           !q->retry_at_ms;
}

void scheduler_kick(struct engine *g, struct queue *q)
{
    if (!may_send(g, q))
        return;
    if (!list_empty(&q->idle)) {
        sender_wake_idle(q);
        return;
    }
    if (q->coming >= q->ready_count || (q->slots.max && q->slots.used >= q->slots.max) ||
        on_hold(q))
        return;
    if (list_empty(&q->runnable)) {
        list_push_back(&g->runnable, &q->runnable);
        scheduler_want_turn(g);
    }
}

/* --- routes --- */

static void forget_route(struct engine *g, struct queue *q)
{
    for (size_t i = 0; i < q->route.count; i++) {
        list_remove(&q->route.waiters[i].link);
        route_unref(g->parts.routes, q->route.routes[i]);
    }
    free(q->route.routes);
    free(q->route.waiters);
    q->route.routes = NULL;
    q->route.waiters = NULL;
    q->route.count = q->route.pending = 0;
}

static void on_answered(struct route_waiter *w)
{
    struct queue *q = w->queue;
    q->route.pending--;
    scheduler_kick(q->engine, q);
}

static void ask_one(struct engine *g, struct queue *q, size_t i, enum route_kind kind,
                    struct strview name)
{
    struct route_waiter *w = &q->route.waiters[i];
    q->route.routes[i] = routes_get(g->parts.routes, kind, name, w);
    q->route.pending += q->route.routes[i]->status == ROUTE_PENDING;
}

static void ask_routes(struct engine *g, struct queue *q)
{
    size_t count = q->settings.host_count ? q->settings.host_count : 1;

    forget_route(g, q);
    q->route.routes = xcalloc(count, sizeof(q->route.routes[0]));
    q->route.waiters = xcalloc(count, sizeof(q->route.waiters[0]));
    q->route.count = count;
    for (size_t i = 0; i < count; i++) {
        list_init(&q->route.waiters[i].link);
        q->route.waiters[i].answered = on_answered;
        q->route.waiters[i].queue = q;
        if (!q->settings.host_count) {
            ask_one(g, q, i, ROUTE_MX, q->domain);
            continue;
        }
        const struct host_entry *h = &q->settings.hosts[i];
        if (h->kind != HOST_ADDRESS)
            ask_one(g, q, i, h->kind == HOST_LOOKUP_MX ? ROUTE_MX : ROUTE_HOST, h->name);
    }
}

static bool route_known(const struct queue *q)
{
    if (!q->route.count || q->route.pending)
        return false;
    for (size_t i = 0; i < q->route.count; i++)
        if (q->route.routes[i] && !route_is_fresh(q->route.routes[i]))
            return false;
    return true;
}

/* --- addresses to try, in order --- */

struct host_plan {
    struct delivery_host *hosts;
    uint32_t *preference;
    size_t count;
    const struct route *worst; /* an answer that gave nothing, when count is 0 */
};

static void plan_add(struct host_plan *p, const char *name, const struct sockaddr_storage *addr,
                     uint16_t port, uint32_t preference)
{
    p->hosts = xrealloc(p->hosts, (p->count + 1) * sizeof(p->hosts[0]));
    p->preference = xrealloc(p->preference, (p->count + 1) * sizeof(p->preference[0]));
    p->preference[p->count] = preference;
    struct delivery_host *h = &p->hosts[p->count++];
    *h = (struct delivery_host){.name = name, .addr = *addr};
    if (addr->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&h->addr)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)&h->addr)->sin_port = htons(port);
}

static bool family_fits(const struct vmta_source *source, const struct sockaddr_storage *addr)
{
    return source->addr.ss_family == AF_UNSPEC || source->addr.ss_family == addr->ss_family;
}

static void plan_route(struct host_plan *p, const struct route *r, const struct vmta_source *source,
                       uint16_t port, uint32_t group)
{
    if (r->status != ROUTE_OK) {
        if (!p->worst || r->status == ROUTE_TEMPORARY)
            p->worst = r;
        return;
    }
    for (size_t i = 0; i < r->address_count; i++) {
        const struct route_address *a = &r->addresses[i];
        char name[256];
        snprintf(name, sizeof(name), "%.*s", SV_ARG(a->host));
        if (family_fits(source, &a->addr))
            plan_add(p, xstrdup(name), &a->addr, port, group << 16 | a->preference);
    }
}

/* Rotates each run of equal preference by `turn`, so that connections spread over equal hosts. */
static void plan_rotate(struct host_plan *p, uint32_t turn)
{
    for (size_t i = 0, n; i < p->count; i += n) {
        for (n = 1; i + n < p->count && p->preference[i + n] == p->preference[i];)
            n++;
        for (size_t k = 0; n > 1 && k < turn % n; k++) {
            struct delivery_host first = p->hosts[i];
            memmove(&p->hosts[i], &p->hosts[i + 1], (n - 1) * sizeof(first));
            p->hosts[i + n - 1] = first;
        }
    }
}

static void plan_make(struct queue *q, const struct vmta_source *source, struct host_plan *p)
{
    for (size_t i = 0; i < q->route.count; i++) {
        const struct host_entry *h = q->settings.host_count ? &q->settings.hosts[i] : NULL;
        uint16_t port = h && h->port ? h->port : q->settings.port;
        uint32_t group = h ? h->group : 0;
        if (h && h->kind == HOST_ADDRESS) {
            char name[256];
            snprintf(name, sizeof(name), "%.*s", SV_ARG(h->name));
            if (family_fits(source, &h->addr))
                plan_add(p, xstrdup(name), &h->addr, port, group << 16);
        } else {
            plan_route(p, q->route.routes[i], source, port, group);
        }
    }
    plan_rotate(p, q->turn++);
}

static void plan_free(struct host_plan *p)
{
    for (size_t i = 0; i < p->count; i++)
        free((void *)(uintptr_t)p->hosts[i].name);
    free(p->hosts);
    free(p->preference);
}

/* --- connecting --- */

static struct outcome dns_outcome(enum outcome_class c, uint16_t subject, uint16_t detail,
                                  struct strview text)
{
    return (struct outcome){
        .class_ = c,
        .phase = PHASE_DNS,
        .enhanced = {c == OUTCOME_DEFERRED ? 4 : 5, subject, detail},
        .text = text,
        .connect_ms = -1,
        .transmit_ms = -1,
    };
}

/* No address to connect to: the DNS says no for good (bounce all), or for now. */
static void no_address(struct engine *g, struct queue *q, const struct route *r)
{
    struct strview text = r && r->text ? sv_of(r->text) : SV("no address of the right family");
    struct outcome o;

    switch (r ? r->status : ROUTE_NO_HOST) {
    case ROUTE_NO_DOMAIN:
        o = dns_outcome(OUTCOME_BOUNCED, 1, 2, text);
        break;
    case ROUTE_NULL_MX:
        o = dns_outcome(OUTCOME_BOUNCED, 1, 10, text);
        break;
    case ROUTE_NO_HOST:
        o = dns_outcome(OUTCOME_BOUNCED, 4, 4, text);
        break;
    default:
        o = dns_outcome(OUTCOME_DEFERRED, 4, 3, text);
        settle_queue_failure(g, q, &o);
        return;
    }
    finisher_queue(g, q, &o);
}

/* Tries to open one connection for q. True when the queue may want another one right away. */
static bool open_one(struct engine *g, struct queue *q)
{
    struct slots *set[] = {&q->slots, &q->vmta->slots, &g->slots};
    const struct slots *full = NULL;

    if (!may_send(g, q) || q->coming >= q->ready_count || on_hold(q))
        return false;
    if (!q->route.count || (!q->route.pending && !route_known(q)))
        ask_routes(g, q);
    if (q->route.pending)
        return false;
    const struct vmta_source *source = &q->vmta->sources[q->vmta->turn % q->vmta->source_count];
    struct host_plan plan = {0};
    plan_make(q, source, &plan);
    if (!plan.count) {
        no_address(g, q, plan.worst);
    } else if (slots_take(set, ARRAY_LEN(set), &full)) {
        sender_open(g, q, plan.hosts, plan.count);
    } else {
        if (full != &q->slots)
            list_push_back(&g->blocked, &q->runnable);
        plan_free(&plan);
        return false;
    }
    bool again = plan.count != 0;
    plan_free(&plan);
    return again;
}

/* Queues wait for a place and none is free: connections without work give theirs up. */
static void make_room(struct engine *g)
{
    if (list_empty(&g->blocked))
        return;
    for (struct hash_node *n = NULL; (n = hash_next(&g->queues, n));)
        if (sender_close_idle(container_of(n, struct queue, node), 1))
            return;
}

static void run(struct engine *g)
{
    for (int i = 0; i < OPENS_PER_TURN && !list_empty(&g->runnable); i++) {
        struct queue *q = container_of(list_pop_front(&g->runnable), struct queue, runnable);
        if (open_one(g, q) && list_empty(&q->runnable))
            list_push_back(&g->runnable, &q->runnable);
    }
    make_room(g);
}

static void on_idle(uv_idle_t *h)
{
    struct engine *g = h->data;

    finisher_turn(g);
    run(g);
    if (finisher_can_work(g) || !list_empty(&g->runnable))
        return;
    g->idle_active = false;
    uv_idle_stop(&g->idle);
    scheduler_check_drained(g);
}

void scheduler_unblock(struct engine *g)
{
    if (list_empty(&g->blocked))
        return;
    list_splice_back(&g->runnable, &g->blocked);
    scheduler_want_turn(g);
}

/* --- time --- */

static void arm_timer(struct engine *g)
{
    const struct heap_node *n = heap_min(&g->wake);
    int64_t wait = g->next_sweep_ms - clock_mono_ms(), limit_us = limits_next_us(g->limits);

    if (n)
        wait = MIN_OF(wait, n->key - clock_wall_ms());
    if (limit_us != INT64_MAX)
        wait = MIN_OF(wait, (limit_us - clock_wall_us() + 999) / 1000);
    if (lanes_next_ms(g) != INT64_MAX)
        wait = MIN_OF(wait, lanes_next_ms(g) - clock_wall_ms());
    uv_update_time(g->parts.loop);
    uv_timer_start(&g->timer, on_timer, (uint64_t)MAX_OF(wait, (int64_t)0), 0);
}

static void on_earlier(void *arg)
{
    arm_timer(arg);
}

void scheduler_arm(struct engine *g)
{
    arm_timer(g);
}

void scheduler_rewake(struct engine *g, struct queue *q)
{
    const struct heap_node *due = heap_min(&q->deferred);
    int64_t at = due ? due->key : INT64_MAX;
    const struct heap_node *first = heap_min(&g->wake);
    int64_t armed = first ? first->key : INT64_MAX;

    if (q->retry_at_ms && q->ready_count)
        at = MIN_OF(at, q->retry_at_ms);
    if (on_hold(q))
        at = MIN_OF(at, q->hold_until_ms);
    if (at == INT64_MAX)
        heap_remove(&g->wake, &q->wake);
    else
        heap_set(&g->wake, &q->wake, at);
    if (at < armed)
        arm_timer(g);
}

static void wake_due(struct engine *g)
{
    int64_t now = clock_wall_ms();

    for (struct heap_node *n; (n = heap_min(&g->wake)) && n->key <= now;) {
        struct queue *q = container_of(n, struct queue, wake);
        if (q->retry_at_ms && q->retry_at_ms <= now)
            q->retry_at_ms = 0;
        queue_collect_due(q, now);
        heap_remove(&g->wake, &q->wake);
        scheduler_kick(g, q);
        scheduler_rewake(g, q);
    }
}

/* Forgets queues that have been empty for a while. */
static void sweep(struct engine *g)
{
    int64_t now = clock_mono_ms();

    g->next_sweep_ms = now + SWEEP_MS;
    for (struct hash_node *n = hash_next(&g->queues, NULL), *next; n; n = next) {
        next = hash_next(&g->queues, n);
        struct queue *q = container_of(n, struct queue, node);
        if (q->live || q->sender_count || q->route.pending ||
            now - q->idle_since_ms < QUEUE_KEEP_MS)
            continue;
        hash_remove(&g->queues, n);
        heap_remove(&g->wake, &q->wake);
        forget_route(g, q);
        queue_free(q);
    }
}

void scheduler_tick(struct engine *g)
{
    lanes_tick(g, clock_wall_ms());
    wake_due(g);
    limits_tick(g->limits, clock_wall_us());
    if (clock_mono_ms() >= g->next_sweep_ms)
        sweep(g);
    scheduler_check_drained(g);
}

static void on_timer(uv_timer_t *h)
{
    struct engine *g = h->data;
    scheduler_tick(g);
    if (!uv_is_closing((uv_handle_t *)h))
        arm_timer(g);
}

/* --- drain --- */

static void on_handle_closed(uv_handle_t *h)
{
    struct engine *g = h->data;
    if (--g->handles_open == 0)
        g->drained(g->drained_arg);
}

void scheduler_check_drained(struct engine *g)
{
    if (!g->draining || !g->drained || uv_is_closing((uv_handle_t *)&g->timer))
        return;
    if (g->connection_count && clock_mono_ms() >= g->drain_until_ms)
        sender_close_all(g, true);
    if (g->connection_count || g->loads_out || !list_empty(&g->finishers))
        return;
    uv_close((uv_handle_t *)&g->timer, on_handle_closed);
    uv_close((uv_handle_t *)&g->idle, on_handle_closed);
}

void engine_drain(struct engine *g, int64_t timeout_ms, void (*done)(void *arg), void *arg)
{
    g->draining = true;
    g->drain_until_ms = clock_mono_ms() + timeout_ms;
    g->drained = done;
    g->drained_arg = arg;
    sender_close_all(g, false);
    g->next_sweep_ms = MIN_OF(g->next_sweep_ms, g->drain_until_ms);
    arm_timer(g);
    scheduler_want_turn(g);
}
