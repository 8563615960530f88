/*
 * resolve_probe: asks name servers for routes or records with the resolver's own engine and sockets
 * and prints one JSON object per name. For tests and for people who wonder what the resolver makes
 * of a domain.
 *
 *   resolve_probe --server ADDR:PORT [--server …] [--timeout MS] [--repeat N] [--host] [--validates]
 *       [--ask TYPE] NAME…
 *
 * A round asks all names at once; with --repeat the next round begins when the last reply is there.
 * With --ask the records of that type, in hexadecimal, instead of the route.
 */
#include "exchange.h"
#include "resolve.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <stdio.h>

struct probe {
    uv_loop_t loop;
    struct exchange_pool *pool;
    struct resolve *resolve;
    struct resolve_client *client;
    struct servers servers;
    int64_t timeout_ms;
    unsigned long rounds;
    enum route_kind kind;
    enum lookup_kind ask; /* 0: routes */
    bool validates;
    char **names;
    size_t name_count;
    size_t waiting;
};

static json_t *host_object(const struct route_address *a)
{
    char ip[INET6_ADDRSTRLEN];
    const void *bytes = a->addr.ss_family == AF_INET6
                            ? (const void *)&((const struct sockaddr_in6 *)&a->addr)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)&a->addr)->sin_addr;

    inet_ntop(a->addr.ss_family, bytes, ip, sizeof(ip));
    return json_pack("{s:i, s:s%, s:s}", "preference", a->preference, "host", a->host.ptr,
                     a->host.len, "address", ip);
}

static void print(const char *name, const struct route_result *r, bool cached)
{
    struct arena arena = {0};
    struct route_address *list = NULL;
    size_t count = 0;
    json_t *hosts = json_array();

    BUG_ON(route_hosts_decode(buf_view(&r->hosts), &arena, &list, &count) < 0);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(hosts, host_object(&list[i]));
    json_t *o = json_pack("{s:s, s:s, s:i, s:s, s:b, s:o}", "name", name, "status",
                          route_status_name(r->status), "ttl", (int)r->ttl_s, "text", r->text,
                          "cached", cached, "hosts", hosts);
    json_dumpf(o, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(o);
    arena_free(&arena);
}

static json_t *record_text(struct strview record)
{
    struct buf hex = {0};

    for (size_t i = 0; i < record.len; i++)
        buf_printf(&hex, "%02x", (unsigned char)record.ptr[i]);
    json_t *o = json_string(buf_data(&hex));
    buf_free(&hex);
    return o;
}

static void print_answer(const char *name, const struct ask_result *r, bool cached)
{
    struct arena arena = {0};
    struct strview *list = NULL;
    size_t count = 0;
    json_t *records = json_array();

    BUG_ON(lookup_records_decode(buf_view(&r->records), &arena, &list, &count) < 0);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(records, record_text(list[i]));
    json_t *o = json_pack("{s:s, s:i, s:b, s:i, s:s, s:b, s:o}", "name", name, "status",
                          (int)r->status, "secure", r->secure, "ttl", (int)r->ttl_s, "text",
                          r->text, "cached", cached, "records", records);
    json_dumpf(o, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(o);
    arena_free(&arena);
}

static void print_counters(const struct probe *p)
{
    const struct lookups *l = resolve_lookups(p->resolve);
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I}", "queries", (json_int_t)l->queries, "tcp",
                          (json_int_t)l->by_tcp, "timeouts", (json_int_t)l->timeouts, "cache_hits",
                          (json_int_t)l->cache.hits, "foreign", (json_int_t)l->foreign);
    json_dumpf(o, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(o);
}

static void round_begin(struct probe *p);

static void round_step(struct probe *p)
{
    while (!p->waiting && p->rounds)
        round_begin(p);
    if (p->waiting || !p->client)
        return;
    resolve_client_close(p->client);
    p->client = NULL;
    exchange_pool_close(p->pool);
}

static void on_reply(void *owner, uint64_t token, const struct route_result *r)
{
    struct probe *p = owner;
    print(p->names[token], r, false);
    p->waiting--;
}

static void on_answer(void *owner, uint64_t token, const struct ask_result *r)
{
    struct probe *p = owner;
    print_answer(p->names[token], r, false);
    p->waiting--;
}

static void on_wake(void *arg)
{
    struct probe *p = arg;
    resolve_run(p->resolve);
    round_step(p);
}

static void ask_route(struct probe *p, size_t i)
{
    struct route_request q = {.kind = p->kind, .domain = sv_of(p->names[i])};
    struct route_result r;

    if (resolve_cached(p->resolve, &q, &r)) {
        print(p->names[i], &r, true);
        route_result_free(&r);
    } else if (resolve_request(p->client, i, &q) == 0) {
        p->waiting++;
    }
}

static void ask_records(struct probe *p, size_t i)
{
    struct strview name = sv_of(p->names[i]);
    struct ask_result r;

    if (resolve_cached_answer(p->resolve, p->ask, name, &r)) {
        print_answer(p->names[i], &r, true);
        ask_result_free(&r);
    } else if (resolve_ask(p->client, i, p->ask, name) == 0) {
        p->waiting++;
    }
}

static void round_begin(struct probe *p)
{
    p->rounds--;
    for (size_t i = 0; i < p->name_count; i++) {
        if (p->ask)
            ask_records(p, i);
        else
            ask_route(p, i);
    }
}

static int usage(const char *why)
{
    fprintf(stderr,
            "resolve_probe: %s\n"
            "usage: resolve_probe --server ADDR:PORT [--server ...] [--timeout MS] [--repeat N] "
            "[--host] [--validates] [--ask TYPE] NAME...\n",
            why);
    return 2;
}

static int add_server(struct probe *p, const char *text)
{
    struct sockaddr_storage addr;
    struct err e = {0};

    if (server_parse(sv_of(text), &addr, &e) < 0)
        return usage(e.text);
    return servers_add(&p->servers, &addr, NULL) == 0 ? 0 : usage("too many name servers");
}

static enum lookup_kind kind_named(const char *name)
{
#define PROBE_KIND(id, number, text, form) \
    if (strcmp(name, text) == 0)           \
        return LOOKUP_##id;
    LOOKUP_KINDS(PROBE_KIND)
#undef PROBE_KIND
    return 0;
}

/* Returns the exit status for bad arguments, or 0. */
static int parse(struct probe *p, int argc, char **argv)
{
    int i = 1;

    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--host") == 0) {
            p->kind = ROUTE_HOST;
        } else if (strcmp(argv[i], "--validates") == 0) {
            p->validates = true;
        } else if (i + 1 == argc) {
            return usage("an option lacks its value");
        } else if (strcmp(argv[i], "--server") == 0) {
            if (add_server(p, argv[++i]) != 0)
                return 2;
        } else if (strcmp(argv[i], "--timeout") == 0) {
            p->timeout_ms = strtol(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--ask") == 0) {
            if (!(p->ask = kind_named(argv[++i])))
                return usage("unknown type");
        } else if (strcmp(argv[i], "--repeat") == 0) {
            p->rounds = strtoul(argv[++i], NULL, 10);
        } else {
            return usage("unknown option");
        }
    }
    p->names = argv + i;
    p->name_count = (size_t)(argc - i);
    if (!p->servers.count || p->timeout_ms <= 0 || !p->rounds || !p->name_count)
        return usage("a server and names are needed");
    return 0;
}

int main(int argc, char **argv)
{
    static const struct resolve_replies replies = {on_reply, on_answer};
    struct probe p = {.timeout_ms = 500, .rounds = 1, .kind = ROUTE_MX};
    struct resolve_limits limits = RESOLVE_LIMITS_DEFAULT;
    int status = parse(&p, argc, argv);

    if (status)
        return status;
    limits.questions = exchange_socket_limit(limits.questions);
    uv_loop_init(&p.loop);
    p.pool = exchange_pool_new(&p.loop, on_wake, &p);
    p.resolve = resolve_new(&exchange_pool_ops, p.pool, &limits);
    resolve_set_servers(p.resolve, &p.servers, p.timeout_ms, p.validates);
    p.client = resolve_client_open(p.resolve, &replies, &p);
    exchange_pool_ops.wake(p.pool);
    uv_run(&p.loop, UV_RUN_DEFAULT);
    print_counters(&p);
    resolve_free(p.resolve);
    return uv_loop_close(&p.loop) == 0 ? 0 : 1;
}
