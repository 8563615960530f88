/*
 * Clients of the admin socket: the socket itself, lines in, bytes out.
 *
 * Called by: monitor.c (open, close), admin.c (say, close). What can go wrong: a client that is
 * silent or does not read for IDLE_MS, sends a line that is too long, or lets OUTPUT_MAX pile up is
 * dropped. One request per client at a time: nothing is read from a client meanwhile. Memory: a
 * client is freed when libuv has closed its three handles.
 */
#include "admin_int.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    CLIENTS_MAX = 32,
    LINE_MAX_BYTES = 64 * 1024,
    OUTPUT_MAX = 32 * 1024 * 1024,
    IDLE_MS = 60000,
    GROUPS_MAX = 256,
};

/* --- end of a client --- */

static void admin_free_when_empty(struct admin *a)
{
    if (!a->closing || a->pipe_open || a->client_count)
        return;
    free(a->path);
    free(a);
}

static void on_client_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    struct admin *a = c->admin;
    if (--c->handles_open)
        return;
    a->client_count--;
    buf_free(&c->in);
    free(c);
    admin_free_when_empty(a);
}

void client_cancel_part(struct client *c, struct part *p)
{
    struct ipc_admin_cancel m = {c->token};
    if (p->kid && p->kid->control && p->kid->handed_over)
        ipc_send(p->kid->control, admin_cancel, &m);
}

void client_request_clear(struct client *c)
{
    for (size_t i = 0; i < c->part_count; i++) {
        client_cancel_part(c, &c->parts[i]);
        buf_free(&c->parts[i].partial);
    }
    free(c->parts);
    c->parts = NULL;
    c->part_count = c->waiting = 0;
    c->busy = c->waits_for_reload = false;
}

void client_close(struct client *c)
{
    if (c->closing)
        return;
    c->closing = true;
    client_request_clear(c);
    list_remove(&c->node);
    uv_close((uv_handle_t *)&c->pipe, on_client_closed);
    uv_close((uv_handle_t *)&c->idle, on_client_closed);
    uv_close((uv_handle_t *)&c->answer, on_client_closed);
}

static void on_idle(uv_timer_t *timer)
{
    struct client *c = timer->data;
    if (c->busy && uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) == 0) {
        uv_timer_again(timer); /* it waits for us, not we for it */
        return;
    }
    log_debug(LOG_ADMIN, "client dropped: nothing moved for %d s", IDLE_MS / 1000);
    client_close(c);
}

/* --- output --- */

struct write {
    uv_write_t req;
    struct client *client;
    struct buf bytes;
};

static void after_write(struct client *c, int status)
{
    if (c->closing)
        return;
    uv_timer_again(&c->idle);
    bool empty = uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) == 0;
    if (status < 0 || (c->ended && !c->busy && empty))
        client_close(c);
    else if (empty)
        client_step(c);
}

static void on_written(uv_write_t *req, int status)
{
    struct write *w = req->data;
    struct client *c = w->client;
    buf_free(&w->bytes);
    free(w);
    after_write(c, status);
}

/* Takes the bytes out of *text. */
void client_say(struct client *c, struct buf *text)
{
    if (c->closing || buf_len(text) == 0) {
        buf_free(text);
        return;
    }
    struct write *w = xcalloc(1, sizeof(*w));
    w->client = c;
    w->bytes = *text;
    w->req.data = w;
    *text = (struct buf){0};
    uv_buf_t b = uv_buf_init(buf_data(&w->bytes), (unsigned)buf_len(&w->bytes));
    int code = uv_write(&w->req, (uv_stream_t *)&c->pipe, &b, 1, on_written);
    if (code < 0) {
        buf_free(&w->bytes);
        free(w);
        client_close(c);
    } else if (uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) > OUTPUT_MAX) {
        log_warn(LOG_ADMIN, "client dropped: it does not read what it asked for");
        client_close(c);
    }
}

/* --- input --- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct client *c = handle->data;
    (void)suggested;
    *ret = uv_buf_init(c->chunk, sizeof(c->chunk));
}

static void client_read(struct client *c, ssize_t n)
{
    if (n > 0)
        buf_append(&c->in, c->chunk, (size_t)n);
    if (n < 0)
        c->ended = true;
    client_step(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
    (void)b;
    uv_timer_again(&((struct client *)stream->data)->idle);
    client_read(stream->data, n);
}

/* Takes the next line out of the input into *line; false when there is none. */
static bool next_line(struct client *c, struct buf *line)
{
    ptrdiff_t at = sv_find(buf_view(&c->in), '\n');
    if (at < 0)
        return false;
    buf_append(line, buf_data(&c->in), (size_t)at);
    buf_consume(&c->in, (size_t)at + 1);
    return true;
}

/* Handles what is there, one request at a time, and only while the client takes the answers. */
void client_step(struct client *c)
{
    struct buf line = {0};
    uv_stream_t *stream = (uv_stream_t *)&c->pipe;

    while (!c->closing && !c->busy && uv_stream_get_write_queue_size(stream) == 0 &&
           next_line(c, &line)) {
        if (buf_len(&line) > LINE_MAX_BYTES)
            request_refuse(c, "line is longer than %d bytes", LINE_MAX_BYTES);
        else
            request_line(c, buf_view(&line));
        buf_reset(&line);
    }
    buf_free(&line);
    if (c->closing)
        return;
    if (!c->busy && buf_len(&c->in) > LINE_MAX_BYTES && sv_find(buf_view(&c->in), '\n') < 0) {
        buf_reset(&c->in);
        c->ended = true;
        request_refuse(c, "line is longer than %d bytes", LINE_MAX_BYTES);
        if (c->closing)
            return;
    }
    bool quiet = !c->busy && uv_stream_get_write_queue_size(stream) == 0;
    if (c->ended && quiet)
        client_close(c);
    else if (!c->ended && quiet)
        uv_read_start(stream, on_alloc, on_read);
    else
        uv_read_stop(stream);
}

/* --- a new client --- */

static bool is_operator(const struct admin *a, int fd, const struct ucred *peer)
{
    gid_t groups[GROUPS_MAX];
    socklen_t len = sizeof(groups);
    if (peer->uid == 0 || peer->uid == geteuid())
        return true;
    if (!a->has_group)
        return false;
    if (peer->gid == a->group)
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
        return false;
    for (size_t i = 0; i < len / sizeof(groups[0]); i++)
        if (groups[i] == a->group)
            return true;
    return false;
}

static int identify(struct client *c)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)&c->pipe, &fd) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return -EACCES;
    c->uid = peer.uid;
    c->level = is_operator(c->admin, fd, &peer) ? ADMIN_OPERATE : ADMIN_READ;
    return 0;
}

static struct client *client_new(struct admin *a)
{
    struct client *c = xcalloc(1, sizeof(*c));
    uv_loop_t *loop = &a->root->loop;
    c->admin = a;
    uv_pipe_init(loop, &c->pipe, 0);
    uv_timer_init(loop, &c->idle);
    uv_timer_init(loop, &c->answer);
    c->pipe.data = c->idle.data = c->answer.data = c;
    c->handles_open = 3;
    a->client_count++;
    list_push_back(&a->clients, &c->node);
    return c;
}

static void accept_client(struct admin *a)
{
    struct client *c = client_new(a);
    if (uv_accept((uv_stream_t *)&a->pipe, (uv_stream_t *)&c->pipe) < 0 || identify(c) < 0) {
        client_close(c);
        return;
    }
    uv_timer_start(&c->idle, on_idle, IDLE_MS, IDLE_MS);
    if (a->client_count > CLIENTS_MAX) {
        c->ended = true;
        request_refuse(c, "more than %d admin connections", CLIENTS_MAX);
    }
    if (!c->closing)
        client_step(c);
}

static void on_connection(uv_stream_t *server, int status)
{
    if (status == 0)
        accept_client(server->data);
}

/* --- open and close --- */

/* A socket file that nobody listens on was left by a pmtad that was killed. */
static int remove_stale(const char *path, struct err *e)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_set(e, -errno, "admin socket '%s'", path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(e, ERR_BUSY, "'%s' is in the way of the admin socket: it is not a socket",
                       path);
    snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set(e, -errno, "admin socket '%s'", path);
    bool dead = connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno == ECONNREFUSED;
    close(fd);
    if (!dead)
        return err_set(e, ERR_BUSY, "another process listens on the admin socket '%s'", path);
    if (unlink(path) < 0)
        return err_set(e, -errno, "cannot remove the stale admin socket '%s'", path);
    return 0;
}

static void give_to_group(struct admin *a)
{
    const char *name = config_text(a->root->config, NULL, DIR_ADMIN_GROUP);
    struct group *g = name ? getgrnam(name) : NULL;
    if (!g)
        return;
    a->has_group = true;
    a->group = g->gr_gid;
    if (chown(a->path, (uid_t)-1, g->gr_gid) < 0)
        log_debug(LOG_ADMIN, "admin socket not given to group '%s': %s", name, strerror(errno));
}

static int bind_socket(struct admin *a, struct err *e)
{
    if (strlen(a->path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return err_set(e, -ENAMETOOLONG, "admin socket '%s'", a->path);
    int code = remove_stale(a->path, e);
    if (code < 0)
        return code;
    mode_t before = umask(0117); /* 0660 from its first moment */
    code = uv_pipe_bind(&a->pipe, a->path);
    umask(before);
    if (code < 0)
        return err_set(e, code, "cannot bind the admin socket '%s'", a->path);
    give_to_group(a);
    code = uv_listen((uv_stream_t *)&a->pipe, CLIENTS_MAX, on_connection);
    return code < 0 ? err_set(e, code, "cannot listen on the admin socket '%s'", a->path) : 0;
}

int admin_open(struct root *r, struct err *e)
{
    struct admin *a = xcalloc(1, sizeof(*a));
    struct buf path = {0};
    buf_printf(&path, "%s/admin.sock", r->run_dir);
    a->root = r;
    a->path = buf_take(&path);
    list_init(&a->clients);
    uv_pipe_init(&r->loop, &a->pipe, 0);
    a->pipe.data = a;
    a->pipe_open = true;
    r->admin = a;
    return bind_socket(a, e);
}

static void on_server_closed(uv_handle_t *handle)
{
    struct admin *a = handle->data;
    a->pipe_open = false;
    admin_free_when_empty(a);
}

/* libuv unlinks the socket file when it closes the pipe that bound it. */
void admin_close(struct admin *a)
{
    if (!a || a->closing)
        return;
    a->closing = true;
    list_for_each_safe (n, &a->clients)
        client_close(list_entry(n, struct client, node));
    uv_close((uv_handle_t *)&a->pipe, on_server_closed);
}
