/*
 * The process: what main.c wires together and the admin verbs look at.
 */
#ifndef PMTA_PIPE_PIPE_H
#define PMTA_PIPE_PIPE_H

#include "check/watch.h"
#include "dsn/dsn.h"
#include "inbound/inbound.h"
#include "intake/intake.h"
#include "memory.h"
#include "net/child.h"
#include "notice/notice.h"
#include "queue/engine.h"
#include "suppression/suppression.h"
#include "tlsrpt/tlsrpt.h"
#include "trace/tracer.h"
#include "sign/keyring.h"
#include "sign/signer.h"

/* Directories by section; few. */
struct acct_dirs {
    struct acct_dir {
        char *section;
        bool move;
        int fd;
    } items[64];
    size_t count;
};

enum pipe_state { PIPE_STARTING, PIPE_RECOVERING, PIPE_RUNNING, PIPE_DRAINING };

struct pipe {
    struct child *child;
    char name[80];    /* "bulk" */
    char process[96]; /* "pipe/bulk" */
    enum pipe_state state;
    int64_t started_ms; /* monotonic */
    bool drained;

    struct config *config;
    struct tls_files *tls_files;
    struct delivery *delivery;
    struct routes *routes;
    struct report *report;
    struct engine *engine;
    struct intake *intake;
    struct keyring *keyring;
    struct signer *signer;
    struct verp *verp;
    struct mail_token_key token_key; /* when has_token_key */
    bool has_token_key;
    struct notice *notice;
    struct dsn *dsn;
    struct tlsrpt *tlsrpt;
    struct watch *watch;
    struct stats_keeper *stats;
    struct tracer *tracer;
    struct list tracings; /* traces that operators asked for */
    struct suppress_client *suppress; /* to pmta-suppress, for everybody who adds */
    struct suppression *suppression;
    struct inbound *inbound;
    struct list checks; /* that operators asked for */
    struct list probes; /* resolve --connect */
    struct spool *spool;
    struct limit_table *limit_table; /* from root; the engine takes it */
    struct memory memory;
    uv_timer_t levels_timer; /* until all pipes have brought the levels that they kept */
    int64_t levels_until_ms; /* monotonic; then delivery begins without them */
    int spool_dir;           /* until the spool takes it */
    int acct_dir;
    struct acct_dirs acct_dirs; /* of [acct-file]s, as root sent them last */
    bool spool_writable;
    char spool_trouble[256];
};

/* child_ops.admin; admin/verbs.c */
void pipe_admin(void *owner, const struct child_admin_request *req);
/* Nobody waits for that answer any more; traces end; admin/trace.c */
void pipe_admin_cancel(void *owner, uint64_t token);
void pipe_traces_cancel(struct pipe *p);
/* Checks under way are given up; admin/check.c */
void pipe_checks_cancel(struct pipe *p);
/* Test connections end; admin/resolve.c */
void pipe_probes_cancel(struct pipe *p);

#endif
