/*
 * Who may connect next. A queue with ready entries is kicked; when an idle connection can take the
 * work it is woken, else the queue joins the runnable list and gets a connection, in turn with the
 * others, as soon as its route is known and every limit agrees (throttle.h). A queue that a limit
 * refused stands in line there (line.c) and is left alone until its turn has come; what waits for a
 * time sleeps on the one timer, which the limits share.
 *
 * What is granted is taken at once: the places of a connection, and where rates hold, a recipient
 * in advance (credit), so that nobody connects for a message that may not go.
 */
#include "queue/engine_int.h"

#include "base/clock.h"
#include <stdio.h>

enum {
    OPENS_PER_TURN = 64,
    REFRESH_SLICE_MS = 3,
    SWEEP_MS = 10000,
    SOON_US = 1000000,
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

/* --- addresses to try, in order --- */

struct host_plan {
    struct arena arena; /* what TLS has to be */
    struct delivery_host *hosts;
    uint32_t *preference;
    size_t count;
    const struct route *worst; /* an answer that gave nothing, when count is 0 */
    bool skipped;              /* hosts were left out (skip-mx) */
    bool insecure;          /* hosts were left out because TLS to them would not be good enough */
    bool may_change;        /* some of them because the DNS is in trouble */
    char why[TLS_WHY_SIZE]; /* of the last of these */
};

/* What TLS to the host has to be; false: it is left out. */
static bool plan_tls(struct host_plan *p, const struct queue *q, const struct route *r,
                     const char *name, const struct tls_need **ret)
{
    struct tls_host h = {
        .settings = &q->settings.tls,
        .policy = r ? &r->policy : NULL,
        .name = name,
        .configured = !r || r->kind == ROUTE_HOST,
        .nexthop = routing_domain(q),
    };
    enum tls_result result = tls_rules_host(&h, &p->arena, ret, p->why);

    if (result == TLS_RESULT_VERIFIED)
        return true;
    p->insecure = true;
    p->may_change |= result == TLS_RESULT_DNSSEC_INVALID;
    engine_tell_tls(q, &(struct tls_told){.host = name, .result = result, .text = p->why});
    return false;
}

/* Takes name. */
static void plan_add(struct host_plan *p, const struct queue *q, const struct route *r,
                     const char *name, const struct sockaddr_storage *addr, uint16_t port,
                     uint32_t preference)
{
    const struct tls_need *need;

    if (!plan_tls(p, q, r, name, &need)) {
        free((void *)(uintptr_t)name);
        return;
    }
    p->hosts = xrealloc(p->hosts, (p->count + 1) * sizeof(p->hosts[0]));
    p->preference = xrealloc(p->preference, (p->count + 1) * sizeof(p->preference[0]));
    p->preference[p->count] = preference;
    struct delivery_host *h = &p->hosts[p->count++];
    *h = (struct delivery_host){.name = name, .addr = *addr, .tls = need};
    if (addr->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&h->addr)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)&h->addr)->sin_port = htons(port);
}

static bool family_fits(const struct vmta_source *source, const struct sockaddr_storage *addr)
{
    return source->addr.ss_family == AF_UNSPEC || source->addr.ss_family == addr->ss_family;
}

static void plan_route(struct host_plan *p, const struct queue *q, const struct route *r,
                       const struct vmta_source *source, uint16_t port, uint32_t group)
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
        if (!routing_uses_host(q, a->host))
            continue;
        if (family_fits(source, &a->addr))
            plan_add(p, q, r, xstrdup(name), &a->addr, port, group << 16 | a->preference);
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

/* Hosts that a rule's skip-mx leaves alone. */
static void plan_drop_skipped(const struct queue *q, struct host_plan *p)
{
    size_t kept = 0;

    for (size_t i = 0; i < p->count; i++) {
        if (react_host_skipped(q, p->hosts[i].name)) {
            free((void *)(uintptr_t)p->hosts[i].name);
            p->skipped = true;
            continue;
        }
        p->hosts[kept] = p->hosts[i];
        p->preference[kept++] = p->preference[i];
    }
    p->count = kept;
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
                plan_add(p, q, NULL, xstrdup(name), &h->addr, port, group << 16);
        } else {
            plan_route(p, q, q->route.routes[i], source, port, group);
        }
    }
    plan_drop_skipped(q, p);
    plan_rotate(p, q->turn++);
}

static void plan_free(struct host_plan *p)
{
    for (size_t i = 0; i < p->count; i++)
        free((void *)(uintptr_t)p->hosts[i].name);
    free(p->hosts);
    free(p->preference);
    arena_free(&p->arena);
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

/* TLS to none of the hosts would be good enough. For mail with REQUIRETLS that is the end (RFC 8689
 * section 4.2.1). */
static void no_secure_host(struct engine *g, struct queue *q, const char *why, bool may_change)
{
    bool final = q->ask == TLS_ASK_REQUIRETLS && !may_change;
    struct outcome o = {
        .class_ = final ? OUTCOME_BOUNCED : OUTCOME_DEFERRED,
        .phase = PHASE_STARTTLS,
        .enhanced = {4, 7, 5},
        .text = sv_of(why),
        .connect_ms = -1,
        .transmit_ms = -1,
    };

    if (final) {
        o.enhanced = (struct enhanced_code){5, 7, 30};
        finisher_queue(g, q, &o);
    } else {
        settle_queue_failure(g, q, &o);
    }
}

/* --- what limits say --- */

/* Where to wait when several addresses were refused: at the rate that has room first; a place that
 * somebody holds may come at any time, so it is waited for unless the rate has room in a moment. */
static struct limit *better_line(struct limit *a, struct limit *b)
{
    struct limit_level x, y;

    if (!a || !b)
        return a ? a : b;
    int64_t now = clock_wall_us();
    limit_level(a, now, &x);
    limit_level(b, now, &y);
    if (a->measure == LIMIT_CONNECTIONS || b->measure == LIMIT_CONNECTIONS) {
        const struct limit_level *rate = a->measure == LIMIT_CONNECTIONS ? &y : &x;
        bool soon = rate->free_now || rate->next_us - now <= SOON_US;
        bool a_is_rate = a->measure != LIMIT_CONNECTIONS;
        if (a_is_rate == (b->measure != LIMIT_CONNECTIONS))
            return a;
        return soon == a_is_rate ? a : b;
    }
    return y.next_us < x.next_us ? b : a;
}

/* A recipient in advance where rates hold. */
static bool take_credit(const struct queue *q, struct sender_places *p, struct limit **ret_full)
{
    bool has_rate = false;

    *ret_full = scheduler_line_before(q, p->set.items, p->set.count);
    if (*ret_full)
        return false;
    for (size_t i = 0; i < p->set.count && !has_rate; i++)
        has_rate = limit_is_rate(p->set.items[i]);
    if (!has_rate)
        return true;
    p->credit = limits_take(p->set.items, p->set.count, 1, ret_full);
    return p->credit != 0;
}

/* Places for a connection to this host, or none. */
static bool take_places(struct engine *g, struct queue *q, const struct vmta_source *source,
                        const struct delivery_host *host, struct sender_places *p,
                        struct limit **ret_full)
{
    struct limit *all[2 * THROTTLE_MAX];
    size_t n = p->set.count;

    throttle_gather_host(g, q, source, host, &p->host_set);
    *ret_full = scheduler_line_before(q, p->host_set.items, p->host_set.count);
    if (!*ret_full) {
        memcpy(all, p->set.items, n * sizeof(all[0]));
        memcpy(all + n, p->host_set.items, p->host_set.count * sizeof(all[0]));
        if (limits_connect(all, n + p->host_set.count, ret_full))
            return true;
    }
    return false;
}

/* Puts host i in front of those before it, which have no place now. */
static void plan_begin_with(struct host_plan *p, size_t i)
{
    struct delivery_host h = p->hosts[i];
    memmove(&p->hosts[1], &p->hosts[0], i * sizeof(h));
    p->hosts[0] = h;
}

/* Opens a connection from this source, to the first host of the plan that has a place. Otherwise
 * *line is where to wait, with a reference. */
static bool connect_from(struct engine *g, struct queue *q, const struct vmta_source *source,
                         struct host_plan *plan, struct limit **line, bool *ret_host)
{
    struct sender_places p = {.hosts_missing = plan->skipped || plan->may_change};
    struct limit *full = NULL, *first = NULL;
    bool opened = false;

    throttle_gather(g, q, source, NULL, &p.set);
    bool may = take_credit(q, &p, &full);
    for (size_t i = 0; may && i < plan->count && !opened; i++) {
        opened = take_places(g, q, source, &plan->hosts[i], &p, &full);
        if (opened) {
            plan_begin_with(plan, i);
            break;
        }
        bool of_host = throttle_set_has(&p.host_set, full);
        *ret_host |= of_host;
        if (!first) {
            first = full;
            first->refs++;
        }
        throttle_set_fini(&p.host_set);
        if (!of_host)
            break;
    }
    if (opened) {
        sender_open(g, q, source, plan->hosts, plan->count, &p);
    } else {
        limits_refund(p.set.items, p.set.count, p.credit);
        if (!first) {
            first = full;
            first->refs++;
        }
        struct limit *at = better_line(*line, first);
        limit_unref(at == first ? *line : first);
        *line = at;
        throttle_set_fini(&p.set);
        return false;
    }
    limit_unref(first);
    return true;
}

/* --- a queue's turn --- */

enum turn { TURN_DONE, TURN_AGAIN };

static enum turn connect_queue(struct engine *g, struct queue *q)
{
    const struct route *worst = NULL;
    struct limit *line = NULL;
    size_t planned = 0;
    bool opened = false, of_host = false, skipped = false, asked = false, may_change = false;
    char insecure[TLS_WHY_SIZE] = "";

    for (size_t i = 0; i < q->vmta->source_count && !opened; i++) {
        const struct vmta_source *source =
            &q->vmta->sources[(q->vmta->turn + i) % q->vmta->source_count];
        struct host_plan plan = {0};
        if (react_source_disabled(q, source))
            continue;
        asked = true;
        plan_make(q, source, &plan);
        planned += plan.count;
        skipped |= plan.skipped;
        may_change |= plan.may_change;
        if (plan.insecure)
            snprintf(insecure, sizeof(insecure), "%s", plan.why);
        if (!plan.count)
            worst = plan.worst;
        else
            opened = connect_from(g, q, source, &plan, &line, &of_host);
        plan_free(&plan);
        if (opened)
            q->vmta->turn += i + 1;
    }
    if (!planned && skipped)
        react_all_hosts_skipped(g, q);
    else if (!planned && insecure[0])
        no_secure_host(g, q, insecure, may_change);
    else if (!planned && asked)
        no_address(g, q, worst);
    else if (!planned)
        return TURN_DONE; /* every source is disabled */
    else if (!opened && of_host)
        scheduler_wait_host(g, q, line);
    else if (!opened)
        scheduler_wait(g, q, line);
    limit_unref(line);
    return opened ? TURN_AGAIN : TURN_DONE;
}

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
    return connect_queue(g, q);
}

static void run(struct engine *g)
{
    for (int i = 0; i < OPENS_PER_TURN; i++) {
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
