/*
 * A look at one JSON object; see json_scan.h. record.c asks, with lines of accounting files and of
 * dead letters, and with whatever a damaged disk gives: total on any bytes.
 */
#include "json_scan.h"

enum { DEPTH_MAX = 16 };

struct scan {
    const char *at, *end;
};

size_t utf8_sequence(struct strview s)
{
    unsigned char c = s.len ? (unsigned char)s.ptr[0] : 0x80;
    size_t n = c < 0x80                ? 1
               : c >= 0xc2 && c < 0xe0 ? 2
               : c >= 0xe0 && c < 0xf0 ? 3
               : c >= 0xf0 && c < 0xf5 ? 4
                                       : 0;

    if (!n || n > s.len)
        return 0;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)s.ptr[i] & 0xc0) != 0x80)
            return 0;
    unsigned second = n > 1 ? (unsigned char)s.ptr[1] : 0;
    /* over-long forms, surrogates, beyond U+10FFFF */
    if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second >= 0xa0) ||
        (c == 0xf0 && second < 0x90) || (c == 0xf4 && second >= 0x90))
        return 0;
    return n;
}

static void skip_white(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\r' || *s->at == '\n'))
        s->at++;
}

static bool take(struct scan *s, char c)
{
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static bool is_hex(char c)
{
    c = ascii_lower(c);
    return ascii_is_digit(c) || (c >= 'a' && c <= 'f');
}

static bool scan_escape(struct scan *s)
{
    if (s->at == s->end)
        return false;
    char c = *s->at++;
    if (c != 'u')
        return memchr("\"\\/bfnrt", c, 8) != NULL;
    for (int i = 0; i < 4; i++)
        if (s->at == s->end || !is_hex(*s->at++))
            return false;
    return true;
}

/* *ret is what stands between the quotes. */
static bool scan_string(struct scan *s, struct strview *ret)
{
    if (!take(s, '"'))
        return false;
    ret->ptr = s->at;
    while (s->at < s->end) {
        unsigned char c = (unsigned char)*s->at;
        if (c == '"') {
            ret->len = (size_t)(s->at++ - ret->ptr);
            return true;
        }
        if (c < 0x20)
            return false;
        if (c == '\\') {
            s->at++;
            if (!scan_escape(s))
                return false;
            continue;
        }
        size_t n = c < 0x80 ? 1 : utf8_sequence(sv(s->at, (size_t)(s->end - s->at)));
        if (!n)
            return false;
        s->at += n;
    }
    return false;
}

static size_t scan_digits(struct scan *s)
{
    size_t n = 0;

    for (; s->at < s->end && ascii_is_digit(*s->at); s->at++)
        n++;
    return n;
}

static bool scan_number(struct scan *s)
{
    take(s, '-');
    bool zero = s->at < s->end && *s->at == '0';
    size_t n = scan_digits(s);
    if (!n || (zero && n > 1))
        return false;
    if (take(s, '.') && !scan_digits(s))
        return false;
    if (take(s, 'e') || take(s, 'E')) {
        if (!take(s, '+'))
            take(s, '-');
        return scan_digits(s) > 0;
    }
    return true;
}

static bool scan_word(struct scan *s, struct strview word)
{
    if ((size_t)(s->end - s->at) < word.len || memcmp(s->at, word.ptr, word.len) != 0)
        return false;
    s->at += word.len;
    return true;
}

static bool scan_value(struct scan *s, unsigned depth, struct strview *ret);

static bool scan_array(struct scan *s, unsigned depth)
{
    struct strview ignored;

    s->at++;
    skip_white(s);
    if (take(s, ']'))
        return true;
    do {
        skip_white(s);
        if (!scan_value(s, depth + 1, &ignored))
            return false;
        skip_white(s);
    } while (take(s, ','));
    return take(s, ']');
}

static bool scan_members(struct scan *s, unsigned depth, struct json_wanted *wanted, size_t count)
{
    struct strview key, value;

    s->at++;
    skip_white(s);
    if (take(s, '}'))
        return true;
    do {
        skip_white(s);
        if (!scan_string(s, &key))
            return false;
        skip_white(s);
        if (!take(s, ':'))
            return false;
        skip_white(s);
        if (!scan_value(s, depth + 1, &value))
            return false;
        for (size_t i = 0; i < count; i++) {
            if (!sv_eq(key, sv_of(wanted[i].key)))
                continue;
            wanted[i].value = value;
            wanted[i].seen = true;
        }
        skip_white(s);
    } while (take(s, ','));
    return take(s, '}');
}

static bool scan_value(struct scan *s, unsigned depth, struct strview *ret)
{
    const char *begin = s->at;
    bool ok;

    if (s->at == s->end || depth > DEPTH_MAX)
        return false;
    switch (*s->at) {
    case '"':
        return scan_string(s, ret);
    case '{':
        ok = scan_members(s, depth, NULL, 0);
        break;
    case '[':
        ok = scan_array(s, depth);
        break;
    case 't':
        ok = scan_word(s, SV("true"));
        break;
    case 'f':
        ok = scan_word(s, SV("false"));
        break;
    case 'n':
        ok = scan_word(s, SV("null"));
        break;
    default:
        ok = scan_number(s);
    }
    *ret = sv(begin, (size_t)(s->at - begin));
    return ok;
}

bool json_scan_object(struct strview line, struct json_wanted *wanted, size_t count)
{
    struct scan s = {line.ptr, line.ptr + line.len};

    skip_white(&s);
    if (s.at == s.end || *s.at != '{' || !scan_members(&s, 0, wanted, count))
        return false;
    skip_white(&s);
    return s.at == s.end;
}
