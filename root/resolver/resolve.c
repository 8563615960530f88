/*
 * Requests and clients; see resolve.h. main.c has one client per pipe, the probe in the tests has
 * one. A request waits in its client's queue (small), becomes a job when fair.c lets it begin, and
 * ends with one reply. A client is freed when it was closed and nothing of it is under way: its
 * lookups are counted on it, so its memory has to stay until they are done.
 */
#include "resolve.h"

#include <stdio.h>

struct resolve {
    struct lookups lookups;
    struct fair fair; /* of requests */
    struct list clients;
    struct list active; /* requests under way */
    struct resolve_limits limits;
};

struct resolve_client {
    struct resolve *resolve;
    struct list link;
    struct fair_client requests;
    struct fair_client questions;
    resolve_reply reply; /* NULL when closed */
    void *owner;
};

struct request {
    struct fair_item item;
    struct list link; /* in resolve.active */
    struct resolve_client *client;
    struct route_job *job; /* NULL while it waits */
    uint64_t token;
    enum route_kind kind;
    bool answered;
    struct strview domain; /* behind this structure */
    char text[];
};

struct resolve *resolve_new(const struct exchange_ops *ops, void *ops_owner,
                            const struct resolve_limits *limits)
{
    struct resolve *r = xcalloc(1, sizeof(*r));

    r->limits = *limits;
    lookups_init(&r->lookups, ops, ops_owner, limits->questions, limits->cache_entries,
                 limits->cache_bytes);
    fair_init(&r->fair, limits->routes);
    list_init(&r->clients);
    list_init(&r->active);
    return r;
}

void resolve_set_servers(struct resolve *r, const struct servers *s, int64_t timeout_ms)
{
    lookups_set_servers(&r->lookups, s, timeout_ms);
}

const struct lookups *resolve_lookups(const struct resolve *r)
{
    return &r->lookups;
}

size_t resolve_pending(const struct resolve *r)
{
    return r->fair.queued + r->fair.active;
}

struct resolve_client *resolve_client_open(struct resolve *r, resolve_reply reply, void *owner)
{
    struct resolve_client *c = xcalloc(1, sizeof(*c));

    c->resolve = r;
    c->reply = reply;
    c->owner = owner;
    fair_client_init(&c->requests);
    fair_client_init(&c->questions);
    list_push_back(&r->clients, &c->link);
    return c;
}

static void client_free_when_done(struct resolve_client *c)
{
    if (c->reply || !fair_client_idle(&c->requests) || !fair_client_idle(&c->questions))
        return;
    list_remove(&c->link);
    free(c);
}

static void sweep_clients(struct resolve *r)
{
    list_for_each_safe (pos, &r->clients)
        client_free_when_done(list_entry(pos, struct resolve_client, link));
}

static void request_free(struct request *q)
{
    if (q->job)
        route_job_fini(q->job);
    free(q->job);
    free(q);
}

static void answer(struct request *q, const struct route_result *result)
{
    struct resolve_client *c = q->client;

    if (!q->answered && c->reply)
        c->reply(c->owner, q->token, result);
    q->answered = true;
}

void resolve_client_close(struct resolve_client *c)
{
    if (!c)
        return;
    c->reply = NULL;
    for (struct fair_item *i; (i = fair_drop(&c->resolve->fair, &c->requests));)
        request_free(container_of(i, struct request, item));
    client_free_when_done(c);
}

void resolve_free(struct resolve *r)
{
    if (!r)
        return;
    for (struct list *n; (n = list_pop_front(&r->active));)
        request_free(list_entry(n, struct request, link));
    lookups_fini(&r->lookups);
    for (struct list *n; (n = list_pop_front(&r->clients));) {
        struct resolve_client *c = list_entry(n, struct resolve_client, link);
        for (struct fair_item *i; (i = fair_drop(&r->fair, &c->requests));)
            request_free(container_of(i, struct request, item));
        free(c);
    }
    free(r);
}

bool resolve_cached(struct resolve *r, enum route_kind kind, struct strview domain,
                    struct route_result *ret)
{
    struct route_job job;

    route_job_init(&job, &r->lookups, kind, domain);
    bool known = route_job_try_cache(&job, ret);
    route_job_fini(&job);
    return known;
}

int resolve_request(struct resolve_client *c, uint64_t token, enum route_kind kind,
                    struct strview domain)
{
    struct lookups *l = &c->resolve->lookups;

    if (c->requests.queued >= c->resolve->limits.queued)
        return ERR_LIMIT;
    size_t len = MIN_OF(domain.len, (size_t)1024); /* longer is no domain, nor is what is left */
    struct request *q = xcalloc(1, sizeof(*q) + len);
    q->client = c;
    q->token = token;
    q->kind = kind;
    if (len)
        memcpy(q->text, domain.ptr, len);
    q->domain = sv(q->text, len);
    fair_add(&c->resolve->fair, &c->requests, &q->item);
    l->ops->wake(l->ops_owner);
    return 0;
}

static void on_route(struct route_job *job, struct route_result *result)
{
    struct request *q = job->owner;
    struct resolve_client *c = q->client;
    struct lookups *l = &c->resolve->lookups;

    answer(q, result);
    list_remove(&q->link);
    fair_done(&c->resolve->fair, &q->item);
    request_free(q);
    l->ops->wake(l->ops_owner); /* others may begin, closed clients may go */
}

static void begin(struct resolve *r, struct request *q)
{
    q->job = xmalloc(sizeof(*q->job));
    route_job_init(q->job, &r->lookups, q->kind, q->domain);
    q->job->owner = q;
    list_push_back(&r->active, &q->link);
    route_job_start(q->job, &q->client->questions, on_route);
}

void resolve_run(struct resolve *r)
{
    for (struct fair_item *i; (i = fair_next(&r->fair));)
        begin(r, container_of(i, struct request, item));
    lookups_run(&r->lookups);
    sweep_clients(r);
}

static void abort_waiting(struct resolve *r, struct resolve_client *c,
                          const struct route_result *result)
{
    for (struct fair_item *i; (i = fair_drop(&r->fair, &c->requests));) {
        struct request *q = container_of(i, struct request, item);
        answer(q, result);
        request_free(q);
    }
}

void resolve_abort(struct resolve *r, const char *text)
{
    struct route_result result = {.status = ROUTE_TEMPORARY};

    snprintf(result.text, sizeof(result.text), "%s", text);
    list_for_each (pos, &r->active)
        answer(list_entry(pos, struct request, link), &result);
    list_for_each_safe (pos, &r->clients)
        abort_waiting(r, list_entry(pos, struct resolve_client, link), &result);
}
