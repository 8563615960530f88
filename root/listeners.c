/*
 * Listening sockets and certificate files.
 *
 * Called by: monitor.c at the start and at a reload. A listener has one SO_REUSEPORT socket per
 * receiver, open as long as the listener is configured: while a receiver is being restarted, the
 * kernel keeps the connections that fall to its socket. Certificates are opened again at each
 * reload. A reload builds the new set beside the old one and takes it over only when all of it is
 * there.
 */
#include "monitor.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

/* "1.2.3.4:25", "[::1]:25", "*:25" (all addresses, both families) */
static int parse_address(const char *name, struct sockaddr_storage *ret, socklen_t *ret_len,
                         struct err *e)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
    struct strview whole = sv_of(name);
    const char *colon = strrchr(name, ':');
    uint64_t port = 0;
    char host[INET6_ADDRSTRLEN + 2];

    memset(ret, 0, sizeof(*ret));
    if (!colon || !sv_to_u64(sv_of(colon + 1), &port) || port > 65535 ||
        (size_t)(colon - name) >= sizeof(host))
        return err_set(e, ERR_CONFIG, "listener '%s' is not ADDRESS:PORT", name);
    memcpy(host, name, (size_t)(colon - name));
    host[colon - name] = '\0';
    bool any = strcmp(host, "*") == 0;
    if (host[0] == '[' && whole.len > 2) {
        size_t len = strlen(host);
        if (host[len - 1] == ']')
            host[len - 1] = '\0';
        memmove(host, host + 1, strlen(host));
    }
    if (!any && inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *ret_len = sizeof(*v4);
        return 0;
    }
    if (any || inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        *ret_len = sizeof(*v6);
        return 0;
    }
    return err_set(e, ERR_CONFIG, "listener '%s': '%s' is not an IP address", name, host);
}

static int bind_one(const struct sockaddr_storage *to, socklen_t len, bool both_families,
                    bool share)
{
    int on = 1, off = 0;
    int fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (to->ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, both_families ? &off : &on, sizeof(on));
    if ((share && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0) ||
        bind(fd, (const struct sockaddr *)to, len) < 0) {
        int code = -errno;
        close(fd);
        return code;
    }
    return fd;
}

static void listener_free(struct listener *l)
{
    for (unsigned i = 0; i < l->socket_count; i++)
        close(l->sockets[i]);
    if (l->cert_fd >= 0)
        close(l->cert_fd);
    if (l->key_fd >= 0)
        close(l->key_fd);
    free(l->sockets);
    free(l->address);
    free(l->name);
    free(l);
}

/* SO_REUSEPORT would let us join the port of another process of the same user without a word, so
 * the address is first bound alone. */
static int bind_all(struct listener *l, unsigned count, struct err *e)
{
    struct sockaddr_storage to;
    socklen_t len = 0;
    int code = parse_address(l->address, &to, &len, e);
    if (code < 0)
        return code;
    bool both = l->address[0] == '*';
    int alone = bind_one(&to, len, both, false);
    if (alone < 0)
        return err_set(e, alone, "cannot listen on %s", l->address);
    close(alone);
    l->sockets = xcalloc(count, sizeof(l->sockets[0]));
    while (l->socket_count < count) {
        int fd = bind_one(&to, len, both, true);
        if (fd < 0)
            return err_set(e, fd, "cannot listen on %s", l->address);
        l->sockets[l->socket_count++] = fd;
        if (listen(fd, BACKLOG) < 0)
            return err_set(e, -errno, "cannot listen on %s", l->address);
    }
    return 0;
}

static int open_pem(const struct root *r, const struct listener *l, const char *what,
                    const char *text, int *ret, struct err *e)
{
    char *path = setup_path(r, text);
    *ret = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (*ret < 0)
        err_set(e, -errno, "listener %s: cannot open %s '%s'", l->name, what, path);
    free(path);
    return *ret < 0 ? e->code : 0;
}

static int open_certificate(const struct root *r, const struct config *cfg, struct listener *l,
                            struct err *e)
{
    if (l->role != ROLE_RECEIVER)
        return 0;
    struct config_query q = {.listener = sv_of(l->name)};
    const char *cert = config_text(cfg, &q, DIR_TLS_CERTIFICATE);
    const char *key = config_text(cfg, &q, DIR_TLS_KEY);
    if (!cert || !cert[0])
        return 0;
    int code = open_pem(r, l, "tls-certificate", cert, &l->cert_fd, e);
    if (code == 0)
        code = open_pem(r, l, "tls-key", key && key[0] ? key : cert, &l->key_fd, e);
    return code;
}

static struct listener *find(struct root *r, enum role role, const char *name)
{
    list_for_each (n, &r->listeners) {
        struct listener *l = list_entry(n, struct listener, node);
        if (l->role == role && strcmp(l->name, name) == 0)
            return l;
    }
    return NULL;
}

static int same_sockets(struct listener *to, const struct listener *from, struct err *e)
{
    to->sockets = xcalloc(from->socket_count, sizeof(to->sockets[0]));
    for (unsigned i = 0; i < from->socket_count; i++) {
        int fd = fcntl(from->sockets[i], F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
            return err_set(e, -errno, "listener %s", from->name);
        to->sockets[to->socket_count++] = fd;
    }
    return 0;
}

static int add(struct root *r, const struct config *cfg, enum config_kind kind, const char *name,
               struct list *to, struct err *e)
{
    struct listener *l = xcalloc(1, sizeof(*l));
    enum role role = kind == KIND_HTTP_LISTENER ? ROLE_WEB : ROLE_RECEIVER;
    const struct listener *old = find(r, role, name);
    const struct config_value *v = config_section_get(cfg, kind, sv_of(name), DIR_ADDRESS);
    const char *address = v && v->text && v->text[0] ? v->text : name;
    l->role = role;
    if (old && strcmp(old->address, address) != 0)
        log_warn(LOG_CONFIG, "listener '%s' stays at %s until the next start", name, old->address);
    l->name = xstrdup(name);
    l->address = xstrdup(old ? old->address : address);
    l->cert_fd = l->key_fd = -1;
    list_push_back(to, &l->node);
    unsigned count = role == ROLE_RECEIVER ? r->receiver_count : 1;
    int code = old ? same_sockets(l, old, e) : bind_all(l, count, e);
    return code < 0 ? code : open_certificate(r, cfg, l, e);
}

static void free_all(struct list *all)
{
    struct list *n;
    while ((n = list_pop_front(all)))
        listener_free(list_entry(n, struct listener, node));
}

int listeners_apply(struct root *r, const struct config *cfg, struct err *e)
{
    static const enum config_kind kinds[] = {KIND_LISTENER, KIND_HTTP_LISTENER};
    struct list fresh;
    const char *name;
    int code = 0;

    list_init(&fresh);
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
        for (size_t i = 0; code == 0 && (name = config_section_name(cfg, kinds[k], i)); i++)
            code = add(r, cfg, kinds[k], name, &fresh, e);
    if (code == 0) {
        free_all(&r->listeners);
        list_splice_back(&r->listeners, &fresh);
    }
    free_all(&fresh);
    return code;
}

void listeners_fini(struct root *r)
{
    free_all(&r->listeners);
}
