/*
 * client: see client.h. The runner feeds it what was read and writes what it put out. In lock-step
 * each reply leads to one command; with pipelining MAIL, RCPT and DATA are one write, and the body
 * goes out together with the commands of the next message when one is due, so that two transactions
 * are known at most. A reply that comes before its command was written, or that nobody waits for,
 * breaks the protocol. When a connection ends, a message whose end of data was not written is given
 * back to the schedule; one whose end was, is unanswered: it may or may not have been accepted, and
 * sending it again could make a duplicate that would look like the server's.
 */
#include "flood/client.h"

void client_init(struct client *c, struct flood *flood)
{
    memset(c, 0, sizeof(*c));
    c->flood = flood;
    c->state = CLIENT_CLOSED;
    reply_parser_init(&c->parser, NULL);
}

void client_fini(struct client *c)
{
    reply_parser_fini(&c->parser);
    buf_free(&c->head);
    buf_free(&c->tail);
    buf_free(&c->slots[0].rcpt_ok);
    buf_free(&c->slots[1].rcpt_ok);
}

void client_open(struct client *c)
{
    BUG_ON(c->active > 0);
    c->state = CLIENT_GREETING;
    c->pipelining = c->helo = c->need_rset = false;
    c->begun = c->written_total = 0;
    c->body = sv("", 0);
    buf_reset(&c->head);
    buf_reset(&c->tail);
    reply_parser_reset(&c->parser);
}

/* Where text goes: behind the body when there is one. */
static struct buf *out(struct client *c)
{
    return c->body.len ? &c->tail : &c->head;
}

/* Ends the connection from our side. */
static void fail(struct client *c, enum stats_loss loss, int64_t now_us)
{
    client_lost(c, loss, now_us);
    c->state = CLIENT_CLOSED;
}

static void refused_connection(struct client *c, unsigned code, int64_t now_us)
{
    text_codes_add(&c->flood->stats.connection_codes, (int)code);
    fail(c, code == 421 ? LOSS_421 : LOSS_REFUSED, now_us);
}

/* --- commands --- */

static void put_mail(struct client *c)
{
    struct buf *b = out(c);
    buf_append_str(b, "MAIL FROM:<");
    buf_append_str(b, c->flood->options.plan.from);
    buf_append_str(b, ">\r\n");
}

static void put_rcpt(struct client *c, struct client_slot *t, unsigned number)
{
    struct buf *b = out(c);
    buf_append_str(b, "RCPT TO:<");
    plan_recipient(&c->flood->plan, &t->message, number, b);
    buf_append_str(b, ">\r\n");
}

static void put_all(struct client *c, struct client_slot *t)
{
    put_mail(c);
    for (unsigned i = 0; i < c->flood->options.plan.recipients; i++)
        put_rcpt(c, t, i);
    buf_append_str(out(c), "DATA\r\n");
}

static bool may_begin(const struct client *c)
{
    uint64_t limit = c->flood->options.messages_per_connection;
    return limit == 0 || c->begun < limit;
}

/* Begins the next message when one is due. */
static void begin(struct client *c, int64_t now_us)
{
    struct client_slot *t = &c->slots[c->active];
    if (!may_begin(c) || !schedule_take(&c->flood->schedule, now_us, &t->ticket))
        return;
    struct buf keep = t->rcpt_ok;
    *t = (struct client_slot){.ticket = t->ticket, .step = STEP_MAIL, .begun_us = now_us};
    t->rcpt_ok = keep;
    buf_reset(&t->rcpt_ok);
    plan_message(&c->flood->plan, t->ticket.index, &t->message);
    if (c->need_rset) {
        buf_append_str(out(c), "RSET\r\n");
        t->step = STEP_RSET;
        c->need_rset = false;
    }
    c->begun++;
    c->active++;
    c->state = CLIENT_BUSY;
    if (c->pipelining)
        put_all(c, t);
    else if (t->step == STEP_MAIL)
        put_mail(c);
}

static void put_body(struct client *c, struct client_slot *t, int64_t now_us)
{
    const struct flood *f = c->flood;
    int64_t wall_us = t->ticket.intended_us + f->wall_offset_us;
    t->step = STEP_END;
    t->empty = t->ok == 0;
    if (!t->empty)
        t->size = plan_compose(&f->plan, t->ticket.index, wall_us, &c->head, &c->body);
    buf_append_str(out(c), ".\r\n");
    t->end_total = c->written_total + client_output(c);
    if (c->pipelining)
        begin(c, now_us);
}

/* --- the end of a message --- */

static void record_message(struct client *c, const struct client_slot *t)
{
    struct flood *f = c->flood;
    struct plan_message m;
    struct buf id = {0}, recipient = {0};
    if (!f->record.open)
        return;
    plan_id(&f->plan, t->ticket.index, &id);
    plan_message(&f->plan, t->ticket.index, &m);
    int64_t wall_us = f->stats.last_us + f->wall_offset_us;
    for (unsigned i = 0; i < t->answered; i++) {
        buf_reset(&recipient);
        plan_recipient(&f->plan, &m, i, &recipient);
        if (buf_data(&t->rcpt_ok)[i])
            record_add(&f->record, buf_view(&id), buf_view(&recipient), sv_of(f->options.plan.from),
                       t->size, wall_us);
    }
    buf_free(&id);
    buf_free(&recipient);
}

static void count_accepted(struct client *c, const struct client_slot *t, int64_t now_us)
{
    struct stats *s = &c->flood->stats;
    struct stats_times times = {t->ticket.intended_us, t->begun_us, t->body_us, now_us};
    stats_accepted(s, &times, t->message.pipe);
    s->recipients_accepted += t->ok;
    s->bytes += t->size;
    record_message(c, t);
}

/* slots[0] is settled; the next one takes its place. */
static void drop_slot(struct client *c)
{
    struct client_slot settled = c->slots[0];
    c->slots[0] = c->slots[1];
    c->slots[1] = settled;
    c->active--;
}

static void finish(struct client *c, unsigned code, int64_t now_us)
{
    struct client_slot *t = &c->slots[0];
    struct stats *s = &c->flood->stats;
    if (code / 100 == 2) {
        count_accepted(c, t, now_us);
    } else {
        s->refused++;
        s->last_us = now_us;
        text_codes_add(&s->refused_codes, (int)code);
    }
    schedule_settle(&c->flood->schedule);
    drop_slot(c);
    if (c->active > 0)
        return;
    c->state = CLIENT_READY;
    client_poke(c, now_us);
}

void client_poke(struct client *c, int64_t now_us)
{
    if (c->state != CLIENT_READY)
        return;
    if (may_begin(c))
        begin(c, now_us);
    else
        client_quit(c);
}

void client_quit(struct client *c)
{
    if (c->state != CLIENT_READY)
        return;
    buf_append_str(out(c), "QUIT\r\n");
    c->state = CLIENT_QUIT;
}

void client_wrote(struct client *c, size_t n, int64_t now_us)
{
    struct client_slot *t = &c->slots[0];
    c->written_total += n;
    size_t part = MIN_OF(n, buf_len(&c->head));
    buf_consume(&c->head, part);
    n -= part;
    part = MIN_OF(n, c->body.len);
    c->body = sv(c->body.ptr + part, c->body.len - part);
    buf_consume(&c->tail, n - part);
    if (c->active > 0 && t->step == STEP_END && !t->written && c->written_total >= t->end_total) {
        t->written = true;
        t->body_us = now_us;
        c->flood->stats.sent += !t->empty;
    }
}

static void settle_lost(struct client *c)
{
    struct client_slot *t = &c->slots[0];
    struct flood *f = c->flood;
    if (t->written && !t->empty) {
        f->stats.unanswered++;
        schedule_settle(&f->schedule);
    } else if (t->ticket.tries >= f->options.tries) {
        f->stats.given_up++;
        schedule_settle(&f->schedule);
    } else {
        f->stats.requeued++;
        schedule_return(&f->schedule, &t->ticket);
    }
    drop_slot(c);
}

void client_lost(struct client *c, enum stats_loss loss, int64_t now_us)
{
    (void)now_us;
    if (c->state == CLIENT_CLOSED)
        return;
    if (c->state == CLIENT_READY && loss == LOSS_LOST)
        c->flood->stats.closed_idle++;
    else if (c->state != CLIENT_QUIT)
        stats_loss(&c->flood->stats, loss);
    while (c->active > 0)
        settle_lost(c);
    c->state = CLIENT_CLOSED;
}

/* --- replies --- */

/* base64 of NUL user NUL password, RFC 4616 */
static void put_plain(struct buf *b, const char *auth)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct buf raw = {0};
    buf_append_char(&raw, '\0');
    buf_append_str(&raw, auth);
    *strchr(buf_data(&raw) + 1, ':') = '\0';
    const unsigned char *p = (const unsigned char *)buf_data(&raw);
    for (size_t left = buf_len(&raw); left > 0; p += 3, left -= MIN_OF(left, 3u)) {
        uint32_t n =
            (uint32_t)p[0] << 16 | (left > 1 ? (uint32_t)p[1] << 8 : 0) | (left > 2 ? p[2] : 0);
        char four[4] = {digits[n >> 18], digits[n >> 12 & 63], left > 1 ? digits[n >> 6 & 63] : '=',
                        left > 2 ? digits[n & 63] : '='};
        buf_append(b, four, 4);
    }
    buf_free(&raw);
}

static void on_greeting(struct client *c, unsigned code, int64_t now_us)
{
    if (code / 100 != 2) {
        refused_connection(c, code, now_us);
        return;
    }
    buf_printf(&c->head, "EHLO %s\r\n", c->flood->options.helo);
    c->state = CLIENT_HELLO;
}

static bool offers(struct strview lines, struct strview keyword)
{
    struct strview line;
    while (sv_split(&lines, '\n', &line))
        if (sv_starts_nocase(line, keyword) &&
            (line.len == keyword.len || line.ptr[keyword.len] == ' '))
            return true;
    return false;
}

static void on_hello(struct client *c, unsigned code, int64_t now_us)
{
    const struct flood_options *o = &c->flood->options;
    if (code / 100 == 5 && !c->helo) {
        c->helo = true;
        buf_printf(&c->head, "HELO %s\r\n", o->helo);
        return;
    }
    if (code / 100 != 2) {
        refused_connection(c, code, now_us);
        return;
    }
    c->pipelining =
        !c->helo && !o->no_pipelining && offers(c->parser.reply.lines, SV("PIPELINING"));
    if (!o->auth) {
        c->state = CLIENT_READY;
        return;
    }
    buf_append_str(&c->head, "AUTH PLAIN ");
    put_plain(&c->head, o->auth);
    buf_append_str(&c->head, "\r\n");
    c->state = CLIENT_AUTH;
}

static void on_auth(struct client *c, unsigned code, int64_t now_us)
{
    if (code == 235)
        c->state = CLIENT_READY;
    else
        refused_connection(c, code, now_us);
}

static void on_mail(struct client *c, struct client_slot *t, unsigned code, int64_t now_us)
{
    t->mail_ok = code / 100 == 2;
    if (!t->mail_ok)
        t->code = code;
    t->step = STEP_RCPT;
    if (c->pipelining)
        return;
    if (t->mail_ok)
        put_rcpt(c, t, t->answered);
    else
        finish(c, code, now_us);
}

static void on_rcpt(struct client *c, struct client_slot *t, unsigned code, int64_t now_us)
{
    struct stats *s = &c->flood->stats;
    bool ok = code / 100 == 2;
    buf_append_char(&t->rcpt_ok, ok);
    t->answered++;
    t->ok += ok;
    if (!ok && t->mail_ok) {
        t->code = t->code ? t->code : code;
        s->recipients_refused++;
        text_codes_add(&s->recipient_codes, (int)code);
    }
    bool last = t->answered == c->flood->options.plan.recipients;
    if (last)
        t->step = STEP_DATA;
    if (c->pipelining)
        return;
    if (!last) {
        put_rcpt(c, t, t->answered);
    } else if (t->ok > 0) {
        buf_append_str(&c->head, "DATA\r\n");
    } else {
        c->need_rset = true;
        finish(c, t->code, now_us);
    }
}

static void on_data(struct client *c, struct client_slot *t, unsigned code, int64_t now_us)
{
    if (code == 354) {
        put_body(c, t, now_us);
        return;
    }
    if (code / 100 < 4) {
        fail(c, LOSS_PROTOCOL, now_us);
        return;
    }
    c->need_rset = t->mail_ok;
    finish(c, t->code && t->ok == 0 ? t->code : code, now_us);
}

static void on_busy(struct client *c, unsigned code, int64_t now_us)
{
    struct client_slot *t = &c->slots[0];
    switch (t->step) {
    case STEP_RSET:
        t->step = STEP_MAIL;
        if (!c->pipelining)
            put_mail(c);
        break;
    case STEP_MAIL:
        on_mail(c, t, code, now_us);
        break;
    case STEP_RCPT:
        on_rcpt(c, t, code, now_us);
        break;
    case STEP_DATA:
        on_data(c, t, code, now_us);
        break;
    case STEP_END:
        /* what follows a refusal of a message without recipients is no news */
        finish(c, t->empty ? t->code : code, now_us);
        break;
    }
}

/* 421: the server closes (RFC 5321 section 3.8). After the body it is the answer to that message,
 * before it the message can go elsewhere. */
static void on_421(struct client *c, int64_t now_us)
{
    struct flood *f = c->flood;
    if (c->state == CLIENT_BUSY && c->slots[0].step == STEP_END && !c->slots[0].empty) {
        f->stats.refused++;
        f->stats.last_us = now_us;
        text_codes_add(&f->stats.refused_codes, 421);
        schedule_settle(&f->schedule);
        drop_slot(c);
    }
    if (c->state == CLIENT_READY) {
        f->stats.closed_idle++;
        c->state = CLIENT_CLOSED;
        return;
    }
    refused_connection(c, 421, now_us);
}

static void on_reply(struct client *c, unsigned code, int64_t now_us)
{
    if (code == 421 && c->state != CLIENT_QUIT) {
        on_421(c, now_us);
        return;
    }
    if (client_output(c) > 0 || c->state == CLIENT_READY ||
        (c->state == CLIENT_BUSY && c->slots[0].step != STEP_DATA && code / 100 == 3)) {
        fail(c, LOSS_PROTOCOL, now_us);
        return;
    }
    if (c->state == CLIENT_GREETING)
        on_greeting(c, code, now_us);
    else if (c->state == CLIENT_HELLO)
        on_hello(c, code, now_us);
    else if (c->state == CLIENT_AUTH)
        on_auth(c, code, now_us);
    else if (c->state == CLIENT_BUSY)
        on_busy(c, code, now_us);
    else
        c->state = CLIENT_CLOSED;
}

void client_feed(struct client *c, const char *data, size_t len, int64_t now_us)
{
    while (len > 0 && c->state != CLIENT_CLOSED) {
        size_t used = 0;
        int rc = reply_parse(&c->parser, data, len, &used);
        if (rc < 0)
            fail(c, LOSS_PROTOCOL, now_us);
        else if (rc > 0)
            on_reply(c, c->parser.reply.code, now_us);
        data += used;
        len -= used;
    }
}
