/*
 * `show queues`: the queues with mail, what each is limited and held by; with --groups the groups of
 * queues that share limits. Also says, for `show limits`, why a queue is in its group. What holds is
 * asked in the order in which the engine asks it.
 */
#include "admin/limits.h"
#include "admin/verbs.h"
#include "base/clock.h"
#include "queue/engine_int.h"
#include "queue/mode.h"
#include "queue/throttle.h"

#include <stdio.h>

enum { MOST_MEMBERS = 100 };

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

/* --- what holds a queue, in one line --- */

static void action_hold(const struct pipe *p, const struct action *x, const char *what,
                        struct buf *ret)
{
    buf_printf(ret, "%s, action %s.%llu", what, p->name, (unsigned long long)x->id);
}

static void held_by(const struct pipe *p, struct queue *q, struct buf *ret)
{
    struct engine *g = p->engine;
    const char *pattern = engine_pause_pattern(g, q);
    const struct action *pipe = actions_suspend(g), *defer = actions_of(q, ACTION_DEFER);
    const struct action *source = q->all_disabled ? actions_first(q, ACTION_SOURCE) : NULL;
    struct limit_hold hold;

    if (!q->live)
        return;
    if (engine_is_paused(g))
        buf_append_str(ret, "the pipe is paused");
    else if (pattern)
        buf_printf(ret, "paused by an operator: %s", pattern);
    else if (pipe)
        action_hold(p, pipe, "suspend-pipe", ret);
    else if (defer)
        action_hold(p, defer, "defer-queue", ret);
    else if (source)
        action_hold(p, source, "every source address is disabled", ret);
    else if (q->retry_at_ms)
        buf_printf(ret, "its hosts failed %u time%s in a row", q->failures,
                   q->failures == 1 ? "" : "s");
    else if (q->ready_count && q->vmta->is_stranded)
        buf_printf(ret, "this machine has no source address of %s", q->vmta->name);
    else if (q->ready_count && q->route.pending)
        buf_append_str(ret, "the DNS has not answered yet");
    else if (limit_hold(g, q, &hold))
        buf_append_str(ret, hold.text);
    else if (q->held_count && !q->ready_count)
        buf_append_str(ret, "jobs that are paused or out of rate, or delivery windows");
}

void queue_wait_text(const struct pipe *p, struct queue *q, struct buf *out)
{
    struct buf held = {0};
    int64_t next = queue_next_ms(q), in = MAX_OF(next - clock_wall_ms(), (int64_t)0);

    held_by(p, q, &held);
    if (buf_len(&held))
        buf_printf(out, ": %s", buf_data(&held));
    else if (q->ready_count)
        buf_printf(out, "for its turn: %u recipient%s ready", q->ready_count,
                   q->ready_count == 1 ? " is" : "s are");
    else if (next)
        buf_append_str(out, "for its next attempt");
    else
        buf_append_str(out, "for the end of the attempt that is under way");
    if (next)
        buf_printf(out, ", %s (--now tries it now)",
                   in ? clock_iso(next, (char[CLOCK_ISO_SIZE]){0}) : "due now");
    buf_free(&held);
}

static json_t *queue_object(const struct pipe *p, struct queue *q)
{
    json_t *o =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I}", "pipe", p->name,
                  "queue", q->name, "queued", (json_int_t)q->live, "ready",
                  (json_int_t)q->ready_count, "held", (json_int_t)q->held_count, "deferred",
                  (json_int_t)q->deferred.count, "connections", (json_int_t)q->sender_count,
                  "max_connections", (json_int_t)(q->local ? INBOUND_PARALLEL
                                        : throttle_numbers(p->engine, q)->max_connections),
                  "state", queue_state_name(q, engine_is_paused(p->engine)), "next_ms",
                  (json_int_t)queue_next_ms(q), "oldest_ms", (json_int_t)queue_oldest_ms(q));
    struct buf held = {0};
    char limits[200];
    json_object_set_new(o, "mode", json_string(q->mode == QUEUE_BACKOFF ? "backoff" : "normal"));
    json_object_set_new(
        o, "limits",
        json_string(q->local ? "" : limits_in_short(p->engine, q, limits, sizeof(limits))));
    held_by(p, q, &held);
    if (buf_len(&held))
        json_object_set_new(o, "held_by", admin_json_text(buf_view(&held)));
    buf_free(&held);
    if (queue_group_domain(q).len)
        json_object_set_new(o, "group", json_string(queue_identity(q)));
    if (q->last_text && (q->retry_at_ms || q->deferred.count))
        json_object_set_new(o, "last_text", admin_json_text(sv_of(q->last_text)));
    return o;
}

/* --- groups --- */

static const char *group_kind_name(const struct queue_group *p)
{
    switch (p->kind) {
    case GROUP_ROLLUP:
        return "mx-rollup";
    case GROUP_QUEUE_TO:
        return "queue-to";
    case GROUP_SITE:
        break;
    }
    return "auto-mx-rollup";
}

/* The best MX hosts of the queue's domain, each once: "mx1.a.com, mx2.a.com"; nothing when they are
 * not known. */
static void append_best_hosts(const struct queue *q, struct buf *ret)
{
    const struct route *r = q->route.count == 1 ? q->route.routes[0] : NULL;
    uint16_t best = UINT16_MAX;
    size_t told = 0;

    if (!r || r->status != ROUTE_OK || r->kind != ROUTE_MX || q->settings.host_count)
        return;
    for (size_t i = 0; i < r->address_count; i++)
        best = MIN_OF(best, r->addresses[i].preference);
    for (size_t i = 0; i < r->address_count; i++) {
        bool seen = r->addresses[i].preference != best;
        for (size_t k = 0; k < i && !seen; k++)
            seen = sv_eq_nocase(r->addresses[k].host, r->addresses[i].host);
        if (!seen)
            buf_printf(ret, "%s%.*s", told++ ? ", " : "", SV_ARG(r->addresses[i].host));
    }
}

static void append_value(struct buf *ret, const struct config_value *v)
{
    if (v && v->origin.file)
        buf_printf(ret, " (%s:%u)", v->origin.file, v->origin.line);
}

/* "google.rollup" of [mx-rollup google]: asked for by its name, it is no domain. */
static bool is_group_name(const struct config *cfg, struct strview domain)
{
    const struct strview ending = SV(".rollup");
    return sv_ends_nocase(domain, ending) &&
           config_has_section(cfg, KIND_MX_ROLLUP, sv(domain.ptr, domain.len - ending.len));
}

/* In words: why the queue is in its group, or that it is in none. */
static void group_reason(const struct pipe *p, const struct queue *q, struct buf *ret)
{
    const struct queue_group *of = queue_base(q)->group, *in = of && of->is_shared ? of : NULL;
    const struct config *cfg = p->engine->config;
    const struct config_query query = {
        .domain = q->domain,
        .vmta = sv_of(q->vmta->name),
        .pool = sv_of(q->vmta->pool),
        .pipe = sv_of(p->name),
    };
    struct buf hosts = {0};

    append_best_hosts(q, &hosts);
    if (in && in->kind == GROUP_QUEUE_TO) {
        buf_printf(ret, "queue-to = %.*s", SV_ARG(in->domain));
        append_value(ret, config_get(cfg, &query, DIR_QUEUE_TO));
    } else if (in && in->kind == GROUP_ROLLUP) {
        if (buf_len(&hosts))
            buf_printf(ret, "its best MX hosts, %s, are those of ", buf_data(&hosts));
        buf_printf(ret, "[mx-rollup %.*s]", SV_ARG(in->rollup));
        append_value(ret, config_section_get(cfg, KIND_MX_ROLLUP, in->rollup, DIR_MX));
    } else if (in) {
        buf_printf(ret, "%s%s%sother domains have the same; auto-mx-rollup",
                   buf_len(&hosts) ? "its best MX hosts are " : "", buf_data(&hosts),
                   buf_len(&hosts) ? ", " : "");
        append_value(ret, config_get(cfg, &query, DIR_AUTO_MX_ROLLUP));
    } else if (buf_len(&hosts)) {
        buf_printf(ret, "in no group; its best MX hosts are %s", buf_data(&hosts));
    } else if (!q->settings.host_count && !q->route.count && !is_group_name(cfg, q->domain)) {
        buf_append_str(ret, "in no group that is known yet: the DNS is asked when there is mail");
    }
    buf_free(&hosts);
}

json_t *group_of_queue(const struct pipe *p, const struct queue *q)
{
    struct buf reason = {0};
    json_t *o = json_pack("{s:s, s:s, s:s}", "pipe", p->name, "queue", q->name, "counted_as",
                          queue_identity(q));

    if (q->group && q->group->is_shared)
        json_object_set_new(o, "members", json_integer(q->group->member_count));
    group_reason(p, q, &reason);
    if (buf_len(&reason))
        json_object_set_new(o, "because", admin_json_text(buf_view(&reason)));
    buf_free(&reason);
    return o;
}

static json_t *group_object(const struct pipe *p, const struct queue_group *in)
{
    json_t *names = json_array();
    json_int_t queued = 0, ready = 0, deferred = 0, connections = 0;
    struct queue *first = NULL;
    char limits[200];

    list_for_each (l, &in->members) {
        struct queue *q = list_entry(l, struct queue, in_group);
        first = first ? first : q;
        queued += q->live;
        ready += q->ready_count;
        deferred += q->deferred.count;
        connections += q->sender_count;
        if (json_array_size(names) < MOST_MEMBERS)
            json_array_append_new(names, admin_json_text(q->domain));
    }
    json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:o, s:I, s:I, s:I, s:I}", "pipe", p->name, "group",
                          in->name, "kind", group_kind_name(in), "members",
                          (json_int_t)in->member_count, "domains", names, "queued", queued, "ready",
                          ready, "deferred", deferred, "connections", connections);
    json_object_set_new(
        o, "max_connections",
        json_integer((json_int_t)throttle_numbers(p->engine, first)->max_connections));
    json_object_set_new(o, "mode", json_string(mode_name(first->mode)));
    json_object_set_new(o, "limits",
                        json_string(limits_in_short(p->engine, first, limits, sizeof(limits))));
    return o;
}

/* Most mail first: the page sorts, this only bounds. */
static void show_groups(const struct pipe *p, const struct admin *a, struct strview pattern)
{
    const struct hash *h = &p->engine->groups;

    for (struct hash_node *n = NULL; (n = hash_next(h, n));) {
        const struct queue_group *in = container_of(n, const struct queue_group, node);
        bool wanted = !pattern.len || engine_pattern_matches(pattern, in->name);
        list_for_each (l, &in->members) {
            if (wanted)
                break;
            wanted = engine_pattern_matches(pattern, list_entry(l, struct queue, in_group)->name);
        }
        if (wanted && in->is_shared)
            admin_send(a, group_object(p, in));
    }
}

void show_queues(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview pattern = admin_text(a, "queue");
    int64_t limit = admin_number(a, "limit", 100);
    const struct hash *h = engine_queues(p->engine);

    if (admin_flag(a, "groups")) {
        show_groups(p, a, pattern);
        admin_end(a);
        return;
    }
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
