/*
 * Verbs that look: status, pipes, queues, connections, one message, the ledger.
 */
#include "admin/limits.h"
#include "admin/verbs.h"
#include "base/clock.h"
#include "queue/throttle.h"

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
    return engine_is_paused(p->engine) ? "paused" : "running";
}

void show_status(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct report_counts c;

    report_counts(p->report, &c);
    admin_send(a, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "state", state_name(p),
                            "queued", (json_int_t)engine_index(p->engine)->live, "connections",
                            (json_int_t)engine_connection_count(p->engine), "received",
                            (json_int_t)c.received, "delivered", (json_int_t)c.delivered,
                            "deferred", (json_int_t)c.deferred, "bounced", (json_int_t)c.bounced,
                            "uptime_s", (json_int_t)((clock_mono_ms() - p->started_ms) / 1000)));
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
    if (p->spool_trouble[0])
        json_object_set_new(o, "spool_trouble", admin_json_text(sv_of(p->spool_trouble)));
    admin_send(a, o);
    admin_end(a);
}

/* --- queues --- */

static int by_live(const void *a, const void *b)
{
    const struct queue *x = *(struct queue *const *)a, *y = *(struct queue *const *)b;
    if (x->live != y->live)
        return x->live < y->live ? 1 : -1;
    return strcmp(x->name, y->name);
}

static int64_t queue_oldest_ms(const struct queue *q)
{
    int64_t oldest = 0;
    unsigned looks = 0;

    list_for_each (l, &q->lanes) {
        const struct list *first = list_first(&list_entry(l, struct lane, of_queue)->entries);
        const struct message *m = first ? list_entry(first, struct entry, link)->message : NULL;
        if (m && (!oldest || m->received_ms < oldest))
            oldest = m->received_ms;
        if (++looks == 1000)
            break;
    }
    for (uint32_t i = 0; i < q->deferred.count && i < 1000; i++) {
        const struct entry *e = container_of(q->deferred.nodes[i], struct entry, wake);
        if (!oldest || e->message->received_ms < oldest)
            oldest = e->message->received_ms;
    }
    return oldest;
}

static int64_t queue_next_ms(const struct queue *q)
{
    const struct heap_node *n = heap_min(&q->deferred);
    if (q->ready_count)
        return q->retry_at_ms;
    return n ? n->key : 0;
}

static json_t *queue_object(const struct pipe *p, struct queue *q)
{
    json_t *o =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I}", "pipe", p->name,
                  "queue", q->name, "queued", (json_int_t)q->live, "ready",
                  (json_int_t)q->ready_count, "held", (json_int_t)q->held_count, "deferred",
                  (json_int_t)q->deferred.count, "connections", (json_int_t)q->sender_count,
                  "max_connections", (json_int_t)throttle_numbers(p->engine, q)->max_connections,
                  "state", queue_state_name(q, engine_is_paused(p->engine)), "next_ms",
                  (json_int_t)queue_next_ms(q), "oldest_ms", (json_int_t)queue_oldest_ms(q));
    struct limit_hold hold;
    char limits[200];
    json_object_set_new(o, "mode", json_string(q->mode == QUEUE_BACKOFF ? "backoff" : "normal"));
    json_object_set_new(o, "limits",
                        json_string(limits_in_short(p->engine, q, limits, sizeof(limits))));
    if (limit_hold(p->engine, q, &hold))
        json_object_set_new(o, "held_by", admin_json_text(sv_of(hold.text)));
    if (q->group && q->group->is_shared)
        json_object_set_new(o, "group", json_string(queue_identity(q)));
    if (q->last_text && (q->retry_at_ms || q->deferred.count))
        json_object_set_new(o, "last_text", admin_json_text(sv_of(q->last_text)));
    return o;
}

void show_queues(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview pattern = admin_text(a, "queue");
    int64_t limit = admin_number(a, "limit", 100);
    const struct hash *h = engine_queues(p->engine);
    struct queue **all = xmalloc((h->count + 1) * sizeof(struct queue *));
    size_t count = 0;

    for (struct hash_node *n = NULL; (n = hash_next(h, n));) {
        struct queue *q = container_of(n, struct queue, node);
        if ((q->live || q->sender_count) &&
            (!pattern.len || engine_pattern_matches(pattern, q->name) ||
             engine_pattern_matches(pattern, queue_identity(q))))
            all[count++] = q;
    }
    qsort(all, count, sizeof(struct queue *), by_live);
    for (size_t i = 0; i < count && (int64_t)i < limit; i++)
        admin_send(a, queue_object(p, all[i]));
    free(all);
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
