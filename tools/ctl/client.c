/*
 * The connection to pmtad; see client.h. Called by main.c, once. What can go wrong: no socket,
 * nobody behind it, no permission, silence, a line without end; each is one line for the operator.
 */
#include "client.h"
#include "command.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { DEFAULT_TIMEOUT_S = 60 };

static const char *advice(int error)
{
    switch (error) {
    case ENOENT:
        return " (is pmtad running?)";
    case ECONNREFUSED:
        return " (pmtad is not running)";
    case EACCES:
    case EPERM:
        return " (are you root or in group pmta-admin?)";
    default:
        return "";
    }
}

int client_connect(struct client *c, const char *path, int timeout_ms, struct err *e)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    *c = (struct client){.fd = -1, .timeout_ms = timeout_ms};
    if (strlen(path) >= sizeof(addr.sun_path))
        return err_set(e, ERR_LIMIT,
                       "cannot connect to '%s': a socket's path has at most %zu bytes", path,
                       sizeof(addr.sun_path) - 1);
    strcpy(addr.sun_path, path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        int error = errno;
        client_close(c);
        return err_set(e, ERR_CLOSED, "cannot connect to '%s': %s%s", path, strerror(error),
                       advice(error));
    }
    return 0;
}

void client_close(struct client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    buf_free(&c->in);
}

static int wait_for(struct client *c, short events, struct err *e)
{
    struct pollfd p = {.fd = c->fd, .events = events};
    int64_t until = clock_mono_ms() + c->timeout_ms;
    int left = c->timeout_ms, n;

    while ((n = poll(&p, 1, left)) < 0 && errno == EINTR)
        if (c->timeout_ms >= 0)
            left = (int)MAX_OF(until - clock_mono_ms(), (int64_t)0);
    if (n == 0)
        return err_set(e, ERR_TIMEOUT, "pmtad said nothing for %d seconds (see --timeout)",
                       c->timeout_ms / 1000);
    return n < 0 ? err_set(e, -errno, "cannot wait for pmtad") : 0;
}

int client_send(struct client *c, struct strview text, struct err *e)
{
    struct buf line = {0};
    size_t done = 0;
    int rc = 0;

    buf_append_sv(&line, text);
    buf_append_char(&line, '\n');
    while (rc == 0 && done < buf_len(&line)) {
        ssize_t n =
            send(c->fd, buf_data(&line) + done, buf_len(&line) - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            done += (size_t)n;
        else if (errno == EAGAIN)
            rc = wait_for(c, POLLOUT, e);
        else if (errno != EINTR)
            rc = err_set(e, -errno, "cannot send to pmtad");
    }
    buf_free(&line);
    return rc;
}

/* 1, 0 at the end, or negative. */
static int fill(struct client *c, struct err *e)
{
    enum { CHUNK = 64 * 1024 };
    int rc = wait_for(c, POLLIN, e);
    ssize_t n;

    if (rc < 0)
        return rc;
    do
        n = recv(c->fd, buf_reserve(&c->in, CHUNK), CHUNK, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == ECONNRESET ? 0 : err_set(e, -errno, "cannot read from pmtad");
    buf_advance(&c->in, (size_t)n);
    return n > 0;
}

int client_line(struct client *c, struct strview *ret, struct err *e)
{
    buf_consume(&c->in, c->line);
    c->line = 0;
    for (;;) {
        struct strview all = buf_view(&c->in);
        ptrdiff_t at = sv_find(sv(all.ptr + c->scanned, all.len - c->scanned), '\n');
        if (at >= 0) {
            *ret = sv(all.ptr, c->scanned + (size_t)at);
            c->line = ret->len + 1;
            c->scanned = 0;
            return 1;
        }
        c->scanned = all.len;
        if (all.len > CLIENT_LINE_MAX)
            return err_set(e, ERR_LIMIT, "pmtad sent a line of more than %u MiB",
                           CLIENT_LINE_MAX >> 20);
        int rc = fill(c, e);
        if (rc <= 0)
            return rc;
    }
}

/* --- what the operator said --- */

static const char *socket_path(const struct parsed *p)
{
    const char *from_env = getenv("PMTA_ADMIN_SOCKET");

    if (p->options[OPT_SOCKET])
        return p->options[OPT_SOCKET];
    return from_env && *from_env ? from_env : CTL_DEFAULT_SOCKET;
}

static int timeout_ms(const struct parsed *p)
{
    uint64_t seconds = DEFAULT_TIMEOUT_S;

    if (p->options[OPT_TIMEOUT])
        sv_to_u64(sv_of(p->options[OPT_TIMEOUT]), &seconds);
    return seconds == 0 ? -1 : (int)(MIN_OF(seconds, (uint64_t)INT32_MAX / 1000) * 1000);
}

int client_open(struct client *c, const struct parsed *p, struct err *e)
{
    return client_connect(c, socket_path(p), timeout_ms(p), e);
}
