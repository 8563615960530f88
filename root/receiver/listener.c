/*
 * Listening sockets, which root bound and keeps: each wake-up accepts at most ACCEPTS_PER_TURN
 * connections. When descriptors run out, accepting stops for a second (session_tick resumes it)
 * instead of spinning.
 *
 * A listener that checks client certificates opens when its root certificates were read, in the thread
 * pool. Until then the one that it replaces goes on; where there is none, connections wait in the
 * backlog of the socket.
 */
#include "base/log.h"
#include "mail/tls_config.h"
#include "receiver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPTS_PER_TURN = 64 };

/* A listener that waits for its root certificates. */
struct opening {
    struct list link; /* receiver->openings */
    struct tls_files_waiter waiter;
    struct receiver *receiver;
    int fd, cert_fd, key_fd; /* owned */
    char name[128];
};

static void opening_free(struct opening *o)
{
    int fds[] = {o->fd, o->cert_fd, o->key_fd};

    list_remove(&o->link);
    list_remove(&o->waiter.link);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(o);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *l = poll->data;

    (void)events;
    for (int i = 0; status == 0 && i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage addr = {0};
        socklen_t len = sizeof(addr);
        int fd = accept4(l->fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            session_open(l->receiver, l, fd, (struct sockaddr *)&addr);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_warn(LOG_SMTP_IN, "cannot accept listener=%s: %s, waiting a second", l->name,
                     strerror(errno));
            uv_poll_stop(&l->poll);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;
    close(l->fd);
    tls_context_unref(l->tls);
    free(l);
}

void listener_close(struct listener *l)
{
    list_remove(&l->link);
    uv_close((uv_handle_t *)&l->poll, on_closed);
}

void listener_resume_all(struct receiver *r)
{
    list_for_each (pos, &r->listeners) {
        struct listener *l = list_entry(pos, struct listener, link);
        if (!uv_is_active((uv_handle_t *)&l->poll))
            uv_poll_start(&l->poll, UV_READABLE, on_readable);
    }
}

static void close_same_name(struct receiver *r, const char *name)
{
    list_for_each_safe (pos, &r->listeners) {
        struct listener *l = list_entry(pos, struct listener, link);
        if (strcmp(l->name, name) == 0)
            listener_close(l);
    }
}

static const char *client_ca(const struct receiver *r, const char *name)
{
    const struct config_value *v =
        config_section_get(r->config, KIND_LISTENER, sv_of(name), DIR_TLS_CLIENT_CA);
    return v ? v->text : NULL;
}

void listener_close_removed(struct receiver *r)
{
    list_for_each_safe (pos, &r->openings) {
        struct opening *o = list_entry(pos, struct opening, link);
        if (!config_has_section(r->config, KIND_LISTENER, sv_of(o->name)))
            opening_free(o);
    }
    list_for_each_safe (pos, &r->listeners) {
        struct listener *l = list_entry(pos, struct listener, link);
        if (!config_has_section(r->config, KIND_LISTENER, sv_of(l->name)))
            listener_close(l);
    }
}

/* The TLS context of the listener that a new one replaces, or NULL. */
static struct tls_context *older_tls(struct receiver *r, const char *name)
{
    list_for_each (pos, &r->listeners) {
        struct listener *l = list_entry(pos, struct listener, link);
        if (strcmp(l->name, name) == 0 && l->tls)
            return tls_context_ref(l->tls);
    }
    return NULL;
}

/* Certificates for names that clients ask for. */
static int add_names(struct receiver *r, const char *name, struct tls_context *t, struct err *e)
{
    const struct config_value *v =
        config_section_get(r->config, KIND_LISTENER, sv_of(name), DIR_TLS_CERTIFICATE_FOR);
    struct tls_certificate_for f;
    int status = 0;

    for (; v && v->text && status == 0; v = v->next) {
        if (tls_certificate_for_parse(sv_of(v->text), &f, e) < 0)
            return e->code;
        char *host = xstrndup(f.host.ptr, f.host.len);
        int cert = tls_files_fd(r->tls_files, f.cert), key = tls_files_fd(r->tls_files, f.key);
        status = cert < 0 || key < 0
                     ? err_set(e, ERR_NOT_FOUND, "a file for '%s' was not handed over", host)
                     : tls_context_add(t, host, cert, key, e);
        if (status)
            err_prefix(e, "tls-certificate-for %s", host);
        free(host);
    }
    return status;
}

/* Everything that the listener's section says about TLS, or NULL with *e. */
static struct tls_context *make_tls(struct receiver *r, const char *name, int cert_fd, int key_fd,
                                    struct err *e)
{
    struct strview section = sv_of(name);
    const struct config_value *v;
    struct tls_context *t = tls_context_server(cert_fd, key_fd, e);

    if (!t || add_names(r, name, t, e) < 0) {
        tls_context_unref(t);
        return NULL;
    }
    v = config_section_get(r->config, KIND_LISTENER, section, DIR_TLS_MIN_VERSION);
    if (v && v->text)
        tls_context_set_min_version(t, (enum tls_version)v->number);
    const char *ca = client_ca(r, name);
    if (!ca)
        return t;
    struct tls_roots *roots = tls_files_roots(r->tls_files, ca);
    if (roots) {
        tls_context_set_client_roots(t, roots);
        return t;
    }
    err_set(e, ERR_TLS, "tls-client-ca '%s' cannot be used", ca);
    tls_context_unref(t);
    return NULL;
}

static void open_now(struct receiver *r, const char *name, int fd, int cert_fd, int key_fd)
{
    struct tls_context *tls = NULL;
    struct err e;

    if (cert_fd >= 0) {
        tls = make_tls(r, name, cert_fd, key_fd, &e);
        if (!tls) {
            tls = older_tls(r, name);
            log_error(LOG_TLS, "cannot use certificate or key listener=%s: %s, going on with%s",
                      name, e.text, tls ? " the ones of before" : "out TLS");
        }
    }
    close_same_name(r, name);
    struct listener *l = xcalloc(1, sizeof(*l));
    l->receiver = r;
    l->fd = fd;
    l->tls = tls;
    snprintf(l->name, sizeof(l->name), "%s", name);
    list_push_back(&r->listeners, &l->link);
    int status = uv_poll_init(child_loop(r->child), &l->poll, fd);
    BUG_ON(status < 0);
    l->poll.data = l;
    if (!r->draining)
        uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

/* --- with root certificates --- */

static void drop_openings(struct receiver *r, const char *name)
{
    list_for_each_safe (pos, &r->openings) {
        struct opening *o = list_entry(pos, struct opening, link);
        if (!name || strcmp(o->name, name) == 0)
            opening_free(o);
    }
}

/* Its roots are there, or there is another set of files, which may have to be read, too. */
static void go_on(struct opening *o)
{
    struct receiver *r = o->receiver;
    int fd = o->fd;

    if (!tls_files_load_roots(r->tls_files, child_loop(r->child), client_ca(r, o->name),
                              &o->waiter))
        return;
    o->fd = -1;
    open_now(r, o->name, fd, o->cert_fd, o->key_fd);
    opening_free(o);
}

static void on_roots(struct tls_files_waiter *w)
{
    go_on(container_of(w, struct opening, waiter));
}

void listener_open(struct receiver *r, const char *name, int fd, int cert_fd, int key_fd)
{
    drop_openings(r, name); /* what came before this */
    if (cert_fd < 0 || !client_ca(r, name)) {
        open_now(r, name, fd, cert_fd, key_fd);
        return;
    }
    struct opening *o = xcalloc(1, sizeof(*o));
    o->receiver = r;
    o->waiter.ready = on_roots;
    list_init(&o->waiter.link);
    o->fd = fd;
    o->cert_fd = fcntl(cert_fd, F_DUPFD_CLOEXEC, 0);
    o->key_fd = fcntl(key_fd, F_DUPFD_CLOEXEC, 0);
    snprintf(o->name, sizeof(o->name), "%s", name);
    list_push_back(&r->openings, &o->link);
    go_on(o);
}

void listener_close_all(struct receiver *r)
{
    drop_openings(r, NULL);
    list_for_each_safe (pos, &r->listeners)
        listener_close(list_entry(pos, struct listener, link));
}
