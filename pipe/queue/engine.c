/*
 * The engine's outside: messages come in (accept, recovered), the configuration changes, operators
 * look and act. What happens next to a queue is scheduler.c, on a connection sender.c, after an
 * outcome settle.c.
 */
#include "queue/engine_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "queue/signing.h"
#include "sign/keyring.h"
#include "queue/mode.h"

#include <stdio.h>
#include <unistd.h>

enum { BODY_CACHE_BYTES = 16 * 1024 * 1024 };

static bool match_name(const struct hash_node *n, const void *key)
{
    const struct queue *q = container_of(n, const struct queue, node);
    return sv_eq(sv_of(q->name), *(const struct strview *)key);
}

struct engine *engine_new(const struct engine_parts *parts)
{
    struct engine *g = xcalloc(1, sizeof(*g));
    char host[256] = "localhost";

    g->parts = *parts;
    g->pipe = xstrdup(parts->pipe);
    gethostname(host, sizeof(host) - 1);
    g->helo_fallback = xstrdup(host);
    g->bodies.max_bytes = BODY_CACHE_BYTES;
    index_init(&g->index);
    hash_init(&g->queues, match_name);
    queue_groups_init(g);
    choose_init(g);
    list_init(&g->runnable);
    list_init(&g->told);
    list_init(&g->current);
    list_init(&g->stale);
    list_init(&g->idle_senders);
    list_init(&g->host_waiters);
    g->limits = limits_new(parts->limit_table ? parts->limit_table : limit_table_new_private());
    g->pace = pace_new(g->limits, sv_of(g->pipe));
    pace_tick(g->pace, clock_wall_ms());
    list_init(&g->loads_free);
    list_init(&g->finishers);
    actions_init(&g->actions, g);
    g->jobs = jobs_new(g->limits);
    lanes_init(g);
    scheduler_init(g);
    return g;
}

void engine_free(struct engine *g)
{
    limits_on_earlier(g->limits, NULL, NULL); /* levels to be kept get wake-up times: too late */
    for (struct hash_node *n = hash_next(&g->queues, NULL), *next; n; n = next) {
        next = hash_next(&g->queues, n);
        struct queue *q = container_of(n, struct queue, node);
        q->live = 0;
        scheduler_leave(q);
        heap_remove(&g->wake, &q->wake);
        for (size_t i = 0; i < q->route.count; i++)
            route_unref(g->parts.routes, q->route.routes[i]);
        free(q->route.routes);
        free(q->route.waiters);
        queue_free(q);
    }
    hash_fini(&g->queues);
    actions_fini(&g->actions);
    rules_free(g->rules);
    pace_free(g->pace);
    queue_groups_fini(g);
    heap_fini(&g->wake);
    for (struct hash_node *n = NULL; (n = hash_next(&g->index.by_id, n));) {
        struct message *m = container_of(n, struct message, node);
        signing_forget(m);
        body_unref(m->body);
    }
    index_fini(&g->index);
    lanes_fini(g);
    jobs_free(g->jobs);
    limits_free(g->limits);
    sender_free_loads(g);
    pauses_free(g);
    choose_fini(g);
    config_unref(g->config);
    free(g->helo_fallback);
    free(g->pipe);
    free(g);
}

void engine_set_report(struct engine *g, struct report *report)
{
    g->report = report;
}

void engine_set_spool(struct engine *g, struct spool *spool)
{
    g->spool = spool;
}

void engine_on_notice(struct engine *g,
                      void (*fn)(void *arg, struct strview to_list, struct strview subject,
                                 struct strview body),
                      void *arg)
{
    g->notice = fn;
    g->notice_arg = arg;
}

void engine_on_dsn(struct engine *g, const struct engine_dsn *hooks)
{
    g->dsn = *hooks;
}

void engine_on_bounced(struct engine *g,
                       void (*fn)(void *arg, const struct envelope *env, uint32_t rcpt,
                                  const struct outcome *o),
                       void *arg)
{
    g->bounced = fn;
    g->bounced_arg = arg;
}

void engine_on_suppressed(struct engine *g, engine_suppressed_fn *fn, void *arg)
{
    g->suppressed = fn;
    g->suppressed_arg = arg;
}

void engine_on_change(struct engine *g, void (*fn)(void *arg, bool clocks), void *arg)
{
    g->actions.changed = fn;
    g->actions.changed_arg = arg;
}

/* --- configuration --- */

/* The answer that it has is about a domain that its mail does not go to (queue-to). */
static bool asked_for_another(const struct queue *q)
{
    const struct route *r = q->route.count ? q->route.routes[0] : NULL;
    return r && !sv_eq_nocase(sv_of(r->domain), routing_domain(q));
}

void engine_configure_queue(struct engine *g, struct queue *q)
{
    if (q->base && q->base->config_generation != g->config_generation)
        engine_configure_queue(g, q->base); /* its group is that of the other */
    if (q->config_generation != g->config_generation)
        routing_configure(g, q);
    struct config_query query = {
        .domain = q->domain,
        .group = queue_group_domain(q),
        .vmta = sv_of(q->vmta->name),
        .pool = sv_of(q->vmta->pool),
        .pipe = sv_of(g->pipe),
    };
    const char *to = config_text(g->config, &query, DIR_REROUTE_TO_VIRTUAL_MTA);
    const char *backoff = config_text(g->config, &query, DIR_BACKOFF_REROUTE_TO_VIRTUAL_MTA);

    bool was_static = q->settings.host_count != 0;

    q->reroute_to = to && *to ? to : NULL;
    q->backoff_reroute_to = backoff && *backoff ? backoff : NULL;
    queue_settings_fini(&q->settings);
    queue_settings_resolve(&q->settings, g->config, sv_of(g->pipe), q->vmta, q->domain,
                           queue_group_domain(q), q->ask);
    if (was_static || q->settings.host_count || asked_for_another(q))
        scheduler_forget_route(g, q);
    if (q->vmta->to_pipe && !q->vmta->is_defined)
        q->retry_at_ms = 0; /* dsn-pipe is another one now: nothing waits for this one */
    q->config_generation = g->config_generation;
    list_remove(&q->configured);
    list_push_back(&g->current, &q->configured);
    throttle_configure(g, q);
    actions_refresh(g, q);
    routing_mode_changed(g, q);
}

void engine_configure(struct engine *g, struct config *cfg)
{
    struct config_query q = {.pipe = sv_of(g->pipe)};
    struct config_query global = {.pipe = {NULL, 0}};
    const char *host = config_text(cfg, &global, DIR_HOST_NAME);

    config_unref(g->config);
    g->config = config_ref(cfg);
    g->signs = g->parts.signer && keyring_is_wanted(cfg, sv_of(g->pipe));
    rules_free(g->rules);
    g->rules = rules_new(cfg);
    g->config_generation++;
    if (host && *host) {
        free(g->helo_fallback);
        g->helo_fallback = xstrdup(host);
    }
    g->max_queued = (uint64_t)config_number(cfg, &q, DIR_MAX_QUEUED);
    jobs_configure(g->jobs, &config_get(cfg, &q, DIR_JOB_MAX_MSG_RATE)->rate);
    choose_configure(g);
    choose_wake_stranded(g);
    if (g->parts.verp)
        verp_configure(g->parts.verp, cfg);
    scheduler_reconfigure(g);
}

/* --- messages in --- */

struct queue *engine_queue_of(struct engine *g, struct strview domain, struct vmta *vmta,
                              enum tls_ask ask)
{
    char name[600];
    struct strview d = sv(domain.ptr, MIN_OF(domain.len, (size_t)255));
    struct queue *base = ask ? engine_queue_of(g, domain, vmta, TLS_ASK_NOTHING) : NULL;
    if (ask == TLS_ASK_OPTIONAL && !base->settings.tls.heeds_optional)
        return base;
    int len = snprintf(name, sizeof(name), "%.*s/%s%s", SV_ARG(d), vmta->name, tls_ask_suffix(ask));
    struct strview key = sv(name, MIN_OF((size_t)len, sizeof(name) - 1));

    str_lower(name, d.len);
    uint64_t h = hash_bytes(key.ptr, key.len);
    struct hash_node *n = hash_find(&g->queues, h, &key);
    if (n)
        return container_of(n, struct queue, node);
    struct queue *q = queue_new(g, sv(name, d.len), vmta, base, ask);
    engine_configure_queue(g, q);
    q->paused = pauses_match(g, q);
    actions_adopt(g, q);
    hash_insert(&g->queues, &q->node, h);
    return q;
}

struct queue *engine_find_queue(const struct engine *g, struct strview name)
{
    struct hash_node *n = hash_find(&g->queues, hash_bytes(name.ptr, name.len), &name);
    return n ? container_of(n, struct queue, node) : NULL;
}

struct queue *engine_ask_queue(struct engine *g, struct strview domain, struct strview vmta)
{
    if (!domain.len || !vmta.len || vmta.len > 255 || !vmta_is_known(g->config, vmta) ||
        config_has_section(g->config, KIND_VIRTUAL_MTA_POOL, vmta))
        return NULL;
    return engine_queue_of(g, domain, choose_get_vmta(g, vmta), TLS_ASK_NOTHING);
}

static struct queue *queue_of_domain(struct engine *g, struct vmta *vmta, struct strview address,
                                     enum tls_ask ask)
{
    struct strview domain = vmta->to_pipe ? SV(QUEUE_NOTICES) : address_domain(address);
    enum tls_ask asks = vmta->to_pipe ? TLS_ASK_NOTHING : ask;
    struct queue *q = engine_queue_of(g, domain.len ? domain : SV("local"), vmta, asks);
    return routing_target(q) ? routing_final(g, q) : q;
}

static struct queue *queue_for(struct engine *g, struct vmta *vmta, struct strview address,
                               enum tls_ask ask)
{
    const struct local_queue *l = g->local ? g->local->queue_of(g->local_arg, address) : NULL;

    if (!l)
        return queue_of_domain(g, vmta, address, ask);
    struct queue *q =
        engine_queue_of(g, sv_of(l->name), choose_get_vmta(g, SV(VMTA_DEFAULT)), TLS_ASK_NOTHING);
    q->local = l;
    return q;
}

void engine_on_local(struct engine *g, const struct engine_local_ops *ops, void *arg)
{
    g->local = ops;
    g->local_arg = arg;
}

static void send_to(struct engine *g, struct entry *e, struct queue *to)
{
    struct queue *q = e->queue;

    BUG_ON(e->state != ENTRY_SENDING);
    q->live--;
    if (!q->live)
        q->idle_since_ms = clock_mono_ms();
    to->live++;
    e->state = ENTRY_DETACHED;
    queue_ready(to, e);
    scheduler_kick(g, to);
}

void engine_send_out(struct engine *g, struct entry *e, const struct envelope *env)
{
    struct vmta *vmta = choose_of_rcpt(g, env, e->rcpt, choose_of_message(g, env));
    send_to(g, e, queue_of_domain(g, vmta, env->rcpts[e->rcpt].address, tls_ask_of(env)));
}

void engine_choose_again(struct engine *g, struct entry *e, const struct envelope *env)
{
    struct vmta *vmta = choose_of_rcpt(g, env, e->rcpt, choose_of_message(g, env));
    send_to(g, e, queue_for(g, vmta, env->rcpts[e->rcpt].address, tls_ask_of(env)));
}

unsigned engine_refuses(struct engine *g, const struct envelope *env, const char **ret_text)
{
    struct strview wish = env->vmta;

    if (g->draining) {
        *ret_text = "4.3.2 Service is stopping, try again later";
        return 451;
    }
    if (g->index.live + env->rcpt_count > g->max_queued) {
        *ret_text = "4.3.1 Too much mail is queued in this pipe, try again later";
        return 452;
    }
    if (wish.len && !vmta_is_known(g->config, wish)) {
        *ret_text = "5.7.1 No such virtual MTA";
        return 550;
    }
    return 0;
}

struct body_cache *engine_body_cache(struct engine *g)
{
    return &g->bodies;
}

/* Its end is decided: it enters no lane. */
static void finish_now(struct queue *q, struct entry *e)
{
    e->queue = q;
    e->state = ENTRY_FINISHING;
}

static const char *queue_name_of(void *arg, uint32_t i)
{
    struct message *m = arg;
    return m->entries[i].queue->name;
}

/* The sender of some recipient wants to hear when it takes long. */
static void watch_delays(struct engine *g, struct message *m, const struct envelope *env)
{
    for (uint32_t i = 0; i < env->rcpt_count && g->dsn.queued; i++)
        if ((env->rcpts[i].notify & NOTIFY_DELAY) && env->sender.len) {
            g->dsn.queued(g->dsn.arg, m, env);
            return;
        }
}

void engine_accept(struct engine *g, message_id id, const struct spool_place *place,
                   const struct envelope *env, struct body *body)
{
    struct message *m =
        index_add(&g->index, id, place, env->received_ms, (uint16_t)env->rcpt_count);
    struct vmta *vmta = choose_of_message(g, env);
    enum tls_ask ask = tls_ask_of(env);
    bool suppressed = false;

    m->body = body;
    m->commit_ms = (uint16_t)MIN_OF(env->commit_ms, (uint32_t)UINT16_MAX);
    message_order(m, env, g->jobs, &g->windows);
    for (uint32_t i = 0; i < env->rcpt_count; i++) {
        struct queue *q = queue_for(g, choose_of_rcpt(g, env, i, vmta), env->rcpts[i].address, ask);
        q->live++;
        if (env->rcpts[i].suppressed) {
            finish_now(q, &m->entries[i]);
            suppressed = true;
            continue;
        }
        queue_ready(q, &m->entries[i]);
        if (q->retry_at_ms && retry_upon_new_mail(q))
            q->retry_at_ms = 0;
    }
    report_received(g->report, id, env, queue_name_of, m);
    watch_delays(g, m, env);
    for (uint32_t i = 0; i < env->rcpt_count; i++)
        if (i == 0 || m->entries[i].queue != m->entries[i - 1].queue)
            scheduler_kick(g, m->entries[i].queue);
    if (suppressed)
        suppressed_end(g, m, env);
}

static uint16_t count_live(const struct spool_recovered_rcpt *rcpts, uint32_t count)
{
    uint16_t live = 0;
    for (uint32_t i = 0; i < count; i++)
        live += !spool_state_is_final(rcpts[i].state);
    return live;
}

struct recovered_names {
    struct engine *engine;
    struct vmta *vmta;
    const struct envelope *env;
};

static const char *queue_name_by_address(void *arg, uint32_t i)
{
    struct recovered_names *n = arg;
    return queue_for(n->engine, choose_of_rcpt(n->engine, n->env, i, n->vmta),
                     n->env->rcpts[i].address, tls_ask_of(n->env))
        ->name;
}

void engine_recovered(struct engine *g, message_id id, const struct spool_place *place,
                      const struct envelope *env, const struct spool_recovered_rcpt *rcpts)
{
    uint16_t live = count_live(rcpts, env->rcpt_count), at = 0;
    struct message *m = index_add(&g->index, id, place, env->received_ms, live);
    message_order(m, env, g->jobs, &g->windows);
    struct vmta *vmta = choose_of_message(g, env);
    bool suppressed = false;

    if (live == env->rcpt_count && report_lacks_received(g->report, id))
        report_received(g->report, id, env, queue_name_by_address,
                        &(struct recovered_names){g, vmta, env});
    for (uint32_t i = 0; i < env->rcpt_count; i++) {
        if (spool_state_is_final(rcpts[i].state))
            continue;
        struct entry *e = &m->entries[at++];
        struct queue *q =
            queue_for(g, choose_of_rcpt(g, env, i, vmta), env->rcpts[i].address, tls_ask_of(env));
        e->rcpt = (uint16_t)i;
        e->attempts = rcpts[i].attempts;
        if (rcpts[i].first_attempt_s)
            entry_set_first_attempt(e, (int64_t)rcpts[i].first_attempt_s * 1000);
        e->journal = rcpts[i].journal;
        q->live++;
        if (env->rcpts[i].suppressed) {
            finish_now(q, e);
            suppressed = true;
        } else if (rcpts[i].state == SPOOL_DEFERRED)
            queue_defer(q, e, rcpts[i].next_attempt_ms);
        else
            queue_ready(q, e);
    }
    watch_delays(g, m, env);
    if (suppressed)
        finisher_suppressed(g, id);
}

bool engine_moved(struct engine *g, message_id id, const struct spool_place *to)
{
    struct message *m = index_find(&g->index, id);
    if (!m || !m->live)
        return false;
    m->place = *to;
    return true;
}

void engine_journalled(struct engine *g, message_id id, uint16_t rcpt, spool_journal_place at)
{
    struct message *m = index_find(&g->index, id);
    struct entry *e = m ? message_entry(m, rcpt) : NULL;
    if (e)
        e->journal = at;
}

void engine_start(struct engine *g)
{
    g->started = true;
    index_sort(&g->index);
    for (struct hash_node *n = NULL; (n = hash_next(&g->queues, n));) {
        struct queue *q = container_of(n, struct queue, node);
        queue_collect_due(q, clock_wall_ms());
        scheduler_kick(g, q);
        scheduler_rewake(g, q);
    }
}

/* --- to look at it --- */

const struct index *engine_index(const struct engine *g)
{
    return &g->index;
}

const struct hash *engine_queues(const struct engine *g)
{
    return &g->queues;
}

uint32_t engine_connection_count(const struct engine *g)
{
    return g->connection_count;
}

uint32_t engine_max_connections(const struct engine *g)
{
    struct config_query q = {.pipe = sv_of(g->pipe)};
    const struct config_value *v = config_get(g->config, &q, DIR_MAX_SMTP_OUT);
    return v->origin.file ? (uint32_t)v->number : 0;
}

struct limits *engine_limits(const struct engine *g)
{
    return g->limits;
}

struct pace *engine_pace(const struct engine *g)
{
    return g->pace;
}

struct config *engine_config(const struct engine *g)
{
    return g->config;
}

struct spool *engine_spool(const struct engine *g)
{
    return g->spool;
}

const char *engine_pipe(const struct engine *g)
{
    return g->pipe;
}

void engine_connections(const struct engine *g,
                        void (*fn)(void *arg, const struct queue *q, const struct delivery_info *i),
                        void *arg)
{
    for (struct hash_node *n = NULL; (n = hash_next(&g->queues, n));)
        sender_visit(container_of(n, struct queue, node), fn, arg);
}

int64_t engine_oldest_ms(const struct engine *g)
{
    const struct message *m = index_oldest(&g->index);
    return m ? m->received_ms : 0;
}

struct jobs *engine_jobs(const struct engine *g)
{
    return g->jobs;
}

/* --- TLS --- */

void engine_on_tls(struct engine *g,
                   void (*told)(void *arg, struct strview domain, const struct tls_policy *policy,
                                const struct tls_told *t),
                   void *arg)
{
    g->tls_told = told;
    g->tls_told_arg = arg;
}

void engine_tell_tls(const struct queue *q, const struct tls_told *t)
{
    const struct engine *g = q->engine;
    const struct route *r = q->route.count ? q->route.routes[0] : NULL;

    /* that a host offers no TLS is nothing to tell where nobody asked for it */
    if (t->result != TLS_RESULT_VERIFIED && (t->need || t->result != TLS_RESULT_NO_STARTTLS))
        log_info(LOG_TLS, "TLS is not as it should be queue=%s host=%s result=%s policy=%s: %s",
                 q->name, t->host, tls_result_text(t->result),
                 t->need && *t->need->policy ? t->need->policy : "none",
                 t->text && *t->text ? t->text : "the server does not offer STARTTLS");
    /* of mail that asks for no TLS nothing is reported: no policy was applied */
    if (g->tls_told && !(q->ask == TLS_ASK_OPTIONAL && q->settings.tls.heeds_optional))
        g->tls_told(g->tls_told_arg, routing_domain(q), r ? &r->policy : NULL, t);
}
