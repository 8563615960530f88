/*
 * Where mail for a domain would go from here, and what the outside world says about TLS on the way:
 * the routes that a queue of this domain and virtual MTA would ask for, asked for (or found in the
 * cache) and put into words; with `connect`, also how the hosts answer (connect.c).
 *
 * One struct resolving per request; it waits for all its routes and then its connections, or for the
 * end of its time, answers, and is freed when its timer is closed.
 */
#include "admin/connect.h"
#include "admin/verbs.h"
#include "base/clock.h"
#include "rollup/rollup.h"

#include <arpa/inet.h>

enum { PATIENCE_MS = 25 * 1000, CONNECT_PATIENCE_MS = 30 * 1000 };

struct asked {
    struct route_waiter waiter;
    struct resolving *all;
    struct route *route;           /* NULL for an address in smtp-hosts */
    const struct host_entry *host; /* in smtp-hosts; NULL: the domain's MX hosts */
    uint16_t port;
};

struct resolving {
    struct admin admin;
    struct pipe *pipe;
    struct config *config; /* a reference */
    struct config_query query;
    struct arena arena;          /* what query and hosts point into */
    struct strview route_domain; /* the domain, or what queue-to says */
    struct asked *asked;
    size_t count, pending;
    struct tls_settings tls;
    struct connects *connects; /* NULL: nobody asked, or not yet */
    struct list link;          /* in pipe->probes while there are connections */
    bool connect;
    bool show_dane, show_mta_sts; /* what the question names */
    bool with_dane, with_mta_sts; /* because of the question only; not configured */
    size_t at;                    /* of the connections, while the answer is made */
    uv_timer_t timer;
};

static struct tls_host tls_host_of(const struct resolving *v, const struct route *r,
                                   const char *name)
{
    return (struct tls_host){
        .settings = &v->tls,
        .policy = r ? &r->policy : NULL,
        .name = name,
        .configured = !r || r->kind == ROUTE_HOST,
        .nexthop = v->route_domain,
    };
}

/* --- in words --- */

static const char *dane_word(enum dane_status s)
{
    static const char *const words[] = {[DANE_NONE] = "none",
                                        [DANE_USABLE] = "usable",
                                        [DANE_UNUSABLE] = "unusable",
                                        [DANE_FAILED] = "failed"};
    return words[s];
}

static const char *sts_word(enum sts_mode m)
{
    return m == STS_ENFORCE ? "enforce" : m == STS_TESTING ? "testing" : "none";
}

static const struct dane_host *dane_of(const struct tls_policy *p, struct strview host)
{
    for (size_t i = 0; i < p->dane_count; i++)
        if (sv_eq_nocase(p->dane[i].host, host))
            return &p->dane[i];
    return NULL;
}

/* --- objects --- */

static json_t *tlsa_object(const struct tlsa_record *t)
{
    struct buf hex = {0};

    for (size_t i = 0; i < t->data.len; i++)
        buf_printf(&hex, "%02x", (unsigned char)t->data.ptr[i]);
    json_t *o = json_pack("{s:i, s:i, s:i, s:s}", "usage", t->usage, "selector", t->selector,
                          "matching", t->matching, "data", buf_data(&hex));
    buf_free(&hex);
    return o;
}

static json_t *host_object(const struct resolving *v, const struct route *r,
                           const struct route_address *first)
{
    const struct dane_host *d = dane_of(&r->policy, first->host);
    char name[256], asks[TLS_WHY_SIZE + 100];
    json_t *tlsa = json_array();

    snprintf(name, sizeof(name), "%.*s", SV_ARG(first->host));
    struct tls_host h = tls_host_of(v, r, name);
    connects_asks(&h, asks, sizeof(asks));

    for (size_t i = 0; d && i < d->count; i++)
        json_array_append_new(tlsa, tlsa_object(&d->records[i]));
    json_t *o = json_pack("{s:i, s:o, s:o, s:s, s:o, s:s}", "preference", first->preference, "host",
                          admin_json_text(first->host), "addresses", json_array(), "dane",
                          dane_word(d ? d->status : DANE_NONE), "tlsa", tlsa, "asks", asks);
    if (d && d->base_domain.len)
        json_object_set_new(o, "tlsa_base", admin_json_text(d->base_domain));
    if (r->policy.sts.mode != STS_NONE)
        json_object_set_new(o, "in_policy",
                            json_boolean(sts_policy_matches(&r->policy.sts, first->host)));
    return o;
}

static void add_address(json_t *host, const struct sockaddr_storage *addr)
{
    char ip[INET6_ADDRSTRLEN] = "?";
    const void *bytes = addr->ss_family == AF_INET6
                            ? (const void *)&((const struct sockaddr_in6 *)addr)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)addr)->sin_addr;

    inet_ntop(addr->ss_family, bytes, ip, sizeof(ip));
    json_array_append_new(json_object_get(host, "addresses"), json_string(ip));
}

/* Addresses of one host stand together. */
static json_t *hosts_array(const struct resolving *v, const struct route *r)
{
    json_t *hosts = json_array(), *host = NULL;

    for (size_t i = 0; i < r->address_count; i++) {
        const struct route_address *a = &r->addresses[i];
        if (!host || !sv_eq(a[-1].host, a->host) || a[-1].preference != a->preference) {
            host = host_object(v, r, a);
            json_array_append_new(hosts, host);
        }
        add_address(host, &a->addr);
    }
    return hosts;
}

static json_t *sts_object(const struct sts_policy *p)
{
    json_t *mx = json_array();

    for (size_t i = 0; i < p->mx_count; i++)
        json_array_append_new(mx, admin_json_text(p->mx[i]));
    return json_pack("{s:s, s:o, s:I, s:o, s:o}", "mode", sts_word(p->mode), "id",
                     admin_json_text(p->id), "max_age_s", (json_int_t)p->max_age_s, "mx", mx,
                     "failure", admin_json_text(p->failure));
}

static void add_group(json_t *o, const struct resolving *v, const struct route *r)
{
    char name[ROLLUP_NAME_SIZE];

    if (r->kind != ROUTE_MX || r->status != ROUTE_OK || v->asked[0].host ||
        config_bool(v->config, &v->query, DIR_DISABLE_MX_ROLLUP))
        return;
    struct strview group = rollup_group(v->config, r, name);
    if (!group.len && config_bool(v->config, &v->query, DIR_AUTO_MX_ROLLUP))
        group = rollup_site(r, name);
    if (group.len)
        json_object_set_new(o, "group", admin_json_text(group));
}

static void add_route(json_t *o, const struct resolving *v, const struct asked *a)
{
    const struct route *r = a->route;
    bool answered = r->status != ROUTE_PENDING;

    json_object_set_new(o, "kind", json_string(r->kind == ROUTE_MX ? "mx" : "host"));
    json_object_set_new(o, "name", admin_json_text(sv_of(r->domain)));
    json_object_set_new(o, "status",
                        json_string(answered ? route_status_name(r->status) : "no answer"));
    json_object_set_new(
        o, "text",
        admin_json_text(answered ? sv_of(r->text) : SV("the resolver has not answered in time")));
    if (!answered)
        return;
    json_object_set_new(o, "ttl_s",
                        json_integer(MAX_OF(r->expires_ms - clock_mono_ms(), (int64_t)0) / 1000));
    json_object_set_new(o, "hosts", hosts_array(v, r));
    if (r->kind == ROUTE_MX)
        json_object_set_new(o, "mx_secure", json_boolean(r->policy.mx_secure));
    if (r->kind == ROUTE_MX &&
        (r->policy.sts.id.len || r->policy.sts.failure.len || r->policy.sts.mode != STS_NONE))
        json_object_set_new(o, "mta_sts", sts_object(&r->policy.sts));
    add_group(o, v, r);
}

static void add_literal(json_t *o, const struct resolving *v, const struct asked *a)
{
    char name[256], asks[TLS_WHY_SIZE + 100];

    snprintf(name, sizeof(name), "%.*s", SV_ARG(a->host->name));
    struct tls_host h = tls_host_of(v, NULL, name);
    connects_asks(&h, asks, sizeof(asks));
    json_t *host = json_pack("{s:i, s:s, s:[], s:s, s:[], s:s}", "preference", 0, "host", "",
                             "addresses", "dane", "none", "tlsa", "asks", asks);

    add_address(host, &a->host->addr);
    json_object_set_new(o, "kind", json_string("address"));
    json_object_set_new(o, "name", admin_json_text(a->host->name));
    json_object_set_new(o, "status", json_string("ok"));
    json_object_set_new(o, "text", json_string(""));
    json_object_set_new(o, "hosts", json_pack("[o]", host));
}

/* Those of its addresses, which come in the same order as they were added. */
static void add_sessions(json_t *o, struct resolving *v, const struct asked *a)
{
    size_t n = !a->route ? 1 : a->route->status == ROUTE_OK ? a->route->address_count : 0;
    json_t *list = json_array(), *one;

    for (; n && (one = connects_result(v->connects, v->at)); n--, v->at++)
        json_array_append(list, one);
    json_object_set_new(o, "sessions", list);
}

static json_t *asked_object(struct resolving *v, const struct asked *a)
{
    json_t *o = json_pack("{s:s, s:o, s:o, s:i, s:b, s:b, s:b}", "pipe", v->pipe->name, "domain",
                          admin_json_text(v->query.domain), "vmta", admin_json_text(v->query.vmta),
                          "port", a->port, "use_starttls", v->tls.use_starttls, "use_dane",
                          v->tls.use_dane && !v->with_dane, "use_mta_sts",
                          v->tls.use_mta_sts && !v->with_mta_sts);

    if (v->with_dane)
        json_object_set_new(o, "with_dane", json_true());
    if (v->with_mta_sts)
        json_object_set_new(o, "with_mta_sts", json_true());
    if (!sv_eq(v->route_domain, v->query.domain))
        json_object_set_new(o, "queue_to", admin_json_text(v->route_domain));
    if (a->route)
        add_route(o, v, a);
    else
        add_literal(o, v, a);
    if (v->connects)
        add_sessions(o, v, a);
    return o;
}

/* --- the request --- */

static void on_closed(uv_handle_t *h)
{
    struct resolving *v = h->data;

    arena_free(&v->arena);
    config_unref(v->config);
    free(v);
}

static void on_timer(uv_timer_t *t);

static void finish(struct resolving *v)
{
    v->at = 0;
    list_remove(&v->link);
    for (size_t i = 0; i < v->count; i++)
        admin_send(&v->admin, asked_object(v, &v->asked[i]));
    admin_end(&v->admin);
    for (size_t i = 0; i < v->count; i++) {
        list_remove(&v->asked[i].waiter.link);
        route_unref(v->pipe->routes, v->asked[i].route);
    }
    connects_free(v->connects);
    v->connects = NULL;
    uv_close((uv_handle_t *)&v->timer, on_closed);
}

static void on_connected(void *arg)
{
    finish(arg);
}

static void add_connections(struct resolving *v, const struct asked *a)
{
    const struct route *r = a->route;
    char name[256];

    for (size_t i = 0; r && r->status == ROUTE_OK && i < r->address_count; i++) {
        snprintf(name, sizeof(name), "%.*s", SV_ARG(r->addresses[i].host));
        struct tls_host h = tls_host_of(v, r, name);
        connects_add(v->connects, &h, &r->addresses[i].addr, a->port);
    }
    if (r)
        return;
    snprintf(name, sizeof(name), "%.*s", SV_ARG(a->host->name));
    struct tls_host h = tls_host_of(v, NULL, name);
    connects_add(v->connects, &h, &a->host->addr, a->port);
}

/* From the first address of the virtual MTA, if it is one that this machine has. */
static void connect_all(struct resolving *v)
{
    struct engine *g = v->pipe->engine;
    const struct queue *q = engine_ask_queue(g, v->query.domain, v->query.vmta);
    bool has_source = q && !q->vmta->is_stranded;

    v->connects =
        connects_new(v->pipe, v->config, &v->query, has_source ? &q->vmta->sources[0] : NULL);
    for (size_t i = 0; i < v->count; i++)
        add_connections(v, &v->asked[i]);
    list_push_back(&v->pipe->probes, &v->link);
    uv_timer_start(&v->timer, on_timer, CONNECT_PATIENCE_MS, 0);
    connects_start(v->connects, on_connected, v);
}

/* All routes are known, or it has taken too long. */
static void routes_done(struct resolving *v)
{
    if (v->connect && v->pipe->state == PIPE_RUNNING)
        connect_all(v);
    else
        finish(v);
}

void pipe_probes_cancel(struct pipe *p)
{
    list_for_each (l, &p->probes)
        connects_abort(list_entry(l, struct resolving, link)->connects);
}

static void on_answered(struct route_waiter *w)
{
    struct resolving *v = container_of(w, struct asked, waiter)->all;
    if (--v->pending == 0 && !v->connects)
        routes_done(v);
}

static void on_timer(uv_timer_t *t)
{
    struct resolving *v = t->data;

    if (v->connects)
        connects_abort(v->connects);
    else
        routes_done(v);
}

/* What the question names is looked for and shown also where it cannot matter to mail, as with
 * tls-verify = mandatory; what is asked of the hosts tells that it does not. */
static uint8_t wanted(const struct resolving *v)
{
    return (uint8_t)(tls_settings_wants(&v->tls) | (v->show_dane ? ROUTE_WANT_TLSA : 0) |
                     (v->show_mta_sts ? ROUTE_WANT_STS : 0));
}

static void ask(struct resolving *v, struct asked *a, const struct host_entry *host)
{
    bool mx = !host || host->kind == HOST_LOOKUP_MX;
    struct route_wants wants = {
        .bits = wanted(v),
        .port = host && host->port ? host->port
                                   : (uint16_t)config_number(v->config, &v->query, DIR_SMTP_PORT),
    };

    a->all = v;
    a->host = host;
    a->port = wants.port;
    list_init(&a->waiter.link);
    a->waiter.answered = on_answered;
    if (host && host->kind == HOST_ADDRESS)
        return;
    a->route = routes_get(v->pipe->routes, mx ? ROUTE_MX : ROUTE_HOST,
                          host ? host->name : v->route_domain, wants, &a->waiter);
    v->pending += a->route->status == ROUTE_PENDING;
}

static struct strview lower_copy(struct arena *a, struct strview text)
{
    char *copy = arena_strndup(a, text.len ? text.ptr : "", text.len);
    str_lower(copy, text.len);
    return sv(copy, text.len);
}

/* Domain and virtual MTA of the question, and what the configuration says for them. */
static void configure(struct resolving *v, struct strview domain, struct strview vmta)
{
    struct pipe *p = v->pipe;
    struct config_query of_pipe = {.pipe = sv_of(p->name)};
    const char *fallback = config_text(p->config, &of_pipe, DIR_DEFAULT_VIRTUAL_MTA);

    v->config = config_ref(p->config);
    v->query = (struct config_query){
        .domain = lower_copy(&v->arena, domain),
        .vmta = lower_copy(&v->arena, vmta.len   ? vmta
                                      : fallback ? sv_of(fallback)
                                                 : SV(VMTA_DEFAULT)),
        .pipe = of_pipe.pipe,
    };
    if (config_has_section(v->config, KIND_VIRTUAL_MTA_POOL, v->query.vmta))
        v->query.pool = v->query.vmta;
    const char *to = config_text(v->config, &v->query, DIR_QUEUE_TO);
    v->route_domain = to && *to ? lower_copy(&v->arena, sv_of(to)) : v->query.domain;
    tls_settings_resolve(&v->tls, v->config, &v->query, TLS_ASK_NOTHING);
    v->with_dane = v->show_dane && !v->tls.use_dane;
    v->with_mta_sts = v->show_mta_sts && !v->tls.use_mta_sts;
    v->tls.use_dane |= v->show_dane;
    v->tls.use_mta_sts |= v->show_mta_sts;
}

static void start(struct resolving *v)
{
    struct host_entry *hosts = NULL;
    size_t host_count = 0;
    const char *text = config_text(v->config, &v->query, DIR_SMTP_HOSTS);

    if (text && *text)
        host_list_parse(sv_of(text), &v->arena, &hosts, &host_count, NULL);
    v->count = host_count ? host_count : 1;
    v->asked = arena_alloc(&v->arena, v->count * sizeof(v->asked[0]));
    for (size_t i = 0; i < v->count; i++)
        ask(v, &v->asked[i], host_count ? &hosts[i] : NULL);
    uv_timer_init(child_loop(v->pipe->child), &v->timer);
    v->timer.data = v;
    if (!v->pending)
        routes_done(v);
    else
        uv_timer_start(&v->timer, on_timer, PATIENCE_MS, 0);
}

void resolve_domain(void *owner, struct admin *a)
{
    struct strview domain = admin_text(a, "domain"), vmta = admin_text(a, "vmta");

    if (!domain.len || domain.len > 255 || vmta.len > 255) {
        admin_error(a, "'domain' is missing or too long");
        return;
    }
    struct resolving *v = xcalloc(1, sizeof(*v));
    v->admin = *a;
    v->admin.args = NULL;
    v->pipe = owner;
    v->connect = json_is_true(json_object_get(a->args, "connect"));
    v->show_dane = json_is_true(json_object_get(a->args, "use_dane"));
    v->show_mta_sts = json_is_true(json_object_get(a->args, "use_mta_sts"));
    list_init(&v->link);
    configure(v, domain, vmta);
    start(v);
}
