/*
 * Accounting records, log lines and counts; see report.h. Called by the engine, once per recipient
 * and attempt. A record becomes one row per file that takes it, appended through the spool's
 * commits; the log line is gathered and written at the end of the loop's turn. Files are finished
 * by the clock or by size: the next one is opened first, the spool gives the last one back when it
 * is synced, and a job in the thread pool compresses and moves it (finish.c), one at a time.
 */
#include "report/report.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "classify/classify.h"
#include "classify/unclassified.h"
#include "report/acct_file.h"
#include "report/rates.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum {
    TICK_MS = 5000, /* a file whose time is over is finished by then, also without mail */
    ENDING_MAX = 32,
    FILES_MAX = 16, /* twice, and ENDING_MAX, fit into the spool's table */
};

/* Work for the thread pool, in order. */
struct job {
    uv_work_t work;
    struct report *report;
    struct finish_job *finish;
    struct job *next;
    int status;
    struct err error;
};

struct target {
    struct acct_file *file;
    struct buf early; /* records made before there was a spool */
};

/* A file that the spool has not given back yet. */
struct ending {
    struct list link; /* report->endings */
    int fd;
    struct report *report;
    struct finish_job *finish; /* NULL: only close it */
};

struct report {
    char *pipe;
    struct spool *spool;
    uv_loop_t *loop; /* NULL: not configured */
    struct target *targets;
    size_t count;
    uv_timer_t *tick;
    size_t ending;
    struct job *jobs, **jobs_tail;
    struct job *working; /* in the thread pool */
    struct list endings;
    struct buf row, headers;
    struct config *cfg; /* NULL: not configured */
    struct classify *classify;
    struct unclassified *unclassified;
    struct report_counts counts;
    struct rate_ring in;
    struct rate_ring out;
};

/* --- finished files --- */

static void next_job(struct report *r);

static void run_job(uv_work_t *work)
{
    struct job *j = container_of(work, struct job, work);
    j->status = finish_run(j->finish, &j->error);
}

static void job_done(uv_work_t *work, int status)
{
    struct job *j = container_of(work, struct job, work);
    struct report *r = j->report;

    (void)status; /* never cancelled */
    if (j->status < 0)
        log_error(LOG_MAIN, "%s: %s, it is tried again at the next start", j->error.text,
                  err_name(j->status));
    else if (*j->finish->finished)
        log_info(LOG_MAIN, "accounting file finished name=%s", j->finish->finished);
    finish_job_free(j->finish);
    free(j);
    if (!r)
        return; /* it went meanwhile */
    r->working = NULL;
    next_job(r);
}

/* A file that the spool still writes to must not be taken for finished. */
static void next_job(struct report *r)
{
    struct job *j = r->jobs;

    if (!j || r->working || r->ending)
        return;
    r->jobs = j->next;
    if (!r->jobs)
        r->jobs_tail = &r->jobs;
    r->working = j;
    BUG_ON(uv_queue_work(r->loop, &j->work, run_job, job_done) < 0);
}

static void add_job(struct report *r, struct finish_job *finish)
{
    if (!finish)
        return;
    struct job *j = xcalloc(1, sizeof(*j));
    j->report = r;
    j->finish = finish;
    *r->jobs_tail = j;
    r->jobs_tail = &j->next;
    next_job(r);
}

static void on_ended(void *arg, int fd)
{
    struct ending *x = arg;
    struct report *r = x->report;

    close(fd);
    list_remove(&x->link);
    r->ending--;
    add_job(r, x->finish);
    next_job(r);
    free(x);
}

static void end_fd(struct report *r, int fd, struct finish_job *finish)
{
    struct ending *x = xcalloc(1, sizeof(*x));

    *x = (struct ending){.fd = fd, .report = r, .finish = finish};
    list_push_back(&r->endings, &x->link);
    r->ending++;
    if (r->spool)
        spool_accounting_end(r->spool, fd, on_ended, x);
    else
        on_ended(x, fd);
}

static void turn(struct report *r, struct target *t, int64_t now)
{
    struct finish_job *finish;
    struct err e;
    int fd;

    if (!r->spool || r->ending >= ENDING_MAX)
        return;
    if (acct_file_turn(t->file, now, &fd, &finish, &e) < 0)
        log_error(LOG_MAIN, "%s: %s, the file before is gone on with", e.text, err_name(e.code));
    else
        end_fd(r, fd, finish);
}

static void on_tick(uv_timer_t *timer)
{
    struct report *r = timer->data;
    int64_t now = clock_wall_ms();

    for (size_t i = 0; i < r->count; i++)
        if (acct_file_due(r->targets[i].file, now))
            turn(r, &r->targets[i], now);
}

/* --- files --- */

static void targets_free(struct target *targets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        acct_file_free(targets[i].file);
        buf_free(&targets[i].early);
    }
    free(targets);
}

static void adopt_default(struct report *r, struct acct_file *file)
{
    r->targets = xcalloc(1, sizeof(*r->targets));
    r->targets[0].file = file;
    r->count = 1;
}

int report_new(struct report **ret, const char *pipe, int acct_dirfd, struct err *e)
{
    struct report *r = xcalloc(1, sizeof(*r));

    r->pipe = xstrdup(pipe);
    r->jobs_tail = &r->jobs;
    list_init(&r->endings);
    r->unclassified = unclassified_new();
    if (acct_dirfd >= 0) {
        adopt_default(r, acct_file_new_default(pipe, acct_dirfd));
        if (acct_file_open(r->targets[0].file, clock_wall_ms(), e) < 0) {
            int code = e->code;
            report_free(r);
            return code;
        }
    }
    *ret = r;
    return 0;
}

static void on_tick_closed(uv_handle_t *handle)
{
    free(handle);
}

void report_free(struct report *r)
{
    if (!r)
        return;
    if (r->tick) {
        uv_close((uv_handle_t *)r->tick, on_tick_closed);
    }
    if (r->working)
        r->working->report = NULL;
    for (struct list *l; (l = list_pop_front(&r->endings));) { /* the spool is closed */
        struct ending *x = list_entry(l, struct ending, link);
        close(x->fd);
        finish_job_free(x->finish);
        free(x);
    }
    for (struct job *j; (j = r->jobs);) {
        r->jobs = j->next;
        finish_job_free(j->finish);
        free(j);
    }
    targets_free(r->targets, r->count);
    config_unref(r->cfg);
    classify_free(r->classify);
    unclassified_free(r->unclassified);
    buf_free(&r->row);
    buf_free(&r->headers);
    free(r->pipe);
    free(r);
}

void report_set_spool(struct report *r, struct spool *spool)
{
    r->spool = spool;
    for (size_t i = 0; i < r->count; i++) {
        struct target *t = &r->targets[i];
        if (buf_len(&t->early))
            spool_accounting(spool, acct_file_fd(t->file), buf_view(&t->early));
        buf_free(&t->early);
    }
}

static int open_section(struct report *r, struct config *cfg, const char *name,
                        const struct report_places *places, struct target *ret, struct err *e)
{
    const struct config_value *move =
        config_section_get(cfg, KIND_ACCT_FILE, sv_of(name), DIR_ACCT_MOVE_TO);
    bool moves = move && move->text;
    int dir = places->open_dir(places->arg, name, false);
    int to = moves ? places->open_dir(places->arg, name, true) : -1;

    if (dir < 0 || (moves && to < 0)) {
        if (dir >= 0)
            close(dir);
        return err_set(e, -ENOENT, "the directory of [acct-file %s]%s is not there", name,
                       dir < 0 ? "" : " move-to");
    }
    ret->file = acct_file_new(cfg, name, r->pipe, dir, to);
    return acct_file_open(ret->file, clock_wall_ms(), e);
}

static int open_sections(struct report *r, struct config *cfg, const struct report_places *places,
                         struct target **ret, size_t *ret_count, struct err *e)
{
    struct target *targets = xcalloc(FILES_MAX + 1, sizeof(*targets));
    const char *name;
    size_t n = 0;
    int status = 0;

    for (size_t i = 0; status == 0 && (name = config_section_name(cfg, KIND_ACCT_FILE, i)); i++) {
        if (n == FILES_MAX)
            status = err_set(e, ERR_LIMIT, "more than %d sections [acct-file]", FILES_MAX);
        else
            status = open_section(r, cfg, name, places, &targets[n++], e);
    }
    if (status == 0 && n == 0 && places->acct_dirfd >= 0) {
        targets[n].file = acct_file_new_default(r->pipe, places->acct_dirfd);
        status = acct_file_open(targets[n++].file, clock_wall_ms(), e);
    }
    if (status < 0) {
        targets_free(targets, n);
        return status;
    }
    *ret = targets;
    *ret_count = n;
    return 0;
}

static void add_header(void *arg, struct strview name)
{
    struct report *r = arg;
    struct buf entry = {0};

    if (!buf_len(&r->headers))
        buf_append_char(&r->headers, '\n');
    buf_append_char(&entry, '\n');
    for (size_t i = 0; i < name.len; i++)
        buf_append_char(&entry, ascii_lower(name.ptr[i]));
    buf_append_char(&entry, '\n');
    if (!memmem(buf_data(&r->headers), buf_len(&r->headers), buf_data(&entry), buf_len(&entry)))
        buf_append(&r->headers, buf_data(&entry) + 1, buf_len(&entry) - 1);
    buf_free(&entry);
}

/* Every old file goes back through the spool; a file that both have is open twice for a moment. */
static void replace_targets(struct report *r, struct target *targets, size_t count)
{
    for (size_t i = 0; i < r->count; i++) {
        int fd = acct_file_take_fd(r->targets[i].file);
        if (fd >= 0)
            end_fd(r, fd, NULL);
    }
    targets_free(r->targets, r->count);
    r->targets = targets;
    r->count = count;
    buf_reset(&r->headers);
    for (size_t i = 0; i < count; i++) {
        add_job(r, acct_file_leftovers(targets[i].file));
        acct_file_headers(targets[i].file, add_header, r);
    }
}

static void start_tick(struct report *r)
{
    r->tick = xcalloc(1, sizeof(*r->tick));
    r->tick->data = r;
    uv_timer_init(r->loop, r->tick);
    uv_timer_start(r->tick, on_tick, TICK_MS, TICK_MS);
    uv_unref((uv_handle_t *)r->tick);
}

int report_configure(struct report *r, struct config *cfg, const struct report_places *places,
                     struct err *e)
{
    struct target *targets;
    size_t count;

    classify_free(r->classify);
    r->classify = classify_new(cfg);
    config_unref(r->cfg);
    r->cfg = config_ref(cfg);
    r->loop = places->loop;
    if (!r->tick)
        start_tick(r);
    if (r->count + r->ending >= ENDING_MAX)
        return err_set(e, ERR_BUSY, "accounting files are still being written from before");
    int status = open_sections(r, cfg, places, &targets, &count, e);
    if (status == 0)
        replace_targets(r, targets, count);
    return status;
}

bool report_lacks_received(const struct report *r, message_id id)
{
    for (size_t i = 0; i < r->count; i++) {
        message_id newest = acct_file_newest_received(r->targets[i].file);
        if (acct_file_has_received(r->targets[i].file) && newest && id > newest)
            return true;
    }
    return false;
}

struct strview report_header_names(const struct report *r)
{
    return buf_view(&r->headers);
}

const struct classify *report_classify(const struct report *r)
{
    return r->classify;
}

struct unclassified *report_unclassified(struct report *r)
{
    return r->unclassified;
}

/* --- records --- */

static void write_row(struct report *r, struct target *t, const struct acct_event *e)
{
    buf_reset(&r->row);
    acct_file_format(t->file, e, &r->row);
    if (!r->spool) {
        buf_append_sv(&t->early, buf_view(&r->row));
        return;
    }
    if (acct_file_due(t->file, e->logged_ms))
        turn(r, t, e->logged_ms);
    acct_file_wrote(t->file, buf_len(&r->row));
    spool_accounting(r->spool, acct_file_fd(t->file), buf_view(&r->row));
}

/* id 0: of no message; in recovery a file that has a message's r record gets it not again. */
static void write_event(struct report *r, struct acct_event *e, message_id id)
{
    e->pipe = sv_of(r->pipe);
    e->logged_ms = clock_wall_ms();
    for (size_t i = 0; i < r->count; i++) {
        struct target *t = &r->targets[i];
        bool has = !r->spool && e->record == ACCT_R && id <= acct_file_newest_received(t->file);
        if (!has && acct_file_takes(t->file, e))
            write_row(r, t, e);
    }
}

static struct strview source_host(const struct envelope *env)
{
    return env->remote_mta.len ? env->remote_mta : env->peer;
}

static struct acct_event message_event(const struct envelope *env, uint32_t rcpt, const char *id)
{
    return (struct acct_event){
        .queued_ms = env->received_ms,
        .orig = env->sender,
        .rcpt = env->rcpts[rcpt].address,
        .orcpt = env->rcpts[rcpt].orcpt,
        .job = env->job,
        .envid = env->envid,
        .source_host = source_host(env),
        .source_ip = env->peer,
        .user = env->user,
        .headers = env->acct_headers,
        .size = env->content_bytes - env->stuffed_dots,
        .id = sv_of(id),
    };
}

/* What the message asked for, when that is a pool. */
static struct strview pool_of(const struct report *r, const struct envelope *env, const char *vmta)
{
    bool other = env->vmta.len && !sv_eq_nocase(env->vmta, sv_of(vmta));
    bool pool = other && r->cfg && config_has_section(r->cfg, KIND_VIRTUAL_MTA_POOL, env->vmta);

    return pool ? env->vmta : sv(NULL, 0);
}

static void classify(struct report *r, const struct outcome *o, struct acct_event *e)
{
    struct classification k;

    if (o->class_ != OUTCOME_DELIVERED && o->category) {
        e->category = o->category;
        return;
    }
    if (!r->classify || o->class_ == OUTCOME_DELIVERED)
        return;
    classify_outcome(r->classify, o, &k);
    e->category = k.category;
    e->bounce_file = k.file;
    e->bounce_line = k.line;
    if (!k.caught)
        unclassified_add(r->unclassified, o, clock_wall_ms());
}

static void count(struct report *r, const struct outcome *o)
{
    switch (o->class_) {
    case OUTCOME_DELIVERED:
        r->counts.delivered++;
        rate_ring_add(&r->out, clock_mono_ms(), 1);
        break;
    case OUTCOME_DEFERRED:
        r->counts.deferred++;
        break;
    default:
        r->counts.bounced++;
    }
}

static void log_rcpt(const struct report_rcpt *w, const char *id, const char *category)
{
    const struct outcome *o = w->outcome;
    const struct envelope_rcpt *rcpt = &w->env->rcpts[w->rcpt];
    int64_t now = clock_wall_ms();
    int64_t total = now - w->env->received_ms;
    int64_t connect = MAX_OF(o->connect_ms, (int64_t)0);
    int64_t transmit = MAX_OF(o->transmit_ms, (int64_t)0);
    int64_t waited = MAX_OF(total - connect - transmit, (int64_t)0);
    const char *verify =
        o->tls && *o->tls && o->tls_verify && *o->tls_verify ? o->tls_verify : NULL;
    char status[16], next[48] = "";

    if (o->class_ == OUTCOME_DEFERRED)
        snprintf(next, sizeof(next), " next_in=%llds", (long long)(w->next_ms - now + 500) / 1000);
    log_info(
        LOG_DELIVERY,
        "%s id=%s rcpt=%s from=%s queue=%s attempt=%u host=%.*s ip=%.*s%s%s%s%s "
        "delay=%lld.%03lld delays=queue:%lld,connect:%lld,transmit:%lld status=%s phase=%s%s%s%s "
        "reply='%s'",
        outcome_class_name(o->class_), id, log_safe(rcpt->address.ptr, rcpt->address.len, 320),
        log_safe(w->env->sender.ptr, w->env->sender.len, 320), w->queue, w->attempts,
        SV_ARG(o->peer_host), SV_ARG(o->peer_ip), o->tls && *o->tls ? " tls=" : "",
        o->tls ? o->tls : "", verify ? " verify=" : "", verify ? verify : "",
        (long long)total / 1000, (long long)total % 1000, (long long)waited, (long long)connect,
        (long long)transmit, outcome_status(o, status), outcome_phase_name(o->phase), next,
        category ? " category=" : "", category ? category : "",
        log_safe(o->text.ptr, o->text.len, 400));
}

static enum acct_record record_of(const struct outcome *o)
{
    return o->class_ == OUTCOME_DELIVERED  ? ACCT_D
           : o->class_ == OUTCOME_DEFERRED ? ACCT_T
                                           : ACCT_B;
}

void report_rcpt(struct report *r, const struct report_rcpt *w)
{
    char id[MESSAGE_ID_SIZE + 8];

    message_id_format(w->id, id);
    snprintf(id + strlen(id), 8, ".%u", w->rcpt);
    struct acct_event e = message_event(w->env, w->rcpt, id);
    e.record = record_of(w->outcome);
    e.outcome = w->outcome;
    e.queue = sv_of(w->queue);
    e.vmta = sv_of(w->vmta);
    e.pool = pool_of(r, w->env, w->vmta);
    e.attempt = w->attempts;
    e.dlv_type = w->dlv_type;
    e.next_ms = w->outcome->class_ == OUTCOME_DEFERRED ? w->next_ms : 0;
    if (w->rule && w->rule->rule) {
        e.reply_file = w->rule->file;
        e.reply_line = w->rule->line;
    }
    classify(r, w->outcome, &e);
    count(r, w->outcome);
    log_rcpt(w, id, e.category);
    write_event(r, &e, w->id);
}

void report_queue(struct report *r, const char *queue, const char *vmta, int64_t next_ms,
                  const struct outcome *o)
{
    struct acct_event e = {
        .record = ACCT_TQ,
        .outcome = o,
        .queue = sv_of(queue),
        .vmta = sv_of(vmta),
        .next_ms = next_ms,
    };
    char status[16];

    classify(r, o, &e);
    log_info(LOG_DELIVERY,
             "queue deferred queue=%s host=%.*s ip=%.*s status=%s phase=%s next_in=%llds%s%s "
             "reply='%s'",
             queue, SV_ARG(o->peer_host), SV_ARG(o->peer_ip), outcome_status(o, status),
             outcome_phase_name(o->phase), (long long)(next_ms - clock_wall_ms() + 500) / 1000,
             e.category ? " category=" : "", e.category ? e.category : "",
             log_safe(o->text.ptr, o->text.len, 400));
    write_event(r, &e, 0);
}

void report_received(struct report *r, message_id id, const struct envelope *env,
                     const char *(*queue_of)(void *arg, uint32_t i), void *arg)
{
    char name[MESSAGE_ID_SIZE + 8];
    size_t at;

    r->counts.received += env->rcpt_count;
    rate_ring_add(&r->in, clock_mono_ms(), env->rcpt_count);
    message_id_format(id, name);
    at = strlen(name);
    for (uint32_t i = 0; i < env->rcpt_count; i++) {
        const char *queue = queue_of(arg, i);
        const char *slash = strrchr(queue, '/');
        snprintf(name + at, sizeof(name) - at, ".%u", i);
        struct acct_event e = message_event(env, i, name);
        e.record = ACCT_R;
        e.queue = sv_of(queue);
        e.vmta = sv_of(slash ? slash + 1 : "");
        e.pool = pool_of(r, env, slash ? slash + 1 : "");
        write_event(r, &e, id);
    }
}

void report_remote(struct report *r, struct acct_event *event)
{
    write_event(r, event, 0);
}

void report_counts(const struct report *r, struct report_counts *ret)
{
    *ret = r->counts;
}

void report_rates(const struct report *r, uint64_t *ret_in, uint64_t *ret_out)
{
    int64_t now = clock_mono_ms();
    *ret_in = rate_ring_per_minute(&r->in, now);
    *ret_out = rate_ring_per_minute(&r->out, now);
}
