/*
 * MAIL and RCPT: the envelope grows in the transaction's arena. Called by the dispatcher in
 * smtp_server.c.
 */
#include "smtp_server_internal.h"

#include "base/clock.h"

#include <stdio.h>

/* Encoded size of an envelope without its recipients, roomy: texts have limits of their own. */
enum { ENVELOPE_BASE_BYTES = 10400, RCPT_BASE_BYTES = 16 };

static const char over_memory[] = "452 4.3.1 Too much mail is being received, try again later";

void smtp_server_mail(struct smtp_server *s, struct strview args)
{
    struct smtp_mail mail;
    struct envelope *env = &s->tx.envelope;
    const char *refusal = smtp_mail_parse(args, &mail);

    if (refusal) {
        smtp_server_refuse(s, TROUBLE_SYNTAX, refusal);
        return;
    }
    if ((mail.flags & ENVELOPE_REQUIRETLS) && !s->tls[0]) {
        smtp_server_refuse(s, TROUBLE_SYNTAX, "501 5.5.4 REQUIRETLS can be used inside TLS only");
        return;
    }
    if (mail.size > s->settings->max_message_bytes) {
        smtp_server_refuse(s, TROUBLE_SIZE, "552 5.3.4 Message is larger than is accepted here");
        return;
    }
    if (s->shared->buffered_bytes >= s->shared->max_buffered_bytes) {
        smtp_server_refuse(s, TROUBLE_MEMORY, over_memory);
        return;
    }
    env->sender = arena_sv(&s->tx.arena, mail.sender);
    env->envid = arena_sv(&s->tx.arena, mail.envid);
    env->ret = mail.ret;
    env->flags = mail.flags | (s->settings->verp ? ENVELOPE_VERP : 0);
    env->rcpt_count = 0;
    s->tx.said_bytes = mail.size;
    s->tx.began_ms = s->active_ms;
    s->tx.envelope_bytes = ENVELOPE_BASE_BYTES;
    smtp_server_enter(s, STATE_MAIL);
    smtp_server_reply(s, "250 2.1.0 Sender ok");
}

static struct envelope_rcpt *new_rcpt(struct smtp_transaction *tx)
{
    struct envelope *env = &tx->envelope;

    if (env->rcpt_count == tx->rcpt_room) {
        tx->rcpt_room = tx->rcpt_room ? tx->rcpt_room * 2 : 8;
        env->rcpts = xrealloc(env->rcpts, tx->rcpt_room * sizeof(env->rcpts[0]));
    }
    struct envelope_rcpt *r = &env->rcpts[env->rcpt_count++];
    *r = (struct envelope_rcpt){0};
    return r;
}

/* "postmaster" without a domain is the postmaster of this host. */
static struct strview full_address(struct smtp_server *s, struct strview address)
{
    struct buf b = {0};

    if (sv_find(address, '@') >= 0)
        return arena_sv(&s->tx.arena, address);
    buf_printf(&b, "%.*s@%s", SV_ARG(address), s->settings->host_name);
    struct strview whole = arena_sv(&s->tx.arena, buf_view(&b));
    buf_free(&b);
    return whole;
}

/* Never of a notice (null sender). True: refused. */
static bool refuse_suppressed(struct smtp_server *s, struct strview address)
{
    char text[SMTP_REPLY_MAX];
    const char *reason = "";
    struct strview sender = s->tx.envelope.sender;

    if (!s->settings->refuse_suppressed || !s->ops->is_suppressed || !sender.len ||
        !s->ops->is_suppressed(s->owner, sender, address, &reason))
        return false;
    snprintf(text, sizeof(text), "550 5.7.1 Recipient is on the suppression list (%s)", reason);
    smtp_server_note(s, TROUBLE_SUPPRESSED, text);
    smtp_server_reply(s, text);
    return true;
}

/* The client has the right to send to anybody. */
static bool may_relay(const struct smtp_server *s)
{
    return s->settings->allow_relaying || s->user[0];
}

uint64_t smtp_server_max_bytes(const struct smtp_server *s)
{
    uint64_t max = s->settings->max_message_bytes;
    return s->tx.inbound && !may_relay(s) ? MIN_OF(max, s->settings->max_inbound_bytes) : max;
}

/* One transaction is either for ourselves, and then for one pipe, or for others: RFC 5321 section
 * 4.5.3.1.10 has the client send the rest by itself. */
static bool fits_transaction(const struct smtp_transaction *tx, bool inbound, struct strview pipe)
{
    if (!tx->envelope.rcpt_count)
        return true;
    return tx->inbound == inbound && (!inbound || sv_eq_nocase(tx->pipe, pipe));
}

static bool refuse_rcpt(struct smtp_server *s, enum smtp_trouble why, const char *text)
{
    smtp_server_refuse(s, why, text);
    return false;
}

/* A recipient that this client may send to, with the others of the transaction. */
static bool may_send(struct smtp_server *s, struct strview address)
{
    struct smtp_transaction *tx = &s->tx;
    struct smtp_inbound in = {0};
    bool relays = may_relay(s);
    bool inbound = (relays || s->settings->accept_inbound) &&
                   s->ops->inbound(s->owner, address, relays, &in);

    if (!relays && !inbound)
        return refuse_rcpt(s, TROUBLE_RELAY, "550 5.7.1 Relaying denied");
    if (in.refuse)
        return refuse_rcpt(s, TROUBLE_INBOUND, in.refuse);
    if (!fits_transaction(tx, inbound, in.pipe))
        return refuse_rcpt(s, TROUBLE_RCPTS,
                           "452 4.5.3 Send to this recipient in a transaction of its own");
    if (inbound && tx->envelope.rcpt_count >= SMTP_INBOUND_RCPTS_MAX)
        return refuse_rcpt(s, TROUBLE_RCPTS, "452 4.5.3 Too many recipients");
    if (tx->envelope.rcpt_count)
        return true;
    tx->inbound = inbound;
    if (!inbound)
        return true;
    if (tx->said_bytes > smtp_server_max_bytes(s)) {
        tx->inbound = false;
        return refuse_rcpt(s, TROUBLE_SIZE, "552 5.3.4 Message is larger than is accepted here");
    }
    tx->pipe = arena_sv(&tx->arena, in.pipe);
    return true;
}

static void take_rcpt(struct smtp_server *s, struct strview args)
{
    struct smtp_transaction *tx = &s->tx;
    struct smtp_rcpt rcpt;
    bool utf8 = tx->envelope.flags & ENVELOPE_SMTPUTF8;
    const char *refusal = smtp_rcpt_parse(args, utf8, &rcpt);

    if (refusal) {
        smtp_server_refuse(s, TROUBLE_SYNTAX, refusal);
        return;
    }
    struct strview address = full_address(s, rcpt.address);
    s->rcpt = address;
    if (!may_send(s, address))
        return;
    if (!tx->inbound && refuse_suppressed(s, rcpt.address))
        return;
    size_t bytes = RCPT_BASE_BYTES + rcpt.address.len + rcpt.orcpt.len;
    if (tx->envelope.rcpt_count >= s->settings->max_rcpts ||
        tx->envelope_bytes + bytes > ENVELOPE_MAX_BYTES) {
        smtp_server_refuse(s, TROUBLE_RCPTS, "452 4.5.3 Too many recipients");
        return;
    }
    struct envelope_rcpt *r = new_rcpt(tx);
    r->address = address;
    r->orcpt = arena_sv(&tx->arena, rcpt.orcpt);
    r->notify = rcpt.notify;
    tx->envelope_bytes += bytes;
    s->errors = 0;
    if (s->state == STATE_MAIL)
        smtp_server_enter(s, STATE_RCPT);
    smtp_server_reply(s, "250 2.1.5 Recipient ok");
}

void smtp_server_rcpt(struct smtp_server *s, struct strview args)
{
    take_rcpt(s, args);
    s->rcpt = sv(NULL, 0);
}
