/*
 * Verbs that listen: trace, which goes on answering until its attempts are over, and debug-queue.
 *
 * One struct tracing per request, from its start to the end of the trace or to the cancellation
 * (the operator's connection is gone), in pipe->tracings. An empty line once a second keeps the
 * answer alive, and finds out that nobody reads it any more.
 */
#include "admin/verbs.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"

#include <stdio.h>

enum {
    BACKLOG_MAX = 1024 * 1024, /* root does not take what we say: lines are left out */
    LOOK_TICKS = 3, /* what it waits for is looked at so often: that may walk all queues */
    TIMEOUT_MS = 5 * 60 * 1000,
    TIMEOUT_MAX_MS = 24 * 60 * 60 * 1000,
};

struct tracing {
    struct list link; /* pipe->tracings */
    struct pipe *pipe;
    struct admin admin;
    struct trace *trace;
    char pattern[512];
    struct buf waits_for; /* what was said last */
    unsigned unsaid;      /* lines that were left out */
    unsigned ticks;
};

static void tracing_free(struct tracing *x)
{
    list_remove(&x->link);
    buf_free(&x->waits_for);
    free(x);
}

/* --- what happens --- */

static const char *kind_name(enum dialogue_kind kind)
{
    static const char *const names[] = {
#define DIALOGUE_NAME(id, name, sign) name,
        DIALOGUE_KINDS(DIALOGUE_NAME)
#undef DIALOGUE_NAME
    };
    return names[kind];
}

static void say(struct tracing *x, const char *queue, int64_t wall_ms, int64_t at_ms,
                const char *kind, struct strview text)
{
    if (child_backlog(x->pipe->child) > BACKLOG_MAX) {
        x->unsaid++;
        return;
    }
    json_t *o =
        json_pack("{s:s, s:I, s:s}", "queue", queue, "time_ms", (json_int_t)wall_ms, "kind", kind);
    if (at_ms >= 0)
        json_object_set_new(o, "at_ms", json_integer(at_ms));
    json_object_set_new(o, "text", admin_json_text(text));
    admin_send(&x->admin, o);
}

static void on_step(void *arg, const struct trace_step *s)
{
    struct tracing *x = arg;

    buf_reset(&x->waits_for);
    say(x, s->queue, s->wall_ms, s->at_ms, kind_name(s->kind), s->text);
}

/* The queues with mail that match: how many, and one of them. */
static unsigned count_queues(struct pipe *p, const char *pattern, struct queue **ret)
{
    const struct hash *all = engine_queues(p->engine);
    unsigned count = 0;

    for (struct hash_node *n = NULL; (n = hash_next(all, n));) {
        struct queue *q = container_of(n, struct queue, node);
        if (!q->live || !engine_pattern_matches(sv_of(pattern), q->name))
            continue;
        *ret = q;
        count++;
    }
    return count;
}

static void explain_wait(struct pipe *p, const char *pattern, struct buf *out)
{
    struct queue *q = engine_find_queue(p->engine, sv_of(pattern));
    unsigned count = q && q->live ? 1 : strpbrk(pattern, "*?") ? count_queues(p, pattern, &q) : 0;

    if (count == 0)
        buf_append_str(out, "for mail: nothing is queued there");
    else if (count > 1)
        buf_printf(out, "for the first attempt of %u queues that have mail", count);
    else
        queue_wait_text(p, q, out);
}

/* Says what it waits for when that has changed. */
static void say_waiting(struct tracing *x)
{
    struct buf text = {0}, why = {0};

    explain_wait(x->pipe, x->pattern, &why);
    buf_printf(&text, "waiting%s%s", buf_len(&why) && buf_data(&why)[0] == ':' ? "" : " ",
               buf_data(&why));
    buf_free(&why);
    if (!sv_eq(buf_view(&text), buf_view(&x->waits_for))) {
        say(x, x->pattern, clock_wall_ms(), -1, "event", buf_view(&text));
        buf_reset(&x->waits_for);
        buf_append_sv(&x->waits_for, buf_view(&text));
    }
    buf_free(&text);
}

static void on_trace_tick(void *arg, bool waits)
{
    struct tracing *x = arg;

    if (waits && ++x->ticks % LOOK_TICKS == 0)
        say_waiting(x);
    child_admin_reply(x->pipe->child, x->admin.token, SV("\n"), false);
}

static void on_trace_ended(void *arg, const char *why, unsigned attempts, unsigned left_out)
{
    struct tracing *x = arg;

    admin_send(&x->admin,
               json_pack("{s:s, s:s, s:s, s:i, s:i}", "queue", x->pattern, "kind", "end", "text",
                         why, "attempts", (int)attempts, "left_out", (int)(left_out + x->unsaid)));
    admin_end(&x->admin);
    tracing_free(x);
}

static const struct trace_ops ops = {
    .step = on_step,
    .tick = on_trace_tick,
    .ended = on_trace_ended,
};

/* --- verbs --- */

/* A member "for" or "timeout" as it is written in the configuration, else the fallback; false: it was
 * refused already. */
static bool time_argument(struct admin *a, const char *name, int64_t fallback, int64_t *ret)
{
    struct strview text = admin_text(a, name);

    *ret = fallback;
    if (!text.len || (units_parse_interval(text, ret) == 0 && *ret > 0))
        return true;
    admin_error(a, "'%s' is no time (expected 90s, 10m, 2h)", name);
    return false;
}

/* As engine_pattern_matches reads it: without a stroke any virtual MTA is meant. */
static bool pattern_argument(struct admin *a, char *out, size_t size)
{
    struct strview text = admin_text(a, "queue");
    bool whole = text.len && memchr(text.ptr, '/', text.len);

    if (!text.len || text.len > size - 3) {
        admin_error(a, "'queue' is missing: DOMAIN or DOMAIN/VMTA, * on either side");
        return false;
    }
    snprintf(out, size, "%.*s%s", SV_ARG(text), whole ? "" : "/*");
    str_lower(out, strlen(out));
    return true;
}

void act_trace(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct tracing *x = xcalloc(1, sizeof(*x));
    struct err e = {0};
    int64_t timeout_ms, count = admin_number(a, "count", 1);

    list_init(&x->link);
    x->pipe = p;
    x->admin = *a;
    x->admin.args = NULL;
    if (!time_argument(a, "timeout", TIMEOUT_MS, &timeout_ms) ||
        !pattern_argument(a, x->pattern, sizeof(x->pattern))) {
        tracing_free(x);
        return;
    }
    if (count < 1 || count > TRACE_ATTEMPTS_MAX) {
        admin_error(a, "'count' is not valid (expected 1 to %d)", TRACE_ATTEMPTS_MAX);
        tracing_free(x);
        return;
    }
    x->trace = trace_start(p->tracer, sv_of(x->pattern), (unsigned)count,
                           MIN_OF(timeout_ms, (int64_t)TIMEOUT_MAX_MS), &ops, x, &e);
    if (!x->trace) {
        admin_error(a, "%s", e.text);
        tracing_free(x);
        return;
    }
    list_push_back(&p->tracings, &x->link);
    log_info(LOG_ADMIN, "trace by an operator queue=%s attempts=%d",
             log_safe(x->pattern, strlen(x->pattern), 300), (int)count);
    if (admin_flag(a, "now"))
        engine_schedule(p->engine, sv_of(x->pattern));
    say_waiting(x);
}

void pipe_admin_cancel(void *owner, uint64_t token)
{
    struct pipe *p = owner;

    list_for_each_safe (n, &p->tracings) {
        struct tracing *x = list_entry(n, struct tracing, link);
        if (x->admin.token != token)
            continue;
        trace_cancel(x->trace);
        tracing_free(x);
    }
}

void pipe_traces_cancel(struct pipe *p)
{
    list_for_each_safe (n, &p->tracings) {
        struct tracing *x = list_entry(n, struct tracing, link);
        trace_cancel(x->trace);
        admin_error(&x->admin, "the pipe is stopped");
        tracing_free(x);
    }
}

void act_debug_queue(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview state = admin_text(a, "state");
    bool on = sv_eq(state, SV("on")), changed;
    char pattern[512];
    struct err e = {0};
    int64_t for_ms;

    if (!on && !sv_eq(state, SV("off"))) {
        admin_error(a, "'state' is not valid (expected on or off)");
        return;
    }
    if (!time_argument(a, "for", 0, &for_ms) || !pattern_argument(a, pattern, sizeof(pattern)))
        return;
    if (tracer_debug(p->tracer, sv_of(pattern), on, for_ms, &changed, &e) < 0) {
        admin_error(a, "%s", e.text);
        return;
    }
    log_info(LOG_ADMIN, "debug logging %s by an operator queue=%s", on ? "on" : "off",
             log_safe(pattern, strlen(pattern), 300));
    json_t *o = json_pack("{s:s, s:s, s:b}", "pipe", p->name, "state",
                          on ? "debugged" : "not debugged", "changed", (int)changed);
    json_object_set_new(o, "queue", admin_json_text(sv_of(pattern)));
    admin_send(a, o);
    admin_end(a);
}

static void add_pattern(void *arg, const char *pattern, int64_t until_ms)
{
    json_t *o = json_pack("{s:I}", "until_ms", (json_int_t)until_ms);
    json_object_set_new(o, "queue", admin_json_text(sv_of(pattern)));
    json_array_append_new(arg, o);
}

json_t *trace_status(const struct pipe *p)
{
    json_t *o = json_array();
    tracer_debug_each(p->tracer, add_pattern, o);
    return o;
}
