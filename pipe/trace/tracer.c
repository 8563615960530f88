/*
 * Traces and debugged queues; see tracer.h. Called by admin/trace.c and, through the watcher, by
 * delivery when a connection opens or begins a message. Delivery knows of the watcher only while
 * there is something to watch.
 *
 * A trace waits for a connection, listens to it until its attempts are over, and goes on with
 * another one when some are left. One that ends inside of a callback of delivery is told from the
 * timer, not there. Memory: a trace is freed when it is told or cancelled.
 */
#include "trace/tracer.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "queue/engine.h"

#include <stdio.h>

enum { TICK_MS = 1000, PATTERN_BYTES = 512 };

struct trace {
    struct list link; /* tracer->traces */
    struct tracer *tracer;
    const struct trace_ops *ops;
    void *arg;
    char pattern[PATTERN_BYTES];
    struct dialogue dialogue;
    struct delivery_conn *conn; /* that it listens to, or NULL */
    char queue[PATTERN_BYTES];
    int64_t began_ms, until_ms; /* monotonic */
    unsigned left, attempts, lines, left_out;
    bool over; /* told at the next turn of the timer */
};

struct debugged {
    char pattern[PATTERN_BYTES];
    int64_t until_ms; /* wall; 0: until it is switched off */
};

struct tracer {
    struct delivery *delivery;
    struct delivery_watcher watcher;
    struct list traces;
    unsigned count;
    struct debugged debugged[TRACE_DEBUG_MAX];
    unsigned debugged_count;
    uv_timer_t timer;
    bool runs; /* the timer */
};

/* --- what delivery asks --- */

static bool on_debugs(void *owner, const char *queue)
{
    const struct tracer *t = owner;

    for (unsigned i = 0; i < t->debugged_count; i++)
        if (engine_pattern_matches(sv_of(t->debugged[i].pattern), queue))
            return true;
    return false;
}

static const struct dialogue *on_listens(void *owner, struct delivery_conn *c, const char *queue)
{
    struct tracer *t = owner;

    list_for_each (n, &t->traces) {
        struct trace *tr = list_entry(n, struct trace, link);
        if (tr->conn || tr->over || !engine_pattern_matches(sv_of(tr->pattern), queue))
            continue;
        tr->conn = c;
        tr->began_ms = clock_mono_ms();
        snprintf(tr->queue, sizeof(tr->queue), "%s", queue);
        return &tr->dialogue;
    }
    return NULL;
}

/* --- the timer --- */

static void on_tick(uv_timer_t *timer);

/* It runs, and delivery asks, while there is somebody. */
static void watch(struct tracer *t)
{
    bool wanted = t->count || t->debugged_count, timed = t->count != 0;

    for (unsigned i = 0; i < t->debugged_count; i++)
        timed = timed || t->debugged[i].until_ms;
    if (timed && !t->runs)
        uv_timer_start(&t->timer, on_tick, TICK_MS, TICK_MS);
    else if (!timed && t->runs)
        uv_timer_stop(&t->timer);
    t->runs = timed;
    delivery_watch(t->delivery, wanted ? &t->watcher : NULL);
}

/* Tells the end at once, out of the callback that brought it. */
static void hurry(struct tracer *t)
{
    uv_timer_start(&t->timer, on_tick, 0, TICK_MS);
    t->runs = true;
}

/* --- what it hears --- */

static void on_line(void *arg, enum dialogue_kind kind, struct strview text)
{
    struct trace *tr = arg;

    if (tr->lines >= TRACE_LINES_MAX) {
        tr->left_out++;
        return;
    }
    tr->lines++;
    tr->ops->step(tr->arg, &(struct trace_step){
                               .queue = tr->queue,
                               .wall_ms = clock_wall_ms(),
                               .at_ms = clock_mono_ms() - tr->began_ms,
                               .kind = kind,
                               .text = text,
                           });
}

static void on_attempt_over(void *arg)
{
    struct trace *tr = arg;

    tr->attempts++;
    if (--tr->left || tr->over)
        return;
    tr->over = true;
    delivery_listen(tr->conn, NULL);
    tr->conn = NULL;
    hurry(tr->tracer);
}

static void on_closed(void *arg)
{
    struct trace *tr = arg;
    tr->conn = NULL;
}

/* --- life --- */

static void trace_free(struct trace *tr)
{
    struct tracer *t = tr->tracer;

    if (tr->conn)
        delivery_listen(tr->conn, NULL);
    list_remove(&tr->link);
    t->count--;
    free(tr);
    watch(t);
}

void trace_cancel(struct trace *tr)
{
    trace_free(tr);
}

static void end(struct trace *tr, const char *why)
{
    const struct trace_ops *ops = tr->ops;
    void *arg = tr->arg;
    unsigned attempts = tr->attempts, left_out = tr->left_out;

    trace_free(tr);
    ops->ended(arg, why, attempts, left_out);
}

static void expire_debugged(struct tracer *t)
{
    int64_t now = clock_wall_ms();
    bool some = false;

    for (unsigned i = t->debugged_count; i-- > 0;) {
        if (!t->debugged[i].until_ms || t->debugged[i].until_ms > now)
            continue;
        log_info(LOG_ADMIN, "debug logging ends, its time is over queue=%s",
                 log_safe(t->debugged[i].pattern, strlen(t->debugged[i].pattern), 300));
        t->debugged[i] = t->debugged[--t->debugged_count];
        some = true;
    }
    if (some)
        watch(t);
}

static void on_tick(uv_timer_t *timer)
{
    struct tracer *t = timer->data;
    int64_t now = clock_mono_ms();

    expire_debugged(t);
    list_for_each_safe (n, &t->traces) {
        struct trace *tr = list_entry(n, struct trace, link);
        if (tr->over)
            end(tr, "the attempts are over");
        else if (now >= tr->until_ms)
            end(tr, tr->conn ? "the time is over, in the middle of an attempt"
                             : "the time is over, there was no attempt");
        else
            tr->ops->tick(tr->arg, !tr->conn);
    }
}

struct trace *trace_start(struct tracer *t, struct strview pattern, unsigned count,
                          int64_t timeout_ms, const struct trace_ops *ops, void *arg, struct err *e)
{
    if (t->count >= TRACES_MAX) {
        err_set(e, ERR_LIMIT, "%d traces of this pipe are under way already", TRACES_MAX);
        return NULL;
    }
    struct trace *tr = xcalloc(1, sizeof(*tr));
    tr->tracer = t;
    tr->ops = ops;
    tr->arg = arg;
    tr->dialogue = (struct dialogue){on_line, on_attempt_over, on_closed, tr};
    tr->left = MIN_OF(MAX_OF(count, 1u), (unsigned)TRACE_ATTEMPTS_MAX);
    tr->until_ms = clock_mono_ms() + timeout_ms;
    snprintf(tr->pattern, sizeof(tr->pattern), "%.*s", SV_ARG(pattern));
    list_push_back(&t->traces, &tr->link);
    t->count++;
    watch(t);
    return tr;
}

unsigned tracer_count(const struct tracer *t)
{
    return t->count;
}

/* --- debugging --- */

static bool remove_covered(struct tracer *t, struct strview pattern)
{
    unsigned before = t->debugged_count;

    for (unsigned i = t->debugged_count; i-- > 0;) {
        const char *text = t->debugged[i].pattern;
        if (sv_eq(sv_of(text), pattern) || engine_pattern_matches(pattern, text))
            t->debugged[i] = t->debugged[--t->debugged_count];
    }
    return t->debugged_count != before;
}

int tracer_debug(struct tracer *t, struct strview pattern, bool on, int64_t for_ms,
                 bool *ret_changed, struct err *e)
{
    bool had = remove_covered(t, pattern);

    *ret_changed = on != had;
    if (on && t->debugged_count == TRACE_DEBUG_MAX)
        return err_set(e, ERR_LIMIT, "more than %d patterns of queues debug", TRACE_DEBUG_MAX);
    if (on) {
        struct debugged *d = &t->debugged[t->debugged_count++];
        snprintf(d->pattern, sizeof(d->pattern), "%.*s", SV_ARG(pattern));
        d->until_ms = for_ms ? clock_wall_ms() + for_ms : 0;
    }
    watch(t);
    return 0;
}

void tracer_debug_each(const struct tracer *t,
                       void (*fn)(void *arg, const char *pattern, int64_t until_ms), void *arg)
{
    for (unsigned i = 0; i < t->debugged_count; i++)
        fn(arg, t->debugged[i].pattern, t->debugged[i].until_ms);
}

/* --- the whole --- */

struct tracer *tracer_new(uv_loop_t *loop, struct delivery *delivery)
{
    struct tracer *t = xcalloc(1, sizeof(*t));

    t->delivery = delivery;
    t->watcher = (struct delivery_watcher){on_debugs, on_listens, t};
    list_init(&t->traces);
    uv_timer_init(loop, &t->timer);
    uv_unref((uv_handle_t *)&t->timer);
    t->timer.data = t;
    return t;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void tracer_free(struct tracer *t)
{
    if (!t)
        return;
    list_for_each_safe (n, &t->traces) {
        struct trace *tr = list_entry(n, struct trace, link);
        if (tr->conn)
            delivery_listen(tr->conn, NULL);
        list_remove(&tr->link);
        free(tr);
    }
    delivery_watch(t->delivery, NULL);
    uv_close((uv_handle_t *)&t->timer, on_timer_closed);
}
