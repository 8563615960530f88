/*
 * Delivery status notices; see dsn.h. Groups of fields between blank lines: the first is about the
 * message, each other one about a recipient; a group that has recipient fields counts as one
 * wherever it stands. What is needed and missing is made: the status from the diagnostic text or the
 * action, the action from the status.
 */
#include "inbound/dsn.h"

#include "inbound/address_scan.h"
#include "inbound/mime_text.h"
#include "inbound/reply_text.h"

/* Behind "type;". */
static struct strview typed_value(struct strview v)
{
    ptrdiff_t semicolon = sv_find(v, ';');
    ptrdiff_t at = sv_find(v, '@');

    if (semicolon < 0 || (at >= 0 && at < semicolon))
        return v;
    return sv_trim(sv(v.ptr + semicolon + 1, v.len - (size_t)semicolon - 1));
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xf00 >> n & 0xff) | c);
    return n;
}

/* "\x{HEX}" of RFC 6533 section 3; its length, 0: it is none. */
static size_t embedded(struct strview in, uint32_t *ret)
{
    size_t i = 3;

    if (in.len < 5 || memcmp(in.ptr, "\\x{", 3) != 0)
        return 0;
    for (*ret = 0; i < in.len && i < 9 && in.ptr[i] != '}'; i++) {
        char c = ascii_lower(in.ptr[i]);
        int d = ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (d < 0)
            return 0;
        *ret = *ret << 4 | (uint32_t)d;
    }
    bool good = *ret >= 0x20 && *ret < 0x110000 && (*ret < 0xd800 || *ret > 0xdfff);
    return i < in.len && in.ptr[i] == '}' && good ? i + 1 : 0;
}

/* xtext (+40 for @, RFC 3461 section 4) where there is no @ otherwise, and \x{…}. */
static struct strview unescape(struct strview v, struct arena *a)
{
    bool xtext = sv_find(v, '@') < 0;
    char *out = arena_alloc(a, v.len * 4 + 1);
    size_t n = 0;

    for (size_t i = 0; i < v.len; i++) {
        uint32_t c;
        size_t used = v.ptr[i] == '\\' ? embedded(sv(v.ptr + i, v.len - i), &c) : 0;
        if (used) {
            n += put_utf8(out + n, c);
            i += used - 1;
        } else if (xtext && v.len - i > 2 && memcmp(v.ptr + i, "+40", 3) == 0) {
            out[n++] = '@';
            i += 2;
        } else {
            out[n++] = v.ptr[i];
        }
    }
    return sv(out, n);
}

struct strview dsn_address(struct strview value, struct arena *a)
{
    struct strview v = typed_value(sv_trim(value));

    v.len = MIN_OF(v.len, (size_t)1000);
    if (sv_find(v, '\\') >= 0 || sv_find(v, '@') < 0)
        v = unescape(v, a);
    return address_first(v);
}

/* --- fields --- */

static bool action_of(struct strview text, enum inbound_action *ret)
{
    for (int i = REPORTED_FAILED; i <= REPORTED_EXPANDED; i++)
        if (sv_starts_nocase(text, sv_of(inbound_action_name((enum inbound_action)i)))) {
            *ret = (enum inbound_action)i;
            return true;
        }
    return false;
}

static struct strview name_of_host(struct strview v)
{
    v = typed_value(v);
    v.len = MIN_OF(v.len, (size_t)255);
    return v;
}

/* "smtp; 550 no" becomes "smtp;550 no". */
static struct strview diagnostic(struct strview v, struct arena *a)
{
    ptrdiff_t semicolon = sv_find(v, ';');
    struct buf out = {0};

    v = mime_words(v, a);
    if (!v.len)
        return v;
    bool typed = semicolon > 0 && semicolon < 20 && !memchr(v.ptr, ' ', (size_t)semicolon);
    struct strview text = typed ? typed_value(v) : v;
    struct strview type = typed ? sv(v.ptr, (size_t)semicolon) : SV("smtp");
    if (sv_starts_nocase(type, SV("smtp")))
        type = SV("smtp");
    buf_printf(&out, "%.*s;%.*s", SV_ARG(type),
               (int)MIN_OF(text.len, (size_t)INBOUND_DIAGNOSTIC_MAX), text.ptr);
    struct strview ret = arena_sv(a, buf_view(&out));
    buf_free(&out);
    return ret;
}

/* What the action says when no code does. */
static struct strview usual_status(enum inbound_action action)
{
    return action == REPORTED_FAILED    ? SV("5.0.0")
           : action == REPORTED_DELAYED ? SV("4.0.0")
                                        : SV("2.0.0");
}

static void complete(struct inbound_rcpt *r, bool has_action, struct arena *a)
{
    char text[16];
    bool plain = !r->status.len || sv_ends_nocase(r->status, SV(".0.0"));

    if (!has_action && r->status.len)
        r->action_ = r->status.ptr[0] == '2'   ? REPORTED_DELIVERED
                     : r->status.ptr[0] == '4' ? REPORTED_DELAYED
                                               : REPORTED_FAILED;
    if (plain && r->action_ <= REPORTED_DELAYED && reply_status(r->diagnostic, text) &&
        (!r->status.len || text[0] == r->status.ptr[0]))
        r->status = arena_sv(a, sv_of(text));
    if (!r->status.len)
        r->status = usual_status(r->action_);
}

static bool add_recipient(struct strview group, struct arena *a, struct inbound_report *ret)
{
    struct inbound_rcpt r = {0};
    char status[16];
    bool has_action = action_of(mime_get(group, "Action", a), &r.action_);

    r.final = dsn_address(mime_get(group, "Final-Recipient", a), a);
    r.original = dsn_address(mime_get(group, "Original-Recipient", a), a);
    if (!r.final.len && !r.original.len) {
        r.final = dsn_address(mime_get(group, "X-Actual-Recipient", a), a);
        if (!r.final.len && !has_action)
            return false;
    }
    if (status_at(mime_get(group, "Status", a), status))
        r.status = arena_sv(a, sv_of(status));
    r.diagnostic = diagnostic(mime_get(group, "Diagnostic-Code", a), a);
    if (!r.diagnostic.len)
        r.diagnostic = diagnostic(mime_get(group, "X-Supplementary-Info", a), a);
    r.remote_mta = name_of_host(mime_get(group, "Remote-MTA", a));
    if (!has_action && !r.status.len && !r.diagnostic.len)
        return false;
    complete(&r, has_action, a);
    if (ret->rcpt_count < INBOUND_RCPTS_MAX)
        ret->rcpts[ret->rcpt_count++] = r;
    return true;
}

static void message_fields(struct strview group, struct arena *a, struct inbound_report *ret)
{
    if (!ret->reporting_mta.len)
        ret->reporting_mta = name_of_host(mime_get(group, "Reporting-MTA", a));
    if (!ret->envid.len)
        ret->envid = mime_get(group, "Original-Envelope-Id", a);
    ret->envid.len = MIN_OF(ret->envid.len, (size_t)100);
}

bool dsn_read(struct strview text, struct arena *a, struct budget *b, struct inbound_report *ret)
{
    struct strview rest = text, line;
    const char *start = NULL;
    bool any = false;

    while (!budget_over(b) && ret->rcpt_count < INBOUND_RCPTS_MAX) {
        bool more = mime_line(&rest, &line);
        if (more && sv_trim(line).len) {
            start = start ? start : line.ptr;
            continue;
        }
        if (start) {
            struct strview group =
                sv(start, (size_t)((more ? line.ptr : text.ptr + text.len) - start));
            message_fields(group, a, ret);
            any |= add_recipient(group, a, ret);
            start = NULL;
        }
        if (!more)
            break;
    }
    return any;
}

enum inbound_kind dsn_kind(const struct inbound_report *r)
{
    for (size_t i = 0; i < r->rcpt_count; i++)
        if (r->rcpts[i].action_ == REPORTED_FAILED)
            return INBOUND_BOUNCE;
    return INBOUND_STATUS;
}
