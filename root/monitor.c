/*
 * The whole: which children there are, the first start, reload, drain.
 *
 * Called by: main.c (monitor_run), kid.c (what happened to a child), admin.c (reload, shutdown).
 * First start: everything is opened, then every child is forked; when all have said hello they are
 *   handed configuration, directories and edges, then start; when all are ready (or patience is
 * over) receivers get their listeners. From then on (serving) a child that dies is only started
 * again. Drain: in the order of the role table, receivers first, so that nothing new comes in, then
 * pipes, then what they need; what is left at the deadline is killed.
 */
#include "monitor.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    EARLY_DEATHS_MAX = 3,
    RELOAD_WAIT_MS = 10000,
    KILL_GRACE_MS = 500,
};

static const struct role_row roles[] = {
    {ROLE_RECEIVER, "pmta-receiver", ROLE_PIPE, ROLE_GETS_LISTENERS, NULL, NULL},
    {ROLE_WEB, "pmta-web", 0, ROLE_GETS_LISTENERS | ROLE_OPTIONAL, NULL, NULL},
    {ROLE_PIPE, "pmta-pipe", ROLE_RESOLVER, ROLE_GETS_ACCOUNTING | ROLE_GETS_LIMITS, "spool", ""},
    {ROLE_SUPPRESS, "pmta-suppress", ROLE_RECEIVER | ROLE_PIPE | ROLE_WEB, 0, "suppress",
     "@suppress"},
    {ROLE_RESOLVER, "pmta-resolver", 0, 0, "mta-sts", "@mta-sts"},
    {ROLE_SHIP, "pmta-ship", 0, ROLE_GETS_ACCOUNTING | ROLE_OPTIONAL, "state", "@ship/"},
};

const struct role_row *role_row_find(enum role role)
{
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (roles[i].role == role)
            return &roles[i];
    return NULL;
}

#define for_each_kid(k, r)                                                                     \
    for (struct kid *k = list_entry((r)->kids.next, struct kid, node); &k->node != &(r)->kids; \
         k = list_entry(k->node.next, struct kid, node))

struct kid *monitor_kid_find(struct root *r, enum role role, struct strview name)
{
    for_each_kid(k, r) if (k->row->role == role && sv_eq(sv_of(k->name), name)) return k;
    return NULL;
}

/* --- which children --- */

/* priority 50 is nice 0; below that up to 10, above that down to -10, which only root may set. */
static int nice_of(const struct config *cfg, const char *pipe)
{
    struct config_query q = {.pipe = sv_of(pipe)};
    int nice = (int)(50 - config_number(cfg, &q, DIR_PRIORITY)) / 5;
    return nice < 0 && geteuid() != 0 ? 0 : nice;
}

static struct kid *add_pipe(struct root *r, const struct config *cfg, const char *name)
{
    struct kid *k = kid_new(r, role_row_find(ROLE_PIPE), name);
    k->nice = nice_of(cfg, name);
    return k;
}

static void count_receivers(struct root *r)
{
    int64_t wanted = config_number(r->config, NULL, DIR_RECEIVERS);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (wanted <= 0)
        wanted = cores > 0 ? cores : 1;
    r->receiver_count = (unsigned)MIN_OF(wanted, (int64_t)RECEIVERS_MAX);
}

/* Children that are there because a section says so: the web process when anything is to listen
 * for it, a shipper for each sink. */
static bool is_named(const struct config *cfg, enum role role, const char *name)
{
    if (role == ROLE_WEB)
        return config_section_name(cfg, KIND_HTTP_LISTENER, 0);
    return config_has_section(cfg, role == ROLE_PIPE ? KIND_PIPE : KIND_EVENT_SINK, sv_of(name));
}

static void add_kids(struct root *r)
{
    const char *name;
    char number[16];
    kid_new(r, role_row_find(ROLE_RESOLVER), "");
    kid_new(r, role_row_find(ROLE_SUPPRESS), "");
    if (is_named(r->config, ROLE_WEB, ""))
        kid_new(r, role_row_find(ROLE_WEB), "");
    for (size_t i = 0; (name = config_section_name(r->config, KIND_EVENT_SINK, i)); i++)
        kid_new(r, role_row_find(ROLE_SHIP), name);
    for (size_t i = 0; (name = config_section_name(r->config, KIND_PIPE, i)); i++)
        add_pipe(r, r->config, name);
    for (unsigned i = 0; i < r->receiver_count; i++) {
        snprintf(number, sizeof(number), "%u", i);
        kid_new(r, role_row_find(ROLE_RECEIVER), number)->index = i;
    }
}

/* --- the end --- */

/* Everything is dead or has never been: the loop ends. */
static void finish_when_empty(struct root *r)
{
    for_each_kid(k, r) if (k->pid || k->control) return;
    uv_stop(&r->loop);
}

void monitor_abort(struct root *r, int status)
{
    r->draining = true;
    r->drain_stage = ARRAY_LEN(roles);
    r->status = status;
    for_each_kid(k, r)
    {
        if (k->state == KID_BACKOFF)
            uv_timer_stop(&k->timer);
        k->state = k->pid || k->control ? KID_DRAINING : KID_GONE;
        kid_kill(k);
    }
    finish_when_empty(r);
}

static void on_drain_deadline(uv_timer_t *timer)
{
    struct root *r = timer->data;
    for_each_kid(k, r) if (k->pid)
        log_warn(LOG_MAIN, "%s did not drain in time; killing it", k->title);
    monitor_abort(r, r->status);
}

/* How long the children of this stage may take: a receiver at most half, so that pipes have the
 * other half to finish what receivers still hand to them. */
static int64_t stage_time(const struct root *r)
{
    int64_t left = r->drain_until_ms - clock_mono_ms();
    if (roles[r->drain_stage].role == ROLE_RECEIVER)
        left /= 2;
    return MAX_OF(left, (int64_t)0);
}

/* Begins the stages in turn; goes on when nobody of the present one lives. */
static void drain_step(struct root *r)
{
    for (; r->drain_stage < ARRAY_LEN(roles); r->drain_stage++) {
        bool living = false;
        for_each_kid(k, r)
        {
            if (k->row != &roles[r->drain_stage])
                continue;
            if (k->state != KID_DRAINING && k->state != KID_GONE)
                kid_drain(k, stage_time(r));
            living = living || k->pid || k->control;
        }
        if (living)
            return;
    }
    finish_when_empty(r);
}

void monitor_drain(struct root *r, const char *why)
{
    if (r->draining)
        return;
    int64_t timeout = config_number(r->config, NULL, DIR_DRAIN_TIMEOUT);
    log_info(LOG_MAIN, "%s: draining, at most %lld ms", why, (long long)timeout);
    r->draining = true;
    r->drain_stage = 0;
    r->drain_until_ms = clock_mono_ms() + timeout;
    uv_timer_start(&r->timer, on_drain_deadline, (uint64_t)timeout + KILL_GRACE_MS, 0);
    drain_step(r);
}

/* --- start --- */

static bool all_kids(const struct root *r, bool (*is)(const struct kid *))
{
    for_each_kid(k, r) if (k->state != KID_GONE && !is(k)) return false;
    return true;
}

static bool is_met(const struct kid *k)
{
    return k->said_hello && k->control;
}

static bool is_met_or_optional(const struct kid *k)
{
    return is_met(k) || k->row->flags & ROLE_OPTIONAL;
}

static bool is_running_or_optional(const struct kid *k)
{
    return k->state == KID_RUNNING || k->row->flags & ROLE_OPTIONAL;
}

static void serve(struct root *r)
{
    r->serving = true;
    uv_timer_stop(&r->timer);
    for_each_kid(k, r) if (k->state == KID_RUNNING) kid_hand_listeners(k);
}

static void on_patience_over(uv_timer_t *timer)
{
    struct root *r = timer->data;
    for_each_kid(k, r) if (!is_running_or_optional(k))
        log_warn(LOG_MAIN, "%s is not ready yet; the others begin without it", k->title);
    serve(r);
}

/* Edges between this kid and every one that is up and was not connected to it in this round. */
static void connect_kid(struct root *r, struct kid *k)
{
    for_each_kid(other, r) if (kid_is_up(other)) kid_connect(k, other);
}

static void hand_over_one(struct root *r, struct kid *k)
{
    kid_hand_config(k);
    connect_kid(r, k);
    kid_hand_start(k);
}

/* At the first start everyone waits for the last hello, so that each gets all its edges before
 * start. */
static void hand_over_all(struct root *r)
{
    for_each_kid(k, r)
    {
        if (!is_met(k))
            continue;
        kid_hand_config(k);
        connect_kid(r, k);
    }
    for_each_kid(k, r) if (kid_is_up(k)) kid_hand_start(k);
    r->all_met = true;
}

void monitor_kid_said_hello(struct root *r, struct kid *k)
{
    if (r->draining)
        return;
    if (r->all_met)
        hand_over_one(r, k);
    else if (all_kids(r, is_met_or_optional))
        hand_over_all(r);
}

void monitor_kid_ready(struct root *r, struct kid *k)
{
    if (r->draining)
        return;
    if (r->serving) {
        kid_hand_listeners(k);
    } else if (all_kids(r, is_running_or_optional)) {
        serve(r);
        log_info(LOG_MAIN, "all processes are ready pid=%d", (int)getpid());
    }
}

/* The children of a pmtad that was killed may hold the spool until they have drained. */
static bool may_pass(const struct root *r, const struct kid *k)
{
    return strstr(k->trouble, "in use by another process") &&
           clock_mono_ms() - r->started_ms < FIRST_START_PATIENCE_MS;
}

static void reload_step(struct root *r);

void monitor_kid_dead(struct root *r, struct kid *k)
{
    reload_step(r);
    if (r->draining) {
        if (k->state == KID_BACKOFF) { /* it died before its stage came */
            uv_timer_stop(&k->timer);
            k->state = KID_GONE;
        }
        drain_step(r);
    } else if (!r->serving && k->early_deaths >= EARLY_DEATHS_MAX && !may_pass(r, k) &&
               !(k->row->flags & ROLE_OPTIONAL)) {
        log_error(LOG_MAIN, "%s cannot be started: %s", k->title, k->trouble);
        if (r->log_fd != 2)
            fprintf(stderr, "pmtad: %s cannot be started: %s\n", k->title, k->trouble);
        monitor_abort(r, 1);
    }
}

/* --- reload --- */

static bool has_answered(const struct kid *k)
{
    return !k->handed_over || k->retired || k->applied >= config_generation(k->root->config);
}

static void reload_over(struct root *r)
{
    r->reloading = false;
    uv_timer_stop(&r->reload_timer);
    log_info(LOG_CONFIG, "configuration generation %llu is in force",
             (unsigned long long)config_generation(r->config));
    log_flush(); /* who asked for it may look at the log next */
    admin_reload_done(r->admin, buf_view(&r->reload_trouble));
    buf_reset(&r->reload_trouble);
}

static void reload_step(struct root *r)
{
    if (r->reloading && all_kids(r, has_answered))
        reload_over(r);
}

static void on_reload_timeout(uv_timer_t *timer)
{
    struct root *r = timer->data;
    for_each_kid(k, r) if (!has_answered(k))
    {
        log_warn(LOG_CONFIG, "%s did not answer the new configuration", k->title);
        buf_printf(&r->reload_trouble, "%s: did not answer\n", k->title);
    }
    reload_over(r);
}

void monitor_kid_applied(struct root *r, struct kid *k, struct strview trouble)
{
    if (r->reloading && trouble.len)
        buf_printf(&r->reload_trouble, "%s: %.*s\n", k->title, SV_ARG(trouble));
    else if (trouble.len)
        snprintf(k->trouble, sizeof(k->trouble), "%.*s", SV_ARG(trouble));
    if (!r->reloading && trouble.len && k->state == KID_STARTING) {
        kid_kill(k); /* it cannot work without a configuration */
        return;
    }
    reload_step(r);
}

static void warn_of_restarts(const struct root *r, const struct config *next)
{
    for (unsigned d = 0; d < DIRECTIVE_COUNT; d++) {
        const struct directive_info *info = directive_info((enum directive)d);
        if (info->reload != RELOAD_RESTART || !(info->kinds & KIND_PMTA))
            continue;
        const char *was = config_text(r->config, NULL, (enum directive)d);
        const char *is = config_text(next, NULL, (enum directive)d);
        if (strcmp(was ? was : "", is ? is : "") != 0)
            log_warn(LOG_CONFIG, "%s is '%s' now, which takes effect at the next start only",
                     info->name, is ? is : "");
    }
}

/* A pipe that is no longer configured has mail in its spool: it goes on delivering with the
 * configuration that it has until pmtad is started again. */
static void retire_pipes(struct root *r)
{
    for_each_kid(k, r)
    {
        if (k->row->role != ROLE_PIPE)
            continue;
        bool named = config_has_section(r->config, KIND_PIPE, sv_of(k->name));
        if (!named && !k->retired)
            log_warn(LOG_CONFIG,
                     "pipe '%s' is not configured any more; it runs until the next "
                     "start of pmtad, its spool stays",
                     k->name);
        k->retired = !named;
    }
}

/* A sink or the web process that is no longer configured has nothing to finish. */
static void end_unnamed(struct root *r)
{
    for_each_kid(k, r)
    {
        if (!(k->row->flags & ROLE_OPTIONAL) || k->state == KID_GONE || k->retired ||
            is_named(r->config, k->row->role, k->name))
            continue;
        log_info(LOG_CONFIG, "%s is not configured any more", k->title);
        k->retired = true;
        kid_drain(k, config_number(r->config, NULL, DIR_DRAIN_TIMEOUT));
    }
}

static void start_new_one(struct root *r, enum role role, const char *name)
{
    struct err e = {0};
    struct kid *k = monitor_kid_find(r, role, sv_of(name));

    if (k && k->retired && k->state == KID_DRAINING) {
        k->retired = false;
        k->state = KID_RUNNING; /* its end is a death then, after which it is started again */
    }
    if (k && k->state != KID_GONE)
        return;
    if (!k)
        k = role == ROLE_PIPE ? add_pipe(r, r->config, name)
                              : kid_new(r, role_row_find(role), name);
    k->retired = false;
    if (k->row->directory && k->own_fd < 0 && setup_kid_directories(r, k, &e) < 0) {
        log_error(LOG_CONFIG, "%s is not started: %s", k->title, e.text);
        buf_printf(&r->reload_trouble, "%s: %s\n", k->title, e.text);
        k->state = KID_GONE;
        return;
    }
    log_info(LOG_CONFIG, "new: %s", k->title);
    kid_start(k);
}

static void start_new(struct root *r)
{
    const char *name;
    for (size_t i = 0; (name = config_section_name(r->config, KIND_PIPE, i)); i++)
        start_new_one(r, ROLE_PIPE, name);
    for (size_t i = 0; (name = config_section_name(r->config, KIND_EVENT_SINK, i)); i++)
        start_new_one(r, ROLE_SHIP, name);
    if (is_named(r->config, ROLE_WEB, ""))
        start_new_one(r, ROLE_WEB, "");
}

static void connect_notices(struct root *r)
{
    for_each_kid(a, r) if (a->row->role == ROLE_PIPE && kid_is_up(a))
        for_each_kid(b, r) if (kid_is_up(b)) kid_connect_notices(a, b);
}

static int reload_refused(struct config_report *report, const struct err *e)
{
    buf_printf(&report->text, "%s\n", e->text);
    report->errors++;
    return e->code;
}

/* Takes over what can fail first: listeners, log file, snapshot. */
static int adopt(struct root *r, struct config *next, struct config_report *report)
{
    struct err e = {0};
    if (listeners_apply(r, next, &e) < 0 || logging_apply(r, next, &e) < 0 ||
        files_apply(r, next, &e) < 0)
        return reload_refused(report, &e);
    warn_of_restarts(r, next);
    return setup_snapshot(r, next, &e) < 0 ? reload_refused(report, &e) : 0;
}

int monitor_reload(struct root *r, struct config_report *report)
{
    struct config *next = NULL;
    uint64_t generation = config_generation(r->config) + 1;

    if (r->reloading || !r->serving || r->draining) {
        struct err e = {0};
        err_set(&e, ERR_BUSY, "a start, reload or shutdown is under way; try again");
        return reload_refused(report, &e);
    }
    int code =
        config_load_with(r->config_dir, generation, r->overrides, r->override_count, &next, report);
    if (code == 0)
        code = adopt(r, next, report);
    config_unref(next);
    if (code < 0)
        return code;
    r->reloading = true;
    uv_timer_start(&r->reload_timer, on_reload_timeout, RELOAD_WAIT_MS, 0);
    retire_pipes(r);
    for_each_kid(k, r)
    {
        if (!kid_is_up(k))
            continue;
        logging_send(k);
        if (!k->retired)
            kid_send_config(k);
        if (k->state == KID_RUNNING)
            kid_hand_listeners(k);
    }
    end_unnamed(r);
    start_new(r);
    connect_notices(r);
    reload_step(r);
    return 0;
}

static void log_report(struct strview text, bool failed)
{
    struct strview line;
    while (sv_split(&text, '\n', &line)) {
        if (line.len == 0)
            continue;
        if (failed)
            log_error(LOG_CONFIG, "%.*s", SV_ARG(line));
        else
            log_warn(LOG_CONFIG, "%.*s", SV_ARG(line));
    }
}

static void reload_by_signal(struct root *r)
{
    struct config_report report = {0};
    int code = monitor_reload(r, &report);
    log_report(buf_view(&report.text), code < 0);
    if (code < 0)
        log_error(LOG_CONFIG, "reload refused, nothing has changed");
    buf_free(&report.text);
}

/* --- signals --- */

static void reap(struct root *r)
{
    for_each_kid(k, r)
    {
        int status;
        if (k->pid && waitpid(k->pid, &status, WNOHANG) == k->pid)
            kid_died(k, status);
    }
}

static void end_by_signal(struct root *r, int number)
{
    if (!r->draining) {
        monitor_drain(r, strsignal(number));
        return;
    }
    log_warn(LOG_MAIN, "second signal: ending at once");
    monitor_abort(r, 1);
}

/* The log file first: also when the configuration is refused. */
static void hang_up(struct root *r)
{
    logging_reopen(r);
    reload_by_signal(r);
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct root *r = signal->data;
    if (number == SIGCHLD)
        reap(r);
    else if (number == SIGHUP)
        hang_up(r);
    else
        end_by_signal(r, number);
}

static void watch_signals(struct root *r)
{
    static const int numbers[] = {SIGCHLD, SIGHUP, SIGTERM, SIGINT};
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uv_signal_init(&r->loop, &r->signals[i]);
        r->signals[i].data = r;
        uv_signal_start(&r->signals[i], on_signal, numbers[i]);
    }
}

static void on_before_sleep(uv_prepare_t *prepare)
{
    (void)prepare;
    log_flush();
}

/* --- run --- */

/* Everything that can be wrong is found here, before the first fork. */
static int prepare(struct root *r, struct err *e)
{
    int code = 0;
    char *path;

    setup_limits();
    count_receivers(r);
    add_kids(r);
    for_each_kid(k, r) if (code == 0 && (code = spawn_find(r, k->row->program, &path, e)) == 0)
        free(path);
    if (code < 0 || (code = logging_apply(r, r->config, e)) < 0 || (code = setup_user(r, e)) < 0 ||
        (code = setup_run_dir(r, e)) < 0 || (code = setup_spool(r, e)) < 0 ||
        (code = setup_limit_table(r, e)) < 0)
        return code;
    for_each_kid(k, r) if ((code = setup_kid_directories(r, k, e)) < 0) return code;
    if ((code = listeners_apply(r, r->config, e)) < 0 ||
        (code = files_apply(r, r->config, e)) < 0 || (code = setup_snapshot(r, r->config, e)) < 0)
        return code;
    return admin_open(r, e);
}

static void close_any(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void free_kids(struct root *r)
{
    struct list *n;
    while ((n = list_pop_front(&r->kids))) {
        struct kid *k = list_entry(n, struct kid, node);
        if (k->own_fd >= 0)
            close(k->own_fd);
        if (k->acct_fd >= 0)
            close(k->acct_fd);
        free(k->name);
        free(k->title);
        free(k);
    }
}

static void run_loop(struct root *r)
{
    log_info(LOG_MAIN, "starting version=%s config=%s receivers=%u", PMTA_VERSION, r->config_dir,
             r->receiver_count);
    uv_timer_start(&r->timer, on_patience_over, FIRST_START_PATIENCE_MS, 0);
    for_each_kid(k, r) kid_start(k);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    log_info(LOG_MAIN, "ended status=%d", r->status);
}

int monitor_run(struct root *r)
{
    struct err e = {0};

    list_init(&r->kids);
    list_init(&r->listeners);
    files_init(r);
    r->started_ms = clock_mono_ms();
    BUG_ON(uv_loop_init(&r->loop) != 0);
    uv_timer_init(&r->loop, &r->timer);
    uv_timer_init(&r->loop, &r->reload_timer);
    uv_prepare_init(&r->loop, &r->before_sleep);
    r->timer.data = r->reload_timer.data = r;
    uv_prepare_start(&r->before_sleep, on_before_sleep);
    watch_signals(r);
    if (prepare(r, &e) < 0) {
        r->status = 1;
        if (r->log_fd != 2)
            log_error(LOG_MAIN, "cannot start: %s", e.text);
        fprintf(stderr, "pmtad: %s\n", e.text);
    } else {
        run_loop(r);
    }
    admin_close(r->admin);
    log_flush();
    uv_run(&r->loop, UV_RUN_NOWAIT); /* edges and admin clients close their own handles */
    uv_walk(&r->loop, close_any, NULL);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    uv_loop_close(&r->loop);
    listeners_fini(r);
    files_fini(r);
    free_kids(r);
    debugging_fini(r);
    setup_fini(r);
    logging_fini(r);
    buf_free(&r->reload_trouble);
    return r->status;
}
