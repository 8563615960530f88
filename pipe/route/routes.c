/*
 * The route cache; see routes.h. Called by the queues when they want to connect. A route lives
 * while the table or a queue refers to it; expired ones are replaced when asked for again, and
 * swept when the table is full.
 */
#include "route/routes_int.h"

#include "base/clock.h"
#include "base/log.h"

enum {
    MAX_CACHED = 200000,
    TEMPORARY_TTL_MS = 5000, /* a failure is asked again soon: the queue has its own back-off */
    MIN_TTL_MS = 1000,
};

struct route_key {
    enum route_kind kind;
    struct route_wants wants;
    struct strview domain;
};

/* MTA-STS is about the MX hosts of a domain, the port about TLSA records. */
static struct route_key key_of(enum route_kind kind, struct strview domain,
                               struct route_wants wants)
{
    struct route_key k = {kind, wants, domain};

    if (kind != ROUTE_MX)
        k.wants.bits &= (uint8_t)~ROUTE_WANT_STS;
    if (!(k.wants.bits & ROUTE_WANT_TLSA))
        k.wants.port = 0;
    return k;
}

static bool match_name(const struct hash_node *n, const void *key)
{
    const struct route *r = container_of(n, const struct route, node);
    const struct route_key *k = key;
    return r->kind == k->kind && r->wants.bits == k->wants.bits && r->wants.port == k->wants.port &&
           sv_eq_nocase(sv_of(r->domain), k->domain);
}

static bool match_token(const struct hash_node *n, const void *key)
{
    return container_of(n, const struct route, pending_node)->token == *(const uint64_t *)key;
}

static uint64_t key_hash(const struct route_key *k)
{
    uint64_t rest =
        (uint64_t)k->kind | (uint64_t)k->wants.bits << 8 | (uint64_t)k->wants.port << 16;
    return hash_bytes_nocase(k->domain.ptr, k->domain.len) ^ hash_u64(rest);
}

struct routes *routes_new(uv_loop_t *loop)
{
    struct routes *r = xcalloc(1, sizeof(*r));
    r->loop = loop;
    hash_init(&r->by_name, match_name);
    hash_init(&r->pending, match_token);
    return r;
}

static void uncache(struct routes *r, struct route *route)
{
    if (!route->cached)
        return;
    route->cached = false;
    hash_remove(&r->by_name, &route->node);
    route_unref(r, route);
}

void routes_free(struct routes *r)
{
    if (!r)
        return;
    ipc_edge_close(r->edge);
    lookups_close(r);
    posts_close(r);
    for (struct hash_node *n; (n = hash_next(&r->by_name, NULL));)
        uncache(r, container_of(n, struct route, node));
    hash_fini(&r->by_name);
    hash_fini(&r->pending);
    free(r);
}

void route_unref(struct routes *r, struct route *route)
{
    (void)r;
    if (!route || --route->refs)
        return;
    arena_free(&route->arena);
    buf_free(&route->bytes);
    free(route->domain);
    free(route->text);
    free(route);
}

bool route_is_fresh(const struct route *route)
{
    return route->status == ROUTE_PENDING || clock_mono_ms() < route->expires_ms;
}

static void ask(struct routes *r, struct route *route)
{
    if (!r->edge)
        return; /* asked when the edge comes */
    ipc_send(r->edge, route_request,
             (&(struct ipc_route_request){
                 .token = route->token,
                 .kind = (uint8_t)route->kind,
                 .wants = route->wants.bits,
                 .port = route->wants.port,
                 .domain = sv_of(route->domain),
             }));
}

/* Makes room by forgetting what has expired; when all of it is fresh, the table is emptied. */
static void sweep(struct routes *r)
{
    bool found = false;
    for (struct hash_node *n = hash_next(&r->by_name, NULL), *next; n; n = next) {
        next = hash_next(&r->by_name, n);
        struct route *route = container_of(n, struct route, node);
        if (!route_is_fresh(route)) {
            uncache(r, route);
            found = true;
        }
    }
    if (found)
        return;
    for (struct hash_node *n = hash_next(&r->by_name, NULL), *next; n; n = next) {
        next = hash_next(&r->by_name, n);
        struct route *route = container_of(n, struct route, node);
        if (route->status != ROUTE_PENDING)
            uncache(r, route);
    }
}

static struct route *route_new(struct routes *r, const struct route_key *key)
{
    struct route *route = xcalloc(1, sizeof(*route));

    route->refs = 2; /* the table's and the caller's */
    route->status = ROUTE_PENDING;
    route->kind = key->kind;
    route->wants = key->wants;
    route->token = ++r->last_token;
    route->domain = xstrndup(key->domain.ptr, key->domain.len);
    route->cached = true;
    list_init(&route->waiters);
    if (r->by_name.count >= MAX_CACHED)
        sweep(r);
    hash_insert(&r->by_name, &route->node, key_hash(key));
    hash_insert(&r->pending, &route->pending_node, hash_u64(route->token));
    return route;
}

struct route *routes_get(struct routes *r, enum route_kind kind, struct strview domain,
                         struct route_wants wants, struct route_waiter *waiter)
{
    struct route_key key = key_of(kind, domain, wants);
    struct hash_node *n = hash_find(&r->by_name, key_hash(&key), &key);
    struct route *route = n ? container_of(n, struct route, node) : NULL;

    if (route && !route_is_fresh(route)) {
        uncache(r, route);
        route = NULL;
    }
    if (route) {
        route->refs++;
    } else {
        route = route_new(r, &key);
        ask(r, route);
    }
    if (route->status == ROUTE_PENDING && waiter)
        list_push_back(&route->waiters, &waiter->link);
    return route;
}

static struct route *find_pending(struct routes *r, uint64_t token)
{
    struct hash_node *n = hash_find(&r->pending, hash_u64(token), &token);
    return n ? container_of(n, struct route, pending_node) : NULL;
}

/* Hosts and policy out of the answer. Returns false when it is not what an answer looks like. */
static bool decode(struct route *route, const struct ipc_route_reply *m)
{
    buf_append_sv(&route->bytes, m->hosts);
    buf_append_sv(&route->bytes, m->policy);
    struct strview both = buf_view(&route->bytes);
    struct strview hosts = sv(both.ptr, m->hosts.len);
    struct strview policy = sv(both.ptr + m->hosts.len, m->policy.len);

    return m->status <= ROUTE_TEMPORARY &&
           route_hosts_decode(hosts, &route->arena, &route->addresses, &route->address_count) ==
               0 &&
           tls_policy_decode(policy, &route->arena, &route->policy) == 0 &&
           (m->status != ROUTE_OK || route->address_count);
}

static void answer(struct routes *r, struct route *route, const struct ipc_route_reply *m)
{
    int64_t ttl_ms = MAX_OF((int64_t)m->ttl_s * 1000, (int64_t)MIN_TTL_MS);

    hash_remove(&r->pending, &route->pending_node);
    route->status = m->status;
    route->text = xstrndup(m->text.ptr, m->text.len);
    if (!decode(route, m))
        route->status = ROUTE_TEMPORARY;
    if (route->status == ROUTE_TEMPORARY)
        ttl_ms = TEMPORARY_TTL_MS;
    route->expires_ms = clock_mono_ms() + ttl_ms;

    route->refs++; /* a waiter may drop the last one */
    for (struct list *l; (l = list_pop_front(&route->waiters));) {
        struct route_waiter *w = list_entry(l, struct route_waiter, link);
        w->answered(w);
    }
    route_unref(r, route);
}

static int on_frame(void *owner, struct ipc_edge *edge, struct ipc_frame *frame)
{
    struct routes *r = owner;
    struct ipc_route_reply m;

    (void)edge;
    if (frame->id == IPC_lookup_reply)
        return lookups_take(r, frame->bytes);
    if (frame->id == IPC_post_reply)
        return posts_take(r, frame->bytes);
    if (frame->id != IPC_route_reply || ipc_decode_route_reply(frame->bytes, &m) < 0)
        return ERR_PROTOCOL;
    struct route *route = find_pending(r, m.token);
    if (route)
        answer(r, route, &m);
    return 0;
}

static void on_down(void *owner, struct ipc_edge *edge, int code)
{
    struct routes *r = owner;
    (void)edge;
    log_debug(LOG_DNS, "resolver went away, waiting for the next one reason='%s'", err_name(code));
    r->edge = NULL;
    posts_lost(r);
}

void routes_set_edge(struct routes *r, int fd)
{
    static const struct ipc_edge_ops ops = {.frame = on_frame, .down = on_down};

    if (r->edge) /* another one takes its place */
        posts_lost(r);
    ipc_edge_close(r->edge);
    r->edge = ipc_edge_open(r->loop, fd, ROLE_PIPE, ROLE_RESOLVER, &ops, r);
    for (struct hash_node *n = NULL; (n = hash_next(&r->pending, n));)
        ask(r, container_of(n, struct route, pending_node));
    lookups_ask_again(r);
}
