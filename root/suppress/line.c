/*
 * Lines of lists; see line.h. Called by verbs.c for import and export, and by the fuzz target: a line
 * is what an operator's file has, so anything at all. Owns no memory.
 */
#include "line.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/units.h"

#include <time.h>

static const char *const names[] = {
#define COLUMN_NAME(id, name) name,
    LINE_COLUMNS(COLUMN_NAME)
#undef COLUMN_NAME
};

const char *line_column_name(enum line_column c)
{
    return names[c];
}

/* --- CSV --- */

/* Takes the quoted field behind *rest's first quote; false: it does not end. */
static bool take_quoted(struct strview *rest, char **to, struct strview *ret)
{
    char *begin = *to;
    size_t i = 1;

    for (;; i++) {
        if (i >= rest->len)
            return false;
        if (rest->ptr[i] == '"' && (i + 1 == rest->len || rest->ptr[i + 1] != '"'))
            break;
        i += rest->ptr[i] == '"';
        *(*to)++ = rest->ptr[i];
    }
    *ret = sv(begin, (size_t)(*to - begin));
    *rest = sv(rest->ptr + i + 1, rest->len - i - 1);
    return true;
}

/* The number of fields, or ERR_SYNTAX. */
static int split(struct strview line, char *scratch, struct strview *fields, struct err *e)
{
    int n = 0;

    for (bool more = true; more; n++) {
        if (n == LINE_FIELDS_MAX)
            return err_set(e, ERR_SYNTAX, "more than %d fields", LINE_FIELDS_MAX);
        while (line.len && line.ptr[0] == ' ')
            line = sv(line.ptr + 1, line.len - 1);
        if (line.len && line.ptr[0] == '"') {
            if (!take_quoted(&line, &scratch, &fields[n]))
                return err_set(e, ERR_SYNTAX, "a quote is not closed");
            line = sv_trim(line);
            if (line.len && line.ptr[0] != ',')
                return err_set(e, ERR_SYNTAX, "a comma is expected behind a closing quote");
        } else {
            ptrdiff_t comma = sv_find(line, ',');
            size_t len = comma < 0 ? line.len : (size_t)comma;
            fields[n] = sv_trim(sv(line.ptr, len));
            line = sv(line.ptr + len, line.len - len);
        }
        more = line.len > 0;
        if (more)
            line = sv(line.ptr + 1, line.len - 1);
    }
    return n;
}

void line_put(struct buf *out, struct strview field)
{
    bool quote = false;

    for (size_t i = 0; i < field.len && !quote; i++)
        quote = field.ptr[i] == '"' || field.ptr[i] == ',' || field.ptr[i] == '#' ||
                (unsigned char)field.ptr[i] < 0x20;
    quote = quote || (field.len && (field.ptr[0] == ' ' || field.ptr[field.len - 1] == ' '));
    if (quote)
        buf_append_char(out, '"');
    for (size_t i = 0; i < field.len; i++) {
        char c = field.ptr[i];
        if (c == '"')
            buf_append_char(out, c);
        buf_append_char(out, (unsigned char)c < 0x20 || c == 0x7f ? ' ' : c); /* one line each */
    }
    if (quote)
        buf_append_char(out, '"');
}

/* --- header --- */

void line_form_default(struct line_form *ret)
{
    for (int i = 0; i < LINE_COLUMN_COUNT; i++)
        ret->field[i] = (int8_t)i;
}

int line_form_parse(struct strview header, struct line_form *ret, struct err *e)
{
    struct strview fields[LINE_FIELDS_MAX];
    char scratch[LINE_MAX_BYTES];

    if (header.len > sizeof(scratch))
        return err_set(e, ERR_SYNTAX, "the header line is longer than %d bytes", LINE_MAX_BYTES);
    int n = split(header, scratch, fields, e);
    if (n < 0)
        return n;
    memset(ret->field, -1, sizeof(ret->field));
    for (int i = n - 1; i >= 0; i--)
        for (int c = 0; c < LINE_COLUMN_COUNT; c++)
            if (sv_eq_nocase(fields[i], sv_of(names[c])))
                ret->field[c] = (int8_t)i;
    if (ret->field[LINE_ADDRESS] < 0)
        return err_set(e, ERR_SYNTAX, "the header line has no column 'address'");
    return 0;
}

/* --- values --- */

int line_scope(struct strview text, enum suppress_scope *ret, struct strview *ret_name,
               struct err *e)
{
    size_t n = 0;

    text = sv_trim(text);
    while (n < text.len && text.ptr[n] != ':' && text.ptr[n] != ' ')
        n++;
    *ret = suppress_scope_find(sv(text.ptr, n));
    *ret_name = n < text.len ? sv_trim(sv(text.ptr + n + 1, text.len - n - 1)) : sv("", 0);
    if (*ret == SUPPRESS_SCOPE_COUNT)
        return err_set(e, ERR_SYNTAX,
                       "no scope '%s' (expected global, pipe:NAME, domain:NAME or job:NAME)",
                       log_safe(text.ptr, text.len, 60));
    if ((*ret == SUPPRESS_GLOBAL) != (ret_name->len == 0))
        return err_set(e, ERR_SYNTAX, "scope %s %s (expected %s)", suppress_scope_name(*ret),
                       ret_name->len ? "has no name" : "needs a name",
                       ret_name->len ? "global" : "such as job:NAME");
    return 0;
}

static bool parse_time(struct strview text, int64_t *ret)
{
    static const char *const forms[] = {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"};
    char copy[32];

    if (text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct tm tm = {0};
        const char *end = strptime(copy, forms[i], &tm);
        if (!end || *end || tm.tm_year < 70)
            continue;
        *ret = (int64_t)timegm(&tm) * 1000;
        return *ret > 0;
    }
    return false;
}

int line_expires(struct strview text, int64_t now_ms, int64_t *ret, struct err *e)
{
    int64_t interval;

    text = sv_trim(text);
    *ret = 0;
    if (!text.len || sv_eq_nocase(text, SV("never")) || parse_time(text, ret))
        return 0;
    if (units_parse_interval(text, &interval) < 0 || interval <= 0 || interval > INT64_MAX - now_ms)
        return err_set(e, ERR_SYNTAX,
                       "'%s' is no time (expected never, an interval such as 90d, or a date such "
                       "as 2027-01-31)",
                       log_safe(text.ptr, text.len, 40));
    *ret = now_ms + interval;
    return 0;
}

/* --- a line --- */

static struct strview field_of(const struct line_form *form, const struct strview *fields,
                               int count, enum line_column c)
{
    int i = form->field[c];
    return i >= 0 && i < count ? fields[i] : sv("", 0);
}

int line_parse(struct strview line, const struct line_form *form, int64_t now_ms, char *scratch,
               struct suppress_entry *ret, struct err *e)
{
    struct strview fields[LINE_FIELDS_MAX], v;

    if (line.len > LINE_MAX_BYTES)
        return err_set(e, ERR_SYNTAX, "longer than %d bytes", LINE_MAX_BYTES);
    line = sv_trim(line);
    if (!line.len || line.ptr[0] == '#')
        return 1;
    int n = split(line, scratch, fields, e), code = 0;
    if (n < 0)
        return n;
    ret->address = field_of(form, fields, n, LINE_ADDRESS);
    if (!ret->address.len)
        return err_set(e, ERR_SYNTAX, "there is no address");
    if ((v = field_of(form, fields, n, LINE_SCOPE)).len)
        code = line_scope(v, &ret->scope, &ret->scope_name, e);
    if (code == 0 && (v = field_of(form, fields, n, LINE_REASON)).len &&
        (ret->reason = suppress_reason_find(v)) == SUPPRESS_REASON_COUNT)
        code = err_set(e, ERR_SYNTAX,
                       "no reason '%s' (expected manual, bounce, complaint or unsubscribe)",
                       log_safe(v.ptr, v.len, 40));
    if (code == 0 && (v = field_of(form, fields, n, LINE_EXPIRES)).len)
        code = line_expires(v, now_ms, &ret->expires_ms, e);
    if ((v = field_of(form, fields, n, LINE_NOTE)).len)
        ret->note = v;
    return code;
}
