/*
 * Local delivery of inbound mail; see inbound.h. The engine calls work() when one of our queues may
 * send; a task takes one recipient of one message through these states:
 *
 *   LOADING     envelope and content come from memory or the spool
 *   READING     the thread pool copies and parses (bounded in size and time)
 *   SUPPRESSING entries went to the suppression list, their answers are awaited
 *   FORWARDING  the message goes on to somebody as a new one
 *
 * then records are written and the recipient is settled, in one go: the spool puts accounting on disk
 * before the journal record, so no report is final without its records. When the suppression list
 * cannot be reached, nothing was written yet, and the recipient is deferred. The load keeps message
 * and content while a task runs.
 *
 * Memory: a task dies in task_end. Answers of the suppression list that come later find its waiter
 * without a task.
 */
#include "inbound/inbound.h"

#include "base/clock.h"
#include "base/log.h"
#include "inbound/counts.h"
#include "inbound/forward.h"
#include "inbound/judge.h"
#include "inbound/parse.h"
#include "queue/engine_int.h"
#include "queue/load.h"
#include "state/saver.h"

#include <stdio.h>
#include <unistd.h>

enum {
    SUPPRESS_WAIT_MS = 30000, /* then the message is tried again later */
    SUPPRESS_LOOK_MS = 1000,
    COUNTS_SAVE_MS = 5000,
    ADDRESS_KEEP = 400,
};

enum task_state { TASK_LOADING, TASK_READING, TASK_SUPPRESSING, TASK_FORWARDING };

struct task {
    struct list link; /* inbound->tasks */
    struct inbound *in;
    struct queue *queue;
    struct load *load;
    enum task_state state;
    uv_work_t work;
    struct buf content; /* without stuffed dots, at most settings.max_bytes */
    struct arena arena;
    char address[ADDRESS_KEEP];
    struct inbound_wanted wanted;
    struct inbound_report report;
    struct judgement judgement;
    struct inbound_settings settings;
    struct config *config; /* that settings point into */
    bool gone;             /* no processor has this address any more */
    size_t max_bytes;
    uint32_t awaited; /* answers of the suppression list */
    int status;       /* the first of them that was bad */
    int64_t since_ms; /* monotonic; in this state */
};

/* One answer that will come. */
struct waiter {
    struct list link;  /* inbound->waiters */
    struct task *task; /* NULL: not awaited any more */
};

struct inbound {
    uv_loop_t *loop;
    struct engine *engine;
    struct verp *verp;
    struct report *report;
    struct config *config;
    inbound_suppress_fn *suppress;
    void *suppress_arg;
    struct list tasks, waiters;
    uv_timer_t *timer;
    bool in_work;
    bool draining;
    struct inbound_stats stats;
    struct saver saver; /* of what stats count */
};

static const struct local_queue queues[] = {
    [INBOUND_BOUNCES] = {"{bounce}", "bounce-processor"},
    [INBOUND_FEEDBACK] = {"{feedback-loop}", "feedback-loop-processor"},
    [INBOUND_UNSUBSCRIBE] = {"{unsubscribe}", "unsubscribe"},
};

static void work(void *arg, struct queue *q);

/* --- the engine asks --- */

static bool find(const struct inbound *in, struct strview address, struct inbound_match *ret)
{
    const struct inbound_table *t = verp_table(in->verp);
    return t && inbound_table_takes_mail(t) && inbound_table_find(t, address, ret) &&
           ret->use != INBOUND_NONE;
}

static const struct local_queue *queue_of(void *arg, struct strview address)
{
    struct inbound_match m;
    return find(arg, address, &m) ? &queues[m.use] : NULL;
}

/* --- the end of a task --- */

static void task_free(struct task *t)
{
    list_remove(&t->link);
    list_for_each (l, &t->in->waiters) {
        struct waiter *w = list_entry(l, struct waiter, link);
        if (w->task == t)
            w->task = NULL;
    }
    judgement_free(&t->judgement);
    config_unref(t->config);
    arena_free(&t->arena);
    buf_free(&t->content);
    free(t);
}

/* The load is done with. */
static void task_end(struct task *t)
{
    struct inbound *in = t->in;
    struct queue *q = t->queue;

    q->sender_count--;
    in->stats.under_way--;
    task_free(t);
    scheduler_kick(q->engine, q);
}

static void put_back(struct task *t)
{
    struct load *l = t->load;

    load_put_back(l);
    task_end(t);
}

static struct outcome local_outcome(enum outcome_class class_, unsigned subject, unsigned detail,
                                    struct strview text)
{
    return (struct outcome){
        .class_ = class_,
        .phase = PHASE_QUEUE,
        .enhanced = {class_ == OUTCOME_DELIVERED ? 2 : 4, (uint16_t)subject, (uint16_t)detail},
        .text = text,
        .tls = "",
        .connect_ms = -1,
        .transmit_ms = -1,
    };
}

static void settle(struct task *t, const struct outcome *o)
{
    struct load *l = t->load;
    struct entry *e = l->entries[0];

    l->left = 0;
    l->entries[0] = NULL;
    settle_entry(t->in->engine, e, &l->env, o, NULL);
    load_release(l);
    task_end(t);
}

static void defer(struct task *t, const char *why)
{
    struct outcome o = local_outcome(OUTCOME_DEFERRED, 3, 0, sv_of(why));
    settle(t, &o);
}

static void send_out(struct task *t)
{
    struct load *l = t->load;
    struct entry *e = l->entries[0];

    l->left = 0;
    l->entries[0] = NULL;
    engine_send_out(t->in->engine, e, &l->env);
    load_release(l);
    task_end(t);
}

/* --- what was found, written down --- */

static void tell_record(const struct task *t, const struct judged_record *x)
{
    log_info(LOG_DELIVERY,
             "%s id=%.*s rcpt=%s from=%s format=%.*s%s%.*s%s%.*s%s%.*s job=%s text='%s'",
             x->event.record == ACCT_F    ? "complaint"
             : x->event.record == ACCT_RB ? "remote bounce"
                                          : "remote status",
             SV_ARG(x->event.id), log_safe(x->event.rcpt.ptr, x->event.rcpt.len, 320),
             log_safe(x->event.orig.ptr, x->event.orig.len, 320), SV_ARG(x->remote.format),
             x->remote.status.len ? " status=" : "", SV_ARG(x->remote.status),
             x->remote.category.len ? " category=" : "", SV_ARG(x->remote.category),
             x->remote.feedback_type.len ? " type=" : "", SV_ARG(x->remote.feedback_type),
             log_safe(x->event.job.ptr, x->event.job.len, 100),
             log_safe(x->remote.diagnostic.ptr, x->remote.diagnostic.len, 400));
    (void)t;
}

static void write_records(struct task *t)
{
    struct judgement *j = &t->judgement;

    for (size_t i = 0; i < j->record_count; i++) {
        struct judged_record *x = &j->records[i];
        x->event.remote = &x->remote;
        tell_record(t, x);
        report_remote(t->in->report, &x->event);
    }
    t->in->stats.records += j->record_count;
    t->in->stats.suppressed += j->entry_count;
}

static void count(struct task *t)
{
    struct inbound_stats *s = &t->in->stats;

    s->reports += t->judgement.matched;
    s->unmatched += !t->judgement.matched;
    s->errors += t->report.trouble != NULL;
    if (t->judgement.matched && t->settings.use == INBOUND_UNSUBSCRIBE)
        s->unsubscriptions++;
    else
        s->kinds[t->report.kind]++;
}

static void conclude(struct task *t, bool forwarded)
{
    const struct judgement *j = &t->judgement;
    bool out = j->matched ? t->settings.deliver_matched : t->settings.deliver_unmatched;
    char text[300];

    write_records(t);
    count(t);
    t->in->stats.forwarded += forwarded;
    saver_touch(&t->in->saver);
    if (j->matched)
        snprintf(text, sizeof(text), "%s (%.*s): %zu record%s, %zu suppressed", j->what,
                 SV_ARG(j->records[0].remote.format), j->record_count,
                 j->record_count == 1 ? "" : "s", j->entry_count);
    else
        snprintf(text, sizeof(text), "%s (%s)%s%s: %s", inbound_kind_text(t->report.kind), j->what,
                 t->report.trouble ? ", " : "", t->report.trouble ? t->report.trouble : "",
                 forwarded ? "forwarded"
                 : out     ? "sent on"
                           : "dropped");
    if (!j->matched || t->report.trouble)
        log_info(
            LOG_DELIVERY,
            "inbound mail is no report that could be used id=%s rcpt=%s from='%s' subject='%s': %s",
            t->load->id, log_safe(t->address, strlen(t->address), 320),
            log_safe(t->report.from.ptr, t->report.from.len, 100),
            log_safe(t->report.subject.ptr, t->report.subject.len, 100), text);
    if (out) {
        send_out(t);
        return;
    }
    struct outcome o = local_outcome(OUTCOME_DELIVERED, 0, 0, sv_of(text));
    settle(t, &o);
}

/* --- forwarding --- */

static void on_forwarded(void *arg, int status)
{
    struct task *t = arg;

    if (status < 0)
        defer(t, "it could not be forwarded: there is no room for one more message");
    else
        conclude(t, true);
}

static void forward_or_conclude(struct task *t)
{
    const struct inbound_settings *s = &t->settings;
    bool error = t->report.trouble && s->forward_errors_count;
    const struct strview *to = error ? s->forward_errors : s->forward_unmatched;
    size_t n = error                  ? s->forward_errors_count
               : t->judgement.matched ? 0
                                      : s->forward_unmatched_count;
    char why[300];

    if (!n) {
        conclude(t, false);
        return;
    }
    t->state = TASK_FORWARDING;
    snprintf(why, sizeof(why), "%s %.*s; %s%s%s", t->queue->local->dlv_type, SV_ARG(s->name),
             inbound_kind_text(t->report.kind), t->report.trouble ? "; " : "",
             t->report.trouble ? t->report.trouble : "");
    forward_start(t->in->engine, t->in->loop, t->load, to, n, sv_of(why), on_forwarded, t);
}

/* --- suppression --- */

static void on_suppress_timer(uv_timer_t *timer);

static void watch_waiting(struct inbound *in)
{
    if (in->stats.waiting && !uv_is_active((uv_handle_t *)in->timer))
        uv_timer_start(in->timer, on_suppress_timer, SUPPRESS_LOOK_MS, SUPPRESS_LOOK_MS);
    else if (!in->stats.waiting)
        uv_timer_stop(in->timer);
}

static void end_waiting(struct task *t)
{
    t->in->stats.waiting--;
    watch_waiting(t->in);
}

static void on_suppressed(void *arg, int code)
{
    struct waiter *w = arg;
    struct task *t = w->task;

    list_remove(&w->link);
    free(w);
    if (!t)
        return;
    if (code < 0 && !t->status)
        t->status = code;
    if (--t->awaited)
        return;
    end_waiting(t);
    if (t->status < 0)
        defer(t, "the suppression list did not take what it reports");
    else
        forward_or_conclude(t);
}

static bool suppress_one(struct task *t, const struct suppress_entry *e)
{
    struct inbound *in = t->in;
    struct waiter *w = xcalloc(1, sizeof(*w));

    w->task = t;
    list_push_back(&in->waiters, &w->link);
    int status = in->suppress ? in->suppress(in->suppress_arg, e, on_suppressed, w) : ERR_CLOSED;
    if (status == 0) {
        t->awaited++;
        return true;
    }
    list_remove(&w->link);
    free(w);
    return status == ERR_SYNTAX; /* no address: nobody to suppress */
}

static void suppress(struct task *t)
{
    t->state = TASK_SUPPRESSING;
    t->since_ms = clock_mono_ms();
    for (size_t i = 0; i < t->judgement.entry_count; i++)
        if (!suppress_one(t, &t->judgement.entries[i])) {
            defer(t, "the suppression list cannot be reached");
            return;
        }
    if (!t->awaited) {
        forward_or_conclude(t);
        return;
    }
    t->in->stats.waiting++;
    watch_waiting(t->in);
}

static void on_suppress_timer(uv_timer_t *timer)
{
    struct inbound *in = timer->data;
    int64_t now = clock_mono_ms();

    list_for_each_safe (l, &in->tasks) {
        struct task *t = list_entry(l, struct task, link);
        if (t->state != TASK_SUPPRESSING || now - t->since_ms < SUPPRESS_WAIT_MS)
            continue;
        end_waiting(t);
        defer(t, "the suppression list does not answer");
    }
}

/* --- reading --- */

/* Takes off the dots that stand doubled at the start of lines. */
static void unstuff(struct strview in, struct buf *out)
{
    bool start = true;

    for (size_t i = 0; i < in.len;) {
        size_t skip = start && in.ptr[i] == '.' && i + 1 < in.len ? 1 : 0;
        const char *end = memchr(in.ptr + i, '\n', in.len - i);
        size_t n = end ? (size_t)(end - in.ptr) + 1 - i : in.len - i;
        buf_append(out, in.ptr + i + skip, n - skip);
        i += n;
        start = true;
    }
}

static int copy_in(struct task *t)
{
    const struct load *l = t->load;
    const struct spool_content *c = &l->read.content;
    struct strview in = l->body ? l->body->content : c->content;
    struct buf file = {0};

    if (!l->body && c->fd >= 0) {
        char *to = buf_reserve(&file, t->max_bytes);
        size_t want = (size_t)MIN_OF(l->env.content_bytes, (uint64_t)t->max_bytes);
        ssize_t n = pread(c->fd, to, want, (off_t)c->fd_offset);
        if (n < 0) {
            buf_free(&file);
            return -1;
        }
        buf_advance(&file, (size_t)n);
        in = buf_view(&file);
    }
    unstuff(sv(in.ptr, MIN_OF(in.len, t->max_bytes)), &t->content);
    buf_free(&file);
    return 0;
}

static void read_it(uv_work_t *uv)
{
    struct task *t = container_of(uv, struct task, work);

    t->status = copy_in(t);
    if (t->status == 0)
        inbound_parse(buf_view(&t->content), &t->wanted, &t->arena, &t->report);
}

static void judge_it(struct task *t)
{
    struct inbound *in = t->in;
    struct inbound_match m;

    if (!find(in, sv_of(t->address), &m)) {
        defer(t, "no processor has this address as its inbound-address any more");
        return;
    }
    t->config = config_ref(in->config);
    inbound_settings_get(in->config, &m, &t->settings);
    judge(&(struct judge_input){.report = &t->report,
                                .settings = &t->settings,
                                .verp = in->verp,
                                .classify = report_classify(in->report),
                                .pipe = sv_of(engine_pipe(in->engine)),
                                .address = sv_of(t->address),
                                .header_names = report_header_names(in->report),
                                .id = t->load->message->id,
                                .rcpt = t->load->rcpts[0]},
          &t->arena, &t->judgement);
    suppress(t);
}

static void on_read(uv_work_t *uv, int status)
{
    struct task *t = container_of(uv, struct task, work);

    if (t->in->draining)
        put_back(t);
    else if (status < 0 || t->status < 0)
        defer(t, "the spool could not be read");
    else
        judge_it(t);
}

static void start_reading(struct task *t)
{
    struct inbound *in = t->in;
    const struct envelope *env = &t->load->env;
    struct strview address = env->rcpts[t->load->rcpts[0]].address;
    struct inbound_settings s;
    struct inbound_match m;

    snprintf(t->address, sizeof(t->address), "%.*s", SV_ARG(address));
    if (!find(in, address, &m)) {
        defer(t, "no processor has this address as its inbound-address any more");
        return;
    }
    inbound_settings_get(in->config, &m, &s);
    t->max_bytes = s.max_bytes;
    t->wanted = (struct inbound_wanted){.null_sender = !env->sender.len,
                                        .for_feedback = m.use == INBOUND_FEEDBACK,
                                        .own = sv_of(t->address),
                                        .time_ms = s.time_ms};
    t->state = TASK_READING;
    BUG_ON(uv_queue_work(in->loop, &t->work, read_it, on_read) < 0);
}

/* --- taking messages --- */

static void load_came(struct task *t)
{
    if (t->load->state == LOAD_FAILED) {
        load_fail(t->load);
        task_end(t);
    } else if (t->in->draining) {
        put_back(t);
    } else {
        start_reading(t);
    }
}

static void on_arrived(struct load *l)
{
    load_came(l->owner);
}

static bool take_one(struct inbound *in, struct queue *q)
{
    struct task *t = xcalloc(1, sizeof(*t));

    t->in = in;
    t->queue = q;
    list_push_back(&in->tasks, &t->link);
    t->load = load_take(in->engine, q, 1, on_arrived, t);
    if (!t->load) {
        task_free(t);
        return false;
    }
    q->sender_count++;
    in->stats.under_way++;
    if (t->load->state != LOAD_READING)
        load_came(t);
    return true;
}

static void work(void *arg, struct queue *q)
{
    struct inbound *in = arg;

    if (in->in_work || in->draining || !in->report)
        return;
    in->in_work = true;
    while (q->ready_count && !q->retry_at_ms && q->sender_count < INBOUND_PARALLEL &&
           take_one(in, q))
        ;
    in->in_work = false;
}

/* --- the room --- */

/* What waits for an answer is put back; what is read or forwarded comes by itself. */
static void drain(void *arg)
{
    struct inbound *in = arg;

    in->draining = true;
    list_for_each_safe (l, &in->tasks) {
        struct task *t = list_entry(l, struct task, link);
        if (t->state != TASK_SUPPRESSING)
            continue;
        end_waiting(t);
        put_back(t);
    }
}

struct inbound *inbound_new(uv_loop_t *loop, struct engine *engine, struct verp *verp)
{
    static const struct engine_local_ops ops = {.queue_of = queue_of, .work = work, .drain = drain};
    struct inbound *in = xcalloc(1, sizeof(*in));

    in->loop = loop;
    in->engine = engine;
    in->verp = verp;
    list_init(&in->tasks);
    list_init(&in->waiters);
    in->timer = xcalloc(1, sizeof(*in->timer));
    uv_timer_init(loop, in->timer);
    in->timer->data = in;
    in->stats.since_ms = clock_wall_ms();
    engine_on_local(engine, &ops, in);
    return in;
}

static void write_counts(void *arg, struct buf *out)
{
    const struct inbound *in = arg;
    inbound_counts_write(&in->stats, out);
}

int inbound_open(struct inbound *in, int dirfd, struct err *e)
{
    struct buf text = {0};
    int status = saver_open(&in->saver, in->loop, dirfd, "inbound", COUNTS_SAVE_MS, write_counts,
                            in, &text, e);

    if (status == 0)
        inbound_counts_read(&in->stats, buf_view(&text));
    buf_free(&text);
    return status;
}

void inbound_close(struct inbound *in, void (*closed)(void *arg), void *arg)
{
    saver_close(&in->saver, closed, arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

void inbound_free(struct inbound *in)
{
    if (!in)
        return;
    uv_close((uv_handle_t *)in->timer, on_timer_closed);
    for (struct list *l; (l = list_pop_front(&in->waiters));)
        free(list_entry(l, struct waiter, link));
    config_unref(in->config);
    free(in);
}

void inbound_configure(struct inbound *in, struct config *cfg)
{
    config_unref(in->config);
    in->config = config_ref(cfg);
}

void inbound_set_report(struct inbound *in, struct report *report)
{
    in->report = report;
}

void inbound_on_suppress(struct inbound *in, inbound_suppress_fn *add, void *arg)
{
    in->suppress = add;
    in->suppress_arg = arg;
}

const char *inbound_kind_counter(size_t i)
{
    static const char *const names[] = {
        [INBOUND_OTHER] = "others",
        [INBOUND_BOUNCE] = "bounces",
        [INBOUND_STATUS] = "statuses",
        [INBOUND_COMPLAINT] = "complaints",
        [INBOUND_AUTO_REPLY] = "auto_replies",
        [INBOUND_CHALLENGE] = "challenges",
        [INBOUND_MDN] = "read_notices",
    };
    _Static_assert(ARRAY_LEN(names) == INBOUND_KIND_COUNT, "each kind has a name");
    _Static_assert(INBOUND_KIND_COUNT <= ARRAY_LEN(((struct inbound_stats *)0)->kinds), "room");

    return i < ARRAY_LEN(names) ? names[i] : NULL;
}

void inbound_stats(const struct inbound *in, struct inbound_stats *ret)
{
    char name[64];

    *ret = in->stats;
    for (size_t i = 0; i < ARRAY_LEN(queues); i++) {
        if (!queues[i].name)
            continue;
        snprintf(name, sizeof(name), "%s/%s", queues[i].name, VMTA_DEFAULT);
        struct queue *q = engine_find_queue(in->engine, sv_of(name));
        ret->queued += q ? q->live : 0;
    }
}
