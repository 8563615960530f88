/*
 * Requests and clients; see resolve.h. main.c has one client per pipe, the probe in the tests has
 * one. Routes are jobs of route.c, records of ask.c. A request waits in its client's queue (small), becomes a job when fair.c lets it begin, and
 * ends with one reply. A client is freed when it was closed and nothing of it is under way: its
 * lookups are counted on it, so its memory has to stay until they are done.
 */
#include "resolve.h"

#include <stdio.h>

struct resolve {
    struct lookups lookups;
    struct sts sts;
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
    const struct resolve_replies *replies; /* NULL when closed */
    void *owner;
};

/* For records when kind is not 0, else for a route. */
struct request {
    struct fair_item item;
    struct list link; /* in resolve.active */
    struct resolve_client *client;
    struct route_job *job; /* NULL while it waits, and for records */
    struct ask_job *ask;   /* NULL while it waits, and for a route */
    uint64_t token;
    struct route_request route; /* its domain is `text` */
    enum lookup_kind kind;
    bool answered;
    struct strview name; /* behind this structure */
    char text[];
};

struct resolve *resolve_new(const struct exchange_ops *ops, void *ops_owner,
                            const struct resolve_limits *limits)
{
    struct resolve *r = xcalloc(1, sizeof(*r));

    r->limits = *limits;
    lookups_init(&r->lookups, ops, ops_owner, limits->questions, limits->cache_entries,
                 limits->cache_bytes);
    sts_init(&r->sts, &r->lookups, &limits->sts);
    fair_init(&r->fair, limits->requests);
    list_init(&r->clients);
    list_init(&r->active);
    return r;
}

void resolve_set_servers(struct resolve *r, const struct servers *s, int64_t timeout_ms,
                         bool validating)
{
    lookups_set_servers(&r->lookups, s, timeout_ms, validating);
}

const struct lookups *resolve_lookups(const struct resolve *r)
{
    return &r->lookups;
}

struct lookups *resolve_own_lookups(struct resolve *r)
{
    return &r->lookups;
}

struct sts *resolve_sts(struct resolve *r)
{
    return &r->sts;
}

size_t resolve_pending(const struct resolve *r)
{
    return r->fair.queued + r->fair.active;
}

struct resolve_client *resolve_client_open(struct resolve *r, const struct resolve_replies *replies,
                                           void *owner)
{
    struct resolve_client *c = xcalloc(1, sizeof(*c));

    c->resolve = r;
    c->replies = replies;
    c->owner = owner;
    fair_client_init(&c->requests);
    fair_client_init(&c->questions);
    list_push_back(&r->clients, &c->link);
    return c;
}

static void client_free_when_done(struct resolve_client *c)
{
    if (c->replies || !fair_client_idle(&c->requests) || !fair_client_idle(&c->questions))
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
    if (q->ask)
        ask_job_fini(q->ask);
    free(q->job);
    free(q->ask);
    free(q);
}

/* Whether the client still waits; from now on it does not. */
static bool take_turn(struct request *q)
{
    bool waits = !q->answered && q->client->replies;
    q->answered = true;
    return waits;
}

static void refuse(struct request *q, const char *text)
{
    struct resolve_client *c = q->client;
    struct route_result route = {.status = ROUTE_TEMPORARY};
    struct ask_result answer = {.status = LOOKUP_TEMPORARY};

    if (!take_turn(q))
        return;
    snprintf(route.text, sizeof(route.text), "%s", text);
    snprintf(answer.text, sizeof(answer.text), "%s", text);
    if (q->kind)
        c->replies->answer(c->owner, q->token, &answer);
    else
        c->replies->route(c->owner, q->token, &route);
}

void resolve_client_close(struct resolve_client *c)
{
    if (!c)
        return;
    c->replies = NULL;
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
    sts_fini(&r->sts);
    lookups_fini(&r->lookups);
    for (struct list *n; (n = list_pop_front(&r->clients));) {
        struct resolve_client *c = list_entry(n, struct resolve_client, link);
        for (struct fair_item *i; (i = fair_drop(&r->fair, &c->requests));)
            request_free(container_of(i, struct request, item));
        free(c);
    }
    free(r);
}

bool resolve_cached(struct resolve *r, const struct route_request *q, struct route_result *ret)
{
    struct route_job job;

    route_job_init(&job, &r->lookups, &r->sts, q);
    bool known = route_job_try_cache(&job, ret);
    route_job_fini(&job);
    return known;
}

bool resolve_cached_answer(struct resolve *r, enum lookup_kind kind, struct strview name,
                           struct ask_result *ret)
{
    struct ask_job job;

    ask_job_init(&job, &r->lookups, &r->sts, kind, name);
    bool known = ask_job_try_cache(&job, ret);
    ask_job_fini(&job);
    return known;
}

/* A request in line, to be filled in; NULL when too many wait. */
static struct request *add_request(struct resolve_client *c, uint64_t token, struct strview name)
{
    struct lookups *l = &c->resolve->lookups;

    if (c->requests.queued >= c->resolve->limits.queued)
        return NULL;
    size_t len = MIN_OF(name.len, (size_t)1024); /* longer is no domain, nor is what is left */
    struct request *q = xcalloc(1, sizeof(*q) + len);
    q->client = c;
    q->token = token;
    if (len)
        memcpy(q->text, name.ptr, len);
    q->name = sv(q->text, len);
    fair_add(&c->resolve->fair, &c->requests, &q->item);
    l->ops->wake(l->ops_owner);
    return q;
}

int resolve_request(struct resolve_client *c, uint64_t token, const struct route_request *route)
{
    struct request *q = add_request(c, token, route->domain);

    if (!q)
        return ERR_LIMIT;
    q->route = *route;
    q->route.domain = q->name;
    return 0;
}

int resolve_ask(struct resolve_client *c, uint64_t token, enum lookup_kind kind,
                struct strview name)
{
    struct request *q = add_request(c, token, name);

    if (!q)
        return ERR_LIMIT;
    q->kind = kind;
    return 0;
}

static void end(struct request *q)
{
    struct resolve_client *c = q->client;
    struct lookups *l = &c->resolve->lookups;

    list_remove(&q->link);
    fair_done(&c->resolve->fair, &q->item);
    request_free(q);
    l->ops->wake(l->ops_owner); /* others may begin, closed clients may go */
}

static void on_route(struct route_job *job, struct route_result *result)
{
    struct request *q = job->owner;

    if (take_turn(q))
        q->client->replies->route(q->client->owner, q->token, result);
    end(q);
}

static void on_answer(struct ask_job *job, struct ask_result *result)
{
    struct request *q = job->owner;

    if (take_turn(q))
        q->client->replies->answer(q->client->owner, q->token, result);
    end(q);
}

static void begin(struct resolve *r, struct request *q)
{
    list_push_back(&r->active, &q->link);
    if (q->kind) {
        q->ask = xmalloc(sizeof(*q->ask));
        ask_job_init(q->ask, &r->lookups, &r->sts, q->kind, q->name);
        q->ask->owner = q;
        ask_job_start(q->ask, &q->client->questions, on_answer);
    } else {
        q->job = xmalloc(sizeof(*q->job));
        route_job_init(q->job, &r->lookups, &r->sts, &q->route);
        q->job->owner = q;
        route_job_start(q->job, &q->client->questions, on_route);
    }
}

void resolve_run(struct resolve *r)
{
    for (struct fair_item *i; (i = fair_next(&r->fair));)
        begin(r, container_of(i, struct request, item));
    lookups_run(&r->lookups);
    sweep_clients(r);
}

static void abort_waiting(struct resolve *r, struct resolve_client *c, const char *text)
{
    for (struct fair_item *i; (i = fair_drop(&r->fair, &c->requests));) {
        struct request *q = container_of(i, struct request, item);
        refuse(q, text);
        request_free(q);
    }
}

void resolve_abort(struct resolve *r, const char *text)
{
    list_for_each (pos, &r->active)
        refuse(list_entry(pos, struct request, link), text);
    list_for_each_safe (pos, &r->clients)
        abort_waiting(r, list_entry(pos, struct resolve_client, link), text);
}
