/*
 * Where the mail of a queue goes: into which group the answers of the DNS put it, and to which
 * other virtual MTA it is rerouted. Called by the engine for each message that comes, by the
 * scheduler before it connects and in its idle turns, and by mode.c when a queue enters or leaves
 * back-off.
 *
 * Groups share limits and mode only; mail never moves because of one. Rerouted mail does move, to
 * the queue of the same domain at the other virtual MTA, a slice per turn of the loop. What was
 * chosen when the message came stays in its record, so after a restart it goes the same way again
 * or, when the rerouting has ended, where it was meant to go.
 */
#include "queue/engine_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "rollup/rollup.h"

enum {
    SLICE_ENTRIES = 256,
    CHAIN_MAX = 8,
    TELL_LOOP_MS = 60000,
};

/* --- rerouting --- */

/* A virtual MTA that the configuration does not have any more hands over to the pool that it was
 * in, else to the default one. */
static const char *heir(const struct queue *q)
{
    const struct engine *g = q->engine;
    const char *pool = q->vmta->pool;
    return pool && choose_find_pool(g, sv_of(pool)) ? pool : g->default_vmta;
}

const char *routing_target(const struct queue *q)
{
    if (q->local || q->vmta->to_pipe)
        return NULL;
    if (!q->vmta->is_defined)
        return heir(q);
    if (q->mode == QUEUE_BACKOFF && q->backoff_reroute_to)
        return q->backoff_reroute_to;
    return q->reroute_to;
}

static struct vmta *target_vmta(struct engine *g, const struct queue *q, const char *name)
{
    struct vmta_pool *p = choose_find_pool(g, sv_of(name));
    struct vmta *v = p ? vmta_pool_next(p, hash_bytes(q->domain.ptr, q->domain.len)) : NULL;
    return v ? v : choose_get_vmta(g, sv_of(name));
}

static struct queue *loop_found(struct engine *g, struct queue *q)
{
    int64_t now = clock_mono_ms();

    if (now >= g->tell_loop_ms)
        log_warn(LOG_QUEUE, "rerouting leads back to where it began, the mail stays queue=%s",
                 q->name);
    if (now >= g->tell_loop_ms)
        g->tell_loop_ms = now + TELL_LOOP_MS;
    return q;
}

struct queue *routing_final(struct engine *g, struct queue *q)
{
    const struct queue *passed[CHAIN_MAX];
    struct queue *at = q;

    for (size_t n = 0;; n++) {
        const char *target = routing_target(at);
        if (!target)
            return at;
        if (n == CHAIN_MAX)
            return loop_found(g, q);
        passed[n] = at;
        struct vmta *v = target_vmta(g, at, target);
        if (v == at->vmta) /* the pool says that it stays */
            return at;
        at = engine_queue_of(g, at->domain, v, q->ask);
        for (size_t i = 0; i <= n; i++)
            if (passed[i] == at)
                return loop_found(g, q);
    }
}

void routing_mode_changed(struct engine *g, struct queue *q)
{
    if (!routing_target(q) || !q->live || !list_empty(&q->moving))
        return;
    list_push_back(&g->movers, &q->moving);
    scheduler_want_turn(g);
}

/* One entry goes to `to`, in the state that it is in. */
static void move_entry(struct queue *q, struct entry *e, struct queue *to)
{
    bool deferred = e->state == ENTRY_DEFERRED;
    int64_t due = deferred ? e->wake.key : 0;

    queue_take(q, e, ENTRY_DETACHED);
    q->live--;
    to->live++;
    if (deferred)
        queue_defer(to, e, due);
    else
        queue_ready(to, e);
}

/* Moves a slice; true when there is more. What is being sent comes when it is put back. */
static bool move_slice(struct engine *g, struct queue *q)
{
    struct queue *last = NULL;
    struct entry *e = NULL;

    for (unsigned n = 0; n < SLICE_ENTRIES && (e = queue_any_waiting(q)); n++) {
        struct queue *to = routing_final(g, q);
        if (to == q)
            return false;
        if (last && last != to) {
            scheduler_kick(g, last);
            scheduler_rewake(g, last);
        }
        move_entry(q, e, to);
        last = to;
    }
    if (last) {
        scheduler_kick(g, last);
        scheduler_rewake(g, last);
        scheduler_rewake(g, q);
    }
    if (!q->live)
        q->idle_since_ms = clock_mono_ms();
    return e && queue_any_waiting(q);
}

void routing_turn(struct engine *g)
{
    struct list *first = list_pop_front(&g->movers);

    if (!first)
        return;
    struct queue *q = list_entry(first, struct queue, moving);
    if (routing_target(q) && move_slice(g, q))
        list_push_back(&g->movers, &q->moving);
}

/* --- groups --- */

/* Identity decides limits, mode and settings: all of them are read again. */
static void identity_changed_one(struct engine *g, struct queue *q)
{
    log_debug(LOG_QUEUE, "queue is counted as queue=%s as=%s", q->name, queue_identity(q));
    engine_configure_queue(g, q);
    actions_regroup(g, q);
    q->paused = pauses_match(g, q);
}

/* q is no variant; those beside it go with it. */
static void identity_changed(struct engine *g, struct queue *q)
{
    identity_changed_one(g, q);
    for (size_t i = 0; i < TLS_ASK_COUNT; i++)
        if (q->variants[i])
            identity_changed_one(g, q->variants[i]);
}

static void join(struct engine *g, struct queue *q, struct strview name, enum queue_group_kind kind)
{
    const struct queue_group *before = q->group;
    bool was_shared = before && before->is_shared;

    if (!queue_group_join(q, name, kind))
        return;
    if (was_shared || (q->group && q->group->is_shared))
        identity_changed(g, q);
    /* The second one makes a site a group for the first one as well. */
    if (q->group && q->group->kind == GROUP_SITE && q->group->member_count == 2)
        for (struct queue *o = NULL; (o = queue_sibling_next(q, o));)
            if (o != q && !o->base)
                identity_changed(g, o);
}

struct strview routing_domain(const struct queue *q)
{
    const struct queue_group *group = queue_base(q)->group;
    return group && group->kind == GROUP_QUEUE_TO ? group->domain : q->domain;
}

/* The group that the answer says. */
static void join_by_route(struct engine *g, struct queue *q, const struct route *r)
{
    char name[ROLLUP_NAME_SIZE];
    struct config_query query = {
        .domain = q->domain,
        .vmta = sv_of(q->vmta->name),
        .pool = sv_of(q->vmta->pool),
        .pipe = sv_of(g->pipe),
    };
    struct strview group = {NULL, 0};

    if (config_bool(g->config, &query, DIR_DISABLE_MX_ROLLUP)) {
        join(g, q, group, GROUP_ROLLUP);
        return;
    }
    group = rollup_group(g->config, r, name);
    if (group.len || !config_bool(g->config, &query, DIR_AUTO_MX_ROLLUP)) {
        join(g, q, group, GROUP_ROLLUP);
        return;
    }
    join(g, q, rollup_site(r, name), GROUP_SITE);
}

void routing_regroup(struct engine *g, struct queue *q)
{
    const struct route *r = q->route.count == 1 ? q->route.routes[0] : NULL;
    struct queue *base = q->base ? q->base : q;
    bool is_static = q->settings.host_count || (base->group && base->group->kind == GROUP_QUEUE_TO);

    if (!r || is_static || r->status == ROUTE_PENDING || r->token == q->grouped_by)
        return;
    q->grouped_by = r->token;
    if (r->status == ROUTE_OK) /* else it stays where it is until the DNS answers */
        join_by_route(g, base, r);
    base->only_named_hosts = base->group && base->group->rollup.len &&
                             rollup_is_explicit(g->config, base->group->rollup);
}

bool routing_uses_host(const struct queue *q, struct strview host)
{
    const struct queue *base = queue_base(q);
    return !base->only_named_hosts || !base->group || !base->group->rollup.len ||
           rollup_has_host(q->engine->config, base->group->rollup, host);
}

static const char *own_text(const struct engine *g, const struct queue *q, enum directive d)
{
    struct config_query query = {
        .domain = q->domain,
        .vmta = sv_of(q->vmta->name),
        .pool = sv_of(q->vmta->pool),
        .pipe = sv_of(g->pipe),
    };
    const char *text = config_text(g->config, &query, d);
    return text && *text ? text : NULL;
}

/* A domain that others are queued to is in that group itself. */
static bool is_target(const struct engine *g, const struct queue *q)
{
    const struct queue_group *p = queue_group_find(g, sv_of(q->name));
    return p && p->kind == GROUP_QUEUE_TO;
}

void routing_configure(struct engine *g, struct queue *q)
{
    char name[ROLLUP_NAME_SIZE];
    const char *to = own_text(g, q, DIR_QUEUE_TO);
    struct strview group = sv_of(to);

    q->grouped_by = 0;
    if (q->base) /* it is in the group of that */
        return;
    if (to && group.len < sizeof(name)) {
        memcpy(name, to, group.len);
        str_lower(name, group.len);
        group = sv(name, group.len);
        queue_group_join(q, group, GROUP_QUEUE_TO);
        struct queue *target = engine_find_queue(g, sv_of(q->group->name));
        if (target && target != q && queue_group_join(target, group, GROUP_QUEUE_TO))
            identity_changed(g, target);
    } else if (is_target(g, q)) {
        queue_group_join(q, q->domain, GROUP_QUEUE_TO);
    } else if (q->group && (q->group->kind == GROUP_QUEUE_TO || q->settings.host_count)) {
        queue_group_leave(q); /* smtp-hosts of its group hid its own MX hosts: asked anew */
    }
}
