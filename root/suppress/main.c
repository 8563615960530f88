/*
 * pmta-suppress: keeps the suppression list, and is the only one that writes it. Root hands it the
 * directory with the log, the secret that hashes are keyed with, and edges to receivers, pipes and the
 * web process. It reads the log, sends everybody the table to look things up in, and says ready. From
 * then on suppress_add comes over the edges, and is answered when the entry is durable.
 *
 * What can go wrong: the list cannot be read or its hashes are of another secret (child_fatal: no
 * mail rather than mail to who does not want it); an edge that sends what is no entry (that entry is
 * refused) or no frame (the edge is closed). Edges that come before the list is read wait.
 */
#include "process.h"

#include "base/log.h"
#include "net/admin.h"

#include <stdio.h>
#include <unistd.h>

/* One receiver, pipe or web process. Freed when its edge is gone and its requests are answered. */
struct peer {
    struct list link; /* process->peers */
    struct process *process;
    enum role role;
    char *name;
    int fd;                /* until the list is read */
    struct ipc_edge *edge; /* NULL: not yet, or down */
    unsigned refs;         /* the list's and one per request */
};

struct peer_add {
    struct store_request request;
    struct peer *peer;
    uint64_t token;
};

/* --- peers --- */

static void peer_unref(struct peer *p)
{
    if (--p->refs)
        return;
    free(p->name);
    free(p);
}

static void drop_peer(struct peer *p)
{
    list_remove(&p->link);
    ipc_edge_close(p->edge);
    p->edge = NULL;
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    peer_unref(p);
}

static void answer(struct peer *p, uint64_t token, bool added, const char *trouble)
{
    if (!p->edge)
        return;
    struct ipc_suppress_reply m = {token, added, sv_of(trouble)};
    ipc_send(p->edge, suppress_reply, &m);
}

static void on_stored(struct store_request *r, int status)
{
    struct peer_add *a = container_of(r, struct peer_add, request);

    answer(a->peer, a->token, r->added > 0, status < 0 ? err_name(status) : "");
    peer_unref(a->peer);
    free(a);
}

static int take_add(struct peer *p, const struct ipc_suppress_add *m)
{
    struct process *s = p->process;
    struct err e = {0};

    if (m->scope >= SUPPRESS_SCOPE_COUNT || m->reason >= SUPPRESS_REASON_COUNT)
        return ERR_PROTOCOL;
    s->adds++;
    if (s->closing)
        return 0; /* it comes again when we are back */
    struct suppress_entry entry = {
        .scope = (enum suppress_scope)m->scope,
        .scope_name = m->scope_name,
        .reason = (enum suppress_reason)m->reason,
        .address = m->address,
        .expires_ms = m->expires_ms,
        .note = m->note,
    };
    struct peer_add *a = xcalloc(1, sizeof(*a));
    a->request.done = on_stored;
    a->peer = p;
    a->token = m->token;
    store_begin(s->store, &a->request);
    if (store_add(&a->request, &entry, STORE_EXTEND, &e) < 0) {
        s->refused++;
        answer(p, m->token, false, e.text);
        free(a);
        return 0;
    }
    p->refs++;
    store_end(&a->request);
    return 0;
}

static int on_frame(void *owner, struct ipc_edge *edge, struct ipc_frame *f)
{
    struct ipc_suppress_add m;

    (void)edge;
    if (f->id != IPC_suppress_add || ipc_decode_suppress_add(f->bytes, &m) < 0)
        return ERR_PROTOCOL;
    return take_add(owner, &m);
}

static void on_down(void *owner, struct ipc_edge *edge, int code)
{
    struct peer *p = owner;

    if (p->edge != edge)
        return;
    log_debug(LOG_IPC, "%s '%s' is gone: %s", ipc_role_name(p->role), p->name, err_name(code));
    p->edge = NULL;
    drop_peer(p);
}

static void send_table(struct peer *p)
{
    const struct table_writer *t = store_table(p->process->store);
    struct ipc_suppress_table m = {1, SUPPRESS_TABLE_BYTES};

    if (p->role == ROLE_RECEIVER || p->role == ROLE_PIPE)
        ipc_send_fds(p->edge, suppress_table, &m, &t->fd, 1);
}

static void open_peer(struct peer *p)
{
    static const struct ipc_edge_ops ops = {.frame = on_frame, .down = on_down};
    int fd = p->fd;

    p->fd = -1;
    p->edge = ipc_edge_open(child_loop(p->process->child), fd, ROLE_SUPPRESS, p->role, &ops, p);
    send_table(p);
}

static void on_edge(void *owner, enum role role, const char *name, int fd)
{
    struct process *s = owner;

    if (role != ROLE_RECEIVER && role != ROLE_PIPE && role != ROLE_WEB) {
        log_warn(LOG_IPC, "no use for an edge to %s '%s', closing it", ipc_role_name(role), name);
        close(fd);
        return;
    }
    list_for_each_safe (l, &s->peers) {
        struct peer *p = list_entry(l, struct peer, link);
        if (p->role == role && strcmp(p->name, name) == 0)
            drop_peer(p);
    }
    struct peer *p = xcalloc(1, sizeof(*p));
    p->process = s;
    p->role = role;
    p->name = xstrdup(name);
    p->fd = fd;
    p->refs = 1;
    list_push_back(&s->peers, &p->link);
    if (s->loaded)
        open_peer(p);
}

/* --- control --- */

static void configure(struct process *s)
{
    if (s->store)
        store_set_hashing(s->store, config_number(s->config, NULL, DIR_SUPPRESSION_STORE) == 1);
}

static int on_config(void *owner, struct strview snapshot, uint64_t generation, struct err *e)
{
    struct process *s = owner;
    struct config *cfg = NULL;
    int code = config_snapshot_decode(snapshot, &cfg, e);

    (void)generation;
    if (code < 0)
        return code;
    config_unref(s->config);
    s->config = cfg;
    configure(s);
    return 0;
}

/* The key stays what it was at the start: what is in the table was made with it. */
static void on_secret(void *owner, const char *name, int fd)
{
    struct process *s = owner;
    struct err e = {0};

    if (name && strcmp(name, "installation") == 0 && !s->has_key) {
        if (suppress_key_read(fd, &s->key, &e) < 0)
            log_error(LOG_CONFIG, "the secret of the installation cannot be used: %s", e.text);
        else
            s->has_key = true;
    }
    if (fd >= 0)
        close(fd);
}

static void on_directory(void *owner, const char *purpose, int fd)
{
    struct process *s = owner;

    if (strcmp(purpose, "suppress") != 0 || s->dirfd >= 0 || s->store) {
        close(fd);
        return;
    }
    s->dirfd = fd;
}

static void finish_drain(struct process *s);

static void on_loaded(void *arg, const struct err *e)
{
    struct process *s = arg;
    struct store_stats st;
    char note[160];

    if (e) {
        child_fatal(s->child, e);
        return;
    }
    s->loaded = true;
    if (s->draining) {
        finish_drain(s);
        return;
    }
    configure(s);
    list_for_each_safe (l, &s->peers)
        open_peer(list_entry(l, struct peer, link));
    store_stats(s->store, &st);
    snprintf(note, sizeof(note), "%llu suppressed addresses read in %lld ms",
             (unsigned long long)table_count(store_table(s->store)), (long long)st.load_ms);
    child_ready(s->child, note);
}

static void on_start(void *owner)
{
    struct process *s = owner;
    struct err e = {0};

    if (s->started)
        return;
    s->started = true;
    if (!s->has_key || s->dirfd < 0) {
        err_set(&e, ERR_CONFIG, "there is no %s for the suppression list",
                s->has_key ? "directory" : "secret");
        child_fatal(s->child, &e);
        return;
    }
    s->store = store_new(child_loop(s->child), s->dirfd, &s->key);
    s->dirfd = -1;
    store_load(s->store, on_loaded, s);
}

/* --- drain --- */

static void on_closed(void *arg)
{
    struct process *s = arg;

    store_free(s->store);
    s->store = NULL;
    child_exit(s->child, 0);
}

/* What was taken is written and answered; the answers leave before the edges go. */
static void finish_drain(struct process *s)
{
    if (s->closing)
        return;
    s->closing = true;
    store_close(s->store, on_closed, s);
}

static void on_drain(void *owner, int64_t timeout_ms)
{
    struct process *s = owner;

    (void)timeout_ms; /* one write and sync; root ends us when the disk takes longer */
    if (s->draining)
        return;
    s->draining = true;
    if (!s->store)
        child_exit(s->child, 0);
    else if (s->loaded)
        finish_drain(s);
}

static void process_fini(struct process *s)
{
    list_for_each_safe (l, &s->peers)
        drop_peer(list_entry(l, struct peer, link));
    config_unref(s->config);
    if (s->dirfd >= 0)
        close(s->dirfd);
}

int main(int argc, char **argv)
{
    static const struct child_ops ops = {
        .role = ROLE_SUPPRESS,
        .program = "pmta-suppress",
        .config = on_config,
        .directory = on_directory,
        .secret = on_secret,
        .edge = on_edge,
        .start = on_start,
        .admin = process_admin,
        .drain = on_drain,
    };
    static struct process s;

    s.dirfd = -1;
    list_init(&s.peers);
    int status = child_main(argc, argv, &ops, &s, &s.child);
    process_fini(&s);
    return status;
}
