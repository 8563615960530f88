/*
 * RFC 5321 paths; see address.h. One pass over the bytes, cursor style: each take_… function moves
 * the cursor past what it recognised and returns how many bytes that were, 0 when it is not there.
 */
#include "mail/address.h"

#include <arpa/inet.h>

/* RFC 5322 section 3.2.3 */
static bool is_atext(unsigned char c)
{
    return ascii_is_alpha((char)c) || ascii_is_digit((char)c) ||
           (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static bool is_continuation(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

/* Length of the well-formed multi-byte character at p (RFC 3629 section 4), or 0. */
static size_t utf8_char(const unsigned char *p, size_t len)
{
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        return len >= 2 && is_continuation(p[1]) ? 2 : 0;
    if ((p[0] & 0xf0) == 0xe0) {
        if (len < 3 || !is_continuation(p[1]) || !is_continuation(p[2]))
            return 0;
        if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f))
            return 0;
        return 3;
    }
    if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        if (len < 4 || !is_continuation(p[1]) || !is_continuation(p[2]) || !is_continuation(p[3]))
            return 0;
        if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
            return 0;
        return 4;
    }
    return 0;
}

bool address_utf8_ok(struct strview s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;

    for (size_t i = 0; i < s.len;) {
        size_t n = p[i] < 0x80 ? 1 : utf8_char(p + i, s.len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

/* Bytes of the character at s[at] when it may stand in an atom, else 0. */
static size_t atom_char(struct strview s, size_t at, unsigned flags)
{
    unsigned char c = (unsigned char)s.ptr[at];
    if (c < 0x80)
        return is_atext(c);
    return flags & ADDRESS_UTF8 ? utf8_char((const unsigned char *)s.ptr + at, s.len - at) : 0;
}

static size_t take_dot_string(struct strview s, unsigned flags)
{
    size_t at = 0;
    bool after_dot = true;

    while (at < s.len) {
        if (s.ptr[at] == '.') {
            if (after_dot)
                return 0;
            after_dot = true;
            at++;
            continue;
        }
        size_t n = atom_char(s, at, flags);
        if (n == 0)
            break;
        after_dot = false;
        at += n;
    }
    return after_dot ? 0 : at;
}

static size_t take_quoted_string(struct strview s, unsigned flags)
{
    for (size_t at = 1; at < s.len;) {
        unsigned char c = (unsigned char)s.ptr[at];
        if (c == '"')
            return at + 1;
        if (c == '\\') {
            if (at + 1 >= s.len || s.ptr[at + 1] < 0x20 || s.ptr[at + 1] > 0x7e)
                return 0;
            at += 2;
        } else if (c >= 0x80) {
            size_t n = 0;
            if (flags & ADDRESS_UTF8)
                n = utf8_char((const unsigned char *)s.ptr + at, s.len - at);
            if (n == 0)
                return 0;
            at += n;
        } else if (c < 0x20 || c == 0x7f) {
            return 0;
        } else {
            at++;
        }
    }
    return 0;
}

static size_t take_local_part(struct strview s, unsigned flags)
{
    size_t n = s.len && s.ptr[0] == '"' ? take_quoted_string(s, flags) : take_dot_string(s, flags);
    return n <= ADDRESS_LOCAL_MAX ? n : 0;
}

static bool is_label(struct strview s, unsigned flags)
{
    if (s.len == 0 || s.len > 63 || s.ptr[0] == '-' || s.ptr[s.len - 1] == '-')
        return false;
    for (size_t at = 0; at < s.len;) {
        unsigned char c = (unsigned char)s.ptr[at];
        size_t n = 1;
        if (c >= 0x80)
            n = flags & ADDRESS_UTF8 ? utf8_char((const unsigned char *)s.ptr + at, s.len - at) : 0;
        else if (!ascii_is_alpha((char)c) && !ascii_is_digit((char)c) && c != '-' && c != '_')
            n = 0;
        if (n == 0)
            return false;
        at += n;
    }
    return true;
}

bool address_is_domain(struct strview s, unsigned flags)
{
    struct strview label;

    if (s.len == 0 || s.len > ADDRESS_DOMAIN_MAX)
        return false;
    while (sv_split(&s, '.', &label))
        if (!is_label(label, flags))
            return false;
    return true;
}

bool address_is_literal(struct strview s)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char bytes[16];
    int family = AF_INET;

    if (s.len < 3 || s.ptr[0] != '[' || s.ptr[s.len - 1] != ']')
        return false;
    s = sv(s.ptr + 1, s.len - 2);
    if (sv_starts_nocase(s, SV("IPv6:"))) {
        s = sv(s.ptr + 5, s.len - 5);
        family = AF_INET6;
    }
    if (s.len >= sizeof(text) || memchr(s.ptr, '\0', s.len))
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    return inet_pton(family, text, bytes) == 1;
}

bool address_is_mailbox(struct strview s, unsigned flags)
{
    if (s.len > ADDRESS_PATH_MAX - 2)
        return false;
    size_t local = take_local_part(s, flags);
    if (local == 0 || local >= s.len || s.ptr[local] != '@')
        return false;
    struct strview domain = sv(s.ptr + local + 1, s.len - local - 1);
    return address_is_domain(domain, flags) || address_is_literal(domain);
}

/* "@a.example,@b.example:" at the front (RFC 5321 appendix C): its length, 0 when there is none or
 * it is wrong. */
static size_t take_source_route(struct strview s, unsigned flags)
{
    ptrdiff_t colon = sv_find(s, ':');
    if (colon < 0)
        return 0;
    struct strview route = sv(s.ptr, (size_t)colon), hop;
    while (sv_split(&route, ',', &hop))
        if (hop.len < 2 || hop.ptr[0] != '@' ||
            !address_is_domain(sv(hop.ptr + 1, hop.len - 1), flags))
            return 0;
    return (size_t)colon + 1;
}

bool address_parse_path(struct strview path, unsigned flags, struct strview *ret_mailbox)
{
    struct strview mailbox = path;

    if (path.len > 0 && path.ptr[0] == '@') {
        size_t route = take_source_route(path, flags);
        if (route == 0)
            return false;
        mailbox = sv(path.ptr + route, path.len - route);
    }
    if (!address_is_mailbox(mailbox, flags))
        return false;
    *ret_mailbox = mailbox;
    return true;
}
