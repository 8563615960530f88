/*
 * From the greeting to a usable session: EHLO with its keywords, HELO for servers that know no
 * better, opportunistic STARTTLS, QUIT. Anything that refuses here means that this host cannot be
 * used now, whatever the code: the owner tries the next one (RFC 5321 section 4.5.4.1 leaves 5xx
 * greetings open; a refusal of the session says nothing about the recipients).
 */
#include "pipe/delivery/smtp_client_impl.h"

#include "base/clock.h"

static bool send_line(struct smtp_client *c, const char *command, const char *argument)
{
    size_t start = buf_len(&c->out);

    buf_append_str(&c->out, command);
    if (argument) {
        buf_append_char(&c->out, ' ');
        buf_append_str(&c->out, argument);
    }
    buf_append_str(&c->out, "\r\n");
    smtp_sent_command(c, start);
    return true;
}

/* The host is no good for what is to be sent; others of the domain may be. */
static void refuse_host(struct smtp_client *c)
{
    struct outcome o =
        smtp_outcome_local(c, OUTCOME_BOUNCED, PHASE_HELO, "REQUIRETLS support is required, but %s",
                           smtp_why_not_require_tls(c));

    o.enhanced = (struct enhanced_code){5, 7, 30};
    smtp_end(c, &o, true);
}

static void establish(struct smtp_client *c)
{
    if (c->params.requiretls && !smtp_may_require_tls(c)) {
        refuse_host(c);
        return;
    }
    c->established = true;
    c->established_ms = clock_mono_ms() - c->params.connect_start_ms;
    c->sent.state = SMTP_READY;
    c->may_ask = true;
    if (!c->params.use_pipelining)
        c->extensions &= ~(uint32_t)SMTP_EXT_PIPELINING;
    c->ops->established(c->owner);
}

bool smtp_send_greeting(struct smtp_client *c)
{
    (void)c;
    return false;
}

void smtp_recv_greeting(struct smtp_client *c, const struct reply *r)
{
    if (reply_class(r) != 2)
        smtp_end_reply(c, r, true);
}

bool smtp_send_ehlo(struct smtp_client *c)
{
    return send_line(c, "EHLO", c->params.helo_name);
}

/* For accounting; what does not fit is left out. */
static void note_keyword(struct smtp_client *c, struct strview word)
{
    size_t n = strlen(c->esmtp);

    for (size_t i = 0; i < word.len; i++)
        if (word.ptr[i] <= ' ' || word.ptr[i] > '~' || word.ptr[i] == ',')
            return;
    if (n + 1 + word.len >= sizeof(c->esmtp))
        return;
    if (n)
        c->esmtp[n++] = ',';
    memcpy(c->esmtp + n, word.ptr, word.len);
    c->esmtp[n + word.len] = '\0';
}

static const struct {
    const char *name;
    enum smtp_extension bit;
} known[] = {
    {"PIPELINING", SMTP_EXT_PIPELINING}, {"SIZE", SMTP_EXT_SIZE}, {"8BITMIME", SMTP_EXT_8BITMIME},
    {"SMTPUTF8", SMTP_EXT_SMTPUTF8},     {"DSN", SMTP_EXT_DSN},   {"STARTTLS", SMTP_EXT_STARTTLS},
    {"REQUIRETLS", SMTP_EXT_REQUIRETLS},
};

void smtp_client_keywords(const struct smtp_client *c, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (!(c->extensions & known[i].bit))
            continue;
        buf_append_str(out, known[i].name);
        if (known[i].bit == SMTP_EXT_SIZE && c->size_limit)
            buf_printf(out, " %llu", (unsigned long long)c->size_limit);
        buf_append_char(out, '\n');
    }
}

static void take_keyword(struct smtp_client *c, struct strview line)
{
    struct strview word;

    line = sv_trim(line);
    if (!sv_split(&line, ' ', &word) || !word.len)
        return;
    note_keyword(c, word);
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (!sv_eq_nocase(word, sv_of(known[i].name)))
            continue;
        c->extensions |= known[i].bit;
        if (known[i].bit == SMTP_EXT_SIZE && !sv_to_u64(sv_trim(line), &c->size_limit))
            c->size_limit = 0;
    }
}

void smtp_recv_ehlo(struct smtp_client *c, const struct reply *r)
{
    struct strview rest = r->lines, line;

    if (reply_class(r) == 5) {
        c->sent.state = SMTP_HELO;
        return;
    }
    if (reply_class(r) != 2) {
        smtp_end_reply(c, r, true);
        return;
    }
    c->esmtp[0] = '\0';
    sv_split(&rest, '\n', &line); /* the first is the server's name */
    while (sv_split(&rest, '\n', &line))
        take_keyword(c, line);
    if (c->params.use_starttls && !c->tls[0] && (c->extensions & SMTP_EXT_STARTTLS))
        c->sent.state = SMTP_STARTTLS;
    else if (c->params.require_tls && !c->tls[0])
        smtp_client_fail_tls(c, "TLS is required and the server does not offer STARTTLS");
    else
        establish(c);
}

bool smtp_send_helo(struct smtp_client *c)
{
    return send_line(c, "HELO", c->params.helo_name);
}

void smtp_recv_helo(struct smtp_client *c, const struct reply *r)
{
    if (reply_class(r) == 2 && c->params.require_tls && !c->tls[0])
        smtp_client_fail_tls(c, "TLS is required and the server knows no EHLO");
    else if (reply_class(r) == 2)
        establish(c);
    else
        smtp_end_reply(c, r, true);
}

bool smtp_send_starttls(struct smtp_client *c)
{
    return send_line(c, "STARTTLS", NULL);
}

void smtp_recv_starttls(struct smtp_client *c, const struct reply *r)
{
    if (r->code == 220)
        c->sent.state = SMTP_TLS;
    else if (c->params.require_tls)
        smtp_end_reply(c, r, true);
    else
        establish(c);
}

bool smtp_send_tls(struct smtp_client *c)
{
    if (!c->handshaking) {
        c->handshaking = true;
        smtp_flush_out(c);
        c->ops->start_tls(c->owner);
    }
    return false;
}

void smtp_recv_tls(struct smtp_client *c, const struct reply *r)
{
    smtp_end_protocol(c, r, "unexpected reply");
}

bool smtp_send_quit(struct smtp_client *c)
{
    send_line(c, "QUIT", NULL);
    c->sent = (struct smtp_cursor){.state = SMTP_ENDED};
    return true;
}

void smtp_recv_quit(struct smtp_client *c, const struct reply *r)
{
    (void)r;
    smtp_end(c, NULL, false);
}
