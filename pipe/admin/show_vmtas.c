/*
 * show vmtas: the virtual MTAs with their source addresses, pools, cold ones and load. Walks all
 * queues once; for operators, not for the work of the day.
 */
#include "admin/verbs.h"
#include "queue/engine_int.h"

#include <arpa/inet.h>

enum { SOURCES_SHOWN = 256 };

static void count_queues(const struct engine *g)
{
    for (struct vmta *v = g->vmtas; v; v = v->next)
        v->load = (struct vmta_load){0};
    for (struct hash_node *n = NULL; (n = hash_next(&g->queues, n));) {
        const struct queue *q = container_of(n, struct queue, node);
        struct vmta_load *load = &q->vmta->load;
        load->queued += q->live;
        load->connections += q->sender_count;
        load->queues += q->live != 0;
        load->backoff += q->live && q->mode == QUEUE_BACKOFF;
    }
}

static json_t *source_object(const struct vmta_source *s)
{
    char ip[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_storage *a = &s->addr;
    const void *bytes =
        a->ss_family == AF_INET6
            ? (const void *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr
            : (const void *)&((const struct sockaddr_in *)(const void *)a)->sin_addr;

    if (a->ss_family)
        inet_ntop(a->ss_family, bytes, ip, sizeof(ip));
    json_t *o = json_pack("{s:s, s:b}", "ip", ip, "missing", (int)s->is_missing);
    json_object_set_new(o, "host", admin_json_text(sv_of(s->helo_name)));
    if (s->file) {
        json_object_set_new(o, "file", admin_json_text(sv_of(s->file)));
        json_object_set_new(o, "line", json_integer(s->line));
    }
    return o;
}

static json_t *sources_of(const struct vmta *v, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count && i < SOURCES_SHOWN; i++)
        json_array_append_new(list, source_object(&v->sources[i]));
    return list;
}

static json_t *pools_of(const struct engine *g, const struct vmta *v)
{
    json_t *list = json_array();

    for (struct hash_node *n = NULL; (n = hash_next(&g->pools, n));) {
        const struct vmta_pool *p = container_of(n, struct vmta_pool, node);
        for (size_t i = 0; i < p->count; i++)
            if (p->members[i].vmta == v)
                json_array_append_new(list, json_pack("{s:s, s:I}", "pool", p->name, "weight",
                                                      (json_int_t)p->members[i].weight));
    }
    return list;
}

static void add_cold(struct engine *g, json_t *list, const char *from, char *const *names,
                     size_t count)
{
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:s, s:I}", "vmta", names[i], "today",
                                              (json_int_t)cold_today(&g->cold, from, names[i])));
}

static const char *state_of(const struct vmta *v)
{
    if (!v->is_defined)
        return "removed";
    return v->is_stranded ? "no-address" : v->load.queued ? "active" : "idle";
}

static int64_t limit_of(const struct config *cfg, const struct vmta *v)
{
    const struct config_value *max =
        config_section_get(cfg, KIND_VIRTUAL_MTA, sv_of(v->name), DIR_MAX_SMTP_OUT);
    return max ? max->number : 0;
}

static json_t *vmta_object(const struct pipe *p, struct engine *g, const struct vmta *v)
{
    size_t all = v->is_stranded ? v->missing_count : v->source_count + v->missing_count;
    json_t *cold = json_array();

    add_cold(g, cold, v->name, v->cold, v->cold_count);
    for (struct hash_node *n = NULL; !v->cold_count && (n = hash_next(&g->pools, n));) {
        const struct vmta_pool *pool = container_of(n, struct vmta_pool, node);
        for (size_t i = 0; i < pool->count; i++)
            if (pool->members[i].vmta == v)
                add_cold(g, cold, v->name, pool->cold, pool->cold_count);
    }
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I}", "pipe",
                     p->name, "vmta", v->name, "state", state_of(v), "addresses", (json_int_t)all,
                     "missing", (json_int_t)v->missing_count, "sources", sources_of(v, all),
                     "pools", pools_of(g, v), "cold", cold, "queued", (json_int_t)v->load.queued,
                     "queues", (json_int_t)v->load.queues, "queues_backoff",
                     (json_int_t)v->load.backoff, "connections", (json_int_t)v->load.connections,
                     "max_connections", (json_int_t)limit_of(g->config, v));
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct vmta *const *)a)->name, (*(struct vmta *const *)b)->name);
}

void show_vmtas(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct engine *g = p->engine;
    size_t count = 0, i = 0;

    count_queues(g);
    for (struct vmta *v = g->vmtas; v; v = v->next)
        count++;
    struct vmta **all = xmalloc((count + 1) * sizeof(struct vmta *));
    for (struct vmta *v = g->vmtas; v; v = v->next)
        all[i++] = v;
    qsort(all, count, sizeof(struct vmta *), by_name);
    for (i = 0; i < count; i++)
        if ((all[i]->is_defined && !all[i]->to_pipe) || all[i]->load.queued)
            admin_send(a, vmta_object(p, g, all[i]));
    free(all);
    admin_end(a);
}
