/*
 * Outcomes become states: a final one leaves the index, a temporary one gets its next time, a queue
 * whose hosts cannot be reached gets a back-off of its own. Every change is journalled and reported
 * here and nowhere else.
 */
#include "queue/engine_int.h"

#include "base/clock.h"
#include "base/fault.h"
#include "queue/signing.h"
#include "base/log.h"

#include <stdio.h>

enum { HOLD_BACK_MS = 60000 };

static enum spool_state state_of(enum outcome_class c)
{
    static const enum spool_state states[OUTCOME_CLASS_COUNT] = {
        [OUTCOME_DELIVERED] = SPOOL_DELIVERED, [OUTCOME_DEFERRED] = SPOOL_DEFERRED,
        [OUTCOME_BOUNCED] = SPOOL_BOUNCED,     [OUTCOME_EXPIRED] = SPOOL_EXPIRED,
        [OUTCOME_DELETED] = SPOOL_DELETED,
    };
    return states[c];
}

static void journal(struct engine *g, const struct entry *e, const struct outcome *o,
                    int64_t next_ms)
{
    spool_journal(g->spool, &(struct spool_event){
                                .id = e->message->id,
                                .place = e->message->place,
                                .rcpt = e->rcpt,
                                .state = state_of(o->class_),
                                .attempts = e->attempts,
                                .next_attempt_ms = next_ms,
                                .first_attempt_s = entry_first_attempt_s(e),
                                .phase = (uint8_t)o->phase,
                                .code = o->code,
                                .text = o->text,
                            });
}

static void report(struct engine *g, const struct entry *e, const struct envelope *env,
                   const struct outcome *o, int64_t next_ms, const struct rule_match *rule)
{
    report_rcpt(g->report, &(struct report_rcpt){
                               .id = e->message->id,
                               .env = env,
                               .rcpt = e->rcpt,
                               .queue = e->queue->name,
                               .vmta = e->queue->vmta->name,
                               .attempts = e->attempts,
                               .first_attempt_s = entry_first_attempt_s(e),
                               .commit_ms = e->message->commit_ms,
                               .next_ms = next_ms,
                               .outcome = o,
                               .rule = rule,
                               .dlv_type = e->queue->local           ? e->queue->local->dlv_type
                                           : e->queue->vmta->to_pipe ? "pipe"
                                                                     : NULL,
                           });
}

static void forget_body(struct message *m)
{
    body_unref(m->body);
    m->body = NULL;
    signing_forget(m);
}

/* A rule makes a temporary reply final; the text keeps the reply and says which action it was. */
static void bounce(const struct outcome *o, const struct reaction *r, struct outcome *ret,
                   char *text, size_t size)
{
    bool queue = r->rule.rule && (r->rule.rule->actions & 1u << REPLY_BOUNCE_QUEUE);

    snprintf(text, size, "%.*s (%s)", SV_ARG(o->text), queue ? "bounce-queue" : "bounce-rcpt");
    *ret = *o;
    ret->class_ = OUTCOME_BOUNCED;
    if (ret->enhanced.class_digit)
        ret->enhanced.class_digit = 5;
    ret->text = sv_of(text);
}

/* The recipient's time is over with this failure: its text says so and keeps the last reply. */
static void expire(const struct outcome *o, const struct queue *q, const struct windows *windows,
                   struct outcome *ret, char *text, size_t size)
{
    char age[UNITS_SIZE];
    units_format_interval(q->settings.bounce_after_ms, age);
    if (windows)
        snprintf(text, size, "last delivery window is over (X-Schedule); last: %.*s",
                 SV_ARG(o->text));
    else
        snprintf(text, size, "not delivered within %s (bounce-after); last: %.*s", age,
                 SV_ARG(o->text));
    *ret = *o;
    ret->class_ = OUTCOME_EXPIRED;
    ret->enhanced = (struct enhanced_code){5, 4, 7};
    ret->code = 0;
    ret->text = sv_of(text);
}

/* The end of this recipient is told to its sender, but that cannot be stored now: it stays. */
static void hold_back(const struct outcome *o, struct outcome *ret, char *text, size_t size)
{
    char last[1000]; /* o->text may be text */

    snprintf(last, sizeof(last), "%.*s", SV_ARG(o->text));
    snprintf(text, size, "the notice about its failure cannot be stored now; last: %s", last);
    *ret = *o;
    ret->class_ = OUTCOME_DEFERRED;
    ret->enhanced = (struct enhanced_code){4, 3, 0};
    ret->code = 0;
    ret->text = sv_of(text);
}

static void end_entry(struct engine *g, struct entry *e)
{
    struct queue *q = e->queue;
    struct message *m = e->message;

    q->live--;
    if (!q->live)
        q->idle_since_ms = clock_mono_ms();
    index_entry_done(&g->index, e);
    if (!m->live)
        forget_body(m);
}

static void clock_restarts(struct engine *g, struct queue *q)
{
    q->failures = 0;
    actions_clock(g, q);
}

static void tell_bounced(struct engine *g, const struct entry *e, const struct envelope *env,
                         const struct outcome *o)
{
    if (o->class_ == OUTCOME_BOUNCED && o->code && g->bounced)
        g->bounced(g->bounced_arg, env, e->rcpt, o);
}

void settle_entry(struct engine *g, struct entry *e, const struct envelope *env,
                  const struct outcome *o, const struct reaction *r)
{
    struct queue *q = e->queue;
    struct outcome other;
    char text[1100];
    int64_t now = clock_wall_ms(), next = 0;

    if (o->class_ == OUTCOME_DELIVERED)
        FAULT(BEFORE_SETTLE);
    if (o->phase >= PHASE_CONNECT && e->attempts < UINT16_MAX)
        e->attempts++;
    if (o->phase >= PHASE_CONNECT)
        entry_set_first_attempt(e, now - MAX_OF(o->connect_ms, (int64_t)0) -
                                       MAX_OF(o->transmit_ms, (int64_t)0));
    if (o->class_ == OUTCOME_DELIVERED && q->failures)
        clock_restarts(g, q);
    if (o->class_ == OUTCOME_DEFERRED && r && r->bounce) {
        bounce(o, r, &other, text, sizeof(text));
        o = &other;
    }
    if (o->class_ == OUTCOME_DEFERRED) {
        const struct windows *windows = e->message->windows;
        int64_t end = windows_end(windows, e->message->received_ms + q->settings.bounce_after_ms);
        next = now + retry_recipient_delay_ms(e, o, r);
        if (now >= end) {
            expire(o, q, windows, &other, text, sizeof(text));
            o = &other;
        } else {
            next = MIN_OF(windows_fit(windows, next),
                          end); /* one last attempt when its time is over */
        }
    }
    if (o->class_ != OUTCOME_DEFERRED && g->dsn.owed) {
        switch (g->dsn.owed(g->dsn.arg, e, env, o, r ? &r->rule : NULL)) {
        case DSN_TAKEN:
            return;
        case DSN_LATER:
            hold_back(o, &other, text, sizeof(text));
            o = &other;
            next = now + HOLD_BACK_MS;
            break;
        case DSN_NOT_OWED:
            break;
        }
    }
    job_count_outcome(e->message->job, o->class_);
    journal(g, e, o, next);
    report(g, e, env, o, next, r ? &r->rule : NULL);
    FAULT(AFTER_SETTLE);
    tell_bounced(g, e, env, o);
    if (o->class_ != OUTCOME_DEFERRED) {
        end_entry(g, e);
        return;
    }
    forget_body(e->message);
    queue_defer(q, e, next);
    scheduler_rewake(g, q);
}

void settle_decided(struct engine *g, struct entry *e, const struct envelope *env,
                    const struct outcome *o, const struct rule_match *rule)
{
    BUG_ON(e->state != ENTRY_OWING || o->class_ == OUTCOME_DEFERRED);
    job_count_outcome(e->message->job, o->class_);
    journal(g, e, o, 0);
    report(g, e, env, o, 0, rule);
    tell_bounced(g, e, env, o);
    end_entry(g, e);
}

void settle_queue_failure(struct engine *g, struct queue *q, const struct outcome *o)
{
    int64_t wait;

    if (q->retry_at_ms)
        return;
    q->failures++;
    wait = retry_queue_delay_ms(q, o);
    q->failed_at_ms = clock_wall_ms();
    q->retry_at_ms = q->failed_at_ms + wait;
    actions_clock(g, q);
    queue_set_text(q, o->text);
    report_queue(g->report, q->name, q->vmta->name, q->retry_at_ms, o);
    finisher_expired(g, q, o->text);
    scheduler_rewake(g, q);
}
