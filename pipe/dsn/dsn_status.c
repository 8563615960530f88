/*
 * The status part of a notice: RFC 3464 section 2, RFC 6533 section 4 for internationalised mail.
 * Called by dsn_letter.c. Fields that other engines' parsers key on are there under the prefix DSN_X.
 */
#include "dsn/dsn_letter.h"

#include "base/clock.h"

#include <stdio.h>

static void field(struct wire *w, const struct dsn_letter *l, const char *name, struct strview type,
                  struct strview value)
{
    struct buf text = {0};

    if (type.len)
        buf_printf(&text, "%.*s; ", SV_ARG(type));
    buf_append_sv(&text, value);
    wire_field(w, name, buf_view(&text), dsn_is_global(l));
    buf_free(&text);
}

static void date_field(struct wire *w, const char *name, int64_t ms)
{
    char date[CLOCK_RFC5322_SIZE];
    wire_field(w, name, sv_of(clock_rfc5322(ms, date)), false);
}

/* --- addresses --- */

/* Length of the character of UTF-8 at s; *ret is its number. 0: none. */
static size_t utf8_char(struct strview s, uint32_t *ret)
{
    unsigned char c = (unsigned char)s.ptr[0];
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

    if (n > s.len)
        return 0;
    *ret = n == 1 ? c : c & (0x7fu >> n);
    for (size_t i = 1; i < n; i++)
        *ret = *ret << 6 | ((unsigned char)s.ptr[i] & 0x3f);
    return n;
}

/* utf-8-addr-xtext: what is not ASCII as \x{HEX}. */
static void append_xtext(struct strview s, struct buf *out)
{
    uint32_t c;

    while (s.len) {
        size_t n = utf8_char(s, &c);
        if (!n)
            return;
        if (c >= 0x80)
            buf_printf(out, "\\x{%04X}", c);
        else
            buf_append_char(out, (char)c);
        s = sv(s.ptr + n, s.len - n);
    }
}

static void append_utf8(uint32_t c, struct buf *out)
{
    if (c < 0x80) {
        buf_append_char(out, (char)c);
        return;
    }
    unsigned n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    buf_append_char(out, (char)((0xf00u >> n) | c >> (6 * (n - 1))));
    for (unsigned i = n - 1; i > 0; i--)
        buf_append_char(out, (char)(0x80 | (c >> (6 * (i - 1)) & 0x3f)));
}

/* \x{HEX} at the start of s: its length, *ret the character; 0: it is none. */
static size_t coded_char(struct strview s, uint32_t *ret)
{
    uint32_t c = 0;
    size_t i = 3;

    if (s.len < 5 || memcmp(s.ptr, "\\x{", 3) != 0)
        return 0;
    for (; i < s.len && s.ptr[i] != '}'; i++) {
        char d = ascii_lower(s.ptr[i]);
        bool digit = ascii_is_digit(d);
        if (!(digit || (d >= 'a' && d <= 'f')) || i > 8)
            return 0;
        c = c << 4 | (uint32_t)(digit ? d - '0' : d - 'a' + 10);
    }
    bool valid = i < s.len && i > 3 && c >= 0x20 && c != 0x7f && c <= 0x10ffff &&
                 !(c >= 0xd800 && c < 0xe000);
    *ret = c;
    return valid ? i + 1 : 0;
}

/* utf-8-addr-unitext: \x{HEX} as the character itself. */
static void append_unitext(struct strview s, struct buf *out)
{
    uint32_t c;

    while (s.len) {
        size_t n = coded_char(s, &c);
        if (n)
            append_utf8(c, out);
        else
            buf_append_char(out, s.ptr[0]);
        s = sv(s.ptr + MAX_OF(n, (size_t)1), s.len - MAX_OF(n, (size_t)1));
    }
}

static void original_recipient(struct wire *w, const struct dsn_letter *l, struct strview orcpt)
{
    ptrdiff_t semicolon = sv_find(orcpt, ';');
    struct buf text = {0};

    if (semicolon <= 0)
        return;
    struct strview type = sv(orcpt.ptr, (size_t)semicolon);
    struct strview address = sv(orcpt.ptr + semicolon + 1, orcpt.len - (size_t)semicolon - 1);
    if (!sv_eq_nocase(type, SV("utf-8")))
        dsn_unxtext(address, &text);
    else if (dsn_is_global(l))
        append_unitext(address, &text);
    else
        append_xtext(address, &text);
    field(w, l, "Original-Recipient", type, buf_view(&text));
    buf_free(&text);
}

static void final_recipient(struct wire *w, const struct dsn_letter *l, struct strview address)
{
    struct buf text = {0};

    if (!dsn_is_8bit(address)) {
        field(w, l, "Final-Recipient", SV("rfc822"), address);
        return;
    }
    if (dsn_is_global(l))
        buf_append_sv(&text, address);
    else
        append_xtext(address, &text);
    field(w, l, "Final-Recipient", SV("utf-8"), buf_view(&text));
    buf_free(&text);
}

/* --- the two groups --- */

static void per_message(struct wire *w, const struct dsn_letter *l)
{
    const struct envelope *env = l->env;
    struct buf text = {0};

    if (env->envid.len) {
        dsn_unxtext(env->envid, &text);
        field(w, l, "Original-Envelope-Id", sv(NULL, 0), buf_view(&text));
    }
    field(w, l, "Reporting-MTA", SV("dns"), sv_of(l->host));
    field(w, l, DSN_X "VirtualMTA", sv(NULL, 0), sv_of(l->rcpts[0].vmta));
    if (env->job.len)
        field(w, l, DSN_X "Job", sv(NULL, 0), env->job);
    field(w, l, DSN_X "Message-ID", sv(NULL, 0), sv_of(l->id));
    if (env->remote_mta.len || env->peer.len) {
        buf_reset(&text);
        buf_append_sv(&text, env->remote_mta.len ? env->remote_mta : env->peer);
        if (env->remote_mta.len && env->peer.len)
            buf_printf(&text, " (%.*s)", SV_ARG(env->peer));
        field(w, l, "Received-From-MTA", SV("dns"), buf_view(&text));
    }
    date_field(w, "Arrival-Date", env->received_ms);
    buf_free(&text);
}

static void remote_mta(struct wire *w, const struct dsn_letter *l, const struct outcome *o)
{
    struct buf text = {0};

    if (!o->peer_host.len && !o->peer_ip.len)
        return;
    bool named = o->peer_host.len && !sv_eq(o->peer_host, o->peer_ip);
    if (named)
        buf_append_sv(&text, o->peer_host);
    if (o->peer_ip.len)
        buf_printf(&text, named ? " (%.*s)" : "[%.*s]", SV_ARG(o->peer_ip));
    field(w, l, "Remote-MTA", SV("dns"), buf_view(&text));
    buf_free(&text);
}

static void per_recipient(struct wire *w, const struct dsn_letter *l,
                          const struct dsn_letter_rcpt *r)
{
    const struct outcome *o = r->outcome;
    char text[64];

    original_recipient(w, l, r->orcpt);
    final_recipient(w, l, r->address);
    wire_field(w, "Action", sv_of(dsn_kind_name(l->kind)), false);
    wire_field(w, "Status", sv_of(outcome_status(o, text)), false);
    remote_mta(w, l, o);
    if (o->text.len)
        field(w, l, "Diagnostic-Code", o->code ? SV("smtp") : SV("x-pipemta"), o->text);
    if (r->last_ms)
        date_field(w, "Last-Attempt-Date", r->last_ms);
    snprintf(text, sizeof(text), "%s.%u", l->id, r->number);
    wire_field(w, "Final-Log-ID", sv_of(text), false);
    if (l->kind == DSN_DELAYED)
        date_field(w, "Will-Retry-Until", l->env->received_ms + l->bounce_after_ms);
    snprintf(text, sizeof(text), "%u", r->attempts);
    wire_field(w, DSN_X "Attempts", sv_of(text), false);
    if (r->category)
        wire_field(w, DSN_X "BounceCategory", sv_of(r->category), false);
}

void dsn_status_write(const struct dsn_letter *l, struct wire *w)
{
    per_message(w, l);
    for (size_t i = 0; i < l->rcpt_count; i++) {
        buf_append(w->out, "\r\n", 2);
        per_recipient(w, l, &l->rcpts[i]);
    }
}
