/*
 * What every child does alike; see child.h.
 *
 * Called by: main() of each child, through child_main. Happy path: check descriptor 3, say hello,
 * hand each frame from root to its callback, run until child_exit, flush, return the status. What
 * can go wrong: a snapshot that is not what it says (answered with trouble, the old one stays); a
 *   frame that cannot be decoded (the control edge is closed, which ends us like a death of root).
 * Root going away: drain with a short time, then exit in any case, so that a new pmtad can start.
 * Memory: one struct child, freed after the loop when the owner left no handle open.
 */
#include "net/child.h"

#include "base/log.h"
#include "build_id.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SNAPSHOT_MAX = 256 * 1024 * 1024,
    REPLY_CHUNK = 96 * 1024, /* of admin text in one frame */
    ORPHAN_DRAIN_MS = 2000,  /* time to finish when root is gone */
    ORPHAN_GRACE_MS = 1000,  /* and then we leave without being asked */
    EXIT_FLUSH_MS = 1000,    /* for the last frames to root */
    NAME_MAX_BYTES = 128,
};

struct deferred {
    void (*fn)(void *arg);
    void *arg;
};

struct deferred_list {
    struct deferred *items;
    size_t count, cap;
};

struct child {
    uv_loop_t loop;
    const struct child_ops *ops;
    void *owner;
    const char *name;
    struct ipc_edge *control; /* NULL when root is gone */

    uv_prepare_t before_sleep; /* writes the log */
    uv_idle_t defer_idle;      /* runs while something is deferred */
    uv_timer_t end_timer;      /* see end_timer_start */
    struct deferred_list deferred, running;

    int log_fd; /* -1: still stderr */
    bool draining;
    bool exiting; /* no callback of the owner fires any more, but for what it deferred itself */
    int status;
};

/* --- end --- */

static void on_end_timer(uv_timer_t *handle)
{
    struct child *c = handle->data;
    if (c->exiting) {
        uv_stop(&c->loop);
    } else {
        log_warn(LOG_MAIN, "not drained in time after root went away; exiting");
        child_exit(c, 1);
    }
}

static void end_timer_start(struct child *c, uint64_t after_ms)
{
    uv_timer_start(&c->end_timer, on_end_timer, after_ms, 0);
}

void child_exit(struct child *c, int status)
{
    if (c->exiting)
        return;
    c->exiting = true;
    c->status = status;
    if (c->control && ipc_edge_pending(c->control))
        end_timer_start(c, EXIT_FLUSH_MS);
    else
        uv_stop(&c->loop);
}

static void exit_when_flushed(struct child *c)
{
    if (c->exiting && (!c->control || !ipc_edge_pending(c->control)))
        uv_stop(&c->loop);
}

static void begin_drain(struct child *c, int64_t timeout_ms)
{
    if (c->draining || c->exiting)
        return;
    c->draining = true;
    c->ops->drain(c->owner, timeout_ms);
}

/* --- deferred calls --- */

static void run_deferred(struct child *c)
{
    struct deferred_list now = c->deferred;
    c->deferred = c->running;
    c->running = now;
    for (size_t i = 0; i < c->running.count; i++)
        c->running.items[i].fn(c->running.items[i].arg);
    c->running.count = 0;
    if (c->deferred.count == 0)
        uv_idle_stop(&c->defer_idle);
}

static void on_idle(uv_idle_t *handle)
{
    run_deferred(handle->data);
}

void child_defer(struct child *c, void (*fn)(void *arg), void *arg)
{
    struct deferred_list *d = &c->deferred;
    if (d->count == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 16;
        d->items = xrealloc(d->items, d->cap * sizeof(d->items[0]));
    }
    d->items[d->count++] = (struct deferred){fn, arg};
    uv_idle_start(&c->defer_idle, on_idle);
}

/* --- to root --- */

void child_ready(struct child *c, const char *note)
{
    if (c->control)
        ipc_send(c->control, ready, &(struct ipc_ready){sv_of(note ? note : "")});
}

static void fatal_exit(void *arg)
{
    child_exit(arg, 1);
}

void child_fatal(struct child *c, const struct err *e)
{
    log_error(LOG_MAIN, "cannot go on: %s", e->text);
    if (c->control)
        ipc_send(c->control, fatal, &(struct ipc_fatal){sv_of(e->text)});
    child_defer(c, fatal_exit, c);
}

static void reply_frame(struct child *c, uint64_t token, struct strview text, bool last)
{
    if (c->control)
        ipc_send(c->control, admin_reply, &(struct ipc_admin_reply){token, last, text});
}

void child_admin_reply(struct child *c, uint64_t token, struct strview text, bool last)
{
    while (text.len > REPLY_CHUNK) {
        reply_frame(c, token, sv(text.ptr, REPLY_CHUNK), false);
        text = sv(text.ptr + REPLY_CHUNK, text.len - REPLY_CHUNK);
    }
    bool open_line = text.len && text.ptr[text.len - 1] != '\n';
    if (text.len || last)
        reply_frame(c, token, text, last && !open_line);
    if (open_line)
        reply_frame(c, token, SV("\n"), last);
}

/* --- from root --- */

/* A snapshot must be sealed: nobody, root included, can change it under our feet. */
static int snapshot_check(int fd, uint64_t bytes, struct err *e)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    int wanted = F_SEAL_SHRINK | F_SEAL_WRITE;

    if (fd < 0 || seals < 0 || (seals & wanted) != wanted)
        return err_set(e, ERR_PROTOCOL, "configuration snapshot is not a sealed memfd");
    if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != bytes || bytes == 0 || bytes > SNAPSHOT_MAX)
        return err_set(e, ERR_PROTOCOL, "configuration snapshot has the wrong size");
    return 0;
}

static int apply_config(struct child *c, int fd, const struct ipc_config *m, struct err *e)
{
    int r = snapshot_check(fd, m->bytes, e);
    if (r < 0)
        return r;
    size_t len = (size_t)m->bytes;
    void *map = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return err_set(e, -errno, "cannot map the configuration snapshot");
    r = c->ops->config(c->owner, sv(map, len), m->generation, e);
    munmap(map, len);
    return r;
}

static int on_config(struct child *c, struct ipc_frame *f, const struct ipc_config *m)
{
    struct err e = {0};
    int fd = ipc_frame_take_fd(f, 0);
    int r = apply_config(c, fd, m, &e);
    if (fd >= 0)
        close(fd);
    if (r < 0)
        log_error(LOG_CONFIG, "configuration not applied: %s", e.text);
    if (c->control)
        ipc_send(c->control, config_applied,
                 &(struct ipc_config_applied){m->generation, sv_of(r < 0 ? e.text : "")});
    return 0;
}

static char *text_of(struct strview s)
{
    return xstrndup(s.ptr, s.len);
}

static int on_log_output(struct child *c, struct ipc_frame *f, const struct ipc_log_output *m)
{
    int fd = ipc_frame_take_fd(f, 0);
    if (fd < 0)
        return ERR_PROTOCOL;
    log_set_fd(fd);
    log_set_debug(m->debug_mask);
    if (c->log_fd >= 0)
        close(c->log_fd);
    c->log_fd = fd;
    return 0;
}

static int on_directory(struct child *c, struct ipc_frame *f, const struct ipc_directory *m)
{
    int fd = ipc_frame_take_fd(f, 0);
    if (fd < 0)
        return ERR_PROTOCOL;
    if (!c->ops->directory) {
        close(fd);
        return 0;
    }
    char *purpose = text_of(m->purpose);
    c->ops->directory(c->owner, purpose, fd);
    free(purpose);
    return 0;
}

typedef void file_fn(void *owner, const char *name, int fd);

static file_fn *file_taker(const struct child *c, enum file_kind kind)
{
    switch (kind) {
    case FILE_SIGNING_KEY:
        return c->ops->key;
    case FILE_TLS:
        return c->ops->tls_file;
    case FILE_SECRET:
        return c->ops->secret;
    }
    return NULL;
}

static int on_files(struct child *c, struct ipc_frame *f, const struct ipc_files *m)
{
    (void)f, (void)m;
    for (unsigned kind = FILE_SIGNING_KEY; kind <= FILE_SECRET; kind++) {
        file_fn *take = file_taker(c, (enum file_kind)kind);
        if (take)
            take(c->owner, NULL, -1);
    }
    return 0;
}

static int on_file(struct child *c, struct ipc_frame *f, const struct ipc_file *m)
{
    int fd = ipc_frame_take_fd(f, 0);
    if (fd < 0)
        return ERR_PROTOCOL;
    file_fn *take = file_taker(c, (enum file_kind)m->kind);
    if (!take) {
        close(fd);
        return 0;
    }
    char *name = text_of(m->name);
    take(c->owner, name, fd);
    free(name);
    return 0;
}

static int on_limit_table(struct child *c, struct ipc_frame *f, const struct ipc_limit_table *m)
{
    int fd = ipc_frame_take_fd(f, 0);
    if (fd < 0)
        return ERR_PROTOCOL;
    if (c->ops->limit_table)
        c->ops->limit_table(c->owner, fd, m->share);
    else
        close(fd);
    return 0;
}

static int on_new_edge(struct child *c, struct ipc_frame *f, const struct ipc_new_edge *m)
{
    int fd = ipc_frame_take_fd(f, 0);
    if (fd < 0)
        return ERR_PROTOCOL;
    char *name = text_of(m->peer_name);
    c->ops->edge(c->owner, (enum role)m->peer_role, name, fd);
    free(name);
    return 0;
}

static int on_listener(struct child *c, struct ipc_frame *f, const struct ipc_listener *m)
{
    int fds[3];
    for (unsigned i = 0; i < 3; i++)
        fds[i] = ipc_frame_take_fd(f, i);
    bool complete = fds[0] >= 0 && (!m->has_tls || (fds[1] >= 0 && fds[2] >= 0));
    if (!complete || !c->ops->listener) {
        for (unsigned i = 0; i < 3; i++)
            if (fds[i] >= 0)
                close(fds[i]);
        return complete ? 0 : ERR_PROTOCOL;
    }
    char *name = text_of(m->name);
    c->ops->listener(c->owner, name, fds[0], fds[1], fds[2]);
    free(name);
    return 0;
}

static int on_start(struct child *c, struct ipc_frame *f, const struct ipc_start *m)
{
    (void)f;
    log_debug(LOG_MAIN, "started with generation %llu", (unsigned long long)m->generation);
    c->ops->start(c->owner);
    return 0;
}

static int on_drain(struct child *c, struct ipc_frame *f, const struct ipc_drain *m)
{
    (void)f;
    begin_drain(c, (int64_t)MIN_OF(m->timeout_ms, (uint64_t)INT64_MAX));
    return 0;
}

static int on_admin_request(struct child *c, struct ipc_frame *f, const struct ipc_admin_request *m)
{
    (void)f;
    if (!c->ops->admin) {
        child_admin_reply(c, m->token, SV(""), true);
        return 0;
    }
    c->ops->admin(c->owner, &(struct child_admin_request){m->token, m->level, m->uid, m->line});
    return 0;
}

/* Decodes a frame and calls the on_<name> above. */
#define HANDLE(name)                             \
    case IPC_##name: {                           \
        struct ipc_##name m;                     \
        int r = ipc_decode_##name(f->bytes, &m); \
        return r < 0 ? r : on_##name(c, f, &m);  \
    }

static int control_frame(void *owner, struct ipc_edge *edge, struct ipc_frame *f)
{
    struct child *c = owner;
    (void)edge;
    if (c->exiting)
        return 0;
    switch (f->id) {
        HANDLE(config)
        HANDLE(directory)
        HANDLE(files)
        HANDLE(limit_table)
        HANDLE(file)
        HANDLE(new_edge)
        HANDLE(listener)
        HANDLE(start)
        HANDLE(log_output)
        HANDLE(drain)
        HANDLE(admin_request)
    }
    return ERR_PROTOCOL;
}

static void control_down(void *owner, struct ipc_edge *edge, int code)
{
    struct child *c = owner;
    (void)edge;
    c->control = NULL;
    if (c->exiting) {
        uv_stop(&c->loop);
        return;
    }
    log_warn(LOG_MAIN, "root is gone (%s); draining", err_name(code));
    end_timer_start(c, ORPHAN_DRAIN_MS + ORPHAN_GRACE_MS);
    c->draining = false; /* a longer drain under way is cut short */
    begin_drain(c, ORPHAN_DRAIN_MS);
}

static const struct ipc_edge_ops control_ops = {
    .frame = control_frame,
    .down = control_down,
};

/* --- begin --- */

static void on_before_sleep(uv_prepare_t *handle)
{
    exit_when_flushed(handle->data);
    log_flush();
}

uv_loop_t *child_loop(struct child *c)
{
    return &c->loop;
}

const char *child_name(const struct child *c)
{
    return c->name;
}

static void print_help(const struct child_ops *ops)
{
    printf(
        "usage: %s --name NAME\n"
        "       %s --version | --help\n\n"
        "Part of PipeMTA. It is started by pmtad, never by hand: its configuration, sockets and\n"
        "directories come over descriptor %d.\n",
        ops->program, ops->program, CHILD_CONTROL_FD);
}

/* Returns -1 to go on, or an exit status. */
static int parse_arguments(int argc, char **argv, const struct child_ops *ops,
                           const char **ret_name)
{
    *ret_name = "";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--version") == 0) {
            printf("%s %s (%s)\n", ops->program, PMTA_VERSION, PMTA_BUILD_ID);
            return 0;
        }
        if (strcmp(argv[i], "--help") == 0) {
            print_help(ops);
            return 0;
        }
        if (strcmp(argv[i], "--name") == 0 && i + 1 < argc) {
            *ret_name = argv[++i];
            continue;
        }
        fprintf(stderr, "%s: unknown argument '%s'\n", ops->program, argv[i]);
        return 2;
    }
    return -1;
}

static bool control_is_there(void)
{
    int type = 0;
    socklen_t len = sizeof(type);
    return getsockopt(CHILD_CONTROL_FD, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
           type == SOCK_SEQPACKET;
}

static void ignore_signals(void)
{
    static const int ignored[] = {SIGPIPE, SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        signal(ignored[i], SIG_IGN);
}

static void name_process(const struct child *c)
{
    char name[NAME_MAX_BYTES];
    const char *role = ipc_role_name(c->ops->role);
    if (c->name[0])
        snprintf(name, sizeof(name), "%s/%s", role, c->name);
    else
        snprintf(name, sizeof(name), "%s", role);
    log_set_process(name);
}

static struct child *child_new(const struct child_ops *ops, void *owner, const char *name)
{
    struct child *c = xcalloc(1, sizeof(*c));
    c->ops = ops;
    c->owner = owner;
    c->name = name;
    c->log_fd = -1;
    BUG_ON(uv_loop_init(&c->loop) != 0);
    uv_prepare_init(&c->loop, &c->before_sleep);
    uv_idle_init(&c->loop, &c->defer_idle);
    uv_timer_init(&c->loop, &c->end_timer);
    c->before_sleep.data = c->defer_idle.data = c->end_timer.data = c;
    uv_prepare_start(&c->before_sleep, on_before_sleep);
    c->control = ipc_edge_open(&c->loop, CHILD_CONTROL_FD, ops->role, ROLE_ROOT, &control_ops, c);
    return c;
}

/* Handles that the owner left open keep the loop; it goes with the process then. */
static int child_free(struct child *c)
{
    static struct child *leftover;
    int status = c->status;

    ipc_edge_close(c->control);
    uv_close((uv_handle_t *)&c->before_sleep, NULL);
    uv_close((uv_handle_t *)&c->defer_idle, NULL);
    uv_close((uv_handle_t *)&c->end_timer, NULL);
    for (int turn = 0; turn < 4 && uv_loop_alive(&c->loop); turn++)
        uv_run(&c->loop, UV_RUN_NOWAIT);
    free(c->deferred.items);
    free(c->running.items);
    c->deferred = c->running = (struct deferred_list){0};
    log_flush();
    leftover = c;
    if (uv_loop_close(&c->loop) == 0) {
        free(c);
        leftover = NULL;
    }
    (void)leftover;
    return status;
}

int child_main(int argc, char **argv, const struct child_ops *ops, void *owner,
               struct child **ret_child)
{
    const char *name;
    int r = parse_arguments(argc, argv, ops, &name);
    if (r >= 0)
        return r;
    if (!control_is_there()) {
        fprintf(stderr, "%s: is started by pmtad, not by hand\n", ops->program);
        return 2;
    }
    ignore_signals();
    prctl(PR_SET_NAME, ops->program); /* executed by descriptor, the kernel has no better name */
    struct child *c = child_new(ops, owner, name);
    *ret_child = c;
    name_process(c);
    ipc_send(c->control, hello, &(struct ipc_hello){SV(PMTA_BUILD_ID), (uint32_t)getpid()});
    uv_run(&c->loop, UV_RUN_DEFAULT);
    return child_free(c);
}
