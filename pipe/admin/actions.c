/*
 * Verbs about what holds or slows queues: show actions, cancel, set queue, disable and enable
 * source. What an operator changes is answered only after it is on disk.
 */
#include "admin/verbs.h"

#include "base/clock.h"
#include "base/log.h"
#include "queue/engine_int.h"
#include "queue/mode.h"

#include <arpa/inet.h>
#include <stdio.h>

/* "bulk.12": ids are unique over all pipes. */
static void action_id(const struct pipe *p, const struct action *x, char *out, size_t size)
{
    snprintf(out, size, "%s.%llu", p->name, (unsigned long long)x->id);
}

static json_t *action_object(const struct pipe *p, const struct action *x)
{
    char id[128];

    action_id(p, x, id, sizeof(id));
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:s}", "pipe", p->name, "id", id,
                  "kind", action_kind_name(x->kind), "effect", action_kind_help(x->kind), "queue",
                  x->memo ? x->memo->name : "", "since_ms", (json_int_t)x->since_ms, "until_ms",
                  (json_int_t)x->until_ms, "times", (json_int_t)x->times, "by", x->by);
    if (*x->subject)
        json_object_set_new(o, "subject", admin_json_text(sv_of(x->subject)));
    if (x->kind == ACTION_RATE)
        json_object_set_new(o, "percent", json_integer(x->percent));
    if (*x->file) {
        json_object_set_new(o, "list", admin_json_text(sv_of(x->list)));
        json_object_set_new(o, "file", admin_json_text(sv_of(x->file)));
        json_object_set_new(o, "line", json_integer(x->line));
        json_object_set_new(o, "regex", admin_json_text(sv_of(x->regex)));
    }
    if (*x->reply)
        json_object_set_new(o, "reply", admin_json_text(sv_of(x->reply)));
    return o;
}

static void send_changes(const struct pipe *p, const struct admin *a, struct strview pattern)
{
    const struct hash *memos = &p->engine->actions.memos;

    for (struct hash_node *n = NULL; (n = hash_next(memos, n));) {
        const struct queue_memo *m = container_of(n, const struct queue_memo, node);
        if (!m->change_count || !engine_pattern_matches(pattern, m->name))
            continue;
        json_t *changes = json_array();
        for (size_t i = 0; i < m->change_count; i++) {
            json_t *c = json_pack("{s:I, s:s}", "at_ms", (json_int_t)m->changes[i].at_ms, "mode",
                                  mode_name(m->changes[i].to));
            json_object_set_new(c, "reason", admin_json_text(sv_of(m->changes[i].reason)));
            json_array_append_new(changes, c);
        }
        admin_send(a, json_pack("{s:s, s:s, s:o}", "pipe", p->name, "queue", m->name,
                                "mode_changes", changes));
    }
}

static bool concerns(const struct action *x, struct strview pattern)
{
    if (!pattern.len)
        return true;
    if (!x->memo)
        return false;
    if (engine_pattern_matches(pattern, x->memo->name))
        return true;
    list_for_each (l, &x->memo->queues)
        if (engine_pattern_matches(pattern, list_entry(l, struct queue, in_memo)->name))
            return true;
    return false;
}

void show_actions(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview pattern = admin_text(a, "queue");

    list_for_each (l, &p->engine->actions.all) {
        const struct action *x = list_entry(l, struct action, link);
        if (concerns(x, pattern))
            admin_send(a, action_object(p, x));
    }
    if (pattern.len)
        send_changes(p, a, pattern);
    admin_end(a);
}

/* --- what changes something --- */

struct saved {
    struct admin admin;
    json_t *answer;
};

static void on_saved(void *arg, int status)
{
    struct saved *s = arg;

    if (status < 0) {
        admin_error(&s->admin,
                    "done, but it will not survive a restart, the spool cannot be written: %s",
                    err_name(status));
        json_decref(s->answer);
    } else {
        admin_send(&s->admin, s->answer);
        admin_end(&s->admin);
    }
    free(s);
}

static void answer_saved(struct pipe *p, const struct admin *a, json_t *answer)
{
    struct saved *s = xcalloc(1, sizeof(*s));

    if (p->state == PIPE_DRAINING) {
        admin_error(a, "done, and the pipe is stopping");
        json_decref(answer);
        free(s);
        return;
    }
    s->admin = *a;
    s->admin.args = NULL;
    s->answer = answer;
    saver_flush(&p->memory.actions, on_saved, s);
}

/* "PIPE.N"; an id of another pipe is not ours to answer. */
static bool parse_id(const struct pipe *p, const struct admin *a, uint64_t *ret)
{
    struct strview id = admin_text(a, "id"), name = sv_of(p->name);

    if (id.len <= name.len + 1 || !sv_starts_nocase(id, name) || id.ptr[name.len] != '.') {
        admin_end(a);
        return false;
    }
    if (!sv_to_u64(sv(id.ptr + name.len + 1, id.len - name.len - 1), ret)) {
        admin_end(a);
        return false;
    }
    return true;
}

void act_cancel(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    uint64_t id;

    if (!parse_id(p, a, &id))
        return;
    struct action *x = actions_find(p->engine, id);
    if (!x) {
        admin_end(a);
        return;
    }
    if (x->kind == ACTION_BOUNCE) {
        admin_error(a,
                    "what has bounced cannot be taken back; the entry leaves the list by itself");
        return;
    }
    json_t *o = action_object(p, x);
    json_object_set_new(o, "state", json_string("cancelled"));
    action_end(p->engine, x, "cancelled by an operator");
    answer_saved(p, a, o);
}

static bool queue_argument(const struct admin *a, struct strview *ret)
{
    *ret = admin_text(a, "queue");
    if (ret->len && ret->len < 500)
        return true;
    admin_error(a, "'queue' is missing: DOMAIN/VMTA, * on either side");
    return false;
}

static void answer_changed(struct pipe *p, const struct admin *a, struct strview queue,
                           size_t changed, const char *state)
{
    json_t *o = json_pack("{s:s, s:I, s:s}", "pipe", p->name, "changed", (json_int_t)changed,
                          "state", state);
    json_object_set_new(o, "queue", admin_json_text(queue));
    if (actions_are_full(p->engine))
        json_object_set_new(o, "note",
                            json_sprintf("%d actions are in force, as many as there can be: "
                                         "further queues were left as they are",
                                         ACTIONS_MAX));
    log_info(LOG_ADMIN, "%s by an operator queue=%s changed=%zu", state,
             log_safe(queue.ptr, queue.len, 500), changed);
    answer_saved(p, a, o);
}

void act_set_queue(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview queue, mode = admin_text(a, "mode");
    bool backoff = sv_eq_nocase(mode, SV("backoff"));

    if (!queue_argument(a, &queue))
        return;
    if (!backoff && !sv_eq_nocase(mode, SV("normal"))) {
        admin_error(a, "'mode' is backoff or normal");
        return;
    }
    size_t changed = mode_set(p->engine, queue, backoff ? QUEUE_BACKOFF : QUEUE_NORMAL);
    answer_changed(p, a, queue, changed, backoff ? "mode backoff" : "mode normal");
}

/* The address as actions write it. "system" is the one that the system chooses. */
static bool source_argument(const struct admin *a, char *out)
{
    struct strview ip = admin_text(a, "ip");
    char text[REACT_SOURCE_SIZE];
    unsigned char bytes[16];

    if (sv_eq(ip, SV("system"))) {
        strcpy(out, "system");
        return true;
    }
    snprintf(text, sizeof(text), "%.*s", SV_ARG(ip));
    for (size_t i = 0; ip.len && i < 2; i++) {
        int family = i ? AF_INET6 : AF_INET;
        if (inet_pton(family, text, bytes) == 1 && inet_ntop(family, bytes, out, REACT_SOURCE_SIZE))
            return true;
    }
    admin_error(a, "'ip' is not an IPv4 or IPv6 address");
    return false;
}

void act_disable_source(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview queue, after = admin_text(a, "reenable_after");
    char source[REACT_SOURCE_SIZE];
    int64_t ms = -1;

    if (!queue_argument(a, &queue) || !source_argument(a, source))
        return;
    if (sv_eq_nocase(after, SV("never"))) {
        ms = 0;
    } else if (after.len && (units_parse_interval(after, &ms) < 0 || ms <= 0)) {
        admin_error(a, "'reenable_after' is an interval such as 30m or 4h, or never");
        return;
    }
    size_t changed = mode_disable_source(p->engine, queue, source, ms);
    answer_changed(p, a, queue, changed, "source disabled");
}

void act_enable_source(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview queue;
    char source[REACT_SOURCE_SIZE];

    if (!queue_argument(a, &queue) || !source_argument(a, source))
        return;
    size_t changed = mode_enable_source(p->engine, queue, source);
    answer_changed(p, a, queue, changed, "source enabled");
}
