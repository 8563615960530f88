/*
 * Outcomes: from a reply, or in our own words; and the end of a conversation, where everybody who
 * is still waiting gets one.
 */
#include "pipe/delivery/smtp_client_impl.h"

#include "base/clock.h"

static struct outcome outcome_begin(struct smtp_client *c, enum outcome_class class_,
                                    enum outcome_phase phase)
{
    buf_reset(&c->text);
    return (struct outcome){
        .class_ = class_,
        .phase = phase,
        .peer_host = sv_of(c->params.peer_host),
        .peer_ip = sv_of(c->params.peer_ip),
        .local_ip = sv_of(c->params.local_ip ? c->params.local_ip : ""),
        .esmtp = c->esmtp,
        .peer_has_dsn = (c->extensions & SMTP_EXT_DSN) != 0,
        .tls = c->tls,
        .tls_verify = c->params.tls_verify ? c->params.tls_verify : "",
        .connect_ms = c->established_ms,
        .transmit_ms = -1,
    };
}

struct outcome smtp_outcome_reply(struct smtp_client *c, enum outcome_phase phase,
                                  const struct reply *r)
{
    static const enum outcome_class classes[] = {
        [2] = OUTCOME_DELIVERED,
        [3] = OUTCOME_DEFERRED,
        [4] = OUTCOME_DEFERRED,
        [5] = OUTCOME_BOUNCED,
    };
    struct outcome o = outcome_begin(c, classes[reply_class(r)], phase);

    reply_text(r, &c->text);
    o.code = r->code;
    o.enhanced = r->enhanced;
    o.text = buf_view(&c->text);
    return o;
}

struct outcome smtp_outcome_local(struct smtp_client *c, enum outcome_class class_,
                                  enum outcome_phase phase, const char *fmt, ...)
{
    struct outcome o = outcome_begin(c, class_, phase);
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&c->text, fmt, ap);
    va_end(ap);
    o.text = buf_view(&c->text);
    return o;
}

/* One job of a conversation that ended early. */
static void end_job(struct smtp_client *c, struct smtp_job *j, const struct outcome *why,
                    bool current)
{
    struct outcome o = *why;
    struct buf text = {0};

    if (!current)
        o.phase = PHASE_MAIL;
    if (j->dot_sent && why->code == 0) {
        o.phase = PHASE_END_OF_DATA;
        buf_append_sv(&text, why->text);
        buf_append_str(&text, " after the final dot was sent: the message may have been delivered");
        o.text = buf_view(&text);
    } else if (c->messages_ended && o.class_ == OUTCOME_DEFERRED) {
        /* the connection had served, and ended for reasons of its own */
        o.retry_hint_ms = SMTP_CLIENT_SOON_MS;
    }
    list_remove(&j->node);
    smtp_job_tell_all(j, &o);
    smtp_job_over(j);
    buf_free(&text);
}

void smtp_end(struct smtp_client *c, const struct outcome *why, bool polite)
{
    bool due = c->unanswered || c->replying || !c->sent.job;
    struct smtp_job *current = due ? c->answered.job : c->sent.job;
    bool in_order = !why || (list_empty(&c->jobs) && c->messages_ended);
    struct list *node;

    c->sent = c->answered = (struct smtp_cursor){.state = SMTP_ENDED};
    c->unanswered = 0;
    c->streaming = c->handshaking = c->idle = c->may_ask = false;
    while ((node = list_first(&c->jobs))) {
        struct smtp_job *j = list_entry(node, struct smtp_job, node);
        end_job(c, j, why, j == current || list_empty(&c->jobs));
    }
    if (polite) {
        buf_append_str(&c->out, "QUIT\r\n");
        if (smtp_is_heard(c->params.hearing))
            smtp_hear_sent(c->params.hearing, SV("QUIT"));
    }
    smtp_flush_out(c);
    c->deadline_ms = INT64_MAX;
    c->waiting_for = SMTP_WAIT_NONE;
    c->ops->ended(c->owner, in_order ? NULL : why, polite);
}

void smtp_end_reply(struct smtp_client *c, const struct reply *r, bool polite)
{
    struct outcome o = smtp_outcome_reply(c, smtp_client_phase_now(c), r);

    /* A body that is refused while it is sent is the one refusal here that is about the message. */
    if (!c->streaming || r->code == 421)
        o.class_ = OUTCOME_DEFERRED;
    smtp_end(c, &o, polite);
}

void smtp_end_protocol(struct smtp_client *c, const struct reply *r, const char *what)
{
    struct buf text = {0};

    if (r) {
        reply_text(r, &text);
        smtp_client_fail(c, "%s: \"%s\"", what, buf_data(&text));
    } else {
        smtp_client_fail(c, "the peer does not speak SMTP: %s", what);
    }
    buf_free(&text);
}

static void fail(struct smtp_client *c, struct enhanced_code code, const char *fmt, va_list ap)
{
    if (c->answered.state == SMTP_ENDED)
        return;
    /* after QUIT nobody is waiting for anything but the end */
    if (c->sent.state == SMTP_ENDED && list_empty(&c->jobs)) {
        smtp_end(c, NULL, false);
        return;
    }
    enum outcome_class class_ = code.class_digit == 5 ? OUTCOME_BOUNCED : OUTCOME_DEFERRED;
    struct outcome o = outcome_begin(c, class_, smtp_client_phase_now(c));
    buf_vprintf(&c->text, fmt, ap);
    o.text = buf_view(&c->text);
    o.enhanced = code;
    smtp_end(c, &o, false);
}

void smtp_client_fail(struct smtp_client *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail(c, (struct enhanced_code){0}, fmt, ap);
    va_end(ap);
}

void smtp_client_fail_tls(struct smtp_client *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (c->params.requiretls) /* RFC 8689 section 4.2.1 */
        fail(c, (struct enhanced_code){5, 7, 10}, fmt, ap);
    else
        fail(c, (struct enhanced_code){4, 7, 5}, fmt, ap);
    va_end(ap);
}
