/*
 * The engine's frame: the state table, the two cursors over it, input, the deadline. The states
 * themselves are in smtp_client_hello.c and smtp_client_mail.c. Called by connection.c and tests.
 *
 * Happy path: input gives one reply after the other to the function of the state that `answered` is
 * at; then, once per portion of input, `sent` goes on as far as it may, and everything that it
 * wrote leaves in one piece. What can go wrong ends in smtp_end: every recipient under way is told,
 * and the owner closes the connection. The engine owns its slots and buffers; jobs are the queue's.
 *
 * A reply is due when unanswered > 0. As sending happens only after all input was looked at, bytes
 * that remain when nothing is due came before they were asked for, and are refused: two ends that
 * disagree about which reply answers what would tell wrong outcomes.
 */
#include "pipe/delivery/smtp_client_impl.h"

#include "base/clock.h"

enum { QUIT_WAIT_MS = 10000 };

static const struct {
    const char *name;
    const char *command;
    enum outcome_phase phase;
    enum smtp_timeout timeout;
    bool lock_step; /* sent only when every reply has come, also with PIPELINING */
    bool (*send)(struct smtp_client *c);
    void (*recv)(struct smtp_client *c, const struct reply *r);
} rows[] = {
#define SMTP_ROW(fn, id, log_name, cmd, phase_id, wait, alone) \
    {log_name, cmd, PHASE_##phase_id, SMTP_WAIT_##wait, alone, smtp_send_##fn, smtp_recv_##fn},
    SMTP_STATES(SMTP_ROW)
#undef SMTP_ROW
};

const char *smtp_state_name(enum smtp_state s)
{
    return rows[s].name;
}

void smtp_client_init(struct smtp_client *c, const struct smtp_client_params *params,
                      const struct smtp_client_ops *ops, void *owner)
{
    *c = (struct smtp_client){
        .params = *params,
        .ops = ops,
        .owner = owner,
        .sent = {.state = SMTP_EHLO},
        .answered = {.state = SMTP_GREETING},
        .unanswered = 1,
        .established_ms = -1,
        .waiting_for = SMTP_WAIT_GREETING,
        .deadline_ms = clock_mono_ms() + params->greeting_timeout_ms,
    };
    list_init(&c->jobs);
    for (size_t i = 0; i < ARRAY_LEN(c->slots); i++) {
        c->slots[i].client = c;
        list_init(&c->slots[i].node);
    }
    reply_parser_init(&c->parser, NULL);
}

void smtp_client_fini(struct smtp_client *c)
{
    for (size_t i = 0; i < ARRAY_LEN(c->slots); i++) {
        BUG_ON(c->slots[i].active);
        free(c->slots[i].rcpt_states);
    }
    reply_parser_fini(&c->parser);
    buf_free(&c->out);
    buf_free(&c->text);
}

void smtp_sent_command(struct smtp_client *c, size_t start)
{
    if (smtp_is_heard(c->params.hearing))
        smtp_hear_sent(c->params.hearing,
                       sv(buf_data(&c->out) + start, buf_len(&c->out) - start - 2));
    if (c->unanswered++ == 0) {
        c->answered = c->sent;
        c->progress = true;
    }
}

void smtp_flush_out(struct smtp_client *c)
{
    if (buf_len(&c->out))
        c->ops->write(c->owner, buf_data(&c->out), buf_len(&c->out));
    buf_reset(&c->out);
}

static enum smtp_state current_state(const struct smtp_client *c)
{
    return c->unanswered || c->replying ? c->answered.state : c->sent.state;
}

enum outcome_phase smtp_client_phase_now(const struct smtp_client *c)
{
    return c->streaming ? PHASE_DATA : rows[current_state(c)].phase;
}

const char *smtp_client_phase(const struct smtp_client *c)
{
    if (c->idle && !c->unanswered)
        return "idle";
    return c->streaming ? "sending" : rows[current_state(c)].name;
}

static enum smtp_timeout wait_kind(const struct smtp_client *c)
{
    if (c->sent.state == SMTP_ENDED && c->unanswered == 0)
        return SMTP_WAIT_NONE;
    if (c->unanswered)
        return rows[c->answered.state].timeout;
    if (c->streaming)
        return SMTP_WAIT_DATA;
    if (c->sent.state == SMTP_TLS || reply_parser_busy(&c->parser))
        return SMTP_WAIT_COMMAND;
    return c->idle ? SMTP_WAIT_IDLE : SMTP_WAIT_NONE;
}

/* The deadline moves when a whole reply has come or the thing waited for is another one, never for
 * single bytes. */
static void set_deadline(struct smtp_client *c)
{
    const int64_t wait_ms[SMTP_WAIT_COUNT] = {
        0,
        c->params.greeting_timeout_ms,
        c->params.command_timeout_ms,
        c->params.data_timeout_ms,
        c->params.idle_timeout_ms,
    };
    enum smtp_timeout kind = wait_kind(c);

    if (kind == c->waiting_for && !c->progress)
        return;
    c->waiting_for = kind;
    c->progress = false;
    if (kind == SMTP_WAIT_NONE)
        c->deadline_ms = INT64_MAX;
    else if (c->unanswered && c->answered.state == SMTP_QUIT)
        c->deadline_ms = clock_mono_ms() + MIN_OF(wait_ms[kind], (int64_t)QUIT_WAIT_MS);
    else
        c->deadline_ms = clock_mono_ms() + wait_ms[kind];
}

static bool may_send(const struct smtp_client *c)
{
    if (c->unanswered == 0)
        return !reply_parser_busy(&c->parser);
    return (c->extensions & SMTP_EXT_PIPELINING) && !rows[c->sent.state].lock_step;
}

void smtp_client_step(struct smtp_client *c)
{
    c->again = false;
    c->local_this_step = 0;
    while (may_send(c) && rows[c->sent.state].send(c))
        continue;
    smtp_flush_out(c);
    set_deadline(c);
}

/* A reply that nothing asked for: the peer says farewell, refuses a body that it still gets, or is
 * confused. */
static void unsolicited(struct smtp_client *c, const struct reply *r)
{
    if (r->code == 421 || (c->streaming && r->code >= 400))
        smtp_end_reply(c, r, false);
    else
        smtp_end_protocol(c, r, "unexpected reply");
}

static void take_reply(struct smtp_client *c, const struct reply *r)
{
    if (smtp_is_heard(c->params.hearing))
        smtp_hear_reply(c->params.hearing, r);
    c->progress = true;
    if (c->unanswered == 0) {
        unsolicited(c, r);
        return;
    }
    c->unanswered--;
    c->replying = true;
    if (r->code == 421 && c->answered.state != SMTP_QUIT)
        smtp_end_reply(c, r, false);
    else
        rows[c->answered.state].recv(c, r);
    c->replying = false;
}

/* RFC 3207 section 6: what came in clear behind the 220 may be anybody's. */
static bool injected(const struct smtp_client *c, size_t rest)
{
    return c->sent.state == SMTP_TLS && (rest || c->handshaking);
}

void smtp_client_input(struct smtp_client *c, const char *data, size_t len)
{
    while (len && c->answered.state != SMTP_ENDED) {
        size_t used = 0;
        int r = injected(c, len) ? 0 : reply_parse(&c->parser, data, len, &used);
        data += used;
        len -= used;
        if (injected(c, len))
            smtp_client_fail(c, "bytes in clear after the reply to STARTTLS");
        else if (r < 0)
            smtp_end_protocol(c, NULL, err_name(r));
        else if (r > 0)
            take_reply(c, &c->parser.reply);
    }
    smtp_client_step(c);
}

void smtp_client_tls(struct smtp_client *c, bool ok, const char *name)
{
    if (!c->handshaking)
        return;
    c->handshaking = false;
    c->progress = true;
    if (!ok) {
        smtp_client_fail_tls(c, "%s", name);
        return;
    }
    /* RFC 3207 section 4.2: nothing that was learned in clear counts any more */
    size_t n = MIN_OF(strlen(name), sizeof(c->tls) - 1);
    memcpy(c->tls, name, n);
    c->extensions = 0;
    c->size_limit = 0;
    c->esmtp[0] = '\0';
    reply_parser_reset(&c->parser);
    c->sent.state = SMTP_EHLO;
    smtp_client_step(c);
}

void smtp_content_queued(struct smtp_client *c, bool ends_with_crlf)
{
    size_t start = buf_len(&c->out);

    c->streaming = false;
    c->progress = true;
    c->sent.job->dot_sent = true;
    buf_append_str(&c->out, ends_with_crlf ? ".\r\n" : "\r\n.\r\n");
    smtp_sent_command(c, start);
    c->sent = (struct smtp_cursor){.state = SMTP_READY};
    c->may_ask = true;
}

void smtp_client_content_done(struct smtp_client *c, bool ends_with_crlf)
{
    if (!c->streaming)
        return;
    smtp_content_queued(c, ends_with_crlf);
    smtp_client_step(c);
}

void smtp_client_content_failed(struct smtp_client *c, int status)
{
    if (c->streaming)
        smtp_client_fail(c, "the message could not be read from the spool: %s", err_name(status));
}

void smtp_client_wakeup(struct smtp_client *c)
{
    c->may_ask = true;
    smtp_client_step(c);
}

void smtp_client_quit(struct smtp_client *c)
{
    c->quitting = true;
    smtp_client_step(c);
}

void smtp_client_touch(struct smtp_client *c)
{
    c->progress = true;
    set_deadline(c);
}

void smtp_client_timeout(struct smtp_client *c)
{
    if (clock_mono_ms() < c->deadline_ms)
        return;
    if (c->waiting_for == SMTP_WAIT_IDLE)
        smtp_client_quit(c);
    else if (c->streaming)
        smtp_client_fail(c, "timed out while sending the message");
    else if (c->handshaking)
        smtp_client_fail(c, "timed out in the TLS handshake");
    else if (current_state(c) == SMTP_GREETING)
        smtp_client_fail(c, "timed out waiting for the greeting");
    else
        smtp_client_fail(c, "timed out waiting for the reply to %s",
                         rows[current_state(c)].command);
}

void smtp_client_eof(struct smtp_client *c, int status)
{
    const char *how = status == 0 ? "connection closed by the peer" : "connection lost";
    const char *open = status == 0 ? "" : " (", *close = status == 0 ? "" : ")";
    const char *why = status == 0 ? "" : err_name(status);

    if (c->streaming)
        smtp_client_fail(c, "%s%s%s%s while sending the message", how, open, why, close);
    else
        smtp_client_fail(c, "%s%s%s%s in state %s", how, open, why, close,
                         rows[current_state(c)].name);
}

bool smtp_send_ended(struct smtp_client *c)
{
    (void)c;
    return false;
}

void smtp_recv_ended(struct smtp_client *c, const struct reply *r)
{
    (void)c;
    (void)r;
}
