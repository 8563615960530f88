/*
 * Which addresses a connection tries, and in what order. Called by connect.c for each source
 * address that a queue may send from.
 *
 * Hosts come from the configuration (smtp-hosts) or from the route: answers of the DNS, by
 * preference. Those of the other address family, those that reply rules leave alone (skip-mx), that
 * the queue's group does not use, and those to which TLS would not be good enough are left out; what
 * was left out and why is remembered, because an empty plan has to say whether that is for good. A
 * plan owns its hosts and their names.
 */
#include "queue/host_plan.h"

#include "queue/engine_int.h"

#include <stdio.h>

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

void host_plan_make(struct queue *q, const struct vmta_source *source, struct host_plan *p)
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

void host_plan_begin_with(struct host_plan *p, size_t i)
{
    struct delivery_host h = p->hosts[i];
    memmove(&p->hosts[1], &p->hosts[0], i * sizeof(h));
    p->hosts[0] = h;
}

void host_plan_free(struct host_plan *p)
{
    for (size_t i = 0; i < p->count; i++)
        free((void *)(uintptr_t)p->hosts[i].name);
    free(p->hosts);
    free(p->preference);
    arena_free(&p->arena);
}
