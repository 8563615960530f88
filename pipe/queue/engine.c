/*
 * The engine's outside: messages come in (accept, recovered), the configuration changes, operators
 * look and act. What happens next to a queue is scheduler.c, on a connection sender.c, after an
 * outcome settle.c.
 */
#include "queue/engine_int.h"

#include "base/clock.h"
#include "base/log.h"

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
    list_init(&g->runnable);
    list_init(&g->blocked);
    list_init(&g->loads_free);
    list_init(&g->finishers);
    g->limits = limits_new(parts->limit_table ? parts->limit_table : limit_table_new_private());
    g->jobs = jobs_new(g->limits);
    lanes_init(g);
    scheduler_init(g);
    return g;
}

void engine_free(struct engine *g)
{
    for (struct hash_node *n = hash_next(&g->queues, NULL), *next; n; n = next) {
        next = hash_next(&g->queues, n);
        struct queue *q = container_of(n, struct queue, node);
        q->live = 0;
        for (size_t i = 0; i < q->route.count; i++)
            route_unref(g->parts.routes, q->route.routes[i]);
        free(q->route.routes);
        free(q->route.waiters);
        queue_free(q);
    }
    hash_fini(&g->queues);
    queue_groups_fini(g);
    heap_fini(&g->wake);
    for (struct hash_node *n = NULL; (n = hash_next(&g->index.by_id, n));)
        body_unref(container_of(n, struct message, node)->body);
    index_fini(&g->index);
    lanes_fini(g);
    jobs_free(g->jobs);
    limits_free(g->limits);
    sender_free_loads(g);
    pauses_free(g);
    for (struct vmta *v = g->vmtas, *next; v; v = next) {
        next = v->next;
        vmta_free(v);
    }
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

/* --- configuration --- */

static void configure_queue(struct engine *g, struct queue *q)
{
    queue_settings_fini(&q->settings);
    queue_settings_resolve(&q->settings, g->config, sv_of(g->pipe), q->vmta, q->domain);
    q->slots.max = q->settings.max_smtp_out;
    q->config_generation = g->config_generation;
}

static struct vmta *find_vmta(struct engine *g, struct strview name)
{
    for (struct vmta *v = g->vmtas; v; v = v->next)
        if (sv_eq_nocase(sv_of(v->name), name))
            return v;
    return NULL;
}

static struct vmta *get_vmta(struct engine *g, struct strview name)
{
    struct vmta *v = find_vmta(g, name);
    if (v)
        return v;
    v = xcalloc(1, sizeof(*v));
    v->name = xstrndup(name.ptr, name.len);
    str_lower(v->name, name.len);
    vmta_configure(v, g->config, sv_of(g->pipe), g->helo_fallback);
    v->next = g->vmtas;
    g->vmtas = v;
    return v;
}

void engine_configure(struct engine *g, struct config *cfg)
{
    struct config_query q = {.pipe = sv_of(g->pipe)};
    struct config_query global = {.pipe = {NULL, 0}};
    const char *host = config_text(cfg, &global, DIR_HOST_NAME);

    config_unref(g->config);
    g->config = config_ref(cfg);
    g->config_generation++;
    if (host && *host) {
        free(g->helo_fallback);
        g->helo_fallback = xstrdup(host);
    }
    g->max_queued = (uint64_t)config_number(cfg, &q, DIR_MAX_QUEUED);
    jobs_configure(g->jobs, &config_get(cfg, &q, DIR_JOB_MAX_MSG_RATE)->rate);
    g->slots.max = settings_total_connections(cfg, &q);
    for (struct vmta *v = g->vmtas; v; v = v->next)
        vmta_configure(v, cfg, sv_of(g->pipe), g->helo_fallback);
    for (struct hash_node *n = NULL; (n = hash_next(&g->queues, n));) {
        struct queue *queue = container_of(n, struct queue, node);
        configure_queue(g, queue);
        scheduler_kick(g, queue);
    }
    scheduler_unblock(g);
}

/* --- messages in --- */

/* The virtual MTA of a message: its own wish, else the pipe's, else the global one. */
static struct strview vmta_name(struct engine *g, const struct envelope *env)
{
    struct config_query q = {.pipe = sv_of(g->pipe)};
    struct strview name = env->vmta;

    if (!name.len)
        name = sv_of(config_text(g->config, &q, DIR_DEFAULT_VIRTUAL_MTA));
    if (!name.len)
        return SV(VMTA_DEFAULT);
    return vmta_choose(g->config, name, g->pool_turn++);
}

static struct queue *get_queue(struct engine *g, struct strview domain, struct vmta *vmta)
{
    char name[600];
    struct strview d = sv(domain.ptr, MIN_OF(domain.len, (size_t)255));
    int len = snprintf(name, sizeof(name), "%.*s/%s", SV_ARG(d), vmta->name);
    struct strview key = sv(name, MIN_OF((size_t)len, sizeof(name) - 1));

    str_lower(name, d.len);
    uint64_t h = hash_bytes(key.ptr, key.len);
    struct hash_node *n = hash_find(&g->queues, h, &key);
    if (n)
        return container_of(n, struct queue, node);
    struct queue *q = queue_new(g, sv(name, d.len), vmta);
    configure_queue(g, q);
    q->paused = pauses_match(g, q);
    hash_insert(&g->queues, &q->node, h);
    return q;
}

struct queue *engine_find_queue(const struct engine *g, struct strview name)
{
    struct hash_node *n = hash_find(&g->queues, hash_bytes(name.ptr, name.len), &name);
    return n ? container_of(n, struct queue, node) : NULL;
}

static struct queue *queue_for(struct engine *g, struct vmta *vmta, struct strview address)
{
    struct strview domain = address_domain(address);
    return get_queue(g, domain.len ? domain : SV("local"), vmta);
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

static const char *queue_name_of(void *arg, uint32_t i)
{
    struct message *m = arg;
    return m->entries[i].queue->name;
}

void engine_accept(struct engine *g, message_id id, const struct spool_place *place,
                   const struct envelope *env, struct body *body)
{
    struct message *m =
        index_add(&g->index, id, place, env->received_ms, (uint16_t)env->rcpt_count);
    struct vmta *vmta = get_vmta(g, vmta_name(g, env));

    m->body = body;
    message_order(m, env, g->jobs, &g->windows);
    for (uint32_t i = 0; i < env->rcpt_count; i++) {
        struct queue *q = queue_for(g, vmta, env->rcpts[i].address);
        q->live++;
        queue_ready(q, &m->entries[i]);
    }
    report_received(g->report, id, env, queue_name_of, m);
    for (uint32_t i = 0; i < env->rcpt_count; i++)
        if (i == 0 || m->entries[i].queue != m->entries[i - 1].queue)
            scheduler_kick(g, m->entries[i].queue);
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
    return queue_for(n->engine, n->vmta, n->env->rcpts[i].address)->name;
}

void engine_recovered(struct engine *g, message_id id, const struct spool_place *place,
                      const struct envelope *env, const struct spool_recovered_rcpt *rcpts)
{
    uint16_t live = count_live(rcpts, env->rcpt_count), at = 0;
    struct message *m = index_add(&g->index, id, place, env->received_ms, live);
    message_order(m, env, g->jobs, &g->windows);
    struct vmta *vmta = get_vmta(g, vmta_name(g, env));

    if (live == env->rcpt_count && report_lacks_received(g->report, id))
        report_received(g->report, id, env, queue_name_by_address,
                        &(struct recovered_names){g, vmta, env});
    for (uint32_t i = 0; i < env->rcpt_count; i++) {
        if (spool_state_is_final(rcpts[i].state))
            continue;
        struct entry *e = &m->entries[at++];
        struct queue *q = queue_for(g, vmta, env->rcpts[i].address);
        e->rcpt = (uint16_t)i;
        e->attempts = rcpts[i].attempts;
        e->journal = rcpts[i].journal;
        q->live++;
        if (rcpts[i].state == SPOOL_DEFERRED)
            queue_defer(q, e, rcpts[i].next_attempt_ms);
        else
            queue_ready(q, e);
    }
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

const struct slots *engine_slots(const struct engine *g)
{
    return &g->slots;
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

struct limits *engine_limits(const struct engine *g)
{
    return g->limits;
}

struct jobs *engine_jobs(const struct engine *g)
{
    return g->jobs;
}
