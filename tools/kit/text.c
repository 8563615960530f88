/*
 * text: see text.h. Called by the summaries of both tools; appends to a buf that the caller owns.
 */
#include "kit/text.h"

#include <inttypes.h>
#include <stdio.h>

char *text_count(uint64_t n, char *out)
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);
    char *p = out;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            *p++ = ',';
        *p++ = digits[i];
    }
    *p = '\0';
    return out;
}

char *text_bytes(uint64_t n, char *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)n;
    unsigned unit = 0;
    while (v >= 1023.95 && unit < ARRAY_LEN(units) - 1) {
        v /= 1024;
        unit++;
    }
    snprintf(out, TEXT_SIZE, "%.*f %s", unit ? 1 : 0, v, units[unit]);
    return out;
}

/* Length of the well-formed UTF-8 sequence at p (at most `left` bytes), or 0. */
static size_t utf8_length(const unsigned char *p, size_t left)
{
    static const struct {
        unsigned char first, last, low, high;
        size_t len;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (p[0] < forms[i].first || p[0] > forms[i].last)
            continue;
        if (left < forms[i].len || p[1] < forms[i].low || p[1] > forms[i].high)
            return 0;
        for (size_t k = 2; k < forms[i].len; k++)
            if ((p[k] & 0xc0) != 0x80)
                return 0;
        return forms[i].len;
    }
    return 0;
}

void text_json(struct buf *out, struct strview s)
{
    buf_append_char(out, '"');
    for (size_t i = 0; i < s.len;) {
        const unsigned char *p = (const unsigned char *)s.ptr + i;
        size_t len = *p < 0x80 ? 1 : utf8_length(p, s.len - i);
        if (*p == '"' || *p == '\\')
            buf_printf(out, "\\%c", *p);
        else if (*p < 0x20)
            buf_printf(out, "\\u%04x", *p);
        else if (len == 0)
            buf_append_str(out, "\xef\xbf\xbd");
        else
            buf_append(out, p, len);
        i += len ? len : 1;
    }
    buf_append_char(out, '"');
}

void text_row(struct buf *out, const char *label, const char *fmt, ...)
{
    va_list ap;
    buf_printf(out, "  %-22s ", label);
    va_start(ap, fmt);
    buf_vprintf(out, fmt, ap);
    va_end(ap);
    buf_append_char(out, '\n');
}

void text_codes_list(const struct text_codes *c, struct buf *out)
{
    const char *separator = "";
    for (int code = 0; code < 1000; code++) {
        if (!c->counts[code])
            continue;
        buf_printf(out, "%s%d × %" PRIu64, separator, code, c->counts[code]);
        separator = ", ";
    }
    if (!*separator)
        buf_append_str(out, "none");
}

void text_codes_json(const struct text_codes *c, struct buf *out)
{
    const char *separator = "";
    buf_append_char(out, '{');
    for (int code = 0; code < 1000; code++) {
        if (!c->counts[code])
            continue;
        buf_printf(out, "%s\"%d\":%" PRIu64, separator, code, c->counts[code]);
        separator = ",";
    }
    buf_append_char(out, '}');
}
