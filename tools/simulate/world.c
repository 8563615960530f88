/*
 * The engine's neighbours but for connections: a spool that keeps only the envelope of each kind of
 * message, a DNS that has an answer at once, and a machine that has every source address. These
 * are the functions of pipe/spool, pipe/route and pipe/queue/local that the engine calls.
 */
#include "simulate.h"

#include "queue/local.h"

/* --- spool --- */

struct spool {
    struct spool_read *reads;
};

/* The place of a message says its row (segment) and variant (offset). */
struct row *world_row(uint32_t segment)
{
    return &sim.rows[segment];
}

struct spool *world_spool_new(void)
{
    return xcalloc(1, sizeof(struct spool));
}

void world_spool_free(struct spool *s)
{
    free(s);
}

void spool_journal(struct spool *s, const struct spool_event *ev)
{
    struct row *r = world_row(ev->place.segment);

    (void)s;
    r->delivered += ev->state == SPOOL_DELIVERED;
    r->expired += ev->state == SPOOL_EXPIRED;
    r->bounced += ev->state == SPOOL_BOUNCED || ev->state == SPOOL_DELETED;
    r->deferrals += ev->state == SPOOL_DEFERRED;
    sim.live -= spool_state_is_final(ev->state);
}

void spool_accounting_end(struct spool *s, int fd, void (*ended)(void *arg, int fd), void *arg)
{
    (void)s;
    ended(arg, fd);
}

void spool_accounting(struct spool *s, int fd, struct strview bytes)
{
    (void)s, (void)fd, (void)bytes;
}

void spool_read(struct spool *s, message_id id, const struct spool_place *place, size_t load_max,
                struct spool_read *r)
{
    const struct variant *v = &world_row(place->segment)->variants[place->offset];

    (void)load_max;
    r->id = id;
    r->content = (struct spool_content){.fd = -1};
    r->content.envelope = buf_view(&v->envelope);
    r->content.content = SV("Subject: x\r\n\r\n");
    r->content.owner = s;
    r->next = s->reads;
    s->reads = r;
}

bool world_answer_reads(void)
{
    bool any = false;

    for (size_t i = 0; i < sim.pipe_count; i++) {
        struct spool *s = sim.pipes[i].spool;
        for (struct spool_read *r; (r = s->reads); any = true) {
            s->reads = r->next;
            r->done(r, 0);
        }
    }
    return any;
}

void spool_content_release(struct spool *s, struct spool_content *c)
{
    (void)s;
    c->owner = NULL;
}

int spool_read_envelope(struct spool *s, message_id id, const struct spool_place *place,
                        struct arena *arena, struct envelope *ret)
{
    const struct variant *v = &world_row(place->segment)->variants[place->offset];
    (void)s, (void)id;
    return envelope_decode(buf_view(&v->envelope), arena, ret, NULL);
}

/* --- routes: every name has an answer, kept for good --- */

struct routes {
    struct hash by_name;
    uint64_t tokens;
};

static bool match_route(const struct hash_node *n, const void *key)
{
    return sv_eq(sv_of(container_of(n, const struct route, node)->domain),
                 *(const struct strview *)key);
}

struct routes *routes_new(uv_loop_t *loop)
{
    struct routes *r = xcalloc(1, sizeof(*r));
    (void)loop;
    hash_init(&r->by_name, match_route);
    return r;
}

void routes_free(struct routes *r)
{
    for (struct hash_node *n = hash_next(&r->by_name, NULL), *next; n; n = next) {
        struct route *route = container_of(n, struct route, node);
        next = hash_next(&r->by_name, n);
        arena_free(&route->arena);
        free(route->domain);
        free(route);
    }
    hash_fini(&r->by_name);
    free(r);
}

void route_unref(struct routes *r, struct route *route)
{
    (void)r, (void)route; /* kept in the table */
}

bool route_is_fresh(const struct route *route)
{
    (void)route;
    return true;
}

/* An address of the host's own, the same for every domain that names it. */
static void add_address(struct route *route, struct strview host, int family, uint16_t preference)
{
    struct route_address *a = &route->addresses[route->address_count++];
    uint64_t h = 14695981039346656037u; /* FNV-1a: the same in every run */

    for (size_t i = 0; i < host.len; i++)
        h = (h ^ (unsigned char)host.ptr[i]) * 1099511628211u;
    *a = (struct route_address){.preference = preference, .host = host};
    a->addr.ss_family = (sa_family_t)family;
    if (family == AF_INET6) {
        struct in6_addr *to = &((struct sockaddr_in6 *)&a->addr)->sin6_addr;
        to->s6_addr[0] = 0x20, to->s6_addr[1] = 0x01, to->s6_addr[2] = 0x0d, to->s6_addr[3] = 0xb8;
        memcpy(&to->s6_addr[8], &h, sizeof(h));
    } else {
        ((struct sockaddr_in *)&a->addr)->sin_addr.s_addr =
            htonl(0x0a000000 | (uint32_t)((h ^ h >> 24) & 0xffffff));
    }
}

static const char *hosts_of(struct strview domain)
{
    for (size_t i = 0; i < sim.options->mx_count; i++)
        if (sv_eq(sv_of(sim.options->mx[i].domain), domain))
            return sim.options->mx[i].value;
    return NULL;
}

static void answer(struct route *route)
{
    const char *given = route->kind == ROUTE_MX ? hosts_of(sv_of(route->domain)) : NULL;
    struct strview rest = sv_of(given ? given : route->domain), host;
    size_t cap = 2;

    for (size_t i = 0; i < rest.len; i++)
        cap += 2u * (rest.ptr[i] == ',');
    route->addresses = arena_alloc(&route->arena, cap * sizeof(route->addresses[0]));
    for (uint16_t preference = 10; sv_split(&rest, ',', &host); preference += 10) {
        host = sv_trim(host);
        add_address(route, host, AF_INET, preference);
        if (sim.has_ipv6)
            add_address(route, host, AF_INET6, preference);
    }
}

struct route *routes_get(struct routes *r, enum route_kind kind, struct strview domain,
                         struct route_wants wants, struct route_waiter *waiter)
{
    uint64_t h = hash_bytes(domain.ptr, domain.len) + kind;
    struct hash_node *n = hash_find(&r->by_name, h, &domain);

    (void)waiter;
    if (n)
        return container_of(n, struct route, node);
    struct route *route = xcalloc(1, sizeof(*route));
    list_init(&route->waiters);
    route->kind = kind;
    route->wants = wants;
    route->status = ROUTE_OK;
    route->token = ++r->tokens;
    route->domain = xstrndup(domain.ptr, domain.len);
    answer(route);
    hash_insert(&r->by_name, &route->node, h);
    return route;
}

/* --- source addresses: this machine has them all --- */

void local_read(struct local_addresses *ret)
{
    *ret = (struct local_addresses){.can_bind = local_can_bind};
}

void local_free(struct local_addresses *l)
{
    (void)l;
}

bool local_is_on_interface(const struct local_addresses *l, const struct sockaddr_storage *addr)
{
    (void)l;
    sim.has_ipv6 |= addr->ss_family == AF_INET6;
    return true;
}

bool local_has(const struct local_addresses *l, const struct sockaddr_storage *addr)
{
    return local_is_on_interface(l, addr);
}

bool local_can_bind(const struct sockaddr_storage *addr)
{
    (void)addr;
    return true;
}
