/*
 * HTTP; see http.h. Each listener is a libmicrohttpd daemon whose epoll descriptor hangs in our loop;
 * its time-outs are one timer. A request that is not answered when its handler returns is suspended,
 * and resumed with the answer.
 *
 * What can go wrong is all the client's: too large, too slow, too many; each has a limit. Memory: a
 * request goes when libmicrohttpd says that it is completed; one that is suspended cannot be.
 */
#include "http.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "proxy.h"
#include "rate.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <stdio.h>
#include <unistd.h>

enum { IDLE_S = 30, TICK_MAX_MS = 1000, RUNS_PER_TURN = 4, SWALLOW_MAX = 256 * 1024 };

struct http_listener {
    struct list link;
    struct http *http;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_timer_t timer;
    unsigned open_handles;
    bool closing;
    char name[128];
};

struct http_request {
    struct list link; /* http->requests */
    struct http *http;
    struct http_listener *listener;
    struct MHD_Connection *connection;
    const struct http_route *route;
    char *path;
    char client[HTTP_CLIENT_MAX];
    struct buf body;
    size_t received; /* of the body */
    struct MHD_Response *response; /* to be queued */
    unsigned status;
    bool post;
    bool too_large;
    bool handled;   /* its handler was called */
    bool suspended;
    bool replied;
};

struct http {
    uv_loop_t *loop;
    const struct http_route *routes;
    void *owner;
    struct config *config;
    struct list listeners, requests;
    struct proxies proxies;
    struct rate_table rates;
    struct http_counts counts;
    uv_timer_t drain_timer;
    int64_t drain_until_ms;
    void (*drained)(void *arg);
    void *drained_arg;
};

struct http *http_new(uv_loop_t *loop, const struct http_route *routes, void *owner)
{
    struct http *h = xcalloc(1, sizeof(*h));

    h->loop = loop;
    h->routes = routes;
    h->owner = owner;
    list_init(&h->listeners);
    list_init(&h->requests);
    rate_table_init(&h->rates);
    return h;
}

const struct http_counts *http_counts(const struct http *h)
{
    return &h->counts;
}

/* --- requests --- */

bool http_is_post(const struct http_request *r)
{
    return r->post;
}

struct strview http_path(const struct http_request *r)
{
    return sv_of(r->path);
}

struct strview http_rest(const struct http_request *r)
{
    return sv_of(r->path + strlen(r->route->prefix));
}

const char *http_client(const struct http_request *r)
{
    return r->client;
}

bool http_over_rate(struct http_request *r)
{
    struct http *h = r->http;
    const struct rate *limit = &config_get(h->config, NULL, DIR_HTTP_MAX_BAD_RATE)->rate;

    h->counts.not_found++;
    if (rate_take(&h->rates, r->client, limit, clock_mono_ms()))
        return false;
    h->counts.limited++;
    return true;
}

struct form {
    const char *name;
    char *value;
    size_t size;
    bool found;
};

static enum MHD_Result on_field(void *arg, enum MHD_ValueKind kind, const char *key,
                                const char *filename, const char *type, const char *encoding,
                                const char *data, uint64_t off, size_t size)
{
    struct form *f = arg;

    (void)kind, (void)filename, (void)type, (void)encoding;
    if (!key || strcmp(key, f->name) != 0 || off >= f->size - 1)
        return MHD_YES;
    size_t n = MIN_OF(size, f->size - 1 - (size_t)off);
    memcpy(f->value + off, data, n);
    f->value[off + n] = '\0';
    f->found = true;
    return MHD_YES;
}

bool http_form_field(const struct http_request *r, const char *name, char *value, size_t size)
{
    struct form f = {name, value, size, false};
    struct MHD_PostProcessor *p =
        MHD_create_post_processor(r->connection, 1024, on_field, &f);

    value[0] = '\0';
    if (!p) /* no form by its type */
        return false;
    MHD_post_process(p, buf_data(&r->body), buf_len(&r->body));
    MHD_destroy_post_processor(p);
    return f.found;
}

static void add_header_lines(struct MHD_Response *response, const char *lines)
{
    struct strview rest = sv_of(lines), line, name;

    while (lines && sv_split(&rest, '\n', &line)) {
        if (!line.len || !sv_split(&line, ':', &name))
            continue;
        char *n = xstrndup(name.ptr, name.len);
        struct strview trimmed = sv_trim(line);
        char *v = xstrndup(trimmed.ptr, trimmed.len);
        MHD_add_response_header(response, n, v);
        free(n);
        free(v);
    }
}

static void run(struct http_listener *l);

void http_reply(struct http_request *r, unsigned status, const char *type, struct strview body,
                const char *headers)
{
    BUG_ON(r->replied);
    r->replied = true;
    r->status = status;
    r->response = MHD_create_response_from_buffer(
        body.len, (void *)(uintptr_t)body.ptr, MHD_RESPMEM_MUST_COPY);
    BUG_ON(!r->response);
    MHD_add_response_header(r->response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(r->response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(r->response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(r->response, "Referrer-Policy", "no-referrer");
    add_header_lines(r->response, headers);
    if (!r->suspended)
        return;
    r->suspended = false;
    struct http_listener *l = r->listener;
    MHD_resume_connection(r->connection);
    uv_timer_start(&l->timer, l->timer.timer_cb, 0, 0); /* not inside the caller */
}

static void reply_text(struct http_request *r, unsigned status, const char *text,
                       const char *headers)
{
    http_reply(r, status, "text/plain; charset=utf-8", sv_of(text), headers);
}

/* The peer, or whom it speaks for. */
static void name_client(struct http_request *r)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const char *said = MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND,
                                                   "X-Forwarded-For");

    proxy_client(&r->http->proxies, info ? info->client_addr : NULL, said, r->client,
                 sizeof(r->client));
}

static const struct http_route *find_route(const struct http *h, const char *path)
{
    const struct http_route *best = NULL;

    for (const struct http_route *t = h->routes; t->prefix; t++)
        if (strncmp(path, t->prefix, strlen(t->prefix)) == 0 &&
            (!best || strlen(t->prefix) > strlen(best->prefix)))
            best = t;
    return best;
}

static struct http_request *request_new(struct http_listener *l, struct MHD_Connection *c,
                                        const char *path, const char *method)
{
    struct http_request *r = xcalloc(1, sizeof(*r));

    r->http = l->http;
    r->listener = l;
    r->connection = c;
    r->path = xstrdup(path);
    r->post = strcmp(method, MHD_HTTP_METHOD_POST) == 0;
    r->route = find_route(l->http, path);
    list_push_back(&l->http->requests, &r->link);
    l->http->counts.requests++;
    name_client(r);
    return r;
}

static bool allows(const char *methods, const char *method)
{
    struct strview rest = sv_of(methods), one;

    while (sv_split(&rest, ',', &one))
        if (sv_eq(sv_trim(one), sv_of(method)))
            return true;
    return false;
}

static void handle(struct http_request *r, const char *method)
{
    char allow[80];

    r->handled = true;
    if (r->too_large) {
        r->http->counts.too_large++;
        reply_text(r, MHD_HTTP_CONTENT_TOO_LARGE, "Too large\n", "Connection: close\n");
    } else if (!r->route) {
        if (http_over_rate(r))
            reply_text(r, MHD_HTTP_TOO_MANY_REQUESTS, "Too many requests\n", "Retry-After: 60\n");
        else
            reply_text(r, MHD_HTTP_NOT_FOUND, "Not found\n", NULL);
    } else if (!allows(r->route->methods, method)) {
        snprintf(allow, sizeof(allow), "Allow: %s\n", r->route->methods);
        reply_text(r, MHD_HTTP_METHOD_NOT_ALLOWED, "Method not allowed\n", allow);
    } else {
        r->route->handle(r->http->owner, r);
    }
}

static enum MHD_Result answer(struct http_request *r)
{
    enum MHD_Result status = MHD_queue_response(r->connection, r->status, r->response);
    MHD_destroy_response(r->response);
    r->response = NULL;
    return status;
}

/* Called with the header, with pieces of the body, and at its end; and again after a resume. */
static enum MHD_Result on_access(void *arg, struct MHD_Connection *c, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *size, void **slot)
{
    struct http_request *r = *slot;

    (void)version;
    if (!r) {
        *slot = request_new(arg, c, url, method);
        return MHD_YES;
    }
    if (*size) {
        r->received += *size;
        if (r->received > SWALLOW_MAX)
            return MHD_NO; /* cut off: nobody has to read that much only to refuse it */
        if (buf_len(&r->body) + *size > HTTP_BODY_MAX)
            r->too_large = true;
        else
            buf_append(&r->body, data, *size);
        *size = 0;
        return MHD_YES;
    }
    if (!r->handled)
        handle(r, method);
    if (r->replied)
        return answer(r);
    r->suspended = true;
    MHD_suspend_connection(c);
    return MHD_YES;
}

static void on_completed(void *arg, struct MHD_Connection *c, void **slot,
                         enum MHD_RequestTerminationCode how)
{
    struct http_request *r = *slot;

    (void)arg, (void)c, (void)how;
    if (!r)
        return;
    *slot = NULL;
    list_remove(&r->link);
    if (r->response)
        MHD_destroy_response(r->response);
    buf_free(&r->body);
    free(r->path);
    free(r);
}

static void on_connection(void *arg, struct MHD_Connection *c, void **slot,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http_listener *l = arg;

    (void)c, (void)slot;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        l->http->counts.connections++;
        l->http->counts.open++;
    } else {
        l->http->counts.open--;
    }
}

/* --- listeners in the loop --- */

static void on_timer(uv_timer_t *t)
{
    run(t->data);
}

/* What is due; then until the next time-out. A daemon with more to do at once comes again in the next
 * turn of the loop. */
static void run(struct http_listener *l)
{
    MHD_UNSIGNED_LONG_LONG ms = TICK_MAX_MS;

    if (l->closing)
        return;
    for (int i = 0; i < RUNS_PER_TURN; i++) {
        MHD_run(l->daemon);
        if (MHD_get_timeout(l->daemon, &ms) != MHD_YES) {
            ms = TICK_MAX_MS;
            break;
        }
        if (ms)
            break;
    }
    uv_timer_start(&l->timer, on_timer, MIN_OF((uint64_t)ms, (uint64_t)TICK_MAX_MS), 0);
}

static void on_ready(uv_poll_t *p, int status, int events)
{
    (void)status, (void)events;
    run(p->data);
}

static void on_log(void *arg, const char *fmt, va_list ap)
{
    char text[300];

    (void)arg;
    vsnprintf(text, sizeof(text), fmt, ap);
    text[strcspn(text, "\r\n")] = '\0';
    log_debug(LOG_MAIN, "libmicrohttpd: %s", log_safe(text, strlen(text), sizeof(text)));
}

static void on_handle_closed(uv_handle_t *h)
{
    struct http_listener *l = h->data;
    if (--l->open_handles == 0)
        free(l);
}

static void release_requests(struct http_listener *l)
{
    list_for_each_safe (pos, &l->http->requests) {
        struct http_request *r = list_entry(pos, struct http_request, link);
        if (r->listener == l && r->suspended) {
            r->suspended = false;
            r->replied = true; /* whoever keeps it must not answer any more */
            MHD_resume_connection(r->connection);
        }
    }
}

static void close_listener(struct http_listener *l)
{
    list_remove(&l->link);
    l->closing = true;
    uv_poll_stop(&l->poll);
    uv_timer_stop(&l->timer);
    release_requests(l);
    MHD_stop_daemon(l->daemon);
    uv_close((uv_handle_t *)&l->poll, on_handle_closed);
    uv_close((uv_handle_t *)&l->timer, on_handle_closed);
}

static struct http_listener *find_listener(struct http *h, const char *name)
{
    list_for_each (pos, &h->listeners) {
        struct http_listener *l = list_entry(pos, struct http_listener, link);
        if (strcmp(l->name, name) == 0)
            return l;
    }
    return NULL;
}

static bool has_requests(const struct http_listener *l)
{
    list_for_each (pos, &l->http->requests)
        if (list_entry(pos, struct http_request, link)->listener == l)
            return true;
    return false;
}

/* A listener that goes takes nobody new; when nothing is under way it is closed. */
static void retire(struct http_listener *l)
{
    int fd = MHD_quiesce_daemon(l->daemon);
    if (fd >= 0)
        close(fd);
    if (!has_requests(l))
        close_listener(l);
    else
        l->name[0] = '\0'; /* closed by the next configuration, or at the end */
}

void http_configure(struct http *h, struct config *cfg)
{
    config_unref(h->config);
    h->config = config_ref(cfg);
    proxies_read(&h->proxies, config_text(cfg, NULL, DIR_HTTP_PROXY));
    list_for_each_safe (pos, &h->listeners) {
        struct http_listener *l = list_entry(pos, struct http_listener, link);
        if (!l->name[0] && !has_requests(l))
            close_listener(l);
        else if (l->name[0] && !config_has_section(cfg, KIND_HTTP_LISTENER, sv_of(l->name)))
            retire(l);
    }
}

static struct MHD_Daemon *start_daemon(struct http_listener *l, int fd)
{
    unsigned most = (unsigned)config_number(l->http->config, NULL, DIR_HTTP_MAX_CONNECTIONS);

    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_access, l,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, most, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_HEADER_MAX,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, l, MHD_OPTION_END);
}

void http_listen(struct http *h, const char *name, int fd)
{
    struct http_listener *old = find_listener(h, name);
    struct http_listener *l = xcalloc(1, sizeof(*l));

    if (old)
        retire(old);
    l->http = h;
    snprintf(l->name, sizeof(l->name), "%s", name);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    l->daemon = start_daemon(l, fd);
    const union MHD_DaemonInfo *info =
        l->daemon ? MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info || info->epoll_fd < 0) {
        log_error(LOG_MAIN, "HTTP cannot be served listener=%s: libmicrohttpd does not start", name);
        if (l->daemon)
            MHD_stop_daemon(l->daemon);
        else
            close(fd);
        free(l);
        return;
    }
    uv_poll_init(h->loop, &l->poll, info->epoll_fd);
    uv_timer_init(h->loop, &l->timer);
    l->poll.data = l->timer.data = l;
    l->open_handles = 2;
    list_push_back(&h->listeners, &l->link);
    uv_poll_start(&l->poll, UV_READABLE, on_ready);
    run(l);
}

/* --- the end --- */

static void finish_drain(struct http *h)
{
    uv_timer_stop(&h->drain_timer);
    list_for_each_safe (pos, &h->listeners)
        close_listener(list_entry(pos, struct http_listener, link));
    h->drained(h->drained_arg);
}

static void on_drain_timer(uv_timer_t *t)
{
    struct http *h = t->data;

    if (list_empty(&h->requests) || clock_mono_ms() >= h->drain_until_ms)
        finish_drain(h);
}

void http_drain(struct http *h, int64_t timeout_ms, void (*done)(void *arg), void *arg)
{
    enum { LOOK_MS = 20 };

    h->drained = done;
    h->drained_arg = arg;
    h->drain_until_ms = clock_mono_ms() + timeout_ms;
    list_for_each_safe (pos, &h->listeners)
        retire(list_entry(pos, struct http_listener, link));
    uv_timer_init(h->loop, &h->drain_timer);
    h->drain_timer.data = h;
    uv_timer_start(&h->drain_timer, on_drain_timer, 0, LOOK_MS);
}
