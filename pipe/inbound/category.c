/*
 * Categories; see category.h. A report says what a reply said once: the outcome is made again from
 * it, with the phase that its words tell. Words count also where the report gives no reply code,
 * because it is not our own sentence: then the code is that of the status's class.
 */
#include "inbound/category.h"

#include "inbound/reply_text.h"

static struct enhanced_code enhanced_of(struct strview status)
{
    unsigned n[3] = {0, 0, 0};
    size_t part = 0;

    for (size_t i = 0; i < status.len && part < 3; i++) {
        if (status.ptr[i] == '.')
            part++;
        else if (ascii_is_digit(status.ptr[i]))
            n[part] = n[part] * 10 + (unsigned)(status.ptr[i] - '0');
    }
    if (n[1] == 0 && n[2] == 0)
        return (struct enhanced_code){0, 0, 0}; /* "5.0.0" says nothing */
    return (struct enhanced_code){(uint8_t)n[0], (uint16_t)n[1], (uint16_t)n[2]};
}

static bool mentions(struct strview text, struct strview word)
{
    for (size_t i = 0; i + word.len <= text.len; i++)
        if (sv_eq_nocase(sv(text.ptr + i, word.len), word))
            return true;
    return false;
}

static enum outcome_phase phase_of(struct strview text, struct strview status)
{
    if (mentions(text, SV("end of data")) || mentions(text, SV("after data")))
        return PHASE_END_OF_DATA;
    if (mentions(text, SV("reply to MAIL FROM")) ||
        mentions(text, SV("from mail server after MAIL FROM")))
        return PHASE_MAIL;
    bool of_recipient = status.len > 2 && (status.ptr[2] == '1' || status.ptr[2] == '2');
    return of_recipient || mentions(text, SV("RCPT TO")) ? PHASE_RCPT : PHASE_END_OF_DATA;
}

void inbound_category(const struct classify *c, const struct inbound_rcpt *r, struct buf *text,
                      struct classification *ret)
{
    struct strview said = r->diagnostic;
    ptrdiff_t semicolon = sv_find(said, ';');
    unsigned code = 0;

    if (semicolon >= 0)
        said = sv_trim(sv(said.ptr + semicolon + 1, said.len - (size_t)semicolon - 1));
    ptrdiff_t at = reply_find(said, &code);
    if (at > 0 && at + 4 < (ptrdiff_t)said.len) /* "host x said: 550 …" */
        said = sv(said.ptr + at, said.len - (size_t)at);
    bool failed = r->action_ == REPORTED_FAILED;
    if (!code)
        code = r->status.len && r->status.ptr[0] == '4' ? 450 : 550;
    buf_reset(text);
    buf_append_sv(text, said);
    struct outcome o = {
        .class_ = failed ? OUTCOME_BOUNCED : OUTCOME_DEFERRED,
        .phase = phase_of(r->diagnostic, r->status),
        .code = (uint16_t)code,
        .enhanced = enhanced_of(r->status),
        .text = buf_view(text),
        .tls = "",
    };
    classify_outcome(c, &o, ret);
}
