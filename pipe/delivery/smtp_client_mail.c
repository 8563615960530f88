/*
 * Transactions: RSET, MAIL, RCPT, DATA, the body and its final dot, one function per state and
 * direction. With PIPELINING the sent cursor runs from READY to BODY in one go and waits there for
 * the 354; without, may_send lets it go one command at a time.
 *
 * RFC 2920 section 3.1 for the mixes: replies to everything that was sent are read, whatever the
 * first of them said; a DATA that is answered 354 though no recipient is left gets a lone dot. A
 * transaction that the peer still has open when we gave it up is cleared with RSET before the next.
 */
#include "pipe/delivery/smtp_client_impl.h"

#include "base/clock.h"

/* The next thing due after the last reply for a job. */
static void answered_next_job(struct smtp_client *c, struct smtp_job *j)
{
    list_remove(&j->node);
    c->messages_ended++;
    c->may_ask = true;
    struct list *node = list_first(&c->jobs);
    if (node) {
        struct smtp_job *next = list_entry(node, struct smtp_job, node);
        c->answered =
            (struct smtp_cursor){.state = next->rset_first ? SMTP_RSET : SMTP_MAIL, .job = next};
    } else {
        c->answered =
            (struct smtp_cursor){.state = c->sent.state == SMTP_ENDED ? SMTP_QUIT : SMTP_READY};
    }
    smtp_job_over(j);
}

/* The transaction ends without a body. */
static void give_up(struct smtp_client *c, struct smtp_job *j)
{
    c->need_rset = j->mail_accepted;
    c->sent = (struct smtp_cursor){.state = SMTP_READY};
    answered_next_job(c, j);
}

/* Asks for a message and begins it. */
static bool take_job(struct smtp_client *c, struct smtp_job *j)
{
    smtp_job_begin(j);
    smtp_job_check(j);
    if (j->rcpts_told == j->job.rcpt_count) {
        smtp_job_over(j);
        return true;
    }
    j->connect_ms = c->messages ? 0 : c->established_ms;
    j->rset_first = c->need_rset;
    c->need_rset = false;
    c->messages++;
    list_push_back(&c->jobs, &j->node);
    c->sent = (struct smtp_cursor){.state = j->rset_first ? SMTP_RSET : SMTP_MAIL, .job = j};
    return true;
}

static bool begin_next(struct smtp_client *c)
{
    struct smtp_job *j = smtp_job_new(c);

    if (!j)
        return false; /* unhold of one sets `again` */
    c->idle = false;
    switch (c->ops->next(c->owner, &j->job)) {
    case DELIVERY_JOB:
        return take_job(c, j);
    case DELIVERY_IDLE:
        c->idle = true;
        c->may_ask = false;
        return false;
    case DELIVERY_WAIT:
        c->may_ask = false;
        return false;
    case DELIVERY_QUIT:
        break;
    }
    c->quitting = true;
    return true;
}

bool smtp_send_ready(struct smtp_client *c)
{
    if (c->params.max_messages && c->messages >= c->params.max_messages)
        c->quitting = true;
    if (c->quitting) {
        c->sent.state = SMTP_QUIT;
        return true;
    }
    if (!c->may_ask)
        return false;
    /* messages that are refused here cost no round trip: others get their turn of the loop */
    if (c->local_this_step >= SMTP_CLIENT_LOCAL_PER_STEP) {
        c->again = true;
        return false;
    }
    c->local_this_step++;
    return begin_next(c);
}

void smtp_recv_ready(struct smtp_client *c, const struct reply *r)
{
    smtp_end_protocol(c, r, "unexpected reply");
}

bool smtp_send_rset(struct smtp_client *c)
{
    size_t start = buf_len(&c->out);

    buf_append_str(&c->out, "RSET\r\n");
    smtp_sent_command(c, start);
    c->sent.state = SMTP_MAIL;
    return true;
}

void smtp_recv_rset(struct smtp_client *c, const struct reply *r)
{
    if (reply_class(r) == 2)
        c->answered.state = SMTP_MAIL;
    else
        smtp_end_protocol(c, r, "RSET was refused");
}

bool smtp_send_mail(struct smtp_client *c)
{
    struct smtp_job *j = c->sent.job;
    size_t start = buf_len(&c->out);

    smtp_put_mail(c, j);
    smtp_sent_command(c, start);
    j->mail_sent = true;
    j->mail_sent_ms = clock_mono_ms();
    c->sent.state = SMTP_RCPT;
    c->sent.rcpt = smtp_job_rcpt(j, 0);
    return true;
}

void smtp_recv_mail(struct smtp_client *c, const struct reply *r)
{
    struct smtp_job *j = c->answered.job;

    if (reply_class(r) == 3) {
        smtp_end_protocol(c, r, "unexpected reply to MAIL");
        return;
    }
    j->mail_accepted = reply_class(r) == 2;
    if (!j->mail_accepted) {
        struct outcome o = smtp_outcome_reply(c, PHASE_MAIL, r);
        smtp_job_tell_all(j, &o);
        if (c->unanswered == 0) { /* lock-step: nothing was sent behind it */
            give_up(c, j);
            return;
        }
    }
    c->answered.state = SMTP_RCPT;
    c->answered.rcpt = smtp_job_rcpt(j, 0);
}

bool smtp_send_rcpt(struct smtp_client *c)
{
    struct smtp_job *j = c->sent.job;
    size_t start = buf_len(&c->out);

    smtp_put_rcpt(c, j, c->sent.rcpt);
    smtp_sent_command(c, start);
    c->sent.rcpt = smtp_job_rcpt(j, c->sent.rcpt + 1);
    if (c->sent.rcpt == j->job.rcpt_count)
        c->sent.state = SMTP_DATA;
    return true;
}

static void refuse_rcpt(struct smtp_client *c, struct smtp_job *j, const struct reply *r)
{
    struct outcome o = smtp_outcome_reply(c, PHASE_RCPT, r);

    /* too many for one transaction: the others follow in the next (RFC 5321 section 4.5.3.1.10) */
    if (r->code == 452 && j->rcpts_accepted)
        o.retry_hint_ms = SMTP_CLIENT_SOON_MS;
    smtp_job_tell(j, c->answered.rcpt, &o);
}

void smtp_recv_rcpt(struct smtp_client *c, const struct reply *r)
{
    struct smtp_job *j = c->answered.job;
    uint32_t at = c->answered.rcpt;

    if (reply_class(r) == 3) {
        smtp_end_protocol(c, r, "unexpected reply to RCPT");
        return;
    }
    /* told already when MAIL was refused */
    if (j->rcpt_states[at] == RCPT_PENDING) {
        if (reply_class(r) == 2) {
            j->rcpt_states[at] = RCPT_ACCEPTED;
            j->rcpts_accepted++;
        } else {
            refuse_rcpt(c, j, r);
        }
    }
    c->answered.rcpt = smtp_job_rcpt(j, at + 1);
    if (c->answered.rcpt < j->job.rcpt_count)
        return;
    c->answered.state = SMTP_DATA;
    if (c->unanswered == 0 && j->rcpts_accepted == 0)
        give_up(c, j);
}

bool smtp_send_data(struct smtp_client *c)
{
    size_t start = buf_len(&c->out);

    buf_append_str(&c->out, "DATA\r\n");
    smtp_sent_command(c, start);
    c->sent.state = SMTP_BODY;
    return true;
}

void smtp_recv_data(struct smtp_client *c, const struct reply *r)
{
    struct smtp_job *j = c->answered.job;

    if (reply_class(r) == 2) {
        smtp_end_protocol(c, r, "unexpected reply to DATA");
        return;
    }
    if (reply_class(r) == 3) {
        j->go_ahead = true;
        c->answered.state = SMTP_BODY;
        return;
    }
    struct outcome o = smtp_outcome_reply(c, PHASE_DATA, r);
    smtp_job_tell_accepted(j, &o);
    give_up(c, j);
}

bool smtp_send_body(struct smtp_client *c)
{
    struct smtp_job *j = c->sent.job;

    if (!j->go_ahead || c->streaming)
        return false;
    c->streaming = true;
    if (j->rcpts_accepted == 0) {
        smtp_content_queued(c, true);
        return true;
    }
    smtp_flush_out(c);
    if (!c->ops->content(c->owner, j))
        return false;
    smtp_content_queued(c, smtp_job_ends_with_crlf(j));
    return true;
}

void smtp_recv_body(struct smtp_client *c, const struct reply *r)
{
    struct smtp_job *j = c->answered.job;

    if (j->rcpts_accepted) {
        if (reply_class(r) == 3) {
            smtp_end_protocol(c, r, "unexpected reply to the final dot");
            return;
        }
        struct outcome o = smtp_outcome_reply(c, PHASE_END_OF_DATA, r);
        smtp_job_tell_accepted(j, &o);
    }
    answered_next_job(c, j);
}
