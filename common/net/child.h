/*
 * What every child of pmtad does alike: descriptor 3 is the control edge to root; say hello; take
 * configuration, edges, listeners and directories; start when told; answer admin lines; drain and
 * exit. The process fills in a struct child_ops and calls child_main from main().
 *
 * Order guaranteed by root at start: log_output, limit_table, file*, config, directory*, edge*, start,
 * listener*. Later: file*, config at a reload, edge when a peer was restarted, log_output at log
 * rotation, listener at any time, drain once.
 */
#ifndef PMTA_NET_CHILD_H
#define PMTA_NET_CHILD_H

#include "base/err.h"
#include "net/ipc.h"

enum { CHILD_CONTROL_FD = 3 };

struct child;

/* Of the files that root opens for its children. Values travel. */
enum file_kind { FILE_SIGNING_KEY = 0, FILE_TLS = 1, FILE_SECRET = 2 };

/* One admin line for this process: "VERB TARGET {json}". Answer with child_admin_reply any number
 * of times, now or later, the last with last = true. `line` is valid until the call returns. */
struct child_admin_request {
    uint64_t token;
    uint8_t level; /* enum admin_level of the operator */
    uint32_t uid;
    struct strview line;
};

struct child_ops {
    enum role role;
    const char *program; /* "pmta-pipe", for --help and errors */

    /* A new configuration snapshot (bytes as config_snapshot_decode takes them). Return 0 when it
     * was applied, or negative with *e filled: the old one stays. */
    int (*config)(void *owner, struct strview snapshot, uint64_t generation, struct err *e);
    /* A descriptor that is now the owner's. purpose: see the IPC message. May
     * be NULL. */
    void (*directory)(void *owner, const char *purpose, int fd);
    /* Signing keys: the whole set begins again (file NULL, fd -1), then each file with its
     * descriptor, which is the owner's. A configuration follows that names them. May be NULL. */
    void (*key)(void *owner, const char *file, int fd);
    /* TLS files: the whole set begins again (file NULL, fd -1), then each file with its descriptor,
     * which is the owner's. A configuration follows that names them. May be NULL. */
    void (*tls_file)(void *owner, const char *file, int fd);
    /* Secrets, in the same way: "installation", or the file's name as the configuration has it. May
     * be NULL. */
    void (*secret)(void *owner, const char *name, int fd);
    /* The table of limits (base/limit_table.h) and our share in it, before the first config; fd is
     * the owner's. May be NULL. */
    void (*limit_table)(void *owner, int fd, unsigned share);
    /* A new edge to that peer; fd is the owner's (ipc_edge_open). name: the pipe's name, or the
     * receiver's number. An edge to the same peer that was there is dead. */
    void (*edge)(void *owner, enum role peer, const char *name, int fd);
    /* A listening socket, and certificate chain and key (or -1). May be NULL. */
    void (*listener)(void *owner, const char *name, int fd, int cert_fd, int key_fd);
    /* Everything was handed over. Call child_ready when working (now or later), or child_fatal. */
    void (*start)(void *owner);
    void (*admin)(void *owner, const struct child_admin_request *req);
    /* Finish within timeout_ms and then call child_exit(child, 0). */
    void (*drain)(void *owner, int64_t timeout_ms);
};

/* Runs the loop until child_exit; returns the exit status. argv: --name NAME (the pipe's name, the
 * receiver's number), --version. owner is handed to the callbacks, and is told the child and loop
 * through *ret_child and child_loop before any callback fires. Without descriptor 3 it says that it
 * is started by pmtad and returns 2. SIGTERM and SIGINT are ignored (root decides, by drain), root
 * going away (EOF on control) acts as drain with a short time. SIGPIPE is ignored. */
int child_main(int argc, char **argv, const struct child_ops *ops, void *owner,
               struct child **ret_child);

uv_loop_t *child_loop(struct child *c);
const char *child_name(const struct child *c);

void child_ready(struct child *c, const char *note);
/* Logs the text, tells root why, exits 1 (at the next turn of the loop). */
void child_fatal(struct child *c, const struct err *e);
void child_exit(struct child *c, int status);
void child_admin_reply(struct child *c, uint64_t token, struct strview text, bool last);

/* Runs fn(arg) at the next turn of the loop, in the order of the calls: for completions that must
 * not fire inside the call that caused them. */
void child_defer(struct child *c, void (*fn)(void *arg), void *arg);

#endif
