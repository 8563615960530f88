/*
 * Complaints; see feedback.h. Called by parse.c. Operators take the complaining recipient out of
 * what they send, so it is often empty here: the address tokens in the attached message (clues) then
 * say who it was.
 */
#include "inbound/feedback.h"

#include "inbound/address_scan.h"
#include "inbound/dsn.h"
#include "inbound/mime_text.h"

static struct strview short_value(struct strview v, size_t most)
{
    v = sv_trim(v);
    v.len = MIN_OF(v.len, most);
    return v;
}

static struct strview lower_word(struct strview v, struct arena *a)
{
    char *out = arena_strndup(a, v.ptr, v.len);
    str_lower(out, v.len);
    return sv(out, v.len);
}

static bool is_redacted(struct strview address)
{
    static const char *const words[] = {"redacted", "undisclosed", "removed", "unknown", "xxx"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (sv_starts_nocase(address, sv_of(words[i])))
            return true;
    return false;
}

static void add_complainer(struct inbound_report *r, struct strview address)
{
    if (!address.len || is_redacted(address) || r->rcpt_count == INBOUND_RCPTS_MAX)
        return;
    for (size_t i = 0; i < r->rcpt_count; i++)
        if (sv_eq_nocase(r->rcpts[i].final, address))
            return;
    r->rcpts[r->rcpt_count++] = (struct inbound_rcpt){.final = address};
}

static void add_fields(struct inbound_report *r, struct strview text, const char *name,
                       struct arena *a)
{
    struct strview v;

    for (unsigned n = 0; n < INBOUND_RCPTS_MAX && mime_field(text, name, n, a, &v); n++)
        add_complainer(r, dsn_address(v, a));
}

void feedback_guess_recipient(struct inbound_report *r, struct arena *a)
{
    static const char *const names[] = {"X-HmXmrOriginalRecipient", "Original-Recipient",
                                        "X-Original-To", "Delivered-To", "Envelope-To",
                                        "X-Envelope-To", "X-Rcpt-To"};

    for (size_t i = 0; i < ARRAY_LEN(names) && !r->rcpt_count; i++)
        add_complainer(r, dsn_address(mime_get(r->original_header, names[i], a), a));
    if (r->rcpt_count)
        return;
    struct strview to = mime_get(r->original_header, "To", a), one, second;
    size_t at = 0;
    if (address_next(to, &at, &one) && !address_next(to, &at, &second))
        add_complainer(r, one); /* a list of them says nothing */
}

static struct strview blankless(struct strview text)
{
    while (text.len && (text.ptr[0] == '\r' || text.ptr[0] == '\n'))
        text = sv(text.ptr + 1, text.len - 1);
    return text;
}

bool feedback_arf(const struct mime *m, struct arena *a, struct budget *b, struct inbound_report *ret)
{
    int part = mime_find(m, "message/feedback-report", 0);

    if (part < 0)
        return false;
    struct strview text = blankless(mime_text(&m->parts[part], a, b));
    ret->kind = INBOUND_COMPLAINT;
    ret->format = "arf";
    ret->feedback_type = lower_word(short_value(mime_get(text, "Feedback-Type", a), 40), a);
    if (!ret->feedback_type.len)
        ret->feedback_type = SV("abuse");
    ret->user_agent = short_value(mime_get(text, "User-Agent", a), 100);
    ret->source_ip = short_value(mime_get(text, "Source-IP", a), 60);
    ret->reported_domain = short_value(mime_get(text, "Reported-Domain", a), 255);
    ret->reporting_mta = short_value(mime_get(text, "Reporting-MTA", a), 255);
    if (sv_starts_nocase(ret->reporting_mta, SV("dns;")))
        ret->reporting_mta = sv_trim(sv(ret->reporting_mta.ptr + 4, ret->reporting_mta.len - 4));
    ret->envid = short_value(mime_get(text, "Original-Envelope-Id", a), 100);
    ret->mail_from = address_first(mime_get(text, "Original-Mail-From", a));
    add_fields(ret, text, "Original-Rcpt-To", a);
    add_fields(ret, text, "Removal-Recipient", a);
    add_fields(ret, text, "Original-Recipient", a);
    return true;
}

static bool complaint(struct inbound_report *ret, const char *format)
{
    ret->kind = INBOUND_COMPLAINT;
    ret->format = format;
    ret->feedback_type = SV("abuse");
    return true;
}

/* "complaint about message from 192.0.2.1" */
static struct strview address_of_subject(struct strview subject)
{
    ptrdiff_t from = -1;

    for (size_t i = 0; i + 6 < subject.len; i++)
        if (sv_starts_nocase(sv(subject.ptr + i, subject.len - i), SV(" from ")))
            from = (ptrdiff_t)i + 6;
    if (from < 0)
        return sv("", 0);
    struct strview v = sv(subject.ptr + from, subject.len - (size_t)from);
    size_t n = 0;
    while (n < v.len && n < 45 &&
           (ascii_is_digit(v.ptr[n]) || strchr(".:abcdefABCDEF", v.ptr[n])))
        n++;
    return n >= 7 ? sv(v.ptr, n) : sv("", 0);
}

bool feedback_jmrp(const struct mime *m, struct arena *a, struct inbound_report *ret)
{
    struct strview v;

    for (size_t i = 0; i < m->count; i++) {
        if (!mime_field(m->parts[i].header, "X-HmXmrOriginalRecipient", 0, a, &v))
            continue;
        add_complainer(ret, dsn_address(v, a));
        ret->original_header = m->parts[i].header;
        ret->source_ip = address_of_subject(ret->subject);
        return complaint(ret, "jmrp");
    }
    return false;
}

bool feedback_forwarded(const struct mime *m, struct arena *a, struct inbound_report *ret)
{
    int part = mime_find(m, "message/rfc822", 0);

    (void)a;
    if (part < 0)
        part = mime_find(m, "text/rfc822-headers", 0);
    return part >= 0 && complaint(ret, "forward");
}
