/*
 * JSON strings (RFC 8259 section 7); see json_text.h.
 */
#include "json_text.h"

/* Length of the UTF-8 sequence at the front of s, or 0 when there is none. Overlong forms,
 * surrogates and what lies above U+10FFFF are none (RFC 3629 section 4). */
static size_t utf8_length(struct strview s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || s.len < len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool bad = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
               (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f);
    return bad ? 0 : len;
}

/* Appends what is at the front of s; how many bytes that was. */
static size_t one(struct buf *out, struct strview s)
{
    unsigned char c = (unsigned char)s.ptr[0];
    if (c == '"' || c == '\\')
        buf_printf(out, "\\%c", c);
    else if (c == '\n')
        buf_append_str(out, "\\n");
    else if (c < 0x20 || c == 0x7f)
        buf_printf(out, "\\u%04x", c);
    else if (c < 0x80)
        buf_append_char(out, (char)c);
    else if (utf8_length(s)) {
        buf_append(out, s.ptr, utf8_length(s));
        return utf8_length(s);
    } else
        buf_append_str(out, "\\ufffd");
    return 1;
}

void json_text(struct buf *out, struct strview s)
{
    buf_append_char(out, '"');
    while (s.len) {
        size_t n = one(out, s);
        s = sv(s.ptr + n, s.len - n);
    }
    buf_append_char(out, '"');
}
