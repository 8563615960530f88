/*
 * Groups of queues; see group.h. Called by rollup of routes (routing.c) when an answer of the DNS
 * or the configuration says which group a queue is in, and asked by everything that counts per
 * queue. A group lives as long as it has members.
 */
#include "queue/engine_int.h"

#include <stdio.h>

static bool match_name(const struct hash_node *n, const void *key)
{
    const struct queue_group *p = container_of(n, const struct queue_group, node);
    return sv_eq(sv_of(p->name), *(const struct strview *)key);
}

void queue_groups_init(struct engine *g)
{
    hash_init(&g->groups, match_name);
}

void queue_groups_fini(struct engine *g)
{
    BUG_ON(g->groups.count);
    hash_fini(&g->groups);
}

const char *queue_identity(const struct queue *q)
{
    q = queue_base(q);
    return q->group && q->group->is_shared ? q->group->name : q->name;
}

struct strview queue_identity_domain(const struct queue *q)
{
    q = queue_base(q);
    return q->group && q->group->is_shared ? q->group->domain : q->domain;
}

struct strview queue_group_domain(const struct queue *q)
{
    q = queue_base(q);
    return q->group && q->group->is_shared ? q->group->domain : sv(NULL, 0);
}

struct queue *queue_sibling_next(const struct queue *q, struct queue *prev)
{
    const struct queue *base = queue_base(q);
    const struct queue_group *p = base->group;
    struct queue *of = prev && prev->base ? prev->base : prev;
    struct list *next;

    for (int i = prev ? prev->ask + 1 : TLS_ASK_COUNT; i < TLS_ASK_COUNT; i++)
        if (of->variants[i])
            return of->variants[i];
    if (!p || !p->is_shared)
        return prev ? NULL : (struct queue *)(uintptr_t)base;
    next = prev ? of->in_group.next : p->members.next;
    return next == &p->members ? NULL : list_entry(next, struct queue, in_group);
}

struct queue_group *queue_group_find(const struct engine *g, struct strview name)
{
    struct hash_node *n = hash_find(&g->groups, hash_bytes(name.ptr, name.len), &name);
    return n ? container_of(n, struct queue_group, node) : NULL;
}

static struct queue_group *get_group(struct engine *g, const struct queue *q, struct strview domain,
                                     enum queue_group_kind kind)
{
    struct buf text = {0};
    buf_printf(&text, "%.*s/%s", SV_ARG(domain), q->vmta->name);
    struct strview name = buf_view(&text);
    struct queue_group *p = queue_group_find(g, name);

    if (p) {
        buf_free(&text);
        return p;
    }
    p = xcalloc(1, sizeof(*p));
    p->engine = g;
    p->kind = kind;
    p->is_shared = kind != GROUP_SITE;
    hash_insert(&g->groups, &p->node, hash_bytes(name.ptr, name.len));
    p->name = buf_take(&text);
    p->domain = sv(p->name, domain.len);
    if (kind == GROUP_ROLLUP && domain.len > strlen(".rollup"))
        p->rollup = sv(p->name, domain.len - strlen(".rollup"));
    list_init(&p->members);
    return p;
}

void queue_group_leave(struct queue *q)
{
    struct queue_group *p = q->group;

    if (!p)
        return;
    list_remove(&q->in_group);
    q->group = NULL;
    if (--p->member_count)
        return;
    hash_remove(&p->engine->groups, &p->node);
    free(p->name);
    free(p);
}

bool queue_group_join(struct queue *q, struct strview domain, enum queue_group_kind kind)
{
    struct queue_group *old = q->group;

    if (!domain.len) {
        queue_group_leave(q);
        return old != NULL;
    }
    if (old && old->kind == kind && sv_eq(old->domain, domain))
        return false;
    queue_group_leave(q);
    q->group = get_group(q->engine, q, domain, kind);
    list_push_back(&q->group->members, &q->in_group);
    if (++q->group->member_count > 1)
        q->group->is_shared = true;
    return true;
}
