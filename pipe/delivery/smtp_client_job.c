/*
 * The slots in which messages are under way, and the telling of outcomes: each recipient once, all
 * of them before job_done, job_done only when nobody reads the content any more.
 */
#include "pipe/delivery/smtp_client_impl.h"

#include "base/clock.h"

struct smtp_job *smtp_job_new(struct smtp_client *c)
{
    for (size_t i = 0; i < ARRAY_LEN(c->slots); i++)
        if (!c->slots[i].active)
            return &c->slots[i];
    return NULL;
}

void smtp_job_begin(struct smtp_job *j)
{
    uint32_t count = j->job.rcpt_count;

    BUG_ON(count == 0);
    if (count > j->rcpt_cap) {
        j->rcpt_states = xrealloc(j->rcpt_states, count);
        j->rcpt_cap = count;
    }
    memset(j->rcpt_states, RCPT_PENDING, count);
    j->rcpts_told = j->rcpts_accepted = j->holds = 0;
    j->active = true;
    j->over = j->rset_first = j->mail_sent = j->mail_accepted = j->go_ahead = j->dot_sent = false;
    j->connect_ms = -1;
    j->mail_sent_ms = 0;
}

uint32_t smtp_job_rcpt(const struct smtp_job *j, uint32_t from)
{
    while (from < j->job.rcpt_count && j->rcpt_states[from] == RCPT_SKIPPED)
        from++;
    return from;
}

static void release(struct smtp_job *j)
{
    struct smtp_client *c = j->client;

    c->ops->job_done(c->owner, &j->job);
    j->active = false;
}

void smtp_job_over(struct smtp_job *j)
{
    BUG_ON(j->rcpts_told != j->job.rcpt_count);
    j->over = true;
    if (j->holds == 0)
        release(j);
}

void smtp_job_hold(struct smtp_job *j)
{
    j->holds++;
}

void smtp_job_unhold(struct smtp_job *j)
{
    BUG_ON(j->holds == 0);
    if (--j->holds || !j->over)
        return;
    release(j);
    j->client->again = j->client->sent.state == SMTP_READY;
}

void smtp_job_tell(struct smtp_job *j, uint32_t position, struct outcome *o)
{
    struct smtp_client *c = j->client;

    BUG_ON(j->rcpt_states[position] >= RCPT_TOLD);
    if (j->rcpt_states[position] == RCPT_ACCEPTED)
        j->rcpts_accepted--;
    j->rcpt_states[position] = RCPT_TOLD;
    j->rcpts_told++;
    o->connect_ms = j->connect_ms;
    o->transmit_ms = j->mail_sent ? clock_mono_ms() - j->mail_sent_ms : -1;
    c->ops->rcpt_done(c->owner, &j->job, position, o);
}

void smtp_job_tell_accepted(struct smtp_job *j, struct outcome *o)
{
    for (uint32_t i = 0; i < j->job.rcpt_count && j->rcpts_accepted; i++)
        if (j->rcpt_states[i] == RCPT_ACCEPTED)
            smtp_job_tell(j, i, o);
}

void smtp_job_tell_all(struct smtp_job *j, struct outcome *o)
{
    for (uint32_t i = 0; i < j->job.rcpt_count; i++)
        if (j->rcpt_states[i] < RCPT_TOLD)
            smtp_job_tell(j, i, o);
}
