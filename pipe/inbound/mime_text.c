/*
 * Text of MIME parts; see mime_text.h. Charsets go through iconv when they are in the list here,
 * which has what mail servers are known to write; everything else, and every byte that is wrong, is
 * taken as UTF-8 with replacement characters: addresses and codes are ASCII anyway.
 */
#include "inbound/mime_text.h"

#include "mail/address.h"

#include <iconv.h>

static int hex_digit(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (ascii_is_digit(c))
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

static struct strview base64(struct strview in, struct arena *a)
{
    char *out = arena_alloc(a, in.len / 4 * 3 + 4);
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;

    for (size_t i = 0; i < in.len && in.ptr[i] != '='; i++) {
        int d = base64_digit(in.ptr[i]);
        if (d < 0)
            continue;
        bits = bits << 6 | (uint32_t)d;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (char)(bits >> have & 0xff);
        }
    }
    return sv(out, n);
}

/* underscore: a blank, as in encoded words. */
static struct strview quoted_printable(struct strview in, bool underscore, struct arena *a)
{
    char *out = arena_alloc(a, in.len + 1);
    size_t n = 0;

    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        if (c == '=' && i + 2 < in.len + 0 && hex_digit(in.ptr[i + 1]) >= 0 &&
            hex_digit(in.ptr[i + 2]) >= 0) {
            out[n++] = (char)(hex_digit(in.ptr[i + 1]) << 4 | hex_digit(in.ptr[i + 2]));
            i += 2;
        } else if (c == '=' && !underscore) {
            size_t k = i + 1; /* a soft line break */
            while (k < in.len && (in.ptr[k] == ' ' || in.ptr[k] == '\t' || in.ptr[k] == '\r'))
                k++;
            if (k < in.len && in.ptr[k] == '\n')
                i = k;
            else if (k == in.len)
                i = k - 1;
            else
                out[n++] = c;
        } else {
            out[n++] = underscore && c == '_' ? ' ' : c;
        }
    }
    return sv(out, n);
}

struct strview mime_decode(const struct mime_part *p, struct arena *a, struct budget *b)
{
    if (budget_over(b))
        return sv("", 0);
    switch (p->encoding) {
    case MIME_BASE64:
        return base64(p->body, a);
    case MIME_QUOTED_PRINTABLE:
        return quoted_printable(p->body, false, a);
    case MIME_IDENTITY:
        break;
    }
    return p->body;
}

/* --- charsets --- */

/* Length of the well-formed character at the start, 0: none. */
static size_t utf8_length(struct strview s)
{
    unsigned char c = (unsigned char)s.ptr[0];
    size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;

    return n && n <= s.len && address_utf8_ok(sv(s.ptr, n)) ? n : 0;
}

static struct strview repair(struct strview in, struct arena *a)
{
    if (address_utf8_ok(in) && !memchr(in.ptr ? in.ptr : "", '\0', in.len))
        return in;
    char *out = arena_alloc(a, in.len * 3 + 1);
    size_t n = 0;
    for (size_t i = 0; i < in.len;) {
        size_t len = in.ptr[i] ? utf8_length(sv(in.ptr + i, in.len - i)) : 0;
        memcpy(out + n, len ? in.ptr + i : "\xef\xbf\xbd", len ? len : 3);
        n += len ? len : 3;
        i += len ? len : 1;
    }
    return sv(out, n);
}

static const char *iconv_name(struct strview charset)
{
    static const char *const known[] = {
        "iso-8859-1",   "iso-8859-2",   "iso-8859-3",   "iso-8859-4",   "iso-8859-5",
        "iso-8859-7",   "iso-8859-9",   "iso-8859-15",  "windows-1250", "windows-1251",
        "windows-1252", "windows-1253", "windows-1254", "koi8-r",       "koi8-u",
        "iso-2022-jp",  "shift_jis",    "euc-jp",       "euc-kr",       "gb2312",
        "gbk",          "gb18030",      "big5",         "utf-16le",     "utf-16be",
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (sv_eq_nocase(charset, sv_of(known[i])))
            return known[i];
    return NULL;
}

static struct strview convert(iconv_t cd, struct strview in, struct arena *a)
{
    size_t room = in.len * 4 + 16, left = in.len, space = room;
    char *out = arena_alloc(a, room + 1), *to = out, *from = (char *)(uintptr_t)in.ptr;

    while (left && space > 3) {
        if (iconv(cd, &from, &left, &to, &space) != (size_t)-1)
            break;
        if (!left || space <= 3)
            break;
        from++; /* wrong, or cut at the end */
        left--;
        *to++ = '?';
        space--;
    }
    return sv(out, room - space);
}

struct strview mime_utf8(struct strview bytes, struct strview charset, struct arena *a)
{
    const char *name = iconv_name(charset);

    if (!name || !bytes.len)
        return repair(bytes, a);
    iconv_t cd = iconv_open("utf-8", name);
    if (cd == (iconv_t)-1)
        return repair(bytes, a);
    struct strview text = convert(cd, bytes, a);
    iconv_close(cd);
    return repair(text, a);
}

/* --- HTML --- */

static const struct {
    const char *name, *text;
} entities[] = {
    {"lt;", "<"},  {"gt;", ">"},    {"amp;", "&"},  {"quot;", "\""}, {"nbsp;", " "},
    {"#39;", "'"}, {"#x27;", "'"},  {"#64;", "@"},  {"#60;", "<"},   {"#62;", ">"},
    {"apos;", "'"}, {"#34;", "\""},
};

static size_t entity(struct strview at, char *out)
{
    for (size_t i = 0; i < ARRAY_LEN(entities); i++)
        if (sv_starts_nocase(at, sv_of(entities[i].name))) {
            *out = entities[i].text[0];
            return strlen(entities[i].name);
        }
    return 0;
}

static bool tag_is(struct strview tag, const char *name)
{
    size_t n = strlen(name);
    if (tag.len && tag.ptr[0] == '/')
        tag = sv(tag.ptr + 1, tag.len - 1);
    return sv_starts_nocase(tag, sv_of(name)) && (tag.len == n || !ascii_is_alpha(tag.ptr[n]));
}

static bool breaks_line(struct strview tag)
{
    static const char *const names[] = {"br", "p", "div", "tr", "li", "h", "table", "td", "pre"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (tag_is(tag, names[i]))
            return true;
    return tag.len >= 2 && ascii_lower(tag.ptr[0]) == 'h' && ascii_is_digit(tag.ptr[1]);
}

static struct strview plain_of_html(struct strview in, struct arena *a)
{
    char *out = arena_alloc(a, in.len + 1);
    size_t n = 0;
    bool hidden = false, more = true;

    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        struct strview rest = sv(in.ptr + i + 1, in.len - i - 1);
        const char *end = c == '<' && more ? memchr(rest.ptr, '>', rest.len) : NULL;
        if (c == '<' && !end)
            more = false;
        if (end) {
            struct strview tag = sv(rest.ptr, (size_t)(end - rest.ptr));
            if (tag_is(tag, "style") || tag_is(tag, "script") || tag_is(tag, "head"))
                hidden = tag.ptr[0] != '/';
            if (breaks_line(tag))
                out[n++] = '\n';
            i += tag.len + 1;
        } else if (!hidden) {
            out[n] = c;
            i += c == '&' ? entity(rest, &out[n]) : 0;
            n++;
        }
    }
    return sv(out, n);
}

struct strview mime_text(const struct mime_part *p, struct arena *a, struct budget *b)
{
    struct strview raw = mime_decode(p, a, b);
    raw.len = MIN_OF(raw.len, (size_t)MIME_TEXT_MAX);
    struct strview text = mime_utf8(raw, mime_parameter(p->content_type, "charset", a), a);

    if (sv_eq(p->type, SV("text/html")))
        text = plain_of_html(text, a);
    return text;
}

/* --- encoded words --- */

/* "=?charset?Q?text?=" at the start of in; its length, 0: it is none. */
static size_t encoded_word(struct strview in, struct arena *a, struct strview *ret)
{
    const char *end = in.ptr + in.len;
    const char *cs = in.ptr + 2, *q1 = memchr(cs, '?', (size_t)(end - cs));

    if (!q1 || end - q1 < 5 || q1[2] != '?')
        return 0;
    const char *text = q1 + 3, *q2 = memchr(text, '?', (size_t)(end - text));
    if (!q2 || q2 + 1 >= end || q2[1] != '=')
        return 0;
    struct strview raw = sv(text, (size_t)(q2 - text));
    char kind = ascii_lower(q1[1]);
    if (kind != 'q' && kind != 'b')
        return 0;
    raw = kind == 'b' ? base64(raw, a) : quoted_printable(raw, true, a);
    struct strview charset = sv(cs, (size_t)(q1 - cs));
    ptrdiff_t star = sv_find(charset, '*');
    if (star >= 0)
        charset.len = (size_t)star;
    *ret = mime_utf8(raw, charset, a);
    return (size_t)(q2 + 2 - in.ptr);
}

struct strview mime_words(struct strview value, struct arena *a)
{
    struct buf out = {0};
    struct strview word;
    bool after_word = false;

    value.len = MIN_OF(value.len, (size_t)4096);
    for (size_t i = 0; i < value.len;) {
        struct strview rest = sv(value.ptr + i, value.len - i);
        size_t used = rest.len > 6 && rest.ptr[0] == '=' && rest.ptr[1] == '?'
                          ? encoded_word(rest, a, &word)
                          : 0;
        size_t blanks = 0;
        while (blanks < rest.len && rest.ptr[blanks] == ' ')
            blanks++;
        if (used) {
            buf_append_sv(&out, word);
            i += used;
            after_word = true;
        } else if (after_word && blanks && rest.len - blanks > 2 &&
                   memcmp(rest.ptr + blanks, "=?", 2) == 0) {
            i += blanks; /* between two of them blanks say nothing */
            after_word = false;
        } else {
            buf_append_char(&out, value.ptr[i++]);
            after_word = false;
        }
    }
    struct strview ret = arena_sv(a, repair(buf_view(&out), a));
    buf_free(&out);
    return ret;
}
