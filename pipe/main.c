/*
 * pmta-pipe: the process of one traffic class. Root starts it, hands over configuration, spool and
 * accounting directories and the edges to receivers and resolver, and says start: the spool is read
 * once, then mail is taken in and delivered until root says drain.
 *
 * What can go wrong at the start (spool locked, newer format, unwritable) is told to root by
 * child_fatal with one sentence.
 */
#include "pipe.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/limit_table.h"
#include "base/log.h"
#include "check/gather.h"
#include "stats/keeper.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum {
    LEVELS_WAIT_MS = 5000,
    LEVELS_LOOK_MS = 5,
};

/* --- spool_ops --- */

static void on_recovered(void *owner, message_id id, const struct spool_place *place,
                         const struct envelope *env, const struct spool_recovered_rcpt *rcpts)
{
    struct pipe *p = owner;
    engine_recovered(p->engine, id, place, env, rcpts);
}

static bool on_moved(void *owner, message_id id, const struct spool_place *to)
{
    struct pipe *p = owner;
    return engine_moved(p->engine, id, to);
}

static void on_journalled(void *owner, message_id id, uint16_t rcpt, spool_journal_place at)
{
    struct pipe *p = owner;
    engine_journalled(p->engine, id, rcpt, at);
}

static void on_health(void *owner, bool writable, const char *text)
{
    struct pipe *p = owner;

    p->spool_writable = writable;
    snprintf(p->spool_trouble, sizeof(p->spool_trouble), "%s", writable || !text ? "" : text);
    if (p->intake)
        intake_set_health(p->intake, writable);
    if (writable)
        log_info(LOG_SPOOL, "spool can be written again, accepting mail");
    else
        log_error(LOG_SPOOL, "spool cannot be written, refusing mail until it can reason='%s'",
                  text ? text : "");
}

static const struct spool_ops spool_callbacks = {
    .recovered = on_recovered,
    .moved = on_moved,
    .journalled = on_journalled,
    .health = on_health,
};

/* --- notices through another pipe --- */

static void on_peer(void *arg, const char *pipe, struct ipc_edge *edge)
{
    struct pipe *p = arg;
    dsn_peer(p->dsn, pipe, edge);
}

static void on_peer_reply(void *arg, const char *pipe, const struct ipc_submit_reply *r)
{
    struct pipe *p = arg;
    dsn_peer_reply(p->dsn, pipe, r);
}

/* --- child_ops --- */

/* The client needs somebody to hand tables to before that one has the client. */
static void on_suppress_table(void *arg, int fd, uint64_t bytes)
{
    struct pipe *p = arg;
    suppression_table(p->suppression, fd, bytes);
}

static const struct classify *classify_of(void *arg)
{
    struct pipe *p = arg;
    return p->report ? report_classify(p->report) : NULL;
}

static void open_suppression(struct pipe *p, uv_loop_t *loop)
{
    p->suppress = suppress_client_new(loop, ROLE_PIPE, on_suppress_table, p);
    p->suppression = suppression_new(p->name, p->suppress);
    suppression_set_classify(p->suppression, classify_of, p);
    intake_set_suppression(p->intake, p->suppression);
    engine_on_bounced(p->engine, suppression_bounced, p->suppression);
    engine_on_suppressed(p->engine, suppression_again, p->suppression);
}

/* inbound_suppress_fn */
static int add_suppression(void *arg, const struct suppress_entry *e,
                           void (*done)(void *arg, int code), void *done_arg)
{
    const struct pipe *p = arg;
    return suppress_client_add(p->suppress, e, done, done_arg);
}

/* The rooms, made with the first configuration. */
static int open_rooms(struct pipe *p, struct err *e)
{
    uv_loop_t *loop = child_loop(p->child);

    snprintf(p->name, sizeof(p->name), "%s", child_name(p->child));
    snprintf(p->process, sizeof(p->process), "pipe/%s", p->name);
    if (!p->tls_files)
        p->tls_files = tls_files_new();
    if (delivery_new(&p->delivery, loop, p->tls_files, e) < 0)
        return e->code;
    p->tracer = tracer_new(loop, p->delivery);
    p->signer = signer_new(loop);
    if (!p->keyring)
        p->keyring = keyring_new();
    p->routes = routes_new(loop);
    p->verp = verp_new(p->name, memory_origins_changed, &p->memory);
    if (p->has_token_key)
        verp_set_key(p->verp, &p->token_key);
    p->engine = engine_new(&(struct engine_parts){
        .loop = loop,
        .pipe = p->name,
        .delivery = p->delivery,
        .routes = p->routes,
        .keyring = p->keyring,
        .signer = p->signer,
        .verp = p->verp,
        .limit_table = p->limit_table,
    });
    memory_init(&p->memory, p->engine, p->verp);
    p->intake = intake_new(loop, p->engine);
    p->notice = notice_new(p->engine);
    p->dsn = dsn_new(loop, p->engine);
    intake_on_peers(p->intake,
                    &(struct intake_peers){.there = on_peer, .replied = on_peer_reply, .arg = p});
    p->watch = watch_new(loop, p->routes);
    engine_on_notice(p->engine, notice_tell, p->notice);
    open_suppression(p, loop);
    p->inbound = inbound_new(loop, p->engine, p->verp);
    inbound_on_suppress(p->inbound, add_suppression, p);
    p->tlsrpt = tlsrpt_new(loop, p->engine, p->routes);
    engine_on_tls(p->engine, tlsrpt_told, p->tlsrpt);
    return 0;
}

static void on_limit_table(void *owner, int fd, unsigned share)
{
    struct pipe *p = owner;
    struct err e = {0};

    if (p->limit_table || p->engine || share >= LIMIT_TABLE_PROCESSES)
        log_error(LOG_MAIN, "limit table not taken: there is one already, or share=%u", share);
    else if (limit_table_map(&p->limit_table, fd, share, &e) < 0)
        log_error(LOG_MAIN, "limits hold within this pipe only: %s", e.text);
    close(fd);
}

/* --- directories of [acct-file]s --- */

static struct acct_dir *find_acct_dir(struct pipe *p, const char *section, bool move)
{
    for (size_t i = 0; i < p->acct_dirs.count; i++) {
        struct acct_dir *d = &p->acct_dirs.items[i];
        if (d->move == move && strcmp(d->section, section) == 0)
            return d;
    }
    return NULL;
}

static void keep_acct_dir(struct pipe *p, const char *section, bool move, int fd)
{
    struct acct_dir *d = find_acct_dir(p, section, move);

    if (!d && p->acct_dirs.count == ARRAY_LEN(p->acct_dirs.items)) {
        log_error(LOG_MAIN, "too many directories for accounting files, [acct-file %s] left out",
                  section);
        close(fd);
        return;
    }
    if (d) {
        close(d->fd);
    } else {
        d = &p->acct_dirs.items[p->acct_dirs.count++];
        *d = (struct acct_dir){xstrdup(section), move, -1};
    }
    d->fd = fd;
}

static void free_acct_dirs(struct pipe *p)
{
    for (size_t i = 0; i < p->acct_dirs.count; i++) {
        close(p->acct_dirs.items[i].fd);
        free(p->acct_dirs.items[i].section);
    }
}

static int open_acct_dir(void *arg, const char *section, bool move)
{
    const struct acct_dir *d = find_acct_dir(arg, section, move);
    return d ? fcntl(d->fd, F_DUPFD_CLOEXEC, 0) : -1;
}

static int configure_report(struct pipe *p, struct err *e)
{
    return report_configure(p->report, p->config,
                            &(struct report_places){.loop = child_loop(p->child),
                                                    .acct_dirfd = p->acct_dir,
                                                    .open_dir = open_acct_dir,
                                                    .arg = p},
                            e);
}

static void on_secret(void *owner, const char *name, int fd)
{
    struct pipe *p = owner;
    struct err e = {0};

    if (name && strcmp(name, "installation") == 0) {
        if (mail_token_key_read(fd, &p->token_key, &e) < 0)
            log_error(LOG_MAIN, "no bounce addresses and unsubscribe links of our own: %s", e.text);
        else
            p->has_token_key = true;
        if (p->has_token_key && p->verp)
            verp_set_key(p->verp, &p->token_key);
    }
    if (fd >= 0)
        close(fd);
}

static void on_tls_file(void *owner, const char *file, int fd)
{
    struct pipe *p = owner;

    if (!p->tls_files) /* of delivery, once that is there */
        p->tls_files = tls_files_new();
    if (file)
        tls_files_add(p->tls_files, file, fd);
    else
        tls_files_begin(p->tls_files);
}

static int on_config(void *owner, struct strview snapshot, uint64_t generation, struct err *e)
{
    struct pipe *p = owner;
    struct config *cfg;

    (void)generation;
    if (config_snapshot_decode(snapshot, &cfg, e) < 0)
        return e->code;
    if (!p->engine && open_rooms(p, e) < 0) {
        config_unref(cfg);
        return e->code;
    }
    config_unref(p->config);
    p->config = cfg;
    tls_files_commit(p->tls_files);
    dsn_configure(p->dsn, cfg);
    engine_configure(p->engine, cfg);
    suppression_configure(p->suppression, cfg);
    inbound_configure(p->inbound, cfg);
    tlsrpt_configure(p->tlsrpt, cfg, p->name);
    if (p->report && configure_report(p, e) < 0)
        log_error(LOG_CONFIG, "accounting goes on as before: %s: %s", e->text, err_name(e->code));
    keyring_end(p->keyring);
    if (p->watch)
        gather_watch(p->engine, p->watch);
    return 0;
}

static void on_key(void *owner, const char *file, int fd)
{
    struct pipe *p = owner;
    struct err e = {0};

    if (!p->keyring)
        p->keyring = keyring_new();
    if (!file) {
        keyring_begin(p->keyring);
        return;
    }
    if (keyring_put(p->keyring, file, fd, &e) < 0)
        log_error(LOG_CONFIG, "mail that this key has to sign waits: %s", e.text);
    close(fd);
}

static void on_directory(void *owner, const char *purpose, int fd)
{
    struct pipe *p = owner;
    if (strncmp(purpose, "acct-file ", 10) == 0 || strncmp(purpose, "acct-move ", 10) == 0) {
        keep_acct_dir(p, purpose + 10, purpose[5] == 'm', fd);
        return;
    }
    int *slot = strcmp(purpose, "spool") == 0        ? &p->spool_dir
                : strcmp(purpose, "accounting") == 0 ? &p->acct_dir
                                                     : NULL;
    if (!slot || *slot >= 0) {
        close(fd);
        return;
    }
    *slot = fd;
}

static void on_edge(void *owner, enum role peer, const char *name, int fd)
{
    struct pipe *p = owner;

    if (peer == ROLE_RESOLVER)
        routes_set_edge(p->routes, fd);
    else if (peer == ROLE_RECEIVER)
        intake_add_edge(p->intake, name, fd);
    else if (peer == ROLE_PIPE)
        intake_add_pipe(p->intake, name, fd);
    else if (peer == ROLE_SUPPRESS)
        suppress_client_edge(p->suppress, fd);
    else
        close(fd);
}

/* Actions are few and matter; clocks move with every round that fails. */
static int open_spool(struct pipe *p, struct err *e)
{
    struct config_query q = {.pipe = sv_of(p->name)};
    struct spool_options options = {
        .pipe = p->name,
        .min_free_bytes = (uint64_t)config_number(p->config, &q, DIR_MIN_FREE_SPACE),
        .segment_bytes = FAULT_NUMBER("PMTA_FAULT_SEGMENT_BYTES"),
        .journal_file_bytes = FAULT_NUMBER("PMTA_FAULT_JOURNAL_BYTES"),
        .settle_ms = (int64_t)FAULT_NUMBER("PMTA_FAULT_SETTLE_MS"),
    };
    uv_loop_t *loop = child_loop(p->child);

    if (memory_open(&p->memory, loop, p->spool_dir, e) < 0 ||
        dsn_open(p->dsn, p->spool_dir, e) < 0 || tlsrpt_open(p->tlsrpt, p->spool_dir, e) < 0 ||
        inbound_open(p->inbound, p->spool_dir, e) < 0 ||
        stats_keeper_open(&p->stats, report_stats(p->report), loop, p->spool_dir, e) < 0)
        return e->code;
    int dir = p->spool_dir;
    p->spool_dir = -1;
    if (spool_open(&p->spool, loop, dir, &options, &spool_callbacks, p, e) < 0)
        return e->code;
    memory_restore(&p->memory);
    return 0;
}

static void on_levels_timer(uv_timer_t *timer)
{
    struct pipe *p = timer->data;
    bool complete = limit_table_is_complete(limits_table(engine_limits(p->engine)));

    if (!complete && clock_mono_ms() < p->levels_until_ms)
        return;
    if (!complete)
        log_warn(LOG_MAIN,
                 "levels of limits are not complete after %d s, another pipe does not "
                 "start; going on with what is known",
                 LEVELS_WAIT_MS / 1000);
    uv_close((uv_handle_t *)timer, NULL);
    if (p->state == PIPE_RUNNING)
        engine_start(p->engine);
}

/* Delivery begins when every pipe has brought the levels of limits that it kept, so that none takes
 * what another one knows to be used up. */
static void start_delivery(struct pipe *p)
{
    uv_timer_init(child_loop(p->child), &p->levels_timer);
    p->levels_timer.data = p;
    p->levels_until_ms = clock_mono_ms() + LEVELS_WAIT_MS;
    uv_timer_start(&p->levels_timer, on_levels_timer, 0, LEVELS_LOOK_MS);
}

static void on_start(void *owner)
{
    struct pipe *p = owner;
    struct err e;
    char note[160];
    int64_t began = clock_mono_ms();

    p->state = PIPE_RECOVERING;
    if (report_new(&p->report, p->name, -1, &e) < 0 || configure_report(p, &e) < 0) {
        child_fatal(p->child, &e);
        return;
    }
    engine_set_report(p->engine, p->report);
    intake_set_report(p->intake, p->report);
    inbound_set_report(p->inbound, p->report);
    if (open_spool(p, &e) < 0) {
        child_fatal(p->child, &e);
        return;
    }
    report_set_spool(p->report, p->spool);
    engine_set_spool(p->engine, p->spool);
    intake_start(p->intake, p->spool);
    p->state = PIPE_RUNNING;
    start_delivery(p);
    snprintf(note, sizeof(note), "%llu recipients recovered in %lld ms",
             (unsigned long long)engine_index(p->engine)->live,
             (long long)(clock_mono_ms() - began));
    child_ready(p->child, note);
}

/* --- drain --- */

static void on_spool_closed(void *arg)
{
    struct pipe *p = arg;
    p->spool = NULL;
    p->drained = true;
    child_exit(p->child, 0);
}

static void on_feeds_closed(void *arg)
{
    struct pipe *p = arg;
    spool_close(p->spool, on_spool_closed, p);
}

static void on_stats_closed(void *arg)
{
    struct pipe *p = arg;
    p->stats = NULL;
    report_close_feeds(p->report, on_feeds_closed, p);
}

static void on_memory_closed(void *arg)
{
    struct pipe *p = arg;
    stats_keeper_close(p->stats, on_stats_closed, p);
}

static void on_reports_closed(void *arg)
{
    struct pipe *p = arg;
    memory_close(&p->memory, on_memory_closed, p);
}

static void on_inbound_closed(void *arg)
{
    struct pipe *p = arg;
    tlsrpt_close(p->tlsrpt, on_reports_closed, p);
}

static void on_delays_closed(void *arg)
{
    struct pipe *p = arg;
    inbound_close(p->inbound, on_inbound_closed, p);
}

static void on_engine_drained(void *arg)
{
    struct pipe *p = arg;
    dsn_close(p->dsn, on_delays_closed, p);
}

static void on_drain(void *owner, int64_t timeout_ms)
{
    struct pipe *p = owner;

    if (p->state == PIPE_DRAINING)
        return;
    if (!p->spool) {
        child_exit(p->child, 0);
        return;
    }
    p->state = PIPE_DRAINING;
    pipe_checks_cancel(p);
    pipe_traces_cancel(p);
    pipe_probes_cancel(p);
    watch_free(p->watch);
    p->watch = NULL;
    intake_stop(p->intake);
    engine_drain(p->engine, timeout_ms, on_engine_drained, p);
}

static void pipe_fini(struct pipe *p)
{
    intake_free(p->intake);
    dsn_free(p->dsn);
    if (p->engine)
        memory_fini(&p->memory);
    notice_free(p->notice);
    tlsrpt_free(p->tlsrpt);
    suppression_free(p->suppression);
    suppress_client_free(p->suppress);
    if (p->drained) { /* otherwise connections still refer to them */
        engine_free(p->engine);
        tracer_free(p->tracer);
        inbound_free(p->inbound);
        verp_free(p->verp);
        delivery_free(p->delivery);
        signer_free(p->signer);
        keyring_free(p->keyring);
    }
    tls_files_free(p->tls_files);
    routes_free(p->routes);
    report_free(p->report);
    config_unref(p->config);
    if (p->acct_dir >= 0)
        close(p->acct_dir);
    free_acct_dirs(p);
    if (p->spool_dir >= 0)
        close(p->spool_dir);
}

int main(int argc, char **argv)
{
    static const struct child_ops ops = {
        .role = ROLE_PIPE,
        .program = "pmta-pipe",
        .config = on_config,
        .directory = on_directory,
        .limit_table = on_limit_table,
        .key = on_key,
        .tls_file = on_tls_file,
        .secret = on_secret,
        .edge = on_edge,
        .start = on_start,
        .admin = pipe_admin,
        .admin_cancel = pipe_admin_cancel,
        .drain = on_drain,
    };
    struct pipe p = {
        .spool_dir = -1,
        .acct_dir = -1,
        .spool_writable = true,
        .started_ms = clock_mono_ms(),
    };
    list_init(&p.checks);
    list_init(&p.tracings);
    list_init(&p.probes);
    int status = child_main(argc, argv, &ops, &p, &p.child);
    pipe_fini(&p);
    return status;
}
