/*
 * What the parts of pmtad share. One struct root; everything runs on its loop; no threads.
 *
 *   main.c      arguments, --check
 *   setup.c     what must be there before a child runs: lock, directories, sockets, user, log file
 *   listeners.c listening sockets (one per receiver, SO_REUSEPORT) and certificate files
 *   files.c     files with keys, certificates and secrets
 *   spawn.c     fork, drop privileges, exec
 *   kid.c       one child: hand over, its frames, death, back-off
 *   monitor.c   the whole: role table, start, reload, drain
 *   admin.c     the admin socket
 */
#ifndef PMTA_ROOT_MONITOR_H
#define PMTA_ROOT_MONITOR_H

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/limit_table.h"
#include "base/list.h"
#include "mail/config.h"
#include "net/admin_verbs.h"
#include "net/child.h"
#include "net/ipc.h"

#include <sys/types.h>
#include <uv.h>

enum {
    RECEIVERS_MAX = 64,
    FIRST_START_PATIENCE_MS = 10000, /* for a spool that the children of a dead pmtad still hold */
};

/* One row per kind of child; see roles[] in monitor.c. */
struct role_row {
    enum role role;
    const char *program;
    unsigned peers; /* roles that it gets edges to, besides those whose rows name it */
    unsigned flags;
    const char *directory; /* purpose of the directory of its own in the spool; NULL: it has none */
    const char *place;     /* its name there: this and the child's name */
};

enum role_flag {
    ROLE_GETS_ACCOUNTING = 1, /* its directories */
    ROLE_GETS_LISTENERS = 2,
    ROLE_GETS_LIMITS = 4,
    ROLE_OPTIONAL = 8, /* mail goes on without it, also at the first start */
};

/* KID_STATE(NAME, "as status prints it") */
#define KID_STATES(STATE)                                              \
    STATE(STARTING, "starting") /* runs, has not said ready */         \
    STATE(RUNNING, "running")                                          \
    STATE(BACKOFF, "backoff") /* is dead, the timer starts it again */ \
    STATE(DRAINING, "draining")                                        \
    STATE(GONE, "gone") /* is dead and stays so */

enum kid_state {
#define KID_ENUM(name, text) KID_##name,
    KID_STATES(KID_ENUM)
#undef KID_ENUM
};

struct root;

struct kid {
    struct list node; /* root.kids */
    struct root *root;
    const struct role_row *row;
    char *name;     /* "bulk", "0"; "" for the resolver */
    char *title;    /* "pipe/bulk" */
    unsigned index; /* of a receiver: which of a listener's sockets is its own */
    int nice;

    enum kid_state state;
    pid_t pid;      /* 0 when none runs */
    pid_t last_pid; /* of the one that died last, and its status */
    int exit_status;
    struct ipc_edge *control; /* NULL when it is down */
    bool said_hello;
    bool handed_over;
    bool retired;         /* no section names it any more: runs on, is not started again */
    int own_fd, acct_fd;  /* directories, kept for the next start; -1 when it gets none */
    struct kid *dsn_pipe; /* pipe that it has an edge to for its notices */
    int share;            /* in the table of limits, from first start to the end; -1: none */

    uv_timer_t timer; /* back-off, or the quiet minute after which back-off begins anew */
    int64_t backoff_ms;
    int64_t started_ms;
    unsigned restarts;
    unsigned early_deaths; /* in a row, before ready */
    uint64_t applied;      /* generation that it answered for last */
    char trouble[512];     /* why it died or could not start */
};

struct listener {
    struct list node; /* root.listeners */
    enum role role;   /* who listens: receivers or the web process */
    char *name;       /* as in the section */
    char *address;    /* "ADDR:PORT" */
    int *sockets;     /* one per receiver; of the web process, one */
    unsigned socket_count;
    int cert_fd, key_fd; /* -1 without TLS */
};

struct admin;

struct root {
    uv_loop_t loop;
    const char *config_dir;
    const struct config_override *overrides;
    size_t override_count;
    struct config *config;
    int snapshot_fd;
    uint64_t snapshot_bytes;

    uid_t uid; /* of the children; valid when drop */
    gid_t gid;
    bool drop;             /* started as root */
    char *program_dirs[4]; /* where children are looked for; NULL when there are fewer */

    char *run_dir;
    int lock_fd, spool_fd, log_fd; /* log_fd 2: stderr */
    int limits_fd;                 /* the table of limits: outlives every pipe */
    struct limit_table *limits;    /* ours of it, to take back what a dead pipe held */
    unsigned receiver_count;
    struct list kids;
    struct list listeners;
    struct hash files; /* files.c */
    uint32_t file_round;
    struct admin *admin;

    uv_signal_t signals[4];
    uv_timer_t timer; /* patience at the first start; deadline of a drain */
    uv_prepare_t before_sleep;
    int64_t started_ms;
    bool all_met; /* at the first start: every child has said hello */
    bool serving; /* the first start is over: listeners are handed out, deaths are only retried */
    bool draining;
    unsigned drain_stage;
    int64_t drain_until_ms;
    int status; /* exit status */

    bool reloading; /* waits for config_applied */
    uv_timer_t reload_timer;
    struct buf reload_trouble; /* "pipe/bulk: text" lines */
};

/* --- monitor.c --- */

/* Runs until the end; exit status. Everything that setup needs is in *r already. */
int monitor_run(struct root *r);
const struct role_row *role_row_find(enum role role);
/* A kid said ready, died, or answered a configuration. */
void monitor_kid_ready(struct root *r, struct kid *k);
void monitor_kid_said_hello(struct root *r, struct kid *k);
void monitor_kid_dead(struct root *r, struct kid *k);
void monitor_kid_applied(struct root *r, struct kid *k, struct strview trouble);
/* Ends everything now; text (may be NULL) was logged by the caller. */
void monitor_abort(struct root *r, int status);
void monitor_drain(struct root *r, const char *why);
/* Reads the configuration again. 0: children are told, admin_reload_done follows; negative: nothing
 * has changed and report->text says why. */
int monitor_reload(struct root *r, struct config_report *report);
void monitor_set_debug(struct root *r, uint32_t mask);
struct kid *monitor_kid_find(struct root *r, enum role role, struct strview name);

/* --- kid.c --- */

struct kid *kid_new(struct root *r, const struct role_row *row, const char *name);
void kid_start(struct kid *k);
bool kid_is_up(const struct kid *k);
/* The two halves of what a kid gets when it has said hello: the first before edges are made. */
void kid_hand_config(struct kid *k);
void kid_hand_start(struct kid *k);
void kid_hand_listeners(struct kid *k);
void kid_send_config(struct kid *k);
void kid_send_log(struct kid *k);
/* An edge between two kids that are up, when their rows allow it. */
void kid_connect(struct kid *a, struct kid *b);
/* The edge that a's notices need to b, after a reload that may have changed dsn-pipe. */
void kid_connect_notices(struct kid *a, struct kid *b);
void kid_drain(struct kid *k, int64_t timeout_ms);
void kid_kill(struct kid *k);
/* waitpid gave this status. */
void kid_died(struct kid *k, int status);
const char *kid_state_name(enum kid_state s);

/* --- spawn.c --- */

/* Where the program is, in *ret (malloc'd), or ERR_NOT_FOUND. */
int spawn_find(const struct root *r, const char *program, char **ret, struct err *e);
/* Starts the child with `control` as its descriptor 3. The pid, or negative. */
pid_t spawn_child(const struct root *r, const struct kid *k, int control, struct err *e);

/* --- setup.c --- */

int setup_user(struct root *r, struct err *e);
int setup_run_dir(struct root *r, struct err *e); /* run_dir, lock_fd */
int setup_spool(struct root *r, struct err *e);   /* spool_fd and its lock */
int setup_kid_directories(struct root *r, struct kid *k, struct err *e);
/* The directory of an [acct-file], or with move of its move-to; *ret -1 when it has none. */
int setup_acct_directory(const struct root *r, const char *name, bool move, int *ret,
                         struct err *e);
int setup_log(struct root *r, const struct config *cfg, struct err *e); /* log_fd, opened (again) */
int setup_snapshot(struct root *r, struct config *cfg, struct err *e);  /* takes a reference */
void setup_limits(void);
int setup_limit_table(struct root *r, struct err *e); /* limits_fd, limits */
/* Path of a directive's value, against the configuration directory when relative; malloc'd. */
char *setup_path(const struct root *r, const char *text);
void setup_fini(struct root *r);

/* --- listeners.c --- */

/* Opens what cfg names and is not open yet, and every certificate again, into root.listeners; those
 * that cfg no longer names are dropped. On failure nothing has changed. */
int listeners_apply(struct root *r, const struct config *cfg, struct err *e);
void listeners_fini(struct root *r);

/* --- files.c --- */

void files_init(struct root *r);
/* Opens every file with keys, certificates or secrets that cfg names, again; those of before are
 * closed. On failure nothing has changed, and *e has file and line of the directive. */
int files_apply(struct root *r, const struct config *cfg, struct err *e);
/* To a child: the files that it can need. Before its configuration. */
void files_send(struct kid *k);
void files_fini(struct root *r);

/* --- admin.c --- */

int admin_open(struct root *r, struct err *e);
void admin_close(struct admin *a);
/* Frame admin_reply of a kid. */
int admin_kid_reply(struct admin *a, struct kid *k, struct strview frame);
/* What this kid had to answer it will not. */
void admin_kid_gone(struct admin *a, struct kid *k);
/* The reload that monitor_reload began is over; trouble: lines, or empty. */
void admin_reload_done(struct admin *a, struct strview trouble);

#endif
