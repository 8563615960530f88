/*
 * One child of root: its control edge, what it is handed, its end and its return.
 *
 * Called by: monitor.c. Happy path: kid_start forks; hello comes; monitor hands over
 * (kid_hand_config, edges, kid_hand_start); ready comes; the state is RUNNING. What can go wrong:
 * it dies (SIGCHLD, kid_died), it says fatal, it is of another build, it breaks the protocol (its
 * edge goes down, and it is killed: without a control edge it is of no use). All end in kid_died,
 * which tells monitor and starts the timer for the next try. Memory: kids live as long as root.
 */
#include "monitor.h"

#include "base/clock.h"
#include "base/log.h"
#include "build_id.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MAX_MS = 30000,
    QUIET_MS = 60000,
    LINGER_MS = 1000,
};

static const char *const state_names[] = {
#define KID_NAME(name, text) text,
    KID_STATES(KID_NAME)
#undef KID_NAME
};

const char *kid_state_name(enum kid_state s)
{
    return state_names[s];
}

bool kid_is_up(const struct kid *k)
{
    return k->control && k->handed_over;
}

struct kid *kid_new(struct root *r, const struct role_row *row, const char *name)
{
    struct kid *k = xcalloc(1, sizeof(*k));
    struct buf title = {0};
    buf_printf(&title, name[0] ? "%s/%s" : "%s%s", ipc_role_name(row->role), name);
    k->root = r;
    k->row = row;
    k->name = xstrdup(name);
    k->title = buf_take(&title);
    k->state = KID_GONE;
    k->own_fd = k->acct_fd = k->share = -1;
    k->backoff_ms = BACKOFF_FIRST_MS;
    uv_timer_init(&r->loop, &k->timer);
    k->timer.data = k;
    list_push_back(&r->kids, &k->node);
    return k;
}

/* --- frames from the child --- */

static int on_hello(struct kid *k, const struct ipc_hello *m)
{
    if (k->said_hello)
        return ERR_PROTOCOL;
    if (!sv_eq(m->build_id, SV(PMTA_BUILD_ID))) {
        snprintf(k->trouble, sizeof(k->trouble), "it is of build '%s', this is '%s'",
                 log_safe(m->build_id.ptr, m->build_id.len, 64), PMTA_BUILD_ID);
        log_error(LOG_MAIN, "%s refused: %s", k->title, k->trouble);
        kid_kill(k);
        return ERR_VERSION;
    }
    k->said_hello = true;
    monitor_kid_said_hello(k->root, k);
    return 0;
}

static int on_config_applied(struct kid *k, const struct ipc_config_applied *m)
{
    k->applied = m->generation;
    if (m->trouble.len)
        log_error(LOG_CONFIG, "%s did not apply generation %llu: %s", k->title,
                  (unsigned long long)m->generation,
                  log_safe(m->trouble.ptr, m->trouble.len, sizeof(k->trouble)));
    monitor_kid_applied(k->root, k, m->trouble);
    return 0;
}

static void on_quiet(uv_timer_t *timer)
{
    struct kid *k = timer->data;
    k->backoff_ms = BACKOFF_FIRST_MS;
}

static int on_ready(struct kid *k, const struct ipc_ready *m)
{
    if (!k->handed_over)
        return ERR_PROTOCOL;
    if (k->state != KID_STARTING)
        return 0;
    log_info(LOG_MAIN, "%s is ready pid=%d%s%s", k->title, (int)k->pid, m->note.len ? " " : "",
             log_safe(m->note.ptr, m->note.len, 300));
    k->state = KID_RUNNING;
    k->early_deaths = 0;
    uv_timer_start(&k->timer, on_quiet, QUIET_MS, 0);
    monitor_kid_ready(k->root, k);
    return 0;
}

static int on_fatal(struct kid *k, const struct ipc_fatal *m)
{
    snprintf(k->trouble, sizeof(k->trouble), "%s",
             log_safe(m->text.ptr, m->text.len, sizeof(k->trouble) / 4));
    log_error(LOG_MAIN, "%s cannot go on: %s", k->title, k->trouble);
    return 0;
}

static int on_admin_reply(struct kid *k, const struct ipc_frame *f)
{
    return admin_kid_reply(k->root->admin, k, f->bytes);
}

#define HANDLE(name)                                \
    case IPC_##name: {                              \
        struct ipc_##name m;                        \
        int code = ipc_decode_##name(f->bytes, &m); \
        return code < 0 ? code : on_##name(k, &m);  \
    }

static int kid_frame(void *owner, struct ipc_edge *edge, struct ipc_frame *f)
{
    struct kid *k = owner;
    (void)edge;
    if (!k->said_hello && f->id != IPC_hello)
        return ERR_PROTOCOL;
    switch (f->id) {
        HANDLE(hello)
        HANDLE(config_applied)
        HANDLE(ready)
        HANDLE(fatal)
    case IPC_admin_reply:
        return on_admin_reply(k, f);
    }
    return ERR_PROTOCOL;
}

static void finish_death(struct kid *k);

static void on_linger(uv_timer_t *timer)
{
    kid_kill(timer->data);
}

/* Either this or SIGCHLD comes first; the second of the two finishes. One that lives on without its
 * edge is ended: at once when it broke the protocol, else after the time that an exit may take. */
static void kid_down(void *owner, struct ipc_edge *edge, int code)
{
    struct kid *k = owner;
    (void)edge;
    k->control = NULL;
    k->handed_over = false;
    admin_kid_gone(k->root->admin, k);
    if (!k->pid) {
        finish_death(k);
    } else if (code != ERR_CLOSED) {
        log_error(LOG_IPC, "control edge of %s closed: %s; killing it", k->title, err_name(code));
        kid_kill(k);
    } else {
        uv_timer_start(&k->timer, on_linger, LINGER_MS, 0);
    }
}

static const struct ipc_edge_ops kid_ops = {
    .frame = kid_frame,
    .down = kid_down,
};

/* --- what it is handed --- */

void kid_send_log(struct kid *k)
{
    if (k->control)
        ipc_send_fds(k->control, log_output, (&(struct ipc_log_output){log_debug_mask()}),
                     &k->root->log_fd, 1);
}

static void send_directory(struct kid *k, const char *purpose, int fd)
{
    struct ipc_directory m = {sv_of(purpose)};
    ipc_send_fds(k->control, directory, &m, &fd, 1);
}

static void send_limit_table(struct kid *k)
{
    struct ipc_limit_table m = {(uint32_t)k->share};
    if (k->share >= 0)
        ipc_send_fds(k->control, limit_table, &m, &k->root->limits_fd, 1);
}

/* The directories of [acct-file]s, opened anew: the pipe has its own copies of those of before. */
static void send_acct_directories(struct kid *k)
{
    static const struct {
        bool move;
        const char *purpose;
    } sorts[] = {{false, "acct-file"}, {true, "acct-move"}};
    const char *name;
    struct buf purpose = {0};
    struct err e;

    for (size_t i = 0; (name = config_section_name(k->root->config, KIND_ACCT_FILE, i)); i++)
        for (size_t s = 0; s < ARRAY_LEN(sorts); s++) {
            int fd = -1;
            if (setup_acct_directory(k->root, name, sorts[s].move, &fd, &e) < 0) {
                log_error(LOG_CONFIG, "[acct-file %s]: %s: %s", name, e.text, err_name(e.code));
                continue;
            }
            if (fd < 0)
                continue;
            buf_reset(&purpose);
            buf_printf(&purpose, "%s %s", sorts[s].purpose, name);
            send_directory(k, buf_data(&purpose), fd);
            close(fd);
        }
    buf_free(&purpose);
}

void kid_send_config(struct kid *k)
{
    struct root *r = k->root;
    struct ipc_config m = {config_generation(r->config), r->snapshot_bytes};
    if (k->row->flags & ROLE_GETS_ACCOUNTING && k->control)
        send_acct_directories(k);
    files_send(k);
    if (k->control)
        ipc_send_fds(k->control, config, &m, &r->snapshot_fd, 1);
}

void kid_hand_config(struct kid *k)
{
    kid_send_log(k);
    send_limit_table(k);
    kid_send_config(k);
    if (k->row->directory)
        send_directory(k, k->row->directory, k->own_fd);
    if (k->row->flags & ROLE_GETS_ACCOUNTING)
        send_directory(k, "accounting", k->acct_fd);
    k->handed_over = true;
}

void kid_hand_start(struct kid *k)
{
    struct ipc_start m = {config_generation(k->root->config)};
    ipc_send(k->control, start, &m);
}

void kid_hand_listeners(struct kid *k)
{
    if (!(k->row->flags & ROLE_GETS_LISTENERS) || !k->control)
        return;
    list_for_each (n, &k->root->listeners) {
        const struct listener *l = list_entry(n, struct listener, node);
        if (l->role != k->row->role)
            continue;
        bool tls = l->cert_fd >= 0;
        int fds[3] = {l->sockets[k->index], l->cert_fd, l->key_fd};
        struct ipc_listener m = {sv_of(l->name), tls};
        ipc_send_fds(k->control, listener, &m, fds, tls ? 3 : 1);
    }
}

static void send_edge(struct kid *to, const struct kid *peer, int fd)
{
    struct ipc_new_edge m = {(uint8_t)peer->row->role, sv_of(peer->name)};
    ipc_send_fds(to->control, new_edge, &m, &fd, 1);
}

/* Its notices go out through that pipe (dsn-pipe). */
static bool sends_notices_to(const struct kid *a, const struct kid *b)
{
    struct config_query q = {.pipe = sv_of(a->name)};
    if (a == b || a->row->role != ROLE_PIPE || b->row->role != ROLE_PIPE)
        return false;
    const char *name = config_text(a->root->config, &q, DIR_DSN_PIPE);
    return name && sv_eq_nocase(sv_of(name), sv_of(b->name));
}

/* Only when it is not there yet. */
void kid_connect_notices(struct kid *a, struct kid *b)
{
    if (a->dsn_pipe != b && sends_notices_to(a, b))
        kid_connect(a, b);
}

static bool may_talk(const struct kid *a, const struct kid *b)
{
    return (a->row->peers & b->row->role) || (b->row->peers & a->row->role) ||
           sends_notices_to(a, b) || sends_notices_to(b, a);
}

void kid_connect(struct kid *a, struct kid *b)
{
    int fds[2];
    if (a == b || !a->control || !b->control || !may_talk(a, b))
        return;
    int code = ipc_pair(fds);
    if (code < 0) {
        log_error(LOG_IPC, "no edge between %s and %s: %s", a->title, b->title, err_name(code));
        return;
    }
    send_edge(a, b, fds[0]);
    send_edge(b, a, fds[1]);
    if (sends_notices_to(a, b))
        a->dsn_pipe = b;
    if (sends_notices_to(b, a))
        b->dsn_pipe = a;
    close(fds[0]);
    close(fds[1]);
}

/* --- start and end --- */

/* A share that no other kid has. The kid keeps it over its restarts. */
static void give_share(struct kid *k)
{
    uint32_t taken = 0;

    if (!(k->row->flags & ROLE_GETS_LIMITS) || k->share >= 0)
        return;
    list_for_each (n, &k->root->kids) {
        int share = list_entry(n, struct kid, node)->share;
        if (share >= 0)
            taken |= 1u << share;
    }
    if (taken == UINT32_MAX)
        log_warn(LOG_MAIN,
                 "%s does not share its limits: only %d pipes can; they hold within it alone",
                 k->title, LIMIT_TABLE_PROCESSES);
    else
        k->share = __builtin_ctz(~taken);
    if (k->share >= 0)
        limit_table_expect(k->root->limits, (unsigned)k->share);
}

/* Its connections ended with it. */
static void take_back_share(struct kid *k)
{
    if (k->share < 0)
        return;
    limit_table_forget(k->root->limits, (unsigned)k->share);
    if (k->state == KID_GONE)
        k->share = -1;
}

static void on_backoff_over(uv_timer_t *timer)
{
    kid_start(timer->data);
}

static void back_off(struct kid *k)
{
    k->state = KID_BACKOFF;
    log_info(LOG_MAIN, "%s is started again in %lld ms", k->title, (long long)k->backoff_ms);
    uv_timer_start(&k->timer, on_backoff_over, (uint64_t)k->backoff_ms, 0);
    k->backoff_ms = MIN_OF(k->backoff_ms * 2, (int64_t)BACKOFF_MAX_MS);
    k->restarts++;
}

void kid_start(struct kid *k)
{
    struct err e = {0};
    int fds[2];

    k->said_hello = k->handed_over = false;
    k->started_ms = clock_mono_ms();
    k->state = KID_STARTING;
    give_share(k);
    int code = ipc_pair(fds);
    if (code == 0) {
        pid_t pid = spawn_child(k->root, k, fds[1], &e);
        close(fds[1]);
        if (pid > 0) {
            k->pid = pid;
            k->control =
                ipc_edge_open(&k->root->loop, fds[0], ROLE_ROOT, k->row->role, &kid_ops, k);
            log_debug(LOG_MAIN, "%s started pid=%d", k->title, (int)pid);
            return;
        }
        close(fds[0]);
    } else {
        err_set(&e, code, "socket pair for %s", k->title);
    }
    snprintf(k->trouble, sizeof(k->trouble), "%s", e.text);
    log_error(LOG_MAIN, "%s", e.text);
    k->early_deaths++;
    back_off(k);
    monitor_kid_dead(k->root, k);
}

void kid_drain(struct kid *k, int64_t timeout_ms)
{
    struct ipc_drain m = {(uint64_t)timeout_ms};
    uv_timer_stop(&k->timer);
    if (!k->pid && !k->control) {
        k->state = KID_GONE;
        return;
    }
    k->state = KID_DRAINING;
    if (k->control && k->said_hello)
        ipc_send(k->control, drain, &m);
    else
        kid_kill(k); /* it has nothing to finish yet */
}

void kid_kill(struct kid *k)
{
    if (k->pid)
        kill(k->pid, SIGKILL);
}

static void log_death(const struct kid *k, int status)
{
    bool expected = k->state == KID_DRAINING;
    if (WIFSIGNALED(status))
        log_warn(LOG_MAIN, "%s died pid=%d signal=%d (%s)%s", k->title, (int)k->last_pid,
                 WTERMSIG(status), strsignal(WTERMSIG(status)),
                 WCOREDUMP(status) ? ", core dumped" : "");
    else if (expected && WEXITSTATUS(status) == 0)
        log_debug(LOG_MAIN, "%s drained pid=%d", k->title, (int)k->last_pid);
    else
        log_warn(LOG_MAIN, "%s exited pid=%d status=%d", k->title, (int)k->last_pid,
                 WEXITSTATUS(status));
}

static void note_early_death(struct kid *k, int status)
{
    k->early_deaths++;
    if (k->trouble[0])
        return;
    if (WIFSIGNALED(status))
        snprintf(k->trouble, sizeof(k->trouble), "died of signal %d before it was ready",
                 WTERMSIG(status));
    else
        snprintf(k->trouble, sizeof(k->trouble), "exited with status %d before it was ready",
                 WEXITSTATUS(status));
}

static void finish_death(struct kid *k)
{
    enum kid_state before = k->state;
    uv_timer_stop(&k->timer);
    log_death(k, k->exit_status);
    if (before == KID_STARTING)
        note_early_death(k, k->exit_status);
    if (before == KID_DRAINING || k->retired)
        k->state = KID_GONE;
    else
        back_off(k);
    take_back_share(k);
    k->dsn_pipe = NULL;
    list_for_each (n, &k->root->kids) {
        struct kid *other = list_entry(n, struct kid, node);
        if (other->dsn_pipe == k)
            other->dsn_pipe = NULL;
    }
    monitor_kid_dead(k->root, k);
    k->trouble[0] = '\0';
}

/* Its last words may still be unread on the edge: the end of the edge comes behind them. */
void kid_died(struct kid *k, int status)
{
    k->last_pid = k->pid;
    k->pid = 0;
    k->exit_status = status;
    if (!k->control)
        finish_death(k);
}
