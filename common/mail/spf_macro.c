/*
 * Macros of SPF records (RFC 7208 section 7). Called by spf.c for each domain-spec, by spf_record.c
 * for the syntax.
 */
#include "base/clock.h"
#include "mail/spf_int.h"

#include <arpa/inet.h>
#include <stdio.h>

static const char delimiters[] = ".-+,/_=";

struct macro {
    char letter; /* lower case */
    bool escape; /* upper case letter: URL-escaped */
    unsigned keep;
    bool reverse;
    char split[sizeof(delimiters)];
};

/* Reads "{s10r.-}" behind the percent sign; returns its length or 0. */
static size_t parse(struct strview s, bool exp, struct macro *ret)
{
    size_t i = 1, n = 0;

    *ret = (struct macro){0};
    if (s.len < 3 || s.ptr[0] != '{')
        return 0;
    ret->letter = ascii_lower(s.ptr[i]);
    ret->escape = ret->letter != s.ptr[i];
    if (!ret->letter || !strchr(exp ? "slodiphcrtv" : "slodiphv", ret->letter))
        return 0;
    for (i++; i < s.len && ascii_is_digit(s.ptr[i]); i++)
        ret->keep = MIN_OF(ret->keep * 10 + (unsigned)(s.ptr[i] - '0'), 1000u);
    if (i > 2 && !ret->keep)
        return 0;
    if (i < s.len && ascii_lower(s.ptr[i]) == 'r') {
        ret->reverse = true;
        i++;
    }
    for (; i < s.len && s.ptr[i] != '}'; i++) {
        if (!s.ptr[i] || !strchr(delimiters, s.ptr[i]) || n + 1 >= sizeof(ret->split))
            return 0;
        ret->split[n++] = s.ptr[i];
    }
    return i < s.len ? i + 1 : 0;
}

static void dotted(const struct spf_macros *m, char *out, size_t size)
{
    size_t n = 0;

    if (!m->is_v6) {
        inet_ntop(AF_INET, m->address, out, (socklen_t)size);
        return;
    }
    for (int i = 0; i < 32 && n + 2 < size; i++) {
        unsigned nibble = m->address[i / 2] >> (i % 2 ? 0 : 4) & 15;
        n += (size_t)snprintf(out + n, size - n, i ? ".%x" : "%x", nibble);
    }
}

static struct strview value_of(const struct spf_macros *m, char letter, char *room, size_t size)
{
    switch (letter) {
    case 's':
        return m->sender;
    case 'l':
        return m->local;
    case 'o':
        return m->sender_domain;
    case 'd':
        return m->domain;
    case 'p':
        return m->validated.len ? m->validated : SV("unknown");
    case 'h':
        return m->helo;
    case 'i':
        dotted(m, room, size);
        return sv_of(room);
    case 'c':
        inet_ntop(m->is_v6 ? AF_INET6 : AF_INET, m->address, room, (socklen_t)size);
        return sv_of(room);
    case 'v':
        return m->is_v6 ? SV("ip6") : SV("in-addr");
    case 't':
        snprintf(room, size, "%lld", (long long)(clock_wall_ms() / 1000));
        return sv_of(room);
    default:
        return SV("unknown");
    }
}

static void put_escaped(struct buf *out, struct strview s, bool escape)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool plain = ascii_is_alpha(c) || ascii_is_digit(c) || (c && strchr("-._~", c));
        if (escape && !plain)
            buf_printf(out, "%%%02X", (unsigned char)c);
        else
            buf_append_char(out, c);
    }
}

/* Splits, reverses, keeps the last parts, joins with dots. */
static void transform(struct buf *out, struct strview value, const struct macro *mc)
{
    enum { MAX = 128 };
    struct strview parts[MAX];
    const char *split = mc->split[0] ? mc->split : ".";
    size_t count = 0, begin = 0;

    if (!value.len)
        return;
    for (size_t i = 0; i <= value.len && count < MAX; i++) {
        if (i < value.len && (!value.ptr[i] || !strchr(split, value.ptr[i])))
            continue;
        parts[count++] = sv(value.ptr + begin, i - begin);
        begin = i + 1;
    }
    size_t skip = mc->keep && mc->keep < count ? count - mc->keep : 0;
    for (size_t i = skip; i < count; i++) {
        if (i > skip)
            buf_append_char(out, '.');
        put_escaped(out, parts[mc->reverse ? count - 1 - i : i], mc->escape);
    }
}

static int expand_one(struct buf *out, struct strview *s, const struct spf_macros *m, bool exp)
{
    char room[80];
    struct macro mc;
    size_t used = 1;

    if (!s->len)
        return ERR_SYNTAX;
    if (s->ptr[0] == '%')
        buf_append_char(out, '%');
    else if (s->ptr[0] == '_')
        buf_append_char(out, ' ');
    else if (s->ptr[0] == '-')
        buf_append_str(out, "%20");
    else if ((used = parse(*s, exp, &mc)) == 0)
        return ERR_SYNTAX;
    else if (mc.split[0] || mc.keep || mc.reverse)
        transform(out, value_of(m, mc.letter, room, sizeof(room)), &mc);
    else
        put_escaped(out, value_of(m, mc.letter, room, sizeof(room)), mc.escape);
    *s = sv(s->ptr + used, s->len - used);
    return 0;
}

int spf_macro_expand(struct buf *out, struct strview text, const struct spf_macros *m, bool exp)
{
    while (text.len) {
        char c = text.ptr[0];
        text = sv(text.ptr + 1, text.len - 1);
        if (c != '%')
            buf_append_char(out, c);
        else if (expand_one(out, &text, m, exp) < 0)
            return ERR_SYNTAX;
        if (buf_len(out) > 4 * SPF_MAX_RECORD)
            return ERR_SYNTAX;
    }
    return 0;
}

int spf_macro_check(struct strview text, bool exp)
{
    struct spf_macros none = {0};
    struct buf out = {0};

    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < (exp ? 0x20 : 0x21) || (unsigned char)text.ptr[i] > 0x7e)
            return ERR_SYNTAX;
    int r = spf_macro_expand(&out, text, &none, exp);
    buf_free(&out);
    return r;
}

static bool is_top_label(struct strview s)
{
    bool letter = false;

    for (size_t i = 0; i < s.len; i++) {
        if (!ascii_is_alpha(s.ptr[i]) && !ascii_is_digit(s.ptr[i]) && s.ptr[i] != '-')
            return false;
        letter |= !ascii_is_digit(s.ptr[i]);
    }
    return letter && s.ptr[0] != '-' && s.ptr[s.len - 1] != '-';
}

int spf_domain_spec_check(struct strview text)
{
    size_t label = 0, macro_end = 0; /* where the last label begins, the last macro ends */

    if (spf_macro_check(text, false) < 0)
        return ERR_SYNTAX;
    if (text.len && text.ptr[text.len - 1] == '.')
        text.len--;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '.')
            label = i + 1;
        if (text.ptr[i] != '%')
            continue;
        if (text.ptr[++i] == '{')
            while (text.ptr[i] != '}')
                i++;
        macro_end = i + 1;
    }
    if (macro_end && macro_end == text.len)
        return 0;
    return label > 1 && macro_end < label && is_top_label(sv(text.ptr + label, text.len - label))
               ? 0
               : ERR_SYNTAX;
}

bool spf_macro_uses_p(struct strview text)
{
    for (size_t i = 0; i + 2 < text.len; i++)
        if (text.ptr[i] == '%' && text.ptr[i + 1] == '{' && ascii_lower(text.ptr[i + 2]) == 'p')
            return true;
    return false;
}
