/*
 * Why a message waits: for each recipient one sentence what it waits for, what put it there (a
 * directive with file and line, a reply of the peer, an operator), and when it moves next. The
 * order of the questions is the order in which the engine asks them before it sends.
 */
#include "admin/limits.h"
#include "admin/verbs.h"
#include "base/clock.h"
#include "queue/engine_int.h"

#include <stdio.h>
#include <time.h>

struct reason {
    char waits_for[256];
    struct buf because;
    char where[300];
    int64_t next_ms;
    char next[160];
};

static void say_next(struct reason *r, int64_t at_ms, const char *what)
{
    int64_t in = MAX_OF(at_ms - clock_wall_ms(), (int64_t)0);
    char text[UNITS_SIZE];

    units_format_interval((in + 999) / 1000 * 1000, text);
    r->next_ms = at_ms;
    snprintf(r->next, sizeof(r->next), "%s in %s", what, text);
}

static void say_where(struct reason *r, const struct config_value *v)
{
    if (v->origin.file)
        snprintf(r->where, sizeof(r->where), "%s:%u", v->origin.file, v->origin.line);
    else
        snprintf(r->where, sizeof(r->where), "default");
}

static struct config_query query_of(const struct pipe *p, const struct queue *q)
{
    return (struct config_query){
        .domain = q->domain,
        .group = queue_group_domain(q),
        .vmta = sv_of(q->vmta->name),
        .pool = sv_of(q->vmta->pool),
        .pipe = sv_of(p->name),
    };
}

/* An action of that kind in words: "the reply '…', rule of LIST". */
static void say_action(struct reason *r, const struct pipe *p, const struct action *x,
                       const char *then)
{
    if (*x->reply)
        buf_printf(&r->because, "the peer said: %s", x->reply);
    else
        buf_printf(&r->because, "that was done by %s%s",
                   strcmp(x->by, "operator") == 0 ? "an " : "", x->by);
    if (*x->file)
        snprintf(r->where, sizeof(r->where), "%s:%u", x->file, x->line);
    if (x->until_ms)
        say_next(r, x->until_ms, then);
    else
        snprintf(r->next, sizeof(r->next), "after 'pmtactl cancel %s.%llu'", p->name,
                 (unsigned long long)x->id);
}

/* The action that holds the queue longest, or NULL. */
static const struct action *holding(const struct pipe *p, const struct queue *q)
{
    const struct action *pipe = actions_suspend(p->engine), *defer = actions_of(q, ACTION_DEFER);

    if (pipe)
        return pipe;
    if (defer)
        return defer;
    return q->all_disabled ? actions_first(q, ACTION_SOURCE) : NULL;
}

static void why_held(const struct pipe *p, const struct action *x, struct reason *r)
{
    char id[120];

    snprintf(id, sizeof(id), "%s.%llu", p->name, (unsigned long long)x->id);
    if (x->kind == ACTION_SUSPEND)
        snprintf(r->waits_for, sizeof(r->waits_for),
                 "its pipe, which sends nothing for a time (suspend-pipe, action %s)", id);
    else if (x->kind == ACTION_DEFER)
        snprintf(r->waits_for, sizeof(r->waits_for),
                 "its queue, which waits (defer-queue, action %s)", id);
    else
        snprintf(r->waits_for, sizeof(r->waits_for),
                 "a source address: all of its queue are disabled (disable-source-ip, action %s is "
                 "the first to end)",
                 id);
    say_action(r, p, x, "goes on");
}

/* In back-off or at a cut rate everything takes longer: the reply that did it. */
static void say_slowed(const struct pipe *p, const struct queue *q, struct reason *r)
{
    const struct action *x = actions_of(q, ACTION_BACKOFF);

    if (!x)
        x = actions_of(q, ACTION_RATE);
    if (!x)
        return;
    bool told = *x->reply && buf_len(&r->because) && strstr(buf_data(&r->because), x->reply);
    buf_printf(&r->because, "%s%s since ", buf_len(&r->because) ? "; " : "",
               x->kind == ACTION_BACKOFF ? "the queue is in back-off" : "its rates are cut");
    if (told)
        buf_append_str(&r->because, "such a reply (");
    else
        buf_printf(&r->because, "the %s (%s, ", *x->reply ? "reply" : "order of an operator",
                   *x->reply ? x->reply : x->by);
    buf_printf(&r->because, "action %s.%llu)", p->name, (unsigned long long)x->id);
}

static void why_deferred(struct pipe *p, const struct entry *e, struct reason *r)
{
    struct config_query q = query_of(p, e->queue);
    struct arena arena = {0};
    struct spool_event ev;

    snprintf(r->waits_for, sizeof(r->waits_for), "its next attempt, after %u that did not succeed",
             e->attempts);
    if (e->journal && spool_read_event(p->spool, e->journal, &arena, &ev) == 0)
        buf_printf(&r->because, "%s%.*s", ev.code ? "the peer said: " : "", SV_ARG(ev.text));
    enum directive d = retry_recipient_directive(e->queue);
    char what[100];
    say_where(r, config_get(p->config, &q, d));
    snprintf(what, sizeof(what), "next attempt (%s)", directive_info(d)->name);
    say_slowed(p, e->queue, r);
    say_next(r, e->wake.key, what);
    arena_free(&arena);
}

static void why_backoff(struct pipe *p, const struct queue *q, struct reason *r)
{
    struct config_query query = query_of(p, q);

    snprintf(r->waits_for, sizeof(r->waits_for),
             "its queue, whose hosts could not be reached %u time%s in a row", q->failures,
             q->failures == 1 ? "" : "s");
    buf_append_str(&r->because, q->last_text ? q->last_text : "");
    enum directive d = q->mode == QUEUE_BACKOFF ? DIR_BACKOFF_RETRY_AFTER : DIR_RETRY_AFTER;
    char what[100];
    say_where(r, config_get(p->config, &query, d));
    snprintf(what, sizeof(what), "next attempt of the whole queue (%s)", directive_info(d)->name);
    say_next(r, q->retry_at_ms, what);
}

/* A notice for another pipe. */
static void why_handed(struct pipe *p, const struct queue *q, struct reason *r)
{
    struct config_query query = {.pipe = sv_of(p->name)};
    const char *to = q->vmta->to_pipe;

    say_where(r, config_get(p->config, &query, DIR_DSN_PIPE));
    if (dsn_peer_is_there(p->dsn, to)) {
        snprintf(r->waits_for, sizeof(r->waits_for),
                 "its turn: it goes out through pipe '%.100s' (dsn-pipe)", to);
        snprintf(r->next, sizeof(r->next), "at once");
        return;
    }
    snprintf(r->waits_for, sizeof(r->waits_for),
             "pipe '%.100s', which it goes out through (dsn-pipe)", to);
    buf_append_str(&r->because, "that pipe is not running");
    snprintf(r->next, sizeof(r->next), "as soon as that pipe is there");
}

static void why_ready(struct pipe *p, const struct entry *e, struct reason *r)
{
    struct queue *q = e->queue;
    struct limit_hold hold;

    if (q->local) {
        snprintf(r->waits_for, sizeof(r->waits_for),
                 "its turn: %u messages are ready in its queue, and %d are read at a time",
                 q->ready_count, INBOUND_PARALLEL);
        snprintf(r->next, sizeof(r->next), "at once");
        return;
    }
    if (q->vmta->is_stranded) {
        snprintf(
            r->waits_for, sizeof(r->waits_for),
            "an address: this machine has none of the source addresses of virtual MTA '%.100s'",
            q->vmta->name);
        if (q->vmta->sources[0].file)
            snprintf(r->where, sizeof(r->where), "%s:%u", q->vmta->sources[0].file,
                     q->vmta->sources[0].line);
        snprintf(r->next, sizeof(r->next), "within a minute after an address is there");
    } else if (q->route.pending) {
        snprintf(r->waits_for, sizeof(r->waits_for), "the DNS: where mail for '%.*s' goes",
                 SV_ARG(q->domain));
        snprintf(r->next, sizeof(r->next), "as soon as the resolver answers");
    } else if (limit_hold(p->engine, q, &hold)) {
        snprintf(r->waits_for, sizeof(r->waits_for), "%s", hold.what);
        buf_append_str(&r->because, hold.because);
        if (hold.value)
            say_where(r, hold.value);
        if (hold.next_ms)
            say_next(r, hold.next_ms, "room for the next");
        else
            snprintf(r->next, sizeof(r->next), "%s", hold.next);
    } else {
        snprintf(r->waits_for, sizeof(r->waits_for),
                 "its turn: %u recipients are ready in its queue", q->ready_count);
        snprintf(r->next, sizeof(r->next), "at once");
    }
}

/* The entry's lane stands aside. */
static void why_lane(const struct entry *e, unsigned held, struct reason *r)
{
    const struct message *m = e->message;
    char text[UNITS_SIZE];

    if (held & LANE_PAUSED) {
        int64_t ago = (clock_wall_ms() - m->job->paused_since_ms) / 1000 * 1000;
        time_t since = (time_t)(m->job->paused_since_ms / 1000);
        struct tm tm;
        char date[32];
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%SZ", gmtime_r(&since, &tm));
        snprintf(r->waits_for, sizeof(r->waits_for), "an operator: job '%.150s' is paused since %s",
                 m->job->id, date);
        buf_printf(&r->because, "paused %s ago",
                   units_format_interval(MAX_OF(ago, (int64_t)0), text));
        snprintf(r->next, sizeof(r->next), "after 'pmtactl resume job %.120s'", m->job->id);
    } else if (held & LANE_SHUT) {
        snprintf(r->waits_for, sizeof(r->waits_for), "its delivery window (X-Schedule)");
        buf_printf(&r->because, "X-Schedule: %.*s", m->windows->text_len, m->windows->text);
        int64_t at = windows_change(m->windows, clock_wall_ms());
        if (at == SCHEDULE_OVER)
            snprintf(r->next, sizeof(r->next), "never: the last window is over, it is ended now");
        else
            say_next(r, at, "the window opens");
    } else {
        snprintf(r->waits_for, sizeof(r->waits_for),
                 "the rate of job '%.150s': what it allows now is used up", m->job->id);
        buf_printf(&r->because, "%s: %s",
                   m->job->has_own_rate ? "set by an operator" : "job-max-msg-rate",
                   units_format_rate(&m->job->rate, text));
        snprintf(r->next, sizeof(r->next), "in turn with the job's other queues");
    }
}

static void explain_entry(struct pipe *p, const struct entry *e, struct reason *r)
{
    const struct queue *q = e->queue;
    const char *pattern = engine_pause_pattern(p->engine, q);
    const struct action *held = holding(p, q);
    unsigned lane = lane_holds(e->queue, e);

    if (e->state == ENTRY_OWING) {
        snprintf(r->waits_for, sizeof(r->waits_for),
                 "the disk: its end is decided, the notice to its sender is being stored");
        snprintf(r->next, sizeof(r->next), "as soon as the notice is durable");
    } else if (e->state == ENTRY_SENDING || e->state == ENTRY_FINISHING) {
        snprintf(r->waits_for, sizeof(r->waits_for), "nothing: it is being %s now",
                 q->local ? "read" : "sent");
        if (q->local)
            buf_append_str(&r->because, "where it suppresses somebody, it ends when the suppression "
                                        "list has that on disk");
    } else if (engine_is_paused(p->engine)) {
        snprintf(r->waits_for, sizeof(r->waits_for), "an operator: pipe '%s' is paused", p->name);
        snprintf(r->next, sizeof(r->next), "after 'pmtactl resume pipe %s'", p->name);
    } else if (pattern) {
        snprintf(r->waits_for, sizeof(r->waits_for), "an operator: queue '%s' is paused", pattern);
        snprintf(r->next, sizeof(r->next), "after 'pmtactl resume queue %.100s'", pattern);
    } else if (lane) {
        why_lane(e, lane, r);
    } else if (held &&
               (e->state != ENTRY_DEFERRED || !held->until_ms || held->until_ms > e->wake.key)) {
        why_held(p, held, r);
    } else if (e->state == ENTRY_DEFERRED) {
        why_deferred(p, e, r);
    } else if (q->retry_at_ms) {
        why_backoff(p, q, r);
    } else if (q->vmta->to_pipe) {
        why_handed(p, q, r);
    } else {
        why_ready(p, e, r);
        say_slowed(p, q, r);
    }
}

static json_t *entry_object(struct pipe *p, const struct entry *e, const struct envelope *env)
{
    struct reason r = {0};

    explain_entry(p, e, &r);
    json_t *o = json_pack("{s:I, s:s, s:s, s:s, s:I, s:s}", "rcpt", (json_int_t)e->rcpt, "queue",
                          e->queue->name, "waits_for", r.waits_for, "where", r.where, "next_ms",
                          (json_int_t)r.next_ms, "next", r.next);
    json_object_set_new(o, "address", admin_json_text(env->rcpts[e->rcpt].address));
    json_object_set_new(o, "because", admin_json_text(buf_view(&r.because)));
    buf_free(&r.because);
    return o;
}

void why_message(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct arena arena = {0};
    struct envelope env;
    char id[MESSAGE_ID_SIZE];
    int only;
    struct message *m = admin_find_message(p, a, &arena, &env, &only);

    if (!m) {
        arena_free(&arena);
        return;
    }
    json_t *rcpts = json_array();
    for (uint16_t i = 0; i < m->entry_count; i++) {
        const struct entry *e = &m->entries[i];
        if (e->state != ENTRY_DONE && e->rcpt < env.rcpt_count && (only < 0 || only == e->rcpt))
            json_array_append_new(rcpts, entry_object(p, e, &env));
    }
    admin_send(a, json_pack("{s:s, s:s, s:o}", "pipe", p->name, "id", message_id_format(m->id, id),
                            "rcpts", rcpts));
    admin_end(a);
    arena_free(&arena);
}
