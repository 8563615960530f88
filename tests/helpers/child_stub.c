/*
 * A child that does nothing but say what root hands it, for tests of pmtad. Installed under the
 * names of the three children; its own name says its role.
 *
 * STUB_LOG   file to which one line per event is appended: "pipe/bulk config 1"
 * STUB_MODE  "NAME=MODE,NAME=MODE": how it misbehaves at its start
 *
 * - build: says hello as another build
 * - fatal: cannot start
 * - busy: cannot start while the file STUB_LOG.busy exists, as if the spool were locked
 * - die: exits before ready
 * - stay: does not exit when it is to drain
 * - trouble: takes the first configuration and no other
 *
 * As an admin line "VERB TARGET {"stub":"ACTION"}": crash, silence, garbage (to root),
 * peer-garbage.
 */
#include "base/log.h"
#include "net/child.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { EDGES_MAX = 64 };

static struct stub {
    struct child *child;
    struct child_ops ops;
    char title[128];
    const char *mode;
    unsigned configs;
    struct {
        struct ipc_edge *edge;
        int fd; /* duplicate, for garbage */
        char name[64];
    } edges[EDGES_MAX];
    unsigned edge_count;
} stub;

static void say(const char *fmt, ...) PRINTF_LIKE(1, 2);

static void say(const char *fmt, ...)
{
    struct buf line = {0};
    va_list ap;
    buf_printf(&line, "%s ", stub.title);
    va_start(ap, fmt);
    buf_vprintf(&line, fmt, ap);
    va_end(ap);
    buf_append_char(&line, '\n');
    int fd = open(getenv("STUB_LOG"), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0 || write(fd, buf_data(&line), buf_len(&line)) < 0)
        log_error(LOG_MAIN, "stub cannot write STUB_LOG");
    if (fd >= 0)
        close(fd);
    buf_free(&line);
}

static bool mode_is(const char *mode)
{
    return strcmp(stub.mode, mode) == 0;
}

static int on_config(void *owner, struct strview snapshot, uint64_t generation, struct err *e)
{
    (void)owner;
    say("config %llu", (unsigned long long)generation);
    if (snapshot.len == 0)
        return err_set(e, ERR_CORRUPT, "empty snapshot");
    if (stub.configs++ && mode_is("trouble"))
        return err_set(e, ERR_CONFIG, "the stub likes the old one");
    return 0;
}

static void on_directory(void *owner, const char *purpose, int fd)
{
    (void)owner;
    int made = openat(fd, "stub-was-here", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    say("directory %s %s", purpose, made >= 0 ? "writable" : "not-writable");
    if (made >= 0)
        close(made);
    close(fd);
}

static int edge_frame(void *owner, struct ipc_edge *edge, struct ipc_frame *f)
{
    (void)owner, (void)edge, (void)f;
    return 0;
}

static void edge_down(void *owner, struct ipc_edge *edge, int code)
{
    (void)owner;
    for (unsigned i = 0; i < stub.edge_count; i++) {
        if (stub.edges[i].edge != edge)
            continue;
        stub.edges[i].edge = NULL;
        say("edge-down %s %s", stub.edges[i].name, code == ERR_PROTOCOL ? "protocol" : "closed");
    }
}

static const struct ipc_edge_ops edge_ops = {.frame = edge_frame, .down = edge_down};

static void on_edge(void *owner, enum role peer, const char *name, int fd)
{
    (void)owner;
    unsigned i = stub.edge_count++;
    BUG_ON(i >= EDGES_MAX);
    snprintf(stub.edges[i].name, sizeof(stub.edges[i].name), "%s%s%s", ipc_role_name(peer),
             name[0] ? "/" : "", name);
    say("edge %s", stub.edges[i].name);
    stub.edges[i].fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    stub.edges[i].edge =
        ipc_edge_open(child_loop(stub.child), fd, stub.ops.role, peer, &edge_ops, NULL);
}

static void on_limit_table(void *owner, int fd, unsigned share)
{
    (void)owner;
    say("limit_table %u", share);
    close(fd);
}

static void on_listener(void *owner, const char *name, int fd, int cert_fd, int key_fd)
{
    (void)owner;
    say("listener %s %s", name, cert_fd >= 0 && key_fd >= 0 ? "tls" : "plain");
    close(fd);
    if (cert_fd >= 0)
        close(cert_fd);
    if (key_fd >= 0)
        close(key_fd);
}

static bool is_busy(void)
{
    struct buf path = {0};
    buf_printf(&path, "%s.busy", getenv("STUB_LOG"));
    bool busy = access(buf_data(&path), F_OK) == 0;
    buf_free(&path);
    return busy;
}

static void on_start(void *owner)
{
    struct err e = {0};
    (void)owner;
    say("start");
    if (mode_is("fatal"))
        err_set(&e, ERR_CORRUPT, "the stub does not want to");
    else if (mode_is("busy") && is_busy())
        err_set(&e, ERR_BUSY, "spool is in use by another process");
    if (mode_is("die"))
        _exit(3);
    if (e.code)
        child_fatal(stub.child, &e);
    else
        child_ready(stub.child, "stub");
}

static void garbage(int fd)
{
    if (write(fd, "garbage!", 8) != 8)
        say("garbage-failed");
}

static void on_admin(void *owner, const struct child_admin_request *req)
{
    struct buf text = {0};
    char *line = xstrndup(req->line.ptr, req->line.len);
    (void)owner;
    if (strstr(line, "\"crash\"")) {
        abort();
    } else if (strstr(line, "\"peer-garbage\"")) {
        garbage(stub.edges[0].fd);
    } else if (strstr(line, "\"garbage\"")) {
        garbage(CHILD_CONTROL_FD);
    }
    if (!strstr(line, "\"silence\"")) {
        buf_printf(&text, "{\"process\":\"%s\",\"level\":%u,\"pid\":%d}\n{\"more\":true}",
                   stub.title, req->level, (int)getpid());
        child_admin_reply(stub.child, req->token, buf_view(&text), true);
    }
    free(line);
    buf_free(&text);
}

static void on_drain(void *owner, int64_t timeout_ms)
{
    (void)owner, (void)timeout_ms;
    say("drain");
    if (!mode_is("stay"))
        child_exit(stub.child, 0);
}

static enum role role_of(const char *program)
{
    if (strstr(program, "pmta-receiver"))
        return ROLE_RECEIVER;
    if (strstr(program, "pmta-suppress"))
        return ROLE_SUPPRESS;
    return strstr(program, "pmta-pipe") ? ROLE_PIPE : ROLE_RESOLVER;
}

/* "pipe/bulk=die,resolver=stay" */
static const char *find_mode(const char *title)
{
    static char copy[256];
    const char *all = getenv("STUB_MODE");
    snprintf(copy, sizeof(copy), "%s", all ? all : "");
    for (char *item = strtok(copy, ","); item; item = strtok(NULL, ",")) {
        char *equals = strchr(item, '=');
        if (equals && (size_t)(equals - item) == strlen(title) &&
            strncmp(item, title, strlen(title)) == 0)
            return equals + 1;
    }
    return "";
}

static void say_other_build(void)
{
    struct buf frame = {0};
    ipc_encode_hello(&frame, &(struct ipc_hello){SV("another"), (uint32_t)getpid()});
    if (write(CHILD_CONTROL_FD, buf_data(&frame), buf_len(&frame)) < 0)
        _exit(4);
    pause(); /* root ends us */
}

int main(int argc, char **argv)
{
    const char *name = argc > 2 ? argv[2] : "";
    stub.ops = (struct child_ops){
        .role = role_of(argv[0]),
        .program = argv[0],
        .config = on_config,
        .directory = on_directory,
        .limit_table = on_limit_table,
        .edge = on_edge,
        .listener = on_listener,
        .start = on_start,
        .admin = on_admin,
        .drain = on_drain,
    };
    snprintf(stub.title, sizeof(stub.title), "%s%s%s", ipc_role_name(stub.ops.role),
             name[0] ? "/" : "", name);
    stub.mode = find_mode(stub.title);
    if (mode_is("build"))
        say_other_build();
    return child_main(argc, argv, &stub.ops, NULL, &stub.child);
}
