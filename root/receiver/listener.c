/*
 * Listening sockets, which root bound and keeps: each wake-up accepts at most ACCEPTS_PER_TURN
 * connections. When descriptors run out, accepting stops for a second (session_tick resumes it)
 * instead of spinning.
 */
#include "base/log.h"
#include "receiver.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPTS_PER_TURN = 64 };

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

void listener_close_removed(struct receiver *r)
{
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

void listener_open(struct receiver *r, const char *name, int fd, int cert_fd, int key_fd)
{
    struct tls_context *tls = NULL;
    struct err e;

    if (cert_fd >= 0) {
        tls = tls_context_server(cert_fd, key_fd, &e);
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
