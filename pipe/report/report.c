/*
 * Accounting records, log lines and counts; see report.h. Called by the engine, once per recipient
 * and attempt. A record becomes one row per file that takes it, appended through the spool's
 * commits; the log line is gathered and written at the end of the loop's turn. Files are finished
 * by the clock or by size: the next one is opened first, the spool gives the last one back when it
 * is synced, and a job in the thread pool compresses and moves it (finish.c), one at a time.
 */
#include "report/report.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/list.h"
#include "base/log.h"
#include "classify/classify.h"
#include "classify/unclassified.h"
#include "report/acct_file.h"
#include "report/feed.h"
#include "report/attempt_line.h"
#include "report/rates.h"
#include "stats/stats.h"

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
    struct feed *feeds[FILES_MAX];
    size_t feed_count;
    size_t feeds_closing;
    void (*feeds_closed)(void *arg);
    void *feeds_closed_arg;
    struct buf row, headers;
    struct config *cfg;       /* NULL: not configured */
    const char *default_pool; /* of cfg: default-virtual-mta, when that is a pool; or NULL */
    struct classify *classify;
    struct unclassified *unclassified;
    struct stats *stats;
    struct report_counts counts;
    struct rate_ring in;
    struct rate_ring out;
};

/* --- commands --- */

/* Which file is written to: those before it can be read to their end. */
static void tell_feeds(struct report *r)
{
    struct feed_settings s;

    for (size_t i = 0; i < r->count; i++)
        for (size_t k = 0; acct_file_feed(r->targets[i].file, &s) && k < r->feed_count; k++)
            if (strcmp(feed_command(r->feeds[k]), s.command) == 0)
                feed_active(r->feeds[k], acct_file_name(r->targets[i].file), r->ending == 0);
}

static void on_feed_closed(void *arg)
{
    struct report *r = arg;

    if (--r->feeds_closing == 0 && r->feeds_closed)
        r->feeds_closed(r->feeds_closed_arg);
}

static void close_feed(struct report *r, size_t i)
{
    struct feed *f = r->feeds[i];

    r->feeds[i] = r->feeds[--r->feed_count];
    r->feeds_closing++;
    feed_close(f, on_feed_closed, r);
}

void report_close_feeds(struct report *r, void (*closed)(void *arg), void *arg)
{
    if (!r->feed_count && !r->feeds_closing) {
        closed(arg);
        return;
    }
    r->feeds_closed = closed;
    r->feeds_closed_arg = arg;
    while (r->feed_count)
        close_feed(r, 0);
}

/* Commands that are there before and after a reload go on. */
static void set_feeds(struct report *r)
{
    bool wanted[FILES_MAX] = {false};
    struct feed_settings s;

    for (size_t i = 0; i < r->count; i++) {
        size_t k = 0;
        if (!acct_file_feed(r->targets[i].file, &s))
            continue;
        while (k < r->feed_count && strcmp(feed_command(r->feeds[k]), s.command) != 0)
            k++;
        if (k < r->feed_count)
            feed_set(r->feeds[k], &s);
        else if (r->feed_count < FILES_MAX)
            r->feeds[r->feed_count++] = feed_new(r->loop, &s);
        if (k < FILES_MAX)
            wanted[k] = true;
    }
    for (size_t k = r->feed_count; k-- > 0;)
        if (!wanted[k])
            close_feed(r, k);
    tell_feeds(r);
}

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
    if (j->finish->forced)
        log_error(
            LOG_MAIN,
            "accounting files that no event sink has sent yet were deleted files=%u prefix='%s' "
            "sinks=%s, as max-total-size asks",
            j->finish->forced, j->finish->prefix, j->finish->sinks);
    if (j->finish->kept)
        log_warn(
            LOG_MAIN,
            "accounting files are older than delete-after files=%u prefix='%s', keeping them for "
            "event sinks %s",
            j->finish->kept, j->finish->prefix, j->finish->sinks);
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
    tell_feeds(r);
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
    tell_feeds(r);
    FAULT(ACCT_TURNED);
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
    r->stats = stats_new();
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
    stats_free(r->stats);
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
    set_feeds(r);
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
    r->default_pool =
        config_text(cfg, &(struct config_query){.pipe = sv_of(r->pipe)}, DIR_DEFAULT_VIRTUAL_MTA);
    if (r->default_pool && !config_has_section(cfg, KIND_VIRTUAL_MTA_POOL, sv_of(r->default_pool)))
        r->default_pool = NULL;
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

struct stats *report_stats(struct report *r)
{
    return r->stats;
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

static enum stats_counter counter_of(const struct acct_event *e)
{
    switch (e->record) {
    case ACCT_D:
        return STATS_DELIVERED;
    case ACCT_T:
        return STATS_DEFERRED;
    case ACCT_TQ:
        return STATS_QUEUE_FAILURES;
    case ACCT_RB:
        return STATS_REMOTE_BOUNCES;
    case ACCT_RS:
        return STATS_REMOTE_REPORTS;
    case ACCT_F:
        return STATS_COMPLAINTS;
    case ACCT_B:
        if (e->outcome && e->outcome->class_ == OUTCOME_EXPIRED)
            return STATS_EXPIRED;
        return e->outcome && e->outcome->class_ == OUTCOME_DELETED ? STATS_DELETED : STATS_BOUNCED;
    default:
        return STATS_RECEIVED;
    }
}

static void count_event(struct report *r, const struct acct_event *e)
{
    char category[64];
    struct stats_event s = {
        .what = counter_of(e),
        .wall_ms = e->logged_ms,
        .domain = acct_event_domain(e),
        .vmta = e->vmta,
        .job = e->job,
        .queue = e->queue,
        .category = e->category,
        .bytes = e->size,
        .delay_ms = MAX_OF(e->logged_ms - e->queued_ms, (int64_t)0),
    };

    if (e->remote && e->remote->category.len) {
        snprintf(category, sizeof(category), "%.*s", SV_ARG(e->remote->category));
        s.category = category;
    }
    stats_count(r->stats, &s);
}

/* id 0: of no message; in recovery a file that has a message's r record gets it not again. */
static void write_event(struct report *r, struct acct_event *e, message_id id)
{
    e->pipe = sv_of(r->pipe);
    e->logged_ms = clock_wall_ms();
    count_event(r, e);
    for (size_t i = 0; i < r->count; i++) {
        struct target *t = &r->targets[i];
        bool has = !r->spool && e->record == ACCT_R && id <= acct_file_newest_received(t->file);
        if (!has && acct_file_takes(t->file, e))
            write_row(r, t, e);
    }
}

/* ".12" behind the id of the message; there is room for it. */
static void put_rcpt(char *at, uint32_t rcpt)
{
    char digits[12], *d = digits + sizeof(digits);

    *--d = '\0';
    do
        *--d = (char)('0' + rcpt % 10);
    while (rcpt /= 10);
    *at = '.';
    strcpy(at + 1, d);
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
        .local_ip = env->local,
        .is_notice = sv_eq(env->source, SV(ENVELOPE_DSN_SOURCE)),
        .user = env->user,
        .headers = env->acct_headers,
        .size = env->content_bytes - env->stuffed_dots,
        .id = sv_of(id),
    };
}

/* The pool that the virtual MTA was taken from: what the message asked for, or the pipe's default. */
static struct strview pool_of(const struct report *r, const struct envelope *env, const char *vmta)
{
    if (!env->vmta.len)
        return sv_of(r->default_pool ? r->default_pool : "");
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

static void log_rcpt(const struct report_rcpt *w, const struct acct_event *e)
{
    attempt_line_write(&(struct attempt_line){
        .message = outcome_class_name(w->outcome->class_),
        .id = e->id.ptr,
        .rcpt = e->rcpt,
        .sender = e->orig,
        .job = e->job,
        .queue = w->queue,
        .attempt = w->attempts,
        .size = e->size,
        .received_ms = w->env->received_ms,
        .next_ms = e->next_ms,
        .outcome = w->outcome,
        .category = e->category,
        .category_file = e->bounce_file,
        .category_line = e->bounce_line,
        .reply_file = e->reply_file,
        .reply_line = e->reply_line,
    });
}

static enum acct_record record_of(const struct outcome *o)
{
    return o->class_ == OUTCOME_DELIVERED  ? ACCT_D
           : o->class_ == OUTCOME_DEFERRED ? ACCT_T
                                           : ACCT_B;
}

void report_rcpt(struct report *r, const struct report_rcpt *w)
{
    char id[MESSAGE_ID_SIZE + 12];

    message_id_format(w->id, id);
    put_rcpt(id + strlen(id), w->rcpt);
    struct acct_event e = message_event(w->env, w->rcpt, id);
    e.record = record_of(w->outcome);
    e.outcome = w->outcome;
    e.queue = sv_of(w->queue);
    e.vmta = sv_of(w->vmta);
    e.pool = pool_of(r, w->env, w->vmta);
    e.attempt = w->attempts;
    e.first_attempt_ms = (int64_t)w->first_attempt_s * 1000;
    e.dlv_type = w->dlv_type;
    e.next_ms = w->outcome->class_ == OUTCOME_DEFERRED ? w->next_ms : 0;
    if (w->rule && w->rule->rule) {
        e.reply_file = w->rule->file;
        e.reply_line = w->rule->line;
    }
    classify(r, w->outcome, &e);
    count(r, w->outcome);
    log_rcpt(w, &e);
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

    classify(r, o, &e);
    attempt_line_write(&(struct attempt_line){
        .message = "queue deferred",
        .queue = queue,
        .next_ms = next_ms,
        .outcome = o,
        .category = e.category,
        .category_file = e.bounce_file,
        .category_line = e.bounce_line,
    });
    write_event(r, &e, 0);
}

void report_received(struct report *r, message_id id, const struct envelope *env,
                     const char *(*queue_of)(void *arg, uint32_t i), void *arg)
{
    char name[MESSAGE_ID_SIZE + 12];
    size_t at;

    r->counts.received += env->rcpt_count;
    rate_ring_add(&r->in, clock_mono_ms(), env->rcpt_count);
    message_id_format(id, name);
    at = strlen(name);
    for (uint32_t i = 0; i < env->rcpt_count; i++) {
        const char *queue = queue_of(arg, i);
        const char *slash = strrchr(queue, '/');
        put_rcpt(name + at, i);
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
