/*
 * pmta-web: what people and programs reach by HTTP. Today unsubscribe links and /healthz. Started by
 * pmtad when there is an [http-listener]; sockets, configuration and secret come from root, entries of
 * the suppression list go to pmta-suppress. Opens no file and speaks no TLS: it stands behind the
 * operator's proxy.
 */
#include "base/clock.h"
#include "base/log.h"
#include "net/admin.h"
#include "net/child.h"
#include "unsubscribe.h"

#include <string.h>
#include <unistd.h>

struct web {
    struct child *child;
    struct config *config;
    struct http *http;
    struct suppress_client *suppress;
    struct unsubscribe *unsubscribe;
    int64_t started_ms;
    bool draining;
};

/* --- routes --- */

static void handle_unsubscribe(void *owner, struct http_request *r)
{
    struct web *w = owner;
    unsubscribe_handle(w->unsubscribe, r);
}

static void handle_health(void *owner, struct http_request *r)
{
    (void)owner;
    http_reply(r, 200, "text/plain; charset=utf-8", SV("ok\n"), NULL);
}

static const struct http_route routes[] = {
    {UNSUBSCRIBE_PATH, "GET, HEAD, POST", handle_unsubscribe},
    {"/healthz", "GET, HEAD", handle_health},
    {NULL, NULL, NULL},
};

/* --- child_ops --- */

static void open_rooms(struct web *w)
{
    uv_loop_t *loop = child_loop(w->child);

    if (w->http)
        return;
    w->suppress = suppress_client_new(loop, ROLE_WEB, NULL, NULL);
    w->unsubscribe = unsubscribe_new(loop, w->suppress);
    w->http = http_new(loop, routes, w);
}

static int take_config(void *owner, struct strview snapshot, uint64_t generation, struct err *e)
{
    struct web *w = owner;
    struct config *cfg;

    (void)generation;
    if (config_snapshot_decode(snapshot, &cfg, e) < 0)
        return e->code;
    open_rooms(w);
    config_unref(w->config);
    w->config = cfg;
    http_configure(w->http, cfg);
    unsubscribe_configure(w->unsubscribe, cfg);
    return 0;
}

static void take_secret(void *owner, const char *name, int fd)
{
    struct web *w = owner;
    struct mail_token_key key;
    struct err e;

    open_rooms(w);
    if (name && strcmp(name, "installation") == 0) {
        if (mail_token_key_read(fd, &key, &e) < 0)
            log_error(LOG_MAIN, "unsubscribe links cannot be checked: %s", e.text);
        else
            unsubscribe_set_key(w->unsubscribe, &key);
    }
    if (fd >= 0)
        close(fd);
}

static void take_edge(void *owner, enum role peer, const char *name, int fd)
{
    struct web *w = owner;

    (void)name;
    open_rooms(w);
    if (peer == ROLE_SUPPRESS)
        suppress_client_edge(w->suppress, fd);
    else
        close(fd);
}

static void take_listener(void *owner, const char *name, int fd, int cert_fd, int key_fd)
{
    struct web *w = owner;

    if (cert_fd >= 0)
        close(cert_fd);
    if (key_fd >= 0)
        close(key_fd);
    if (w->config && !w->draining)
        http_listen(w->http, name, fd);
    else
        close(fd);
}

static void start(void *owner)
{
    struct web *w = owner;
    struct err e;

    if (!w->config) {
        err_set(&e, ERR_CONFIG, "started without a configuration");
        child_fatal(w->child, &e);
        return;
    }
    child_ready(w->child, "");
}

static void show_status(void *owner, struct admin *a)
{
    struct web *w = owner;
    const struct http_counts *h = http_counts(w->http);
    const struct unsubscribe_counts *u = unsubscribe_counts(w->unsubscribe);

    admin_send(a, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:b}",
                            "connections", (json_int_t)h->open, "accepted",
                            (json_int_t)h->connections, "requests", (json_int_t)h->requests,
                            "unsubscribed", (json_int_t)u->done, "pages", (json_int_t)u->asked,
                            "forged", (json_int_t)u->forged, "expired", (json_int_t)u->expired,
                            "failed", (json_int_t)u->failed, "waiting",
                            (json_int_t)unsubscribe_waiting(w->unsubscribe), "not_found",
                            (json_int_t)h->not_found, "too_large", (json_int_t)h->too_large,
                            "limited", (json_int_t)h->limited, "uptime_s",
                            (double)(clock_mono_ms() - w->started_ms) / 1000.0, "draining",
                            (int)w->draining));
    admin_end(a);
}

static void take_admin(void *owner, const struct child_admin_request *req)
{
    static const struct admin_handler handlers[] = {{VERB_STATUS, show_status}};
    struct web *w = owner;

    open_rooms(w);
    admin_dispatch(w->child, "web", req, handlers, ARRAY_LEN(handlers), w);
}

static void on_drained(void *arg)
{
    struct web *w = arg;

    suppress_client_free(w->suppress); /* nobody is told any more */
    w->suppress = NULL;
    child_exit(w->child, 0);
}

static void drain(void *owner, int64_t timeout_ms)
{
    struct web *w = owner;

    if (w->draining)
        return;
    w->draining = true;
    open_rooms(w);
    http_drain(w->http, timeout_ms, on_drained, w);
}

int main(int argc, char **argv)
{
    static const struct child_ops ops = {
        .role = ROLE_WEB,
        .program = "pmta-web",
        .config = take_config,
        .secret = take_secret,
        .edge = take_edge,
        .listener = take_listener,
        .start = start,
        .admin = take_admin,
        .drain = drain,
    };
    static struct web w;

    w.started_ms = clock_mono_ms();
    return child_main(argc, argv, &ops, &w, &w.child);
}
