/*
 * Encodings of notices; see dsn_encode.h. Called by dsn_letter.c and dsn_status.c. Total on any
 * bytes: replies and headers are what peers and applications made of them.
 */
#include "dsn/dsn_encode.h"

#include <stdio.h>

enum {
    LINE_MAX_BYTES = 990, /* RFC 5321 section 4.5.3.1.6: 998 and CRLF */
    FOLD_AT = 76,
    QUOTED_LINE = 75, /* and the = of a soft line end */
    WORD_BYTES = 42,  /* of one encoded word: 56 in base 64, 75 with its frame */
};

bool dsn_is_8bit(struct strview s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] >= 0x80)
            return true;
    return false;
}

static bool is_inside_char(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* At most `most` bytes of s, not within a character of UTF-8. */
static size_t piece(struct strview s, size_t most)
{
    size_t n = MIN_OF(s.len, most);

    while (n < s.len && n + 4 > most && n > 1 && is_inside_char(s.ptr[n]))
        n--;
    return n;
}

/* --- lines --- */

static void line(struct wire *w, struct strview s)
{
    if (s.len && s.ptr[0] == '.') {
        buf_append_char(w->out, '.');
        w->stuffed_dots++;
    }
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        w->is_8bit |= c >= 0x80;
        buf_append_char(w->out, (c < 0x20 && c != '\t') || c == 0x7f ? ' ' : (char)c);
    }
    buf_append(w->out, "\r\n", 2);
}

/* The next line without its end; false: there is none. */
static bool next_line(struct strview *rest, struct strview *ret)
{
    if (!rest->len)
        return false;
    sv_split(rest, '\n', ret);
    if (ret->len && ret->ptr[ret->len - 1] == '\r')
        ret->len--;
    return true;
}

void wire_text(struct wire *w, struct strview text)
{
    struct strview l;

    while (next_line(&text, &l))
        do {
            size_t n = piece(l, LINE_MAX_BYTES);
            line(w, sv(l.ptr, n));
            l = sv(l.ptr + n, l.len - n);
        } while (l.len);
}

/* --- quoted-printable --- */

static size_t quoted_char(struct strview l, size_t i, char out[4])
{
    unsigned char c = (unsigned char)l.ptr[i];
    bool is_blank = c == ' ' || c == '\t';
    bool plain = (c > 0x20 && c < 0x7f && c != '=') || (is_blank && i + 1 < l.len);

    if (!plain) {
        snprintf(out, 4, "=%02X", c);
        return 3;
    }
    out[0] = (char)c;
    return 1;
}

static void quoted_line(struct wire *w, struct strview l)
{
    char now[QUOTED_LINE + 4], one[4];
    size_t n = 0;

    for (size_t i = 0; i < l.len; i++) {
        size_t len = quoted_char(l, i, one);
        if (n + len > QUOTED_LINE) {
            now[n++] = '=';
            line(w, sv(now, n));
            n = 0;
        }
        memcpy(now + n, one, len);
        n += len;
    }
    line(w, sv(now, n));
}

void wire_quoted(struct wire *w, struct strview text)
{
    struct strview l;

    while (next_line(&text, &l))
        quoted_line(w, l);
}

/* --- what the spool has --- */

void wire_stored(struct wire *w, struct strview stored)
{
    struct strview rest = stored, l;

    w->is_8bit |= dsn_is_8bit(stored);
    while (next_line(&rest, &l))
        w->stuffed_dots += l.len && l.ptr[0] == '.';
    buf_append_sv(w->out, stored);
    if (stored.len && stored.ptr[stored.len - 1] != '\n')
        buf_append(w->out, "\r\n", 2);
}

void wire_stored_quoted(struct wire *w, struct strview stored)
{
    struct strview l;

    while (next_line(&stored, &l)) {
        if (l.len && l.ptr[0] == '.')
            l = sv(l.ptr + 1, l.len - 1);
        quoted_line(w, l);
    }
}

/* --- header fields --- */

static char plain(char c, bool utf8)
{
    unsigned char u = (unsigned char)c;

    if (u < 0x20 || u == 0x7f)
        return ' ';
    return u >= 0x80 && !utf8 ? '?' : c;
}

/* Where to fold s, which has `used` bytes of its line before it: behind that many bytes comes a
 * blank. All of it: not at all. */
static size_t fold_at(struct strview s, size_t used)
{
    size_t best = 0;

    if (used + s.len <= FOLD_AT)
        return s.len;
    for (size_t i = 1; i < s.len; i++) {
        if (s.ptr[i] != ' ' && s.ptr[i] != '\t')
            continue;
        if (used + i > FOLD_AT && best)
            return best;
        best = i;
        if (used + i > FOLD_AT)
            return best;
    }
    return used + s.len > FOLD_AT && best ? best : s.len;
}

static void field_text(struct wire *w, struct strview value, size_t used, bool utf8)
{
    struct buf clean = {0};
    struct strview rest;

    value = sv_trim(value);
    for (size_t i = 0; i < value.len; i++)
        buf_append_char(&clean, plain(value.ptr[i], utf8));
    rest = sv_trim(buf_view(&clean));
    w->is_8bit |= dsn_is_8bit(rest);
    while (rest.len) {
        size_t n = fold_at(rest, used);
        if (n > LINE_MAX_BYTES - used)
            n = piece(rest, LINE_MAX_BYTES - used);
        buf_append(w->out, rest.ptr, n);
        rest = sv_trim(sv(rest.ptr + n, rest.len - n));
        used = 1;
        if (rest.len)
            buf_append_str(w->out, "\r\n ");
    }
    buf_append(w->out, "\r\n", 2);
    buf_free(&clean);
}

void wire_field(struct wire *w, const char *name, struct strview value, bool utf8)
{
    buf_printf(w->out, "%s: ", name);
    field_text(w, value, strlen(name) + 2, utf8);
}

static void put_base64(struct strview s, struct buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < s.len; i += 3) {
        uint32_t n = 0;
        for (size_t k = 0; k < 3; k++)
            n = n << 8 | (i + k < s.len ? (unsigned char)s.ptr[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            buf_append_char(out, i + k > s.len ? '=' : digits[n >> (18 - 6 * k) & 63]);
    }
}

/* "Größe <a@b>" keeps its address as it is: only what stands before " <" is encoded. */
void wire_field_encoded(struct wire *w, const char *name, struct strview value, bool utf8)
{
    struct buf words = {0};
    struct strview text = value, address = {NULL, 0};

    if (utf8 || !dsn_is_8bit(value)) {
        wire_field(w, name, value, utf8);
        return;
    }
    for (size_t i = value.len; i > 1; i--)
        if (value.ptr[value.len - 1] == '>' && value.ptr[i - 1] == '<' && value.ptr[i - 2] == ' ') {
            text = sv(value.ptr, i - 2);
            address = sv(value.ptr + i - 1, value.len - i + 1);
            break;
        }
    while (text.len) {
        size_t n = piece(text, WORD_BYTES);
        struct buf clean = {0};
        for (size_t i = 0; i < n; i++)
            buf_append_char(&clean, plain(text.ptr[i], true));
        buf_printf(&words, "%s=?utf-8?B?", buf_len(&words) ? " " : "");
        put_base64(buf_view(&clean), &words);
        buf_append_str(&words, "?=");
        buf_free(&clean);
        text = sv(text.ptr + n, text.len - n);
    }
    if (address.len)
        buf_printf(&words, " %.*s", SV_ARG(address));
    wire_field(w, name, buf_view(&words), false);
    buf_free(&words);
}

/* --- xtext --- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void dsn_unxtext(struct strview x, struct buf *out)
{
    for (size_t i = 0; i < x.len; i++) {
        bool coded =
            x.ptr[i] == '+' && i + 2 < x.len && hex(x.ptr[i + 1]) >= 0 && hex(x.ptr[i + 2]) >= 0;
        if (coded)
            buf_append_char(out, (char)(hex(x.ptr[i + 1]) * 16 + hex(x.ptr[i + 2])));
        else
            buf_append_char(out, x.ptr[i]);
        i += coded ? 2 : 0;
    }
}
