/*
 * pmta-resolver: the only process that speaks DNS, and the one that fetches MTA-STS policies. It
 * reads route_request and lookup_request from the pipes' edges and answers route_reply and
 * lookup_reply, from the cache at once, else when the engine (resolve.c) has an answer. Root hands it
 * a directory in which policies survive a restart (policies.c); it is ready when that has been read.
 *
 * Name servers come from the configuration (name-server), else from /etc/resolv.conf, else
 * 127.0.0.1. A pipe that goes away loses what waits for it; a pipe that breaks the protocol loses
 * its edge. A drain answers what is under way, and what is not answered in time as a temporary
 * failure. A pipe may also have a report sent by HTTPS (post_request, post.c).
 */
#include "exchange.h"
#include "policies.h"
#include "post.h"

#include "base/log.h"
#include "mail/config.h"
#include "net/admin_verbs.h"
#include "net/child.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char resolv_conf[] = "/etc/resolv.conf";

struct process {
    struct child *child;
    struct exchange_pool *pool;
    struct resolve *resolve;
    struct policies policies;
    struct posts *posts;
    struct list peers;
    struct config *config;
    uv_timer_t drain_timer;
    bool loading; /* policies of an earlier run */
    bool started;
    bool draining, exiting;
    uint64_t requests, from_cache, refused;
};

/* One pipe. Freed when its edge is gone. */
struct peer {
    struct process *process;
    struct list link;
    struct ipc_edge *edge;
    struct resolve_client *client;
    char *name;
};

/* --- name servers --- */

static void add_configured(struct servers *s, const struct config *cfg, const struct servers *old)
{
    const struct config_value *v = config_get(cfg, NULL, DIR_NAME_SERVER);

    for (; v && v->text; v = v->next) {
        struct sockaddr_storage addr;
        struct err e = {0};
        if (server_parse(sv_of(v->text), &addr, &e) < 0)
            log_warn(LOG_DNS, "%s, passing it over", e.text);
        else if (servers_add(s, &addr, old) == ERR_LIMIT)
            log_warn(LOG_DNS, "more than %d name servers, passing over '%s'", SERVER_MAX, v->text);
    }
}

static void add_of_system(struct servers *s, const struct servers *old)
{
    char text[8192];
    int fd = open(resolv_conf, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));

    if (n < 0)
        log_warn(LOG_DNS, "cannot read '%s' (%s), asking 127.0.0.1", resolv_conf, strerror(errno));
    else
        servers_add_resolv_conf(s, sv(text, (size_t)n), old);
    if (fd >= 0)
        close(fd);
}

static void choose_servers(struct process *p)
{
    const struct servers *old = &resolve_lookups(p->resolve)->servers;
    struct servers s = {0};
    struct sockaddr_storage local;

    add_configured(&s, p->config, old);
    if (!s.count)
        add_of_system(&s, old);
    if (!s.count && server_parse(SV("127.0.0.1"), &local, NULL) == 0)
        servers_add(&s, &local, old);
    bool validating = config_bool(p->config, NULL, DIR_NAME_SERVER_VALIDATES);
    resolve_set_servers(p->resolve, &s, config_number(p->config, NULL, DIR_DNS_TIMEOUT),
                        validating);
    for (size_t i = 0; i < s.count; i++) {
        log_info(LOG_DNS, "name server '%s'", s.items[i].text);
        if (validating && !server_is_near(&s.items[i]))
            log_warn(LOG_DNS,
                     "name-server-validates believes '%s', which is on a public address: whoever "
                     "can forge its packets can forge TLSA records, going on",
                     s.items[i].text);
    }
}

static void configure_policies(struct process *p)
{
    struct fetch_options options = {
        .ca_file = config_text(p->config, NULL, DIR_MTA_STS_CA_FILE),
        .port = (uint16_t)config_number(p->config, NULL, DIR_MTA_STS_PORT),
    };
    policies_configure(&p->policies, &options);
    posts_configure(p->posts, options.ca_file);
}

static void on_wake(void *arg);
static void send_posted(void *owner, uint64_t token, unsigned status, const char *text);

/* Before the first word of root there is a loop and nothing else. */
static void set_up(struct process *p)
{
    struct resolve_limits limits = RESOLVE_LIMITS_DEFAULT;

    if (p->resolve)
        return;
    limits.questions = exchange_socket_limit(limits.questions);
    p->pool = exchange_pool_new(child_loop(p->child), on_wake, p);
    p->resolve = resolve_new(&exchange_pool_ops, p->pool, &limits);
    policies_start(&p->policies, child_loop(p->child), p->resolve);
    p->posts = posts_new(child_loop(p->child), resolve_own_lookups(p->resolve), send_posted);
    uv_timer_init(child_loop(p->child), &p->drain_timer);
    p->drain_timer.data = p;
}

/* --- drain --- */

static void exit_now(struct process *p)
{
    if (p->exiting)
        return;
    p->exiting = true;
    policies_stop(&p->policies);
    posts_close(p->posts);
    p->posts = NULL;
    exchange_pool_close(p->pool);
    p->pool = NULL;
    uv_timer_stop(&p->drain_timer);
    child_exit(p->child, 0);
}

static void exit_when_drained(struct process *p)
{
    if (p->draining && !resolve_pending(p->resolve))
        exit_now(p);
}

static void on_drain_timeout(uv_timer_t *t)
{
    struct process *p = t->data;
    resolve_abort(p->resolve, "the resolver is stopping");
    exit_now(p);
}

static void on_drain(void *owner, int64_t timeout_ms)
{
    struct process *p = owner;

    if (p->draining)
        return;
    set_up(p);
    p->draining = true;
    uv_timer_start(&p->drain_timer, on_drain_timeout, (uint64_t)MAX_OF(timeout_ms, (int64_t)0), 0);
    exchange_pool_ops.wake(p->pool);
}

static void on_wake(void *arg)
{
    struct process *p = arg;
    resolve_run(p->resolve);
    exit_when_drained(p);
}

/* --- requests --- */

static void send_route(void *owner, uint64_t token, const struct route_result *r)
{
    struct peer *peer = owner;
    struct ipc_route_reply m = {
        .token = token,
        .status = (uint8_t)r->status,
        .ttl_s = r->ttl_s,
        .text = sv_of(r->text),
        .hosts = buf_view(&r->hosts),
        .policy = buf_view(&r->policy),
    };
    ipc_send(peer->edge, route_reply, &m);
}

static void send_answer(void *owner, uint64_t token, const struct ask_result *r)
{
    struct peer *peer = owner;
    struct ipc_lookup_reply m = {
        .token = token,
        .status = (uint8_t)r->status,
        .secure = r->secure,
        .ttl_s = r->ttl_s,
        .text = sv_of(r->text),
        .records = buf_view(&r->records),
    };
    ipc_send(peer->edge, lookup_reply, &m);
}

static const struct resolve_replies replies = {send_route, send_answer};

static const char *refusal(const struct process *p)
{
    return p->draining ? "the resolver is stopping" : "too many lookups wait";
}

static int take_route_request(struct peer *peer, struct strview frame)
{
    struct process *p = peer->process;
    struct ipc_route_request m;
    struct route_result r;
    int rc = ipc_decode_route_request(frame, &m);

    if (rc < 0)
        return rc;
    if (m.kind != ROUTE_MX && m.kind != ROUTE_HOST)
        return ERR_PROTOCOL;
    struct route_request q = {m.kind, m.domain, m.wants, m.port};
    p->requests++;
    if (resolve_cached(p->resolve, &q, &r)) {
        p->from_cache++;
        send_route(peer, m.token, &r);
        route_result_free(&r);
    } else if (p->draining || resolve_request(peer->client, m.token, &q) < 0) {
        p->refused++;
        r = (struct route_result){.status = ROUTE_TEMPORARY};
        snprintf(r.text, sizeof(r.text), "%s", refusal(p));
        send_route(peer, m.token, &r);
    }
    return 0;
}

static int take_lookup_request(struct peer *peer, struct strview frame)
{
    struct process *p = peer->process;
    struct ipc_lookup_request m;
    struct ask_result r;
    int rc = ipc_decode_lookup_request(frame, &m);

    if (rc < 0)
        return rc;
    if (!ask_kind_is_known(m.kind))
        return ERR_PROTOCOL;
    p->requests++;
    if (resolve_cached_answer(p->resolve, m.kind, m.name, &r)) {
        p->from_cache++;
        send_answer(peer, m.token, &r);
        ask_result_free(&r);
    } else if (p->draining || resolve_ask(peer->client, m.token, m.kind, m.name) < 0) {
        p->refused++;
        r = (struct ask_result){.status = LOOKUP_TEMPORARY};
        snprintf(r.text, sizeof(r.text), "%s", refusal(p));
        send_answer(peer, m.token, &r);
    }
    return 0;
}

static void send_posted(void *owner, uint64_t token, unsigned status, const char *text)
{
    struct peer *peer = owner;

    ipc_send(peer->edge, post_reply,
             (&(struct ipc_post_reply){
                 .token = token, .http_status = (uint16_t)status, .text = sv_of(text)}));
}

/* The body of a post: inline, or all of a small file in memory (memfd). */
static int body_of_post(struct ipc_frame *frame, struct strview inline_, struct buf *ret)
{
    struct stat st;
    int fd = ipc_frame_take_fd(frame, 0);
    int status = 0;

    if (fd < 0) {
        buf_append_sv(ret, inline_);
        return 0;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > POST_MAX_BYTES)
        status = ERR_PROTOCOL;
    while (status == 0 && buf_len(ret) < (size_t)st.st_size) {
        size_t left = (size_t)st.st_size - buf_len(ret);
        ssize_t n = pread(fd, buf_reserve(ret, left), left, (off_t)buf_len(ret));
        if (n > 0)
            buf_advance(ret, (size_t)n);
        else if (n == 0 || errno != EINTR)
            status = ERR_PROTOCOL;
    }
    close(fd);
    return status;
}

static int take_post_request(struct peer *peer, struct ipc_frame *frame)
{
    struct process *p = peer->process;
    struct ipc_post_request m;
    struct arena arena = {0};
    struct buf body = {0};
    struct err e = {0};
    int rc = ipc_decode_post_request(frame->bytes, &m);

    if (rc == 0)
        rc = body_of_post(frame, m.body, &body);
    if (rc == 0 && p->draining)
        send_posted(peer, m.token, 0, "the resolver is stopping");
    else if (rc == 0 &&
             posts_start(p->posts, peer, m.token, arena_strndup(&arena, m.url.ptr, m.url.len),
                         arena_strndup(&arena, m.content_type.ptr, m.content_type.len),
                         buf_view(&body), &e) < 0)
        send_posted(peer, m.token, 0, e.text);
    buf_free(&body);
    arena_free(&arena);
    return rc;
}

static int on_frame(void *owner, struct ipc_edge *edge, struct ipc_frame *frame)
{
    (void)edge;
    if (frame->id == IPC_route_request)
        return take_route_request(owner, frame->bytes);
    if (frame->id == IPC_lookup_request)
        return take_lookup_request(owner, frame->bytes);
    if (frame->id == IPC_post_request)
        return take_post_request(owner, frame);
    return ERR_PROTOCOL;
}

/* --- edges --- */

static void peer_free(struct peer *peer)
{
    list_remove(&peer->link);
    resolve_client_close(peer->client);
    if (peer->process->posts)
        posts_forget(peer->process->posts, peer);
    free(peer->name);
    free(peer);
}

static void on_down(void *owner, struct ipc_edge *edge, int code)
{
    struct peer *peer = owner;
    (void)edge;
    log_debug(LOG_IPC, "pipe '%s' is gone: %s", peer->name, err_name(code));
    peer_free(peer);
}

static const struct ipc_edge_ops edge_ops = {.frame = on_frame, .down = on_down};

static void drop_peer_named(struct process *p, const char *name)
{
    list_for_each_safe (pos, &p->peers) {
        struct peer *peer = list_entry(pos, struct peer, link);
        if (strcmp(peer->name, name) != 0)
            continue;
        ipc_edge_close(peer->edge);
        peer_free(peer);
    }
}

static void on_edge(void *owner, enum role role, const char *name, int fd)
{
    struct process *p = owner;

    if (role != ROLE_PIPE) {
        log_warn(LOG_IPC, "no use for an edge to %s '%s', closing it", ipc_role_name(role), name);
        close(fd);
        return;
    }
    set_up(p);
    drop_peer_named(p, name);
    struct peer *peer = xcalloc(1, sizeof(*peer));
    peer->process = p;
    peer->name = xstrdup(name);
    list_push_back(&p->peers, &peer->link);
    peer->client = resolve_client_open(p->resolve, &replies, peer);
    peer->edge = ipc_edge_open(child_loop(p->child), fd, ROLE_RESOLVER, ROLE_PIPE, &edge_ops, peer);
}

/* --- control --- */

static int on_config(void *owner, struct strview snapshot, uint64_t generation, struct err *e)
{
    struct process *p = owner;
    struct config *cfg = NULL;
    int rc = config_snapshot_decode(snapshot, &cfg, e);

    (void)generation;
    if (rc < 0)
        return rc;
    config_unref(p->config);
    p->config = cfg;
    set_up(p);
    choose_servers(p);
    configure_policies(p);
    return 0;
}

static void on_loaded(void *arg)
{
    struct process *p = arg;

    p->loading = false;
    if (p->started && !p->exiting)
        child_ready(p->child, "");
}

static void on_directory(void *owner, const char *purpose, int fd)
{
    struct process *p = owner;

    set_up(p);
    if (strcmp(purpose, "mta-sts") != 0 || p->loading || p->started || p->draining) {
        close(fd);
        return;
    }
    p->loading = true;
    policies_load(&p->policies, fd, on_loaded, p);
}

static void on_start(void *owner)
{
    struct process *p = owner;

    p->started = true;
    if (!p->loading)
        child_ready(p->child, "");
}

static json_t *servers_status(const struct servers *s)
{
    json_t *list = json_array();

    for (size_t i = 0; i < s->count; i++) {
        const struct server *one = &s->items[i];
        json_array_append_new(
            list,
            json_pack("{s:s, s:f, s:i, s:I, s:I, s:I}", "address", one->text, "rtt_ms", one->rtt_ms,
                      "failures", (int)one->failures, "queries", (json_int_t)one->queries,
                      "answers", (json_int_t)one->answers, "timeouts", (json_int_t)one->timeouts));
    }
    return list;
}

static json_t *policies_status(const struct sts *s)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "domains", (json_int_t)s->entries.count, "bytes",
                     (json_int_t)s->bytes, "fetches", (json_int_t)s->fetches, "failures",
                     (json_int_t)s->failures, "evictions", (json_int_t)s->evictions);
}

static char *status_text(const struct process *p)
{
    const struct lookups *l = resolve_lookups(p->resolve);
    const struct cache *c = &l->cache;
    json_t *o = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o, "
        "s:o}",
        "process", "resolver", "requests", (json_int_t)p->requests, "from_cache",
        (json_int_t)p->from_cache, "refused", (json_int_t)p->refused, "pending",
        (json_int_t)resolve_pending(p->resolve), "queries", (json_int_t)l->queries, "tcp_queries",
        (json_int_t)l->by_tcp, "timeouts", (json_int_t)l->timeouts, "coalesced",
        (json_int_t)l->coalesced, "in_flight", (json_int_t)l->fair.active, "cache_entries",
        (json_int_t)c->entries.count, "cache_bytes", (json_int_t)c->bytes, "cache_hits",
        (json_int_t)c->hits, "cache_misses", (json_int_t)c->misses, "cache_evictions",
        (json_int_t)c->evictions, "validates", l->validating, "mta_sts",
        policies_status(p->policies.sts), "servers", servers_status(&l->servers));
    char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(4));

    BUG_ON(!text);
    json_decref(o);
    return text;
}

static void on_admin(void *owner, const struct child_admin_request *req)
{
    struct process *p = owner;
    struct strview rest = req->line, verb = {0};

    sv_split(&rest, ' ', &verb);
    verb = sv_trim(verb);
    if (admin_verb_find(verb.ptr, verb.len) != VERB_STATUS || !p->resolve) {
        child_admin_reply(p->child, req->token,
                          SV("{\"error\":\"the resolver does not know this verb\"}\n"), true);
        return;
    }
    char *text = status_text(p);
    struct buf line = {0};
    buf_printf(&line, "%s\n", text);
    child_admin_reply(p->child, req->token, buf_view(&line), true);
    buf_free(&line);
    free(text);
}

static const struct child_ops child_operations = {
    .role = ROLE_RESOLVER,
    .program = "pmta-resolver",
    .config = on_config,
    .directory = on_directory,
    .edge = on_edge,
    .start = on_start,
    .admin = on_admin,
    .drain = on_drain,
};

int main(int argc, char **argv)
{
    static struct process p;

    list_init(&p.peers);
    return child_main(argc, argv, &child_operations, &p, &p.child);
}
