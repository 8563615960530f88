/*
 * Chooses the virtual MTA of messages; see choose.h. Called by intake before a message is made
 * durable, so that what was chosen is in its record and neither a restart nor a reload chooses
 * again, and by the engine to find the queues of a message. When nothing but a virtual MTA's name
 * is configured this costs one look-up per message.
 *
 * A virtual MTA lives until the engine goes, also when a reload takes it out of the configuration:
 * its queues then hand their mail to the pool that it was in, or to the default (routing.c).
 */
#include "queue/engine_int.h"

#include "base/clock.h"

#include <stdio.h>

enum {
    RECHECK_MS = 60000,            /* missing source addresses are looked for this often */
    CHOICE_BYTES_MAX = 256 * 1024, /* of virtual MTAs per recipient in one envelope */
    COLDS_MAX = 64,
};

/* --- by name --- */

static bool match_vmta(const struct hash_node *n, const void *key)
{
    return sv_eq_nocase(sv_of(container_of(n, const struct vmta, node)->name),
                        *(const struct strview *)key);
}

static bool match_pool(const struct hash_node *n, const void *key)
{
    return sv_eq_nocase(sv_of(container_of(n, const struct vmta_pool, node)->name),
                        *(const struct strview *)key);
}

static struct vmta *find_vmta(const struct engine *g, struct strview name)
{
    struct hash_node *n = hash_find(&g->vmta_names, hash_bytes_nocase(name.ptr, name.len), &name);
    return n ? container_of(n, struct vmta, node) : NULL;
}

static struct vmta *add_vmta(struct engine *g, struct strview name,
                             const struct local_addresses *local)
{
    struct vmta *v = xcalloc(1, sizeof(*v));

    v->name = xstrndup(name.ptr, name.len);
    str_lower(v->name, name.len);
    vmta_configure(v, g->config, sv_of(g->pipe), g->helo_fallback, local);
    v->next = g->vmtas;
    g->vmtas = v;
    hash_insert(&g->vmta_names, &v->node, hash_bytes_nocase(name.ptr, name.len));
    return v;
}

struct vmta *choose_get_vmta(struct engine *g, struct strview name)
{
    struct vmta *v = find_vmta(g, name);
    struct local_addresses local;

    if (v)
        return v;
    local_read(&local);
    v = add_vmta(g, name, &local);
    local_free(&local);
    return v;
}

/* All that are defined were made with the configuration. */
static struct vmta *find_defined(const struct engine *g, struct strview name)
{
    struct vmta *v = find_vmta(g, name);
    return v && v->is_defined ? v : NULL;
}

struct vmta_pool *choose_find_pool(const struct engine *g, struct strview name)
{
    struct hash_node *n = hash_find(&g->pools, hash_bytes_nocase(name.ptr, name.len), &name);
    return n ? container_of(n, struct vmta_pool, node) : NULL;
}

/* --- configuration --- */

void choose_init(struct engine *g)
{
    hash_init(&g->vmta_names, match_vmta);
    hash_init(&g->pools, match_pool);
    cold_init(&g->cold);
    list_init(&g->movers);
    list_init(&g->stranded);
}

static void forget_pools(struct engine *g)
{
    for (struct hash_node *n; (n = hash_next(&g->pools, NULL));) {
        hash_remove(&g->pools, n);
        vmta_pool_free(container_of(n, struct vmta_pool, node));
    }
}

static void add_pool(struct engine *g, const char *name)
{
    struct config_query q = {.pool = sv_of(name)};
    struct vmta_pool *p = xcalloc(1, sizeof(*p));
    struct strview member;
    uint32_t weight;

    p->name = xstrdup(name);
    str_lower(p->name, strlen(p->name));
    p->cold_count = vmta_name_list(g->config, &q, DIR_COLD_VIRTUAL_MTA, &p->cold);
    for (const struct config_value *m = config_get(g->config, &q, DIR_POOL_MEMBER); m && m->text;
         m = m->next) {
        if (pool_member_parse(sv_of(m->text), &member, &weight, NULL) < 0)
            continue;
        p->members = xrealloc(p->members, (p->count + 1) * sizeof(p->members[0]));
        p->members[p->count++] = (struct vmta_pool_member){choose_get_vmta(g, member), weight};
    }
    hash_insert(&g->pools, &p->node, hash_bytes_nocase(name, strlen(name)));
}

/* Where delivery notices go, when that is another pipe. */
static void add_dsn_pipe(struct engine *g, const struct local_addresses *local)
{
    struct config_query q = {.pipe = sv_of(g->pipe)};
    const char *pipe = config_text(g->config, &q, DIR_DSN_PIPE);
    char name[300];

    if (!pipe || sv_eq_nocase(sv_of(pipe), sv_of(g->pipe)))
        return;
    snprintf(name, sizeof(name), VMTA_PIPE "%.255s", pipe);
    if (!find_vmta(g, sv_of(name)))
        add_vmta(g, sv_of(name), local);
}

/* All of them, used or not, so that a source address that is not there is told at once. */
static void add_vmtas(struct engine *g, const struct local_addresses *local)
{
    const char *name;

    for (size_t i = 0; (name = config_section_name(g->config, KIND_VIRTUAL_MTA, i)); i++)
        if (!find_vmta(g, sv_of(name)))
            add_vmta(g, sv_of(name), local);
    if (!find_vmta(g, SV(VMTA_DEFAULT)))
        add_vmta(g, SV(VMTA_DEFAULT), local);
    add_dsn_pipe(g, local);
}

void choose_configure(struct engine *g)
{
    struct config_query q = {.pipe = sv_of(g->pipe)};
    const char *wanted = config_text(g->config, &q, DIR_DEFAULT_VIRTUAL_MTA), *name;
    struct local_addresses local;

    local_read(&local);
    for (struct vmta *v = g->vmtas; v; v = v->next)
        vmta_configure(v, g->config, sv_of(g->pipe), g->helo_fallback, &local);
    add_vmtas(g, &local);
    local_free(&local);
    forget_pools(g);
    for (size_t i = 0; (name = config_section_name(g->config, KIND_VIRTUAL_MTA_POOL, i)); i++)
        if (!choose_find_pool(g, sv_of(name)))
            add_pool(g, name);
    free(g->default_vmta);
    g->default_vmta = xstrdup(wanted && *wanted ? wanted : VMTA_DEFAULT);
}

void choose_fini(struct engine *g)
{
    forget_pools(g);
    hash_fini(&g->pools);
    hash_fini(&g->vmta_names);
    for (struct vmta *v = g->vmtas, *next; v; v = next) {
        next = v->next;
        vmta_free(v);
    }
    g->vmtas = NULL;
    cold_fini(&g->cold);
    free(g->default_vmta);
}

void choose_recheck_sources(struct engine *g)
{
    struct local_addresses local = {0};
    int64_t now = clock_mono_ms();
    bool came_back = false;

    for (struct vmta *v = g->vmtas; v; v = v->next) {
        if (!v->missing_count || now - v->checked_ms < RECHECK_MS)
            continue;
        if (!local.can_bind)
            local_read(&local);
        came_back |= vmta_recheck(v, g->config, sv_of(g->pipe), g->helo_fallback, &local);
    }
    local_free(&local);
    if (came_back)
        choose_wake_stranded(g);
}

void choose_wake_stranded(struct engine *g)
{
    struct list all;

    list_init(&all);
    list_splice_back(&all, &g->stranded);
    for (struct list *l; (l = list_pop_front(&all));)
        scheduler_kick(g, list_entry(l, struct queue, stranded));
}

/* --- the choice --- */

/* Messages for one domain go round the members by themselves. */
static uint64_t lane_of(const struct envelope *env)
{
    struct strview d = env->rcpt_count ? address_domain(env->rcpts[0].address) : sv(NULL, 0);
    return hash_bytes_nocase(d.ptr, d.len);
}

static struct vmta *resolve(struct engine *g, struct strview name, uint64_t lane,
                            struct vmta_pool **ret_pool)
{
    struct vmta_pool *p = choose_find_pool(g, name);
    struct vmta *v = p ? vmta_pool_next(p, lane) : NULL;

    *ret_pool = p;
    return v ? v : choose_get_vmta(g, name);
}

static struct strview wish_of(const struct engine *g, const struct envelope *env)
{
    bool known = env->vmta.len && (find_defined(g, env->vmta) || choose_find_pool(g, env->vmta));
    return known ? env->vmta : sv_of(g->default_vmta);
}

/* The cold one that takes the mail of this recipient, or v itself. */
static struct vmta *warm_or_cold(struct engine *g, struct vmta *v, const struct vmta_pool *pool,
                                 struct strview domain)
{
    char *const *names = v->cold_count || !pool ? v->cold : pool->cold;
    size_t count =
        MIN_OF(v->cold_count || !pool ? v->cold_count : pool->cold_count, (size_t)COLDS_MAX);
    char name[600];
    bool usable[COLDS_MAX];
    struct vmta *vmtas[COLDS_MAX];

    int len = snprintf(name, sizeof(name), "%.*s/%s", SV_ARG(domain), v->name);
    if (len >= (int)sizeof(name))
        return v;
    str_lower(name, (size_t)len);
    const struct queue *q = engine_find_queue(g, sv(name, (size_t)len));
    struct config_query query = {
        .domain = sv(name, domain.len),
        .group = q && q->group ? q->group->domain : sv(NULL, 0),
        .vmta = sv_of(v->name),
        .pool = sv_of(v->pool),
        .pipe = sv_of(g->pipe),
    };
    for (size_t i = 0; i < count; i++) {
        vmtas[i] = choose_get_vmta(g, sv_of(names[i]));
        usable[i] = vmtas[i]->is_defined && !vmtas[i]->is_stranded;
    }
    int i = cold_take(&g->cold, v->name, q ? queue_identity_domain(q) : query.domain, names, usable,
                      count, &config_get(g->config, &query, DIR_MAX_COLD_VIRTUAL_MTA_MSG)->rates);
    if (i >= 0 && g->cold_changed)
        g->cold_changed(g->cold_arg);
    return i < 0 ? v : vmtas[i];
}

static void choose_cold(struct engine *g, struct envelope *env, struct vmta *v,
                        const struct vmta_pool *pool)
{
    struct vmta *last = v;
    struct strview last_domain = {NULL, 0};
    size_t bytes = 0;

    for (uint32_t i = 0; i < env->rcpt_count && bytes < CHOICE_BYTES_MAX; i++) {
        struct strview d = address_domain(env->rcpts[i].address);
        if (!d.len)
            continue;
        if (!sv_eq_nocase(d, last_domain))
            last = warm_or_cold(g, v, pool, d);
        last_domain = d;
        if (last == v)
            continue;
        env->rcpts[i].vmta = sv_of(last->name);
        bytes += 8 + env->rcpts[i].vmta.len;
    }
}

bool choose_vmta(struct engine *g, struct envelope *env)
{
    struct vmta_pool *pool;
    struct vmta *v = resolve(g, wish_of(g, env), lane_of(env), &pool);

    env->chosen_vmta = sv(NULL, 0);
    if (!sv_eq_nocase(env->vmta, sv_of(v->name)))
        env->chosen_vmta = sv_of(v->name);
    if (!v->cold_count && !(pool && pool->cold_count))
        return env->chosen_vmta.len != 0;
    env->chosen_vmta = sv_of(v->name);
    choose_cold(g, env, v, pool);
    return true;
}

/* A notice that was to go through another pipe than the one of now (dsn-pipe): through that one, or
 * NULL when there is none any more. */
static struct vmta *pipe_of_notices(const struct engine *g, struct strview chosen)
{
    struct config_query q = {.pipe = sv_of(g->pipe)};
    const char *pipe = config_text(g->config, &q, DIR_DSN_PIPE);
    char name[300];

    if (!pipe || !sv_starts_nocase(chosen, SV(VMTA_PIPE)))
        return NULL;
    snprintf(name, sizeof(name), VMTA_PIPE "%.255s", pipe);
    return find_defined(g, sv_of(name));
}

/* What was chosen, unless it is gone: then the message chooses again. */
struct vmta *choose_of_message(struct engine *g, const struct envelope *env)
{
    struct vmta_pool *pool;
    struct strview name = env->chosen_vmta.len ? env->chosen_vmta : env->vmta;

    struct vmta *v = name.len ? find_defined(g, name) : NULL;
    if (!v)
        v = pipe_of_notices(g, env->chosen_vmta);
    if (v)
        return v;
    return resolve(g, wish_of(g, env), lane_of(env), &pool);
}

struct vmta *choose_of_rcpt(struct engine *g, const struct envelope *env, uint32_t rcpt,
                            struct vmta *rest)
{
    struct strview name = env->rcpts[rcpt].vmta;
    struct vmta *v = name.len ? find_defined(g, name) : NULL;

    return v ? v : rest;
}

/* --- progress of cold ones --- */

void engine_cold_write(struct engine *g, struct buf *out)
{
    cold_write(&g->cold, out);
}

void engine_cold_read(struct engine *g, struct strview text)
{
    cold_read(&g->cold, text);
}

void engine_on_cold(struct engine *g, void (*changed)(void *arg), void *arg)
{
    g->cold_changed = changed;
    g->cold_arg = arg;
}
