/*
 * Names: from mail addresses and from packets to the one form that the cache and the queries use.
 * Called by route.c (what pipes ask for) and answer.c (what name servers say). Nothing is kept.
 */
#include "domain.h"

#include <arpa/inet.h>
#include <idn2.h>

static bool is_label_char(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '_';
}

static bool is_char(char c, enum domain_form form)
{
    return form == DOMAIN_ANY ? c > ' ' && c < 0x7f && c != '.' : is_label_char(c);
}

static bool is_valid(struct strview name, enum domain_form form)
{
    size_t label = 0;

    if (!name.len || name.len > 253)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '.') {
            if (!label)
                return false;
            label = 0;
        } else if (!is_char(name.ptr[i], form) || ++label > 63) {
            return false;
        }
    }
    return label > 0;
}

static bool is_ascii(struct strview s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] >= 0x80)
            return false;
    return true;
}

static int copy_checked(struct strview in, enum domain_form form, char *out, struct err *e)
{
    if (in.len && in.ptr[in.len - 1] == '.')
        in.len--;
    if (!is_valid(in, form))
        return err_set(e, ERR_SYNTAX, "not a domain name");
    memcpy(out, in.ptr, in.len);
    out[in.len] = '\0';
    str_lower(out, in.len);
    return 0;
}

static int to_a_labels(struct strview in, char *out, struct err *e)
{
    char u8[1024]; /* 253 bytes of A-labels come from less than this, or from nothing valid */
    char *ascii = NULL;

    if (in.len >= sizeof(u8) || memchr(in.ptr, '\0', in.len))
        return err_set(e, ERR_SYNTAX, "not a domain name");
    memcpy(u8, in.ptr, in.len);
    u8[in.len] = '\0';
    int rc = idn2_to_ascii_8z(u8, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (rc != IDN2_OK)
        return err_set(e, ERR_SYNTAX, "not an internationalised domain name: %s",
                       idn2_strerror(rc));
    int code = copy_checked(sv_of(ascii), DOMAIN_HOST, out, e);
    idn2_free(ascii);
    return code;
}

int domain_normalise(struct strview in, char *out, struct err *e)
{
    return is_ascii(in) ? copy_checked(in, DOMAIN_HOST, out, e) : to_a_labels(in, out, e);
}

int domain_normalise_any(struct strview in, char *out, struct err *e)
{
    return copy_checked(in, DOMAIN_ANY, out, e);
}

static bool parse_ip(struct strview in, int family, struct domain_address *ret)
{
    char text[64];

    if (!in.len || in.len >= sizeof(text))
        return false;
    memcpy(text, in.ptr, in.len);
    text[in.len] = '\0';
    *ret = (struct domain_address){.family = family};
    return inet_pton(family, text, ret->bytes) == 1;
}

int domain_parse_literal(struct strview in, bool bare_ok, struct domain_address *ret)
{
    struct strview tag = SV("IPv6:");

    if (in.len < 2 || in.ptr[0] != '[')
        return bare_ok && (parse_ip(in, AF_INET, ret) || parse_ip(in, AF_INET6, ret));
    if (in.ptr[in.len - 1] != ']')
        return ERR_SYNTAX;
    in = sv(in.ptr + 1, in.len - 2);
    if (sv_starts_nocase(in, tag))
        return parse_ip(sv(in.ptr + tag.len, in.len - tag.len), AF_INET6, ret) ? 1 : ERR_SYNTAX;
    if (parse_ip(in, AF_INET, ret) || (bare_ok && parse_ip(in, AF_INET6, ret)))
        return 1;
    return ERR_SYNTAX;
}

int domain_from_wire(const uint8_t *wire, size_t len, enum domain_form form, char *out)
{
    size_t at = 0, n = 0;

    while (at < len && wire[at]) {
        size_t label = wire[at++];
        if (label > 63 || label > len - at || n + label + 2 > DOMAIN_SIZE)
            return ERR_SYNTAX;
        if (n)
            out[n++] = '.';
        for (size_t i = 0; i < label; i++) {
            if (!is_char((char)wire[at + i], form))
                return ERR_SYNTAX;
            out[n++] = ascii_lower((char)wire[at + i]);
        }
        at += label;
    }
    out[n] = '\0';
    return at < len && n <= 253 ? 0 : ERR_SYNTAX; /* the root label was there */
}

size_t domain_to_wire(const char *name, uint8_t *out)
{
    struct strview rest = sv_of(name), label;
    size_t n = 0;

    while (sv_split(&rest, '.', &label)) {
        BUG_ON(!label.len || label.len > 63 || n + label.len + 2 > DOMAIN_SIZE);
        out[n++] = (uint8_t)label.len;
        memcpy(out + n, label.ptr, label.len);
        n += label.len;
    }
    out[n++] = 0;
    return n;
}
