/*
 * Replies become actions; see react.h. Called by sender.c for what a connection hears, before
 * settle.c settles it. One reply: does a rule of the queue's list match? Then each of its actions
 * is taken: those that last go to actions.c, which puts them into effect at once, those that concern
 * the recipient or connection at hand go back to the caller in struct reaction.
 *
 * A peer may answer hundreds of pipelined commands with the same reply: all of this is idempotent
 * and cheap when repeated. Only replies of the peer count, not our own sentences (a refused
 * connection is the queue clock's matter).
 */
#include "queue/react.h"

#include "base/clock.h"
#include "base/log.h"
#include "queue/engine_int.h"
#include "queue/mode.h"

#include <arpa/inet.h>
#include <stdio.h>

enum {
    NOTICE_GAP_MS = 600000,     /* between two notices for `notify` of one queue */
    BOUNCE_LISTED_MS = 3600000, /* a bounce-queue stays in the list of actions for so long */
};

void react_settings_resolve(struct react_settings *ret, const struct config *cfg,
                            const struct config_query *q)
{
    *ret = (struct react_settings){
        .pattern_list = config_text(cfg, q, DIR_SMTP_PATTERN_LIST_NAME),
        .notify = config_text(cfg, q, DIR_BACKOFF_NOTIFY),
        .backoff_to_normal_after_ms = config_number(cfg, q, DIR_BACKOFF_TO_NORMAL_AFTER),
        .reenable_after_ms = config_number(cfg, q, DIR_REENABLE_SOURCE_IP_AFTER),
        .normal_after_delivery = config_bool(cfg, q, DIR_BACKOFF_TO_NORMAL_AFTER_DELIVERY),
        .backoff_upon_all_disabled = config_bool(cfg, q, DIR_BACKOFF_UPON_ALL_SOURCES_DISABLED),
    };
}

/* --- sources and hosts --- */

const char *react_source_name(const struct vmta_source *s, char *out)
{
    const void *ip = s->addr.ss_family == AF_INET6
                         ? (const void *)&((const struct sockaddr_in6 *)&s->addr)->sin6_addr
                         : (const void *)&((const struct sockaddr_in *)&s->addr)->sin_addr;

    if (s->addr.ss_family == AF_UNSPEC || !inet_ntop(s->addr.ss_family, ip, out, REACT_SOURCE_SIZE))
        return strcpy(out, "system");
    return out;
}

bool react_source_disabled(const struct queue *q, const struct vmta_source *s)
{
    char name[REACT_SOURCE_SIZE];
    return q->memo && q->memo->counts[ACTION_SOURCE] &&
           actions_on(q, ACTION_SOURCE, react_source_name(s, name));
}

bool react_has_source(const struct queue *q, const char *name)
{
    char one[REACT_SOURCE_SIZE];
    for (size_t i = 0; i < q->vmta->source_count; i++)
        if (strcmp(react_source_name(&q->vmta->sources[i], one), name) == 0)
            return true;
    return false;
}

bool react_host_skipped(const struct queue *q, const char *host)
{
    return q->memo && q->memo->counts[ACTION_HOST] && actions_on(q, ACTION_HOST, host);
}

void react_all_hosts_skipped(struct engine *g, struct queue *q)
{
    const struct action *x = actions_of(q, ACTION_HOST);
    struct buf text = {0};

    buf_printf(&text, "every host of the queue was skipped by skip-mx, the last reply was: %s",
               x ? x->reply : "");
    struct outcome o = {
        .class_ = OUTCOME_DEFERRED,
        .phase = PHASE_CONNECT,
        .enhanced = {4, 4, 1},
        .text = buf_view(&text),
        .connect_ms = -1,
        .transmit_ms = -1,
    };
    settle_queue_failure(g, q, &o);
    actions_end_of(g, q, 1u << ACTION_HOST, "all hosts are tried again at the next retry time");
    buf_free(&text);
}

/* --- taking the actions of a rule --- */

struct act {
    struct engine *g;
    struct queue *q;
    const struct heard *where;
    const struct outcome *o;
    struct reaction *ret;
    const struct reply_rule *rule;
};

static bool has(const struct act *a, enum reply_action x)
{
    return a->rule->actions & 1u << x;
}

static int64_t at(int64_t after_ms)
{
    return after_ms ? clock_wall_ms() + after_ms : 0;
}

static struct action *start(const struct act *a, enum action_kind kind, const char *subject,
                            int64_t until_ms)
{
    return actions_start(a->g, &(struct action_spec){
                                   .kind = kind,
                                   .queue = kind == ACTION_SUSPEND ? NULL : queue_identity(a->q),
                                   .subject = subject,
                                   .percent = a->rule->rate_percent,
                                   .until_ms = until_ms,
                                   .rule = &a->ret->rule,
                                   .reply = a->o->text,
                               });
}

static int64_t to_normal_after(const struct act *a)
{
    int64_t own = has(a, REPLY_BACKOFF_TO_NORMAL_AFTER) ? a->rule->backoff_to_normal_after_ms : 0;
    return at(own ? own : a->q->settings.react.backoff_to_normal_after_ms);
}

void react_sources_changed(struct engine *g, struct queue *q, const struct action *x)
{
    if (!q->all_disabled)
        return;
    log_warn(LOG_QUEUE, "all source addresses of the queue are disabled now queue=%s", q->name);
    if (!q->settings.react.backoff_upon_all_disabled || q->mode == QUEUE_BACKOFF)
        return;
    struct rule_match rule = {.list = x->list, .regex = x->regex, .file = x->file, .line = x->line};
    actions_start(g, &(struct action_spec){
                         .kind = ACTION_BACKOFF,
                         .queue = queue_identity(q),
                         .until_ms = at(q->settings.react.backoff_to_normal_after_ms),
                         .by = "backoff-upon-all-sources-disabled",
                         .rule = *x->file ? &rule : NULL,
                         .reply = sv_of(x->reply),
                     });
}

static void disable_source(const struct act *a)
{
    char name[REACT_SOURCE_SIZE];
    int64_t own = has(a, REPLY_REENABLE_AFTER) ? a->rule->reenable_after_ms : 0;
    int64_t until = at(own ? own : a->q->settings.react.reenable_after_ms);
    bool was_all = a->q->all_disabled;

    a->ret->close = true;
    struct action *x =
        a->where->source ? start(a, ACTION_SOURCE, react_source_name(a->where->source, name), until)
                         : NULL;
    if (x && !was_all)
        react_sources_changed(a->g, a->q, x);
}

static void skip_host(const struct act *a)
{
    char host[300];

    a->ret->keep = a->ret->skip_host = a->ret->close = true;
    if (!a->where->host.len || a->where->host.len >= sizeof(host))
        return;
    memcpy(host, a->where->host.ptr, a->where->host.len);
    host[a->where->host.len] = '\0';
    start(a, ACTION_HOST, host, at(retry_form_wait_ms(&a->q->settings.retry.queue, 1)));
}

/* The clock's own step, unless the rule says how long; not a second step for the next reply. */
static void defer_queue(const struct act *a)
{
    struct queue *q = a->q;
    bool held = actions_of(q, ACTION_DEFER) != NULL;

    if (!a->rule->defer_queue_ms && held)
        return;
    if (!held) {
        q->failures++;
        actions_clock(a->g, q);
    }
    start(a, ACTION_DEFER, NULL,
          at(a->rule->defer_queue_ms ? a->rule->defer_queue_ms : retry_queue_delay_ms(q, a->o)));
}

static void bounce_queue(const struct act *a)
{
    struct outcome o = *a->o;
    struct buf text = {0};

    a->ret->bounce = true;
    if (finisher_runs(a->g, a->q) || (!a->q->ready_count && !a->q->deferred.count))
        return;
    start(a, ACTION_BOUNCE, NULL, at(BOUNCE_LISTED_MS));
    buf_printf(&text, "%.*s (bounce-queue)", SV_ARG(o.text));
    o.class_ = OUTCOME_BOUNCED;
    o.text = buf_view(&text);
    if (o.enhanced.class_digit)
        o.enhanced.class_digit = 5;
    o.connect_ms = o.transmit_ms = -1;
    finisher_queue(a->g, a->q, &o);
    buf_free(&text);
}

static void notify(const struct act *a)
{
    struct queue_memo *m = actions_memo(a->g, a->q);
    int64_t now = clock_wall_ms();
    struct buf reason = {0};

    if (m->noticed_ms && now - m->noticed_ms < NOTICE_GAP_MS)
        return;
    m->noticed_ms = now;
    buf_printf(&reason, "the reply '%.*s', rule of %s (%s:%u)", SV_ARG(a->o->text),
               a->ret->rule.list, a->ret->rule.file, a->ret->rule.line);
    mode_notice(a->g, a->q, "a reply that a rule watches for", buf_data(&reason));
    buf_free(&reason);
}

static void back_to_normal(const struct act *a)
{
    char reason[400];
    snprintf(reason, sizeof(reason), "the reply '%.*s' (mode=normal)",
             (int)MIN_OF(a->o->text.len, (size_t)300), a->o->text.ptr);
    actions_end_of(a->g, a->q, 1u << ACTION_BACKOFF | 1u << ACTION_RATE, reason);
}

/* What slows comes before what stops, so that the order of notices is that of the effects. */
static void take_actions(const struct act *a)
{
    if (has(a, REPLY_MODE_BACKOFF))
        start(a, ACTION_BACKOFF, NULL, to_normal_after(a));
    if (has(a, REPLY_MODE_NORMAL))
        back_to_normal(a);
    if (has(a, REPLY_RATE))
        start(a, ACTION_RATE, NULL, to_normal_after(a));
    if (has(a, REPLY_DISABLE_SOURCE_IP))
        disable_source(a);
    if (has(a, REPLY_SKIP_MX))
        skip_host(a);
    if (has(a, REPLY_DEFER_QUEUE))
        defer_queue(a);
    if (has(a, REPLY_SUSPEND_PIPE))
        start(a, ACTION_SUSPEND, NULL, at(a->rule->suspend_pipe_ms));
    if (has(a, REPLY_BOUNCE_QUEUE))
        bounce_queue(a);
    if (has(a, REPLY_BOUNCE_RCPT))
        a->ret->bounce = true;
    if (has(a, REPLY_RETRY_AFTER))
        a->ret->retry_after_ms = a->rule->retry_after_ms;
    if (has(a, REPLY_NOTIFY))
        notify(a);
}

static bool find_rule(struct engine *g, const struct queue *q, const struct outcome *o,
                      struct rule_match *ret)
{
    const char *list = q->settings.react.pattern_list;
    return list && *list && o->code && g->rules && rules_match(g->rules, sv_of(list), o, ret);
}

/* A delivery ends back-off when the setting or a mode=normal rule says so. */
static void delivered(const struct act *a)
{
    if (a->q->mode == QUEUE_NORMAL && a->q->rate_percent == 100)
        return;
    if (a->q->settings.react.normal_after_delivery) {
        actions_end_of(a->g, a->q, 1u << ACTION_BACKOFF | 1u << ACTION_RATE,
                       "a delivery (backoff-to-normal-after-delivery)");
        return;
    }
    if (!find_rule(a->g, a->q, a->o, &a->ret->rule))
        return;
    if (a->ret->rule.rule->actions & 1u << REPLY_MODE_NORMAL)
        back_to_normal(a);
}

void react(struct engine *g, const struct heard *where, const struct outcome *o,
           struct reaction *ret)
{
    struct act a = {g, where->queue, where, o, ret, NULL};

    *ret = (struct reaction){0};
    if (o->class_ == OUTCOME_DELIVERED) {
        if (where->queue->memo)
            delivered(&a);
        return;
    }
    if (!find_rule(g, where->queue, o, &ret->rule))
        return;
    a.rule = ret->rule.rule;
    take_actions(&a);
}
