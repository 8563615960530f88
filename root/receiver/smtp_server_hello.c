/*
 * EHLO, HELO and the verbs that need a line each: RSET NOOP QUIT VRFY HELP STARTTLS. Called by the
 * dispatcher in smtp_server.c.
 */
#include "smtp_server_internal.h"

#include <inttypes.h>
#include <stdio.h>

/* A name is only noted and shown in Received: anything printable without blanks and brackets of
 * ours will do, as clients give all sorts. */
static bool take_name(struct smtp_server *s, struct strview name)
{
    if (name.len == 0 || name.len >= sizeof(s->helo))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        if (c <= 0x20 || c >= 0x7f || strchr("()<>\"\\;,", c))
            return false;
    }
    memcpy(s->helo, name.ptr, name.len);
    s->helo[name.len] = '\0';
    return true;
}

bool smtp_server_auth_offered(const struct smtp_server *s)
{
    return s->settings->offer_auth && (s->tls[0] || s->settings->allow_plain_auth);
}

void smtp_server_ehlo(struct smtp_server *s, struct strview args)
{
    const struct smtp_server_settings *set = s->settings;

    if (!take_name(s, args)) {
        smtp_server_refuse(s, TROUBLE_SYNTAX, "501 5.5.4 Syntax: EHLO name");
        return;
    }
    s->esmtp = true;
    smtp_server_end_transaction(s);
    if (s->state == STATE_CLOSED)
        return;
    size_t at = buf_len(&s->out);

    buf_printf(&s->out, "250-%.255s\r\n", set->host_name);
    buf_append_str(&s->out, "250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n"
                            "250-DSN\r\n250-VERP\r\n");
    if (set->offer_starttls && !s->tls[0])
        buf_append_str(&s->out, "250-STARTTLS\r\n");
    if (s->tls[0])
        buf_append_str(&s->out, "250-REQUIRETLS\r\n");
    if (smtp_server_auth_offered(s))
        buf_append_str(&s->out, "250-AUTH PLAIN LOGIN\r\n");
    buf_printf(&s->out, "250-SIZE %" PRIu64 "\r\n250 ENHANCEDSTATUSCODES\r\n",
               set->max_message_bytes);
    smtp_server_hear_replies(s, sv(buf_data(&s->out) + at, buf_len(&s->out) - at));
}

void smtp_server_helo(struct smtp_server *s, struct strview args)
{
    char text[SMTP_REPLY_MAX];

    if (!take_name(s, args)) {
        smtp_server_refuse(s, TROUBLE_SYNTAX, "501 5.5.4 Syntax: HELO name");
        return;
    }
    s->esmtp = false;
    smtp_server_end_transaction(s);
    if (s->state == STATE_CLOSED)
        return;
    snprintf(text, sizeof(text), "250 %.255s", s->settings->host_name);
    smtp_server_reply(s, text);
}

void smtp_server_rset(struct smtp_server *s, struct strview args)
{
    (void)args;
    smtp_server_reply(s, "250 2.0.0 Ok");
    smtp_server_end_transaction(s);
}

void smtp_server_noop(struct smtp_server *s, struct strview args)
{
    (void)args;
    smtp_server_reply(s, "250 2.0.0 Ok");
}

void smtp_server_quit(struct smtp_server *s, struct strview args)
{
    (void)args;
    smtp_server_reply(s, "221 2.0.0 Bye");
    smtp_server_enter(s, STATE_CLOSED);
    smtp_server_want(s, SMTP_WANT_CLOSE);
}

void smtp_server_vrfy(struct smtp_server *s, struct strview args)
{
    if (args.len == 0)
        smtp_server_refuse(s, TROUBLE_SYNTAX, "501 5.5.4 Syntax: VRFY address");
    else
        smtp_server_reply(s, "252 2.1.5 Cannot verify, will take mail and try to deliver");
}

void smtp_server_help(struct smtp_server *s, struct strview args)
{
    (void)args;
    smtp_server_reply(s,
                      "214 2.0.0 EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP STARTTLS "
                      "AUTH, see RFC 5321");
}

void smtp_server_starttls(struct smtp_server *s, struct strview args)
{
    if (args.len)
        smtp_server_refuse(s, TROUBLE_SYNTAX, "501 5.5.4 STARTTLS has no parameters");
    else if (s->tls[0] || s->user[0])
        smtp_server_refuse(s, TROUBLE_SEQUENCE, "503 5.5.1 Too late for STARTTLS");
    else if (!s->settings->offer_starttls)
        smtp_server_refuse(s, TROUBLE_SEQUENCE, "502 5.5.1 STARTTLS is not available");
    else {
        smtp_server_reply(s, "220 2.0.0 Go ahead");
        smtp_server_enter(s, STATE_TLS);
        smtp_server_want(s, SMTP_WANT_TLS);
    }
}
