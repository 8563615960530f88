/*
 * Who may connect next. A queue with ready entries is kicked; when an idle connection can take the
 * work it is woken, else the queue joins the runnable list and gets a connection, in turn with the
 * others, as soon as its route is known and every limit agrees (throttle.h). A queue that a limit
 * refused stands in line there (line.c) and is left alone until its turn has come; what waits for a
 * time sleeps on the one timer, which the limits share.
 *
 * Connections are opened in connect.c.
 */
#include "queue/engine_int.h"

#include "base/clock.h"
#include "queue/connect.h"

enum {
    OPENS_PER_TURN = 64,
    RUN_SLICE_MS = 2,
    REFRESH_SLICE_MS = 3,
    SWEEP_MS = 10000,
    QUEUE_KEEP_MS = 300000, /* an empty queue is remembered this long */
};

static void on_idle(uv_idle_t *h);
static void arm(struct engine *g);
static void on_earlier(void *arg);
static void on_timer(uv_timer_t *h);

void scheduler_init(struct engine *g)
{
    uv_idle_init(g->parts.loop, &g->idle);
    uv_timer_init(g->parts.loop, &g->timer);
    g->idle.data = g->timer.data = g;
    g->handles_open = 2;
    g->next_sweep_ms = clock_mono_ms() + SWEEP_MS;
    g->armed_ms = INT64_MAX;
    limits_on_earlier(g->limits, on_earlier, g);
    arm(g);
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
           !q->retry_at_ms && !engine_holds(g, q);
}

static void make_runnable(struct engine *g, struct queue *q)
{
    if (list_empty(&q->runnable)) {
        list_push_back(&g->runnable, &q->runnable);
        scheduler_want_turn(g);
    }
}

static bool wants_connection(struct engine *g, struct queue *q)
{
    return q->coming < q->ready_count && !on_hold(q) &&
           (!q->throttle || q->sender_count < throttle_numbers(g, q)->max_connections);
}

void scheduler_kick(struct engine *g, struct queue *q)
{
    struct limit *full;

    if (q->local) {
        if (may_send(g, q))
            g->local->work(g->local_arg, q);
        return;
    }
    if (!may_send(g, q) || (q->line && (limit_is_rate(q->line) || list_empty(&q->idle))))
        return;
    if (!list_empty(&q->idle) && q->config_generation == g->config_generation &&
        sender_wake_idle(q, &full))
        return;
    if (!q->line && (!list_empty(&q->idle) || wants_connection(g, q)))
        make_runnable(g, q);
}

void scheduler_retry(struct engine *g, struct queue *q)
{
    if (q->local)
        scheduler_kick(g, q);
    else if (may_send(g, q))
        make_runnable(g, q);
}

/* --- routes --- */

void scheduler_forget_route(struct engine *g, struct queue *q)
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
    struct route_wants wants = queue_settings_wants(&q->settings, i);
    q->route.routes[i] = routes_get(g->parts.routes, kind, name, wants, w);
    q->route.pending += q->route.routes[i]->status == ROUTE_PENDING;
}

static void ask_routes(struct engine *g, struct queue *q)
{
    size_t count = q->settings.host_count ? q->settings.host_count : 1;

    scheduler_forget_route(g, q);
    q->route.routes = xcalloc(count, sizeof(q->route.routes[0]));
    q->route.waiters = xcalloc(count, sizeof(q->route.waiters[0]));
    q->route.count = count;
    for (size_t i = 0; i < count; i++) {
        list_init(&q->route.waiters[i].link);
        q->route.waiters[i].answered = on_answered;
        q->route.waiters[i].queue = q;
        if (!q->settings.host_count) {
            ask_one(g, q, i, ROUTE_MX, routing_domain(q));
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

/* --- a queue's turn --- */

enum turn { TURN_DONE, TURN_AGAIN };

/* Gives q one more connection, idle or new. AGAIN: it may want another one right away. */
static enum turn take_turn(struct engine *g, struct queue *q)
{
    struct limit *full = NULL;

    scheduler_refresh(g, q);
    if (!may_send(g, q))
        return TURN_DONE;
    if (q->vmta->to_pipe) {
        if (g->dsn.hand)
            g->dsn.hand(g->dsn.arg, q);
        return TURN_DONE;
    }
    if (!list_empty(&q->idle)) {
        if (sender_wake_idle(q, &full))
            return TURN_AGAIN;
        if (q->vmta->source_count == 1) {
            scheduler_wait(g, q, full);
            return TURN_DONE;
        }
    }
    if (!wants_connection(g, q) || q->sender_count >= throttle_numbers(g, q)->max_connections) {
        if (full)
            scheduler_wait(g, q, full);
        return TURN_DONE;
    }
    if (!q->route.count || (!q->route.pending && !route_known(q)))
        ask_routes(g, q);
    if (q->route.pending)
        return TURN_DONE;
    routing_regroup(g, q);
    if (!may_send(g, q)) /* its group is paused or held */
        return TURN_DONE;
    if (!q->route.count) /* its group says other hosts */
        return TURN_AGAIN;
    if (q->vmta->is_stranded) { /* waits until an address comes back */
        list_remove(&q->stranded);
        list_push_back(&g->stranded, &q->stranded);
        return TURN_DONE;
    }
    return connect_queue(g, q) ? TURN_AGAIN : TURN_DONE;
}

static void run(struct engine *g)
{
    int64_t until = clock_mono_ms() + RUN_SLICE_MS;

    for (int i = 0; i < OPENS_PER_TURN && (i == 0 || clock_mono_ms() < until); i++) {
        struct list *n = list_pop_front(list_empty(&g->told) ? &g->runnable : &g->told);
        if (!n)
            return;
        struct queue *q = list_entry(n, struct queue, runnable);
        bool told = q->told;
        struct limit *line = q->line;
        enum turn t = take_turn(g, q);
        if (told && q->told && q->line == line)
            scheduler_leave(q); /* it has what it waited for, or wants it no more */
        if (t == TURN_AGAIN && wants_connection(g, q) && !q->line)
            make_runnable(g, q);
    }
}

/* --- a new configuration --- */

void scheduler_refresh(struct engine *g, struct queue *q)
{
    if (q->config_generation == g->config_generation)
        return;
    engine_configure_queue(g, q);
    list_remove(&q->stranded);
    scheduler_rewake(g, q);
}

void scheduler_reconfigure(struct engine *g)
{
    list_splice_back(&g->stale, &g->current);
    scheduler_want_turn(g);
}

static void refresh_slice(struct engine *g)
{
    int64_t until = clock_mono_ms() + REFRESH_SLICE_MS;

    for (unsigned n = 1; !list_empty(&g->stale); n++) {
        struct queue *q = list_entry(list_first(&g->stale), struct queue, configured);
        scheduler_refresh(g, q);
        scheduler_kick(g, q);
        if (n % 16 == 0 && clock_mono_ms() >= until)
            return;
    }
}

static void on_idle(uv_idle_t *h)
{
    struct engine *g = h->data;

    finisher_turn(g);
    routing_turn(g);
    refresh_slice(g);
    run(g);
    if (finisher_can_work(g) || !list_empty(&g->runnable) || !list_empty(&g->told) ||
        !list_empty(&g->stale) || !list_empty(&g->movers))
        return;
    g->idle_active = false;
    uv_idle_stop(&g->idle);
    scheduler_check_drained(g);
}

/* --- time --- */

/* Earliest time that the timer has something to do, as time to wait. */
static int64_t next_wait_ms(const struct engine *g)
{
    const struct heap_node *n = heap_min(&g->wake);
    int64_t wait = g->next_sweep_ms - clock_mono_ms(), limit_us = limits_next_us(g->limits);

    if (n)
        wait = MIN_OF(wait, n->key - clock_wall_ms());
    if (actions_next_ms(g) != INT64_MAX)
        wait = MIN_OF(wait, actions_next_ms(g) - clock_wall_ms());
    int64_t now = clock_wall_ms();
    wait = MIN_OF(wait, pace_next_ms(g->pace, now) - now);
    if (lanes_next_ms(g) != INT64_MAX)
        wait = MIN_OF(wait, lanes_next_ms(g) - clock_wall_ms());
    if (limit_us != INT64_MAX)
        wait = MIN_OF(wait, (limit_us - clock_wall_us() + 999) / 1000);
    return MAX_OF(wait, (int64_t)0);
}

int64_t scheduler_next_ms(const struct engine *g)
{
    return clock_wall_ms() + next_wait_ms(g);
}

static void arm(struct engine *g)
{
    if (uv_is_closing(
            (uv_handle_t *)&g->timer)) /* limits that go at the end may still say something */
        return;
    int64_t wait = next_wait_ms(g), at = clock_mono_ms() + wait;

    if (at >= g->armed_ms)
        return;
    g->armed_ms = at;
    uv_update_time(g->parts.loop);
    uv_timer_start(&g->timer, on_timer, (uint64_t)wait, 0);
}

static void on_earlier(void *arg)
{
    arm(arg);
}

void scheduler_rearm(struct engine *g)
{
    arm(g);
}

void scheduler_rewake(struct engine *g, struct queue *q)
{
    const struct heap_node *due = heap_min(&q->deferred);
    int64_t at = due ? due->key : INT64_MAX;

    if (q->retry_at_ms && q->ready_count)
        at = MIN_OF(at, q->retry_at_ms);
    if (on_hold(q))
        at = MIN_OF(at, q->hold_until_ms);
    if (at == INT64_MAX)
        heap_remove(&g->wake, &q->wake);
    else
        heap_set(&g->wake, &q->wake, at);
    if (heap_min(&g->wake) == &q->wake)
        arm(g);
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

static bool has_variants(const struct queue *q)
{
    for (size_t i = 0; i < TLS_ASK_COUNT; i++)
        if (q->variants[i])
            return true;
    return false;
}

/* Forgets queues that have been empty for a while. */
static void sweep(struct engine *g)
{
    int64_t now = clock_mono_ms();

    g->next_sweep_ms = now + SWEEP_MS;
    choose_recheck_sources(g);
    for (struct hash_node *n = hash_next(&g->queues, NULL), *next; n; n = next) {
        next = hash_next(&g->queues, n);
        struct queue *q = container_of(n, struct queue, node);
        if (q->live || q->sender_count || q->route.pending || has_variants(q) ||
            now - q->idle_since_ms < QUEUE_KEEP_MS)
            continue;
        hash_remove(&g->queues, n);
        heap_remove(&g->wake, &q->wake);
        scheduler_forget_route(g, q);
        actions_forget(g, q);
        scheduler_leave(q);
        queue_free(q);
    }
}

void scheduler_tick(struct engine *g)
{
    lanes_tick(g, clock_wall_ms());
    wake_due(g);
    actions_tick(g);
    int64_t now = clock_wall_ms();
    if (now >= pace_next_ms(g->pace, now))
        pace_tick(g->pace, now);
    limits_tick(g->limits, clock_wall_us());
    if (clock_mono_ms() >= g->next_sweep_ms)
        sweep(g);
    scheduler_check_drained(g);
}

static void on_timer(uv_timer_t *h)
{
    struct engine *g = h->data;
    g->armed_ms = INT64_MAX;
    scheduler_tick(g);
    arm(g);
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
    if (g->dsn.drain && g->dsn.drain(g->dsn.arg, clock_mono_ms() >= g->drain_until_ms))
        return;
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
    if (g->local)
        g->local->drain(g->local_arg);
    sender_close_all(g, false);
    g->next_sweep_ms = MIN_OF(g->next_sweep_ms, g->drain_until_ms);
    arm(g);
    scheduler_want_turn(g);
}
