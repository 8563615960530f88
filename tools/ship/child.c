/*
 * pmta-ship as a child of pmtad: root hands over the directories of accounting files, one for our own
 * state, and the secrets that the section names; the configuration says the rest. Each configuration
 * starts the thread that ships (worker.c) anew, when it changes anything for this sink.
 */
#include "child.h"

#include "note.h"
#include "worker.h"

#include "base/list.h"
#include "net/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

enum { RESTART_DRAIN_MS = 5000 };

/* A directory under its purpose ("acct-file PATH"), or a secret under its name. */
struct handed {
    struct list link;
    char *name;
    int fd;          /* of a directory, or -1 */
    struct buf text; /* of a secret */
};

struct process {
    struct child *child;
    struct config *config;
    struct list directories, secrets;
    int state_dirfd;
    struct worker *worker;
    struct buf running; /* what the worker was started with, to see a change */
    bool started, waiting, draining;
    uv_async_t notes;
    bool notes_ready;
};

static struct handed *find(struct list *head, const char *name)
{
    list_for_each (n, head) {
        struct handed *h = list_entry(n, struct handed, link);
        if (strcmp(h->name, name) == 0)
            return h;
    }
    return NULL;
}

static struct handed *find_or_add(struct list *head, const char *name)
{
    struct handed *h = find(head, name);

    if (h)
        return h;
    h = xcalloc(1, sizeof(*h));
    h->name = xstrdup(name);
    h->fd = -1;
    list_push_back(head, &h->link);
    return h;
}

/* --- log lines of the thread --- */

static void on_notes(uv_async_t *a)
{
    (void)a;
    note_flush();
}

static void wake_notes(void *arg)
{
    uv_async_send(arg);
}

static void set_up(struct process *p)
{
    if (p->notes_ready)
        return;
    p->notes_ready = true;
    uv_async_init(child_loop(p->child), &p->notes, on_notes);
    uv_unref((uv_handle_t *)&p->notes);
    note_set_wake(wake_notes, &p->notes);
}

/* --- settings --- */

static struct strview secret_text(void *arg, const char *name)
{
    struct process *p = arg;
    const struct handed *h = find(&p->secrets, name);
    return h ? buf_view(&h->text) : sv(NULL, 0);
}

static int copy_fd(const struct process *p, const char *kind, const char *name)
{
    struct buf purpose = {0};

    buf_printf(&purpose, "%s%s%s", kind, *name ? " " : "", name);
    struct handed *h = find((struct list *)(uintptr_t)&p->directories, buf_data(&purpose));
    buf_free(&purpose);
    return h && h->fd >= 0 ? fcntl(h->fd, F_DUPFD_CLOEXEC, 0) : -1;
}

/* Other sections whose files are in the same directory and begin with our base and more. */
static void add_others(const struct process *p, struct ship_settings *s, const char *section)
{
    struct follow_set *set = &s->sets[s->set_count - 1];
    const char *name;

    for (size_t i = 0; (name = config_section_name(p->config, KIND_ACCT_FILE, i)); i++) {
        if (section && strcmp(name, section) == 0)
            continue;
        set->other_bases = xrealloc(set->other_bases, (set->other_count + 1) * sizeof(char *));
        set->other_bases[set->other_count++] = ship_path_base(name);
    }
}

static int make_settings(struct process *p, struct ship_settings *s, struct err *e)
{
    const char *name = child_name(p->child), *section = ship_acct_section(p->config, name);

    ship_settings_init(s);
    int rc = ship_settings_from_config(s, p->config, name, secret_text, p, e);
    if (rc < 0)
        return rc;
    int fd = section ? copy_fd(p, "acct-file", section) : copy_fd(p, "accounting", "");
    if (fd < 0)
        return err_set(e, ERR_CONFIG, "the directory of accounting files '%s' did not come",
                       section ? section : "accounting");
    ship_settings_follow(s, section ? section : "acct.csv", fd,
                         section ? copy_fd(p, "acct-move", section) : -1, !section);
    if (section)
        add_others(p, s, section);
    return 0;
}

/* --- the thread --- */

/* Everything of the configuration that is about this sink; and its secrets. */
static void describe(struct process *p, struct buf *out)
{
    const char *name = child_name(p->child), *section = ship_acct_section(p->config, name);
    const struct config_value *v;

    buf_printf(out, "%s\n", section ? section : "");
    for (enum directive d = 0; d < DIRECTIVE_COUNT; d++) {
        if (!(directive_info(d)->kinds & KIND_EVENT_SINK))
            continue;
        v = config_section_get(p->config, KIND_EVENT_SINK, sv_of(name), d);
        for (; v && v->text; v = v->next)
            buf_printf(out, "%s=%s\n", directive_info(d)->name, v->text);
    }
    v = section ? config_section_get(p->config, KIND_ACCT_FILE, sv_of(section), DIR_ACCT_MOVE_TO)
                : NULL;
    buf_printf(out, "%s\n%s\n", v && v->text ? v->text : "",
               config_text(p->config, NULL, DIR_HOST_NAME)
                   ? config_text(p->config, NULL, DIR_HOST_NAME)
                   : "");
    list_for_each (n, &p->secrets) {
        const struct handed *h = list_entry(n, struct handed, link);
        buf_append_sv(out, buf_view(&h->text));
    }
}

static void start_worker(struct process *p);

static void on_ended(void *arg)
{
    struct process *p = arg;

    p->worker = NULL;
    note_flush();
    if (p->draining)
        child_exit(p->child, 0);
    else if (p->waiting)
        start_worker(p);
}

static void start_worker(struct process *p)
{
    struct ship_settings s;
    struct err e;

    p->waiting = false;
    if (make_settings(p, &s, &e) < 0) {
        ship_settings_fini(&s);
        log_error(LOG_REPORT, "%s, sending nothing", e.text);
        child_fatal(p->child, &e);
        return;
    }
    buf_reset(&p->running);
    describe(p, &p->running);
    p->worker = worker_start(child_loop(p->child), &s, p->state_dirfd, on_ended, p);
}

static void apply(struct process *p)
{
    struct buf now = {0};

    if (p->draining)
        return;
    if (!p->worker) {
        start_worker(p);
        return;
    }
    describe(p, &now);
    if (!sv_eq(buf_view(&now), buf_view(&p->running))) {
        p->waiting = true;
        worker_stop(p->worker, RESTART_DRAIN_MS);
    }
    buf_free(&now);
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
    if (!config_has_section(cfg, KIND_EVENT_SINK, sv_of(child_name(p->child)))) {
        config_unref(cfg); /* root is about to stop us */
        return 0;
    }
    config_unref(p->config);
    p->config = cfg;
    set_up(p);
    if (p->started)
        apply(p);
    return 0;
}

static void on_directory(void *owner, const char *purpose, int fd)
{
    struct process *p = owner;

    if (strcmp(purpose, "state") == 0) {
        if (p->state_dirfd >= 0)
            close(fd);
        else
            p->state_dirfd = fd;
        return;
    }
    struct handed *h = find_or_add(&p->directories, purpose);
    if (h->fd >= 0)
        close(h->fd);
    h->fd = fd;
}

static void forget_secrets(struct process *p)
{
    list_for_each_safe (n, &p->secrets) {
        struct handed *h = list_entry(n, struct handed, link);
        list_remove(&h->link);
        explicit_bzero(buf_data(&h->text), buf_len(&h->text));
        buf_free(&h->text);
        free(h->name);
        free(h);
    }
}

static void on_secret(void *owner, const char *name, int fd)
{
    struct process *p = owner;
    ssize_t n;

    if (!name) {
        forget_secrets(p);
        return;
    }
    struct handed *h = find_or_add(&p->secrets, name);
    off_t at = 0;
    buf_reset(&h->text);
    /* the descriptor's place is shared with root */
    while (buf_len(&h->text) < SHIP_FILE_MAX &&
           (n = pread(fd, buf_reserve(&h->text, 4096), 4096, at)) > 0) {
        buf_advance(&h->text, (size_t)n);
        at += n;
    }
    close(fd);
}

/* Somebody by hand with the same directory would send everything twice. */
static int lock_state(struct process *p, struct err *e)
{
    int fd = openat(p->state_dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(e, -errno, "cannot lock the directory of the position");
    return 0; /* until the process ends */
}

static void on_start(void *owner)
{
    struct process *p = owner;
    struct err e;

    if (p->state_dirfd < 0)
        err_set(&e, ERR_CONFIG, "no directory for the position came");
    else if (lock_state(p, &e) == 0) {
        p->started = true;
        apply(p);
        if (p->worker)
            child_ready(p->child, "");
        return;
    }
    child_fatal(p->child, &e);
}

static void on_drain(void *owner, int64_t timeout_ms)
{
    struct process *p = owner;

    if (p->draining)
        return;
    p->draining = true;
    if (p->worker)
        worker_stop(p->worker, timeout_ms * 3 / 4);
    else
        child_exit(p->child, 0);
}

/* --- admin --- */

static json_t *status_of(struct process *p)
{
    return p->worker ? worker_status(p->worker) : json_object();
}

static void show_events(void *owner, struct admin *a)
{
    struct process *p = owner;
    struct strview sink = admin_text(a, "sink");

    if (!sink.len || sv_eq(sink, sv_of(child_name(p->child))))
        admin_send(a, status_of(p));
    admin_end(a);
}

static void status(void *owner, struct admin *a)
{
    json_t *o = status_of(owner);

    json_object_del(o, "pipes");
    admin_send(a, o);
    admin_end(a);
}

static void on_admin(void *owner, const struct child_admin_request *req)
{
    static const struct admin_handler handlers[] = {{VERB_STATUS, status},
                                                    {VERB_SHOW_EVENTS, show_events}};
    struct process *p = owner;
    struct buf name = {0};

    buf_printf(&name, "ship/%s", child_name(p->child));
    admin_dispatch(p->child, buf_data(&name), req, handlers, ARRAY_LEN(handlers), p);
    buf_free(&name);
}

static const struct child_ops operations = {
    .role = ROLE_SHIP,
    .program = "pmta-ship",
    .config = on_config,
    .directory = on_directory,
    .secret = on_secret,
    .start = on_start,
    .admin = on_admin,
    .drain = on_drain,
};

int ship_child(int argc, char **argv)
{
    static struct process p = {.state_dirfd = -1};

    list_init(&p.directories);
    list_init(&p.secrets);
    return child_main(argc, argv, &operations, &p, &p.child);
}
