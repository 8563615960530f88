/*
 * Verbs that look: status, pipes, connections, one message, the ledger.
 */
#include "admin/verbs.h"
#include "base/clock.h"
#include "queue/engine_int.h"

static const char *state_name(const struct pipe *p)
{
    switch (p->state) {
    case PIPE_STARTING:
        return "starting";
    case PIPE_RECOVERING:
        return "recovering";
    case PIPE_DRAINING:
        return "draining";
    case PIPE_RUNNING:
        break;
    }
    if (engine_is_paused(p->engine))
        return "paused";
    return actions_suspend(p->engine) ? "suspended" : "running";
}

void show_status(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct report_counts c;

    report_counts(p->report, &c);
    json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "state", state_name(p),
                          "queued", (json_int_t)engine_index(p->engine)->live, "connections",
                          (json_int_t)engine_connection_count(p->engine), "received",
                          (json_int_t)c.received, "delivered", (json_int_t)c.delivered, "deferred",
                          (json_int_t)c.deferred, "bounced", (json_int_t)c.bounced, "uptime_s",
                          (json_int_t)((clock_mono_ms() - p->started_ms) / 1000));
    json_t *debug = trace_status(p);
    json_object_set_new(o, "traces", json_integer(tracer_count(p->tracer)));
    json_object_set_new(o, "debug", debug);
    admin_send(a, o);
    admin_end(a);
}

static size_t queues_with_mail(const struct pipe *p)
{
    size_t count = 0;
    const struct hash *h = engine_queues(p->engine);
    for (struct hash_node *n = NULL; (n = hash_next(h, n));)
        count += container_of(n, struct queue, node)->live != 0;
    return count;
}

/* Delivery notices to senders since the process started. */
static void add_notices(const struct pipe *p, json_t *o)
{
    struct dsn_stats s;

    dsn_stats(p->dsn, &s);
    json_t *n = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "notices_failed",
                          (json_int_t)s.sent[DSN_FAILED], "notices_delayed",
                          (json_int_t)s.sent[DSN_DELAYED], "notices_relayed",
                          (json_int_t)s.sent[DSN_RELAYED], "notices_held_back", (json_int_t)s.held,
                          "notices_lost", (json_int_t)s.lost, "notices_under_way",
                          (json_int_t)s.under_way, "delays_watched", (json_int_t)s.watched);
    json_object_update(o, n);
    json_decref(n);
}

void show_pipes(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct report_counts c;
    struct spool_stats s;
    uint64_t in, out;
    const struct index *x = engine_index(p->engine);
    json_int_t index_bytes =
        (json_int_t)x->memory_bytes + (json_int_t)(x->by_id.bucket_count * sizeof(void *));

    report_counts(p->report, &c);
    report_rates(p->report, &in, &out);
    spool_stats(p->spool, &s);
    json_t *o = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "pipe", p->name, "state",
        state_name(p), "queued", (json_int_t)x->live, "queues", (json_int_t)queues_with_mail(p),
        "connections", (json_int_t)engine_connection_count(p->engine), "max_connections",
        (json_int_t)engine_max_connections(p->engine), "delivered", (json_int_t)c.delivered,
        "deferred", (json_int_t)c.deferred, "bounced", (json_int_t)c.bounced, "rate_in_1m",
        (json_int_t)in, "rate_out_1m", (json_int_t)out);
    json_t *spool =
        json_pack("{s:I, s:I, s:I, s:b, s:I, s:I, s:I, s:I, s:I}", "spool_bytes",
                  (json_int_t)(s.segment_bytes + s.journal_bytes), "spool_live_bytes",
                  (json_int_t)s.live_bytes, "segments", (json_int_t)s.segments, "spool_writable",
                  (int)p->spool_writable, "commits", (json_int_t)s.commits, "appended",
                  (json_int_t)s.appended, "quarantined", (json_int_t)s.quarantined,
                  "index_bytes_per_rcpt", x->live ? index_bytes / (json_int_t)x->live : 0,
                  "oldest_ms", (json_int_t)engine_oldest_ms(p->engine));
    json_object_update(o, spool);
    json_decref(spool);
    add_notices(p, o);
    if (p->spool_trouble[0])
        json_object_set_new(o, "spool_trouble", admin_json_text(sv_of(p->spool_trouble)));
    admin_send(a, o);
    admin_end(a);
}

/* --- connections --- */

static void send_connection(void *arg, const struct queue *q, const struct delivery_info *i)
{
    const struct admin *a = arg;
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "direction", "out", "queue",
                          q->name, "host", i->host ? i->host : "", "phase",
                          i->phase ? i->phase : "", "tls", i->tls ? i->tls : "", "messages",
                          (json_int_t)i->messages, "opened_ms", (json_int_t)i->opened_ms);
    json_object_set_new(o, "peer", admin_json_text(i->peer_ip));
    json_object_set_new(o, "source", admin_json_text(i->source_ip));
    admin_send(a, o);
}

void show_connections(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    engine_connections(p->engine, send_connection, a);
    admin_end(a);
}

/* --- one message --- */

static const char *entry_state_text(const struct entry *e)
{
    switch ((enum entry_state)e->state) {
    case ENTRY_SENDING:
        return "sending";
    case ENTRY_DEFERRED:
        return "deferred";
    default:
        return e->attempts ? "deferred" : "queued";
    }
}

static json_t *rcpt_object(struct pipe *p, struct message *m, const struct envelope *env,
                           uint32_t rcpt)
{
    struct entry *e = message_entry(m, (uint16_t)rcpt);
    json_t *o = json_pack("{s:I}", "rcpt", (json_int_t)rcpt);
    struct arena arena = {0};
    struct spool_event ev;

    json_object_set_new(o, "address", admin_json_text(env->rcpts[rcpt].address));
    if (!e || e->state == ENTRY_DONE) {
        json_object_set_new(o, "state", json_string("done"));
        return o;
    }
    json_object_set_new(o, "queue", json_string(e->queue->name));
    json_object_set_new(o, "state", json_string(entry_state_text(e)));
    json_object_set_new(o, "attempts", json_integer(e->attempts));
    if (e->state == ENTRY_DEFERRED)
        json_object_set_new(o, "next_ms", json_integer(e->wake.key));
    if (e->journal && spool_read_event(p->spool, e->journal, &arena, &ev) == 0) {
        json_object_set_new(o, "code", json_integer(ev.code));
        json_object_set_new(o, "text", admin_json_text(ev.text));
    }
    arena_free(&arena);
    return o;
}

void show_message(void *owner, struct admin *a)
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
    json_t *o = json_pack("{s:s, s:s, s:I, s:I}", "pipe", p->name, "id",
                          message_id_format(m->id, id), "received_ms", (json_int_t)env.received_ms,
                          "bytes", (json_int_t)(env.content_bytes - env.stuffed_dots));
    json_object_set_new(o, "sender", admin_json_text(env.sender));
    json_object_set_new(o, "job", admin_json_text(env.job));
    json_object_set_new(o, "envid", admin_json_text(env.envid));
    json_object_set_new(o, "peer", admin_json_text(env.peer));
    json_object_set_new(o, "user", admin_json_text(env.user));
    json_t *rcpts = json_array();
    for (uint32_t i = 0; i < env.rcpt_count; i++)
        if (only < 0 || (uint32_t)only == i)
            json_array_append_new(rcpts, rcpt_object(p, m, &env, i));
    json_object_set_new(o, "rcpts", rcpts);
    admin_send(a, o);
    admin_end(a);
    arena_free(&arena);
}

/* Received and ended are counted in the spool's files, queued in the index: two sources that must
 * agree. */
void show_ledger(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct spool_ledger l;
    uint64_t queued = engine_index(p->engine)->live;

    spool_ledger(p->spool, &l);
    bool balanced =
        l.received == l.delivered + l.bounced + l.expired + l.deleted + l.corrupt + queued;
    admin_send(a,
               json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "pipe", p->name,
                         "received", (json_int_t)l.received, "delivered", (json_int_t)l.delivered,
                         "bounced", (json_int_t)l.bounced, "expired", (json_int_t)l.expired,
                         "deleted", (json_int_t)l.deleted, "corrupt", (json_int_t)l.corrupt,
                         "queued", (json_int_t)queued, "balanced", (int)balanced));
    admin_end(a);
}
