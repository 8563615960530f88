/*
 * MAIL and RCPT with the parameters that the peer offered to understand, and what is refused before
 * anything is sent because the peer said that it cannot take it.
 *
 * A message that is declared 8-bit goes to a peer without 8BITMIME as it is, without BODY: RFC 6152
 * would have it converted or bounced, every server in use takes it, and bouncing helps nobody.
 */
#include "pipe/delivery/smtp_client_impl.h"

/* No byte that could end a command early. */
static bool is_clean(struct strview s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
            return false;
    return true;
}

/* For xtext parameters, in which a blank would begin another one. */
static bool is_word(struct strview s)
{
    return s.len && is_clean(s) && sv_find(s, ' ') < 0;
}

/* RFC 1870 section 4: as it will be stored, without the dots that stuffing added. */
static uint64_t message_size(const struct delivery_job *job)
{
    uint64_t content = job->content_fd >= 0 ? job->content_bytes : job->content.len;
    return job->prefix.len + content - MIN_OF(content, (uint64_t)job->env->stuffed_dots);
}

static struct strview sender_of(const struct delivery_job *job)
{
    return job->reverse_path.len ? job->reverse_path : job->env->sender;
}

static void refuse(struct smtp_job *j, struct outcome o, uint16_t subject, uint16_t detail)
{
    o.enhanced = (struct enhanced_code){5, subject, detail};
    smtp_job_tell_all(j, &o);
}

static void check_rcpts(struct smtp_job *j)
{
    for (uint32_t i = 0; i < j->job.rcpt_count; i++) {
        if (is_clean(j->job.env->rcpts[j->job.rcpts[i]].address))
            continue;
        struct outcome o = smtp_outcome_local(j->client, OUTCOME_BOUNCED, PHASE_RCPT,
                                              "the recipient address has control characters");
        o.enhanced = (struct enhanced_code){5, 1, 3};
        smtp_job_tell(j, i, &o);
        j->rcpt_states[i] = RCPT_SKIPPED;
    }
}

bool smtp_may_require_tls(const struct smtp_client *c)
{
    return c->tls[0] && c->params.proven && (c->extensions & SMTP_EXT_REQUIRETLS);
}

const char *smtp_why_not_require_tls(const struct smtp_client *c)
{
    return !c->tls[0]          ? "the session is not encrypted"
           : !c->params.proven ? "it was not proven whose server this is (tls-verify)"
                               : "the server does not offer it";
}

void smtp_job_check(struct smtp_job *j)
{
    struct smtp_client *c = j->client;
    uint64_t size = message_size(&j->job);

    if (c->size_limit && size > c->size_limit)
        refuse(j,
               smtp_outcome_local(c, OUTCOME_BOUNCED, PHASE_MAIL,
                                  "message size %llu exceeds the size limit %llu of the server",
                                  (unsigned long long)size, (unsigned long long)c->size_limit),
               3, 4);
    else if ((j->job.env->flags & ENVELOPE_SMTPUTF8) && !(c->extensions & SMTP_EXT_SMTPUTF8))
        refuse(j,
               smtp_outcome_local(c, OUTCOME_BOUNCED, PHASE_MAIL,
                                  "SMTPUTF8 is required, but was not offered by the server"),
               6, 7);
    else if ((j->job.env->flags & ENVELOPE_REQUIRETLS) && !smtp_may_require_tls(c))
        refuse(j,
               smtp_outcome_local(c, OUTCOME_BOUNCED, PHASE_MAIL,
                                  "REQUIRETLS support is required, but %s",
                                  smtp_why_not_require_tls(c)),
               7, 30);
    else if (!is_clean(sender_of(&j->job)))
        refuse(j,
               smtp_outcome_local(c, OUTCOME_BOUNCED, PHASE_MAIL,
                                  "the sender address has control characters"),
               1, 7);
    else
        check_rcpts(j);
}

static void put_u64(struct buf *out, uint64_t n)
{
    char digits[20];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    buf_append(out, digits + at, sizeof(digits) - at);
}

static void put_word(struct buf *out, const char *keyword, struct strview value)
{
    buf_append_str(out, keyword);
    buf_append_sv(out, value);
}

void smtp_put_mail(struct smtp_client *c, const struct smtp_job *j)
{
    const struct envelope *env = j->job.env;
    struct buf *out = &c->out;

    put_word(out, "MAIL FROM:<", sender_of(&j->job));
    buf_append_char(out, '>');
    if (c->extensions & SMTP_EXT_SIZE) {
        buf_append(out, " SIZE=", 6);
        put_u64(out, message_size(&j->job));
    }
    if ((env->flags & ENVELOPE_8BIT) && (c->extensions & SMTP_EXT_8BITMIME))
        buf_append_str(out, " BODY=8BITMIME");
    if (env->flags & ENVELOPE_SMTPUTF8)
        buf_append_str(out, " SMTPUTF8");
    if (env->flags & ENVELOPE_REQUIRETLS)
        buf_append_str(out, " REQUIRETLS");
    if (c->extensions & SMTP_EXT_DSN) {
        if (env->ret)
            buf_append_str(out, env->ret == RET_FULL ? " RET=FULL" : " RET=HDRS");
        if (is_word(env->envid))
            put_word(out, " ENVID=", env->envid);
    }
    buf_append(out, "\r\n", 2);
}

static void put_notify(struct buf *out, uint8_t notify)
{
    static const struct {
        uint8_t bit;
        const char *name;
    } names[] = {{NOTIFY_SUCCESS, "SUCCESS"}, {NOTIFY_FAILURE, "FAILURE"}, {NOTIFY_DELAY, "DELAY"}};
    char before = '=';

    buf_append_str(out, " NOTIFY");
    if (notify & NOTIFY_NEVER) {
        buf_append_str(out, "=NEVER");
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!(notify & names[i].bit))
            continue;
        buf_append_char(out, before);
        buf_append_str(out, names[i].name);
        before = ',';
    }
}

/* RFC 6533 section 3: a UTF-8 address in ORCPT goes as it is with SMTPUTF8 alone, and otherwise with
 * \x{HEX} for what is not ASCII. It was well-formed when it was accepted. */
static void put_orcpt(struct buf *out, struct strview orcpt, bool utf8)
{
    buf_append_str(out, " ORCPT=");
    for (size_t i = 0, n; i < orcpt.len; i += n) {
        unsigned char c = (unsigned char)orcpt.ptr[i];
        uint32_t number = c;
        n = 1;
        if (c < 0x80 || utf8) {
            buf_append_char(out, (char)c);
            continue;
        }
        size_t len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        for (number &= 0x7fu >> len; n < len && i + n < orcpt.len; n++)
            number = number << 6 | ((unsigned char)orcpt.ptr[i + n] & 0x3f);
        buf_printf(out, "\\x{%04X}", number);
    }
}

void smtp_put_rcpt(struct smtp_client *c, const struct smtp_job *j, uint32_t position)
{
    const struct envelope_rcpt *rcpt = &j->job.env->rcpts[j->job.rcpts[position]];
    struct buf *out = &c->out;

    put_word(out, "RCPT TO:<", rcpt->address);
    buf_append_char(out, '>');
    if (c->extensions & SMTP_EXT_DSN) {
        if (rcpt->notify & (NOTIFY_SUCCESS | NOTIFY_FAILURE | NOTIFY_DELAY | NOTIFY_NEVER))
            put_notify(out, rcpt->notify);
        if (is_word(rcpt->orcpt))
            put_orcpt(out, rcpt->orcpt, j->job.env->flags & ENVELOPE_SMTPUTF8);
    }
    buf_append(out, "\r\n", 2);
}

bool smtp_job_ends_with_crlf(const struct smtp_job *j)
{
    struct strview s = j->job.content.len ? j->job.content : j->job.prefix;
    return s.len == 0 || (s.len >= 2 && memcmp(s.ptr + s.len - 2, "\r\n", 2) == 0);
}
