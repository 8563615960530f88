/*
 * Modes of queues; see mode.h. actions.c calls mode_changed when the first action of kind BACKOFF
 * has begun or the last one has ended; the verbs of pipe/admin call what is done by hand, which
 * makes and ends actions as reply rules do. History and reasons belong to the queue's memo.
 */
#include "queue/mode.h"

#include "base/clock.h"
#include "base/log.h"
#include "queue/engine_int.h"
#include "queue/react.h"

#include <stdio.h>

enum { REASON_MAX = 500 };

const char mode_restored[] = "restored after a restart";

const char *mode_name(enum queue_mode m)
{
    return m == QUEUE_BACKOFF ? "backoff" : "normal";
}

static void remember(struct queue_memo *m, enum queue_mode to, const char *reason)
{
    if (m->change_count == MODE_CHANGES_KEPT) {
        free(m->changes[0].reason);
        memmove(&m->changes[0], &m->changes[1], (MODE_CHANGES_KEPT - 1) * sizeof(m->changes[0]));
        m->change_count--;
    }
    m->changes[m->change_count++] = (struct mode_change){
        .at_ms = clock_wall_ms(),
        .to = (uint8_t)to,
        .reason = xstrndup(reason, MIN_OF(strlen(reason), (size_t)REASON_MAX)),
    };
}

void mode_apply(struct engine *g, struct queue *q)
{
    throttle_configure(g, q);
    scheduler_kick(g, q);
}

void mode_notice(struct engine *g, const struct queue *q, const char *what, const char *reason)
{
    const char *to = q->settings.react.notify, *name = queue_identity(q);
    struct buf subject = {0}, body = {0};
    char when[CLOCK_RFC5322_SIZE];

    if (!to || !*to || !g->notice)
        return;
    buf_printf(&subject, "queue %s: %s", name, what);
    buf_printf(&body,
               "Queue %s of pipe '%s': %s.\n\nReason: %s\nTime: %s\nRecipients queued: %u\n\n"
               "'pmtactl show actions %s' lists what is in effect, 'pmtactl cancel ID' ends it.\n",
               name, g->pipe, what, reason, clock_rfc5322(clock_wall_ms(), when), q->live, name);
    g->notice(g->notice_arg, sv_of(to), buf_view(&subject), buf_view(&body));
    buf_free(&subject);
    buf_free(&body);
}

/* Members of a group change one after the other; that is one change. */
static bool is_told(const struct queue_memo *m, enum queue_mode to)
{
    return !m || (m->change_count ? m->changes[m->change_count - 1].to == to : to == QUEUE_NORMAL);
}

void mode_changed(struct engine *g, struct queue *q, enum queue_mode to, const char *reason)
{
    q->mode = (uint8_t)to;
    mode_apply(g, q);
    routing_mode_changed(g, q);
    if (!reason || is_told(q->memo, to))
        return;
    remember(q->memo, to, reason);
    log_info(LOG_QUEUE, "mode changes queue=%s mode=%s reason='%s'", q->memo->name, mode_name(to),
             log_safe(reason, strlen(reason), REASON_MAX));
    if (reason != mode_restored)
        mode_notice(g, q, to == QUEUE_BACKOFF ? "back-off begins" : "back to normal", reason);
}

/* --- by hand --- */

static bool is_one_name(struct strview pattern)
{
    return sv_find(pattern, '*') < 0 && sv_find(pattern, '?') < 0 && sv_find(pattern, '[') < 0 &&
           sv_find(pattern, '/') > 0;
}

/* Calls fn for each queue that matches, and once without a queue for a name that none has. */
static size_t each_queue(struct engine *g, struct strview pattern,
                         size_t (*fn)(struct engine *g, struct queue *q, const char *name,
                                      const void *arg),
                         const void *arg)
{
    size_t count = 0, seen = 0;
    char name[600];

    for (struct hash_node *n = NULL; (n = hash_next(&g->queues, n));) {
        struct queue *q = container_of(n, struct queue, node);
        if (!engine_pattern_matches(pattern, q->name) &&
            !engine_pattern_matches(pattern, queue_identity(q)))
            continue;
        seen++;
        count += fn(g, q, queue_identity(q), arg);
    }
    if (seen || !is_one_name(pattern) || pattern.len >= sizeof(name))
        return count;
    memcpy(name, pattern.ptr, pattern.len);
    name[pattern.len] = '\0';
    str_lower(name, pattern.len);
    return fn(g, NULL, name, arg);
}

/* Settings of a queue that is not there: the table's defaults. */
static int64_t default_ms(struct engine *g, enum directive d)
{
    return config_number(g->config, NULL, d);
}

static int64_t end_after(int64_t ms)
{
    return ms ? clock_wall_ms() + ms : 0;
}

static bool concerns(const struct action *x, struct strview pattern)
{
    if (!x->memo)
        return false;
    if (engine_pattern_matches(pattern, x->memo->name))
        return true;
    list_for_each (l, &x->memo->queues)
        if (engine_pattern_matches(pattern, list_entry(l, struct queue, in_memo)->name))
            return true;
    return false;
}

/* Ends what matches, of queues that are there or not; returns for how many names. */
static size_t end_matching(struct engine *g, struct strview pattern, uint32_t which,
                           const char *subject)
{
    const struct queue_memo *last = NULL;
    size_t names = 0;

    list_for_each_safe (l, &g->actions.all) {
        struct action *x = list_entry(l, struct action, link);
        if (!(which & 1u << x->kind) || (subject && strcmp(x->subject, subject) != 0) ||
            !concerns(x, pattern))
            continue;
        names += x->memo != last;
        last = x->memo;
        action_end(g, x, "an operator");
    }
    return names;
}

static size_t back_off_one(struct engine *g, struct queue *q, const char *name, const void *arg)
{
    int64_t after = q ? q->settings.react.backoff_to_normal_after_ms
                      : default_ms(g, DIR_BACKOFF_TO_NORMAL_AFTER);

    (void)arg;
    return actions_start(g, &(struct action_spec){
                                .kind = ACTION_BACKOFF,
                                .queue = name,
                                .until_ms = end_after(after),
                                .by = "operator",
                            }) != NULL;
}

size_t mode_set(struct engine *g, struct strview pattern, enum queue_mode to)
{
    if (to == QUEUE_NORMAL)
        return end_matching(g, pattern, 1u << ACTION_BACKOFF | 1u << ACTION_RATE, NULL);
    return each_queue(g, pattern, back_off_one, NULL);
}

struct source_order {
    const char *source;
    int64_t after_ms; /* -1: as configured */
};

static size_t disable_one(struct engine *g, struct queue *q, const char *name, const void *arg)
{
    const struct source_order *o = arg;
    int64_t after = o->after_ms;

    if (q && !react_has_source(q, o->source))
        return 0;
    if (after < 0)
        after =
            q ? q->settings.react.reenable_after_ms : default_ms(g, DIR_REENABLE_SOURCE_IP_AFTER);
    struct action *x = actions_start(g, &(struct action_spec){
                                            .kind = ACTION_SOURCE,
                                            .queue = name,
                                            .subject = o->source,
                                            .until_ms = end_after(after),
                                            .by = "operator",
                                        });
    if (x && q)
        react_sources_changed(g, q, x);
    return x != NULL;
}

size_t mode_disable_source(struct engine *g, struct strview pattern, const char *source,
                           int64_t reenable_after_ms)
{
    return each_queue(g, pattern, disable_one, &(struct source_order){source, reenable_after_ms});
}

size_t mode_enable_source(struct engine *g, struct strview pattern, const char *source)
{
    return end_matching(g, pattern, 1u << ACTION_SOURCE, source);
}
