/*
 * Source addresses of virtual MTAs as the configuration writes them, one or many in a line; see
 * host_list.h. A line is parsed into its first address and a count, and addresses are made from
 * those when asked for, so that checking a /116 costs what checking one address costs. Pool members
 * and patterns of MX hosts, which are as small, are here too. Touches nothing but its arguments.
 */
#include "mail/address.h"
#include "mail/host_list.h"

#include <arpa/inet.h>
#include <stdio.h>

static unsigned width(int family)
{
    return family == AF_INET6 ? 16 : 4;
}

static bool parse_ip(struct strview text, int *ret_family, uint8_t *ret)
{
    struct sockaddr_storage addr;

    if (ip_address_parse(text, 0, &addr) < 0)
        return false;
    *ret_family = addr.ss_family;
    if (addr.ss_family == AF_INET6)
        memcpy(ret, &((struct sockaddr_in6 *)&addr)->sin6_addr, 16);
    else
        memcpy(ret, &((struct sockaddr_in *)&addr)->sin_addr, 4);
    return true;
}

/* Adds n to a big-endian number; false when it does not fit. */
static bool add(uint8_t *bytes, unsigned count, uint32_t n)
{
    uint64_t carry = n;
    while (count-- && carry) {
        carry += bytes[count];
        bytes[count] = (uint8_t)carry;
        carry >>= 8;
    }
    return carry == 0;
}

/* to - from + 1, or 0 when it is negative or more than SOURCE_HOST_MAX. */
static uint32_t distance(const uint8_t *from, const uint8_t *to, unsigned count)
{
    int64_t n = 0;
    for (unsigned i = 0; i < count; i++) {
        n = n * 256 + to[i] - from[i];
        if (n > SOURCE_HOST_MAX || n < -SOURCE_HOST_MAX)
            return 0;
    }
    return n < 0 || n >= SOURCE_HOST_MAX ? 0 : (uint32_t)n + 1;
}

static int parse_prefix(struct strview text, struct source_range *r, struct err *e)
{
    unsigned all = width(r->family) * 8;
    uint64_t bits;

    if (!sv_to_u64(text, &bits) || bits > all)
        return err_set(e, ERR_SYNTAX, "'/%.*s' is not a prefix length (expected 0 to %u)",
                       (int)MIN_OF(text.len, (size_t)40), text.ptr, all);
    unsigned host_bits = all - (unsigned)bits;
    if (host_bits > 12)
        return err_set(e, ERR_SYNTAX, "/%u has more than %d addresses (expected /%u or longer)",
                       (unsigned)bits, SOURCE_HOST_MAX, all - 12);
    unsigned low = (unsigned)r->first[all / 8 - 2] << 8 | r->first[all / 8 - 1];
    r->count = 1u << host_bits;
    if (low & (r->count - 1))
        return err_set(e, ERR_SYNTAX,
                       "the network has bits beyond its prefix /%u (expected its first address)",
                       (unsigned)bits);
    return 0;
}

/* "150" or "1f" for the last part of the first address, or a whole address. */
static bool parse_last(struct strview text, const struct source_range *r, uint8_t *ret)
{
    bool v6 = r->family == AF_INET6;
    unsigned n = 0;
    int family;

    memcpy(ret, r->first, 16);
    if (memchr(text.ptr, v6 ? ':' : '.', text.len))
        return parse_ip(text, &family, ret) && family == r->family;
    if (!text.len || text.len > (v6 ? 4 : 3))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = ascii_lower(text.ptr[i]);
        if (!ascii_is_digit(c) && !(v6 && c >= 'a' && c <= 'f'))
            return false;
        n = n * (v6 ? 16 : 10) + (unsigned)(ascii_is_digit(c) ? c - '0' : c - 'a' + 10);
    }
    if (v6)
        ret[14] = (uint8_t)(n >> 8);
    ret[width(r->family) - 1] = (uint8_t)n;
    return v6 || n <= 255;
}

static int parse_range(struct strview text, struct source_range *r, struct err *e)
{
    uint8_t last[16];

    if (!parse_last(text, r, last))
        return err_set(e, ERR_SYNTAX,
                       "'%.*s' does not end a range (expected its last address, or that address's "
                       "last number)",
                       (int)MIN_OF(text.len, (size_t)60), text.ptr);
    r->count = distance(r->first, last, width(r->family));
    if (!r->count)
        return err_set(e, ERR_SYNTAX,
                       "the range ends before it begins, or has more than %d addresses",
                       SOURCE_HOST_MAX);
    return 0;
}

static int parse_addresses(struct strview text, struct source_range *r, struct err *e)
{
    size_t n = 0;

    while (n < text.len && text.ptr[n] != '/' && text.ptr[n] != '-')
        n++;
    if (!parse_ip(sv(text.ptr, n), &r->family, r->first))
        return err_set(e, ERR_SYNTAX,
                       "'%.*s' is not an address (expected IP, IP/BITS or FIRST-LAST)",
                       (int)MIN_OF(text.len, (size_t)60), text.ptr ? text.ptr : "");
    r->count = 1;
    if (n == text.len)
        return 0;
    struct strview rest = sv(text.ptr + n + 1, text.len - n - 1);
    return text.ptr[n] == '/' ? parse_prefix(rest, r, e) : parse_range(rest, r, e);
}

void source_range_address(const struct source_range *r, uint32_t i, struct sockaddr_storage *ret)
{
    uint8_t bytes[16];

    BUG_ON(i >= r->count);
    memcpy(bytes, r->first, 16);
    bool fits = add(bytes, width(r->family), i);
    BUG_ON(!fits);
    memset(ret, 0, sizeof(*ret));
    ret->ss_family = (sa_family_t)r->family;
    if (r->family == AF_INET6)
        memcpy(&((struct sockaddr_in6 *)ret)->sin6_addr, bytes, 16);
    else
        memcpy(&((struct sockaddr_in *)ret)->sin_addr, bytes, 4);
}

/* 192-0-2-55; an IPv6 address with all its digits, so that no hyphens meet or stand at an end. */
static void dashed(const struct source_range *r, uint32_t i, char *out, size_t size)
{
    uint8_t b[16];

    memcpy(b, r->first, 16);
    add(b, width(r->family), i);
    if (r->family == AF_INET6)
        snprintf(out, size,
                 "%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x", b[0],
                 b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                 b[14], b[15]);
    else
        snprintf(out, size, "%u-%u-%u-%u", b[0], b[1], b[2], b[3]);
}

struct strview source_range_host(const struct source_range *r, uint32_t i, char *out)
{
    char address[64];
    size_t n = 0;

    dashed(r, i, address, sizeof(address));
    for (size_t at = 0; at < r->host.len; at++) {
        bool marker = r->host.ptr[at] == '%' && at + 1 < r->host.len && r->host.ptr[at + 1] == 'i';
        const char *from = marker ? address : r->host.ptr + at;
        size_t len = marker ? strlen(address) : 1;
        if (n + len >= SOURCE_NAME_SIZE)
            return sv(out, 0);
        memcpy(out + n, from, len);
        n += len;
        at += marker;
    }
    out[n] = '\0';
    return sv(out, n);
}

int source_range_parse(struct strview text, bool with_host, struct source_range *ret, struct err *e)
{
    struct source_range r = {0};
    char name[SOURCE_NAME_SIZE];
    size_t n = 0;

    text = sv_trim(text);
    while (n < text.len && text.ptr[n] != ' ' && text.ptr[n] != '\t')
        n++;
    r.host = sv_trim(sv(text.ptr + n, text.len - n));
    if (!with_host && r.host.len)
        return err_set(e, ERR_SYNTAX,
                       "'%.*s' follows the address (expected the address alone, or "
                       "smtp-source-host = IP HOSTNAME)",
                       (int)MIN_OF(r.host.len, (size_t)60), r.host.ptr);
    int status = parse_addresses(sv(text.ptr, n), &r, e);
    if (status < 0)
        return status;
    struct source_range widest = {r.family, {255, 255, 255, 255}, 1, r.host};
    if (with_host && !address_is_domain(source_range_host(&widest, 0, name), 0))
        return err_set(e, ERR_SYNTAX,
                       "'%.*s' is not a host name (expected IP HOSTNAME, as in 192.0.2.55 "
                       "out1.example.com; %%i in it stands for the address)",
                       (int)MIN_OF(r.host.len, (size_t)100), r.host.ptr ? r.host.ptr : "");
    *ret = r;
    return 0;
}

int source_host_expand(struct strview text, bool with_host,
                       void (*each)(void *arg, const struct sockaddr_storage *addr,
                                    struct strview host),
                       void *arg, struct err *e)
{
    struct source_range r;
    int status = source_range_parse(text, with_host, &r, e);

    for (uint32_t i = 0; status == 0 && i < r.count; i++) {
        struct sockaddr_storage addr;
        char name[SOURCE_NAME_SIZE];
        source_range_address(&r, i, &addr);
        each(arg, &addr, source_range_host(&r, i, name));
    }
    return status;
}

int source_host_parse(struct strview text, struct sockaddr_storage *ret_addr,
                      struct strview *ret_host, struct err *e)
{
    struct source_range r;
    int status = source_range_parse(text, true, &r, e);

    if (status == 0 && (r.count != 1 || sv_find(r.host, '%') >= 0))
        return err_set(e, ERR_SYNTAX, "'%.*s' is more than one address", SV_ARG(text));
    if (status < 0)
        return status;
    source_range_address(&r, 0, ret_addr);
    *ret_host = r.host;
    return 0;
}

int pool_member_parse(struct strview text, struct strview *ret_name, uint32_t *ret_weight,
                      struct err *e)
{
    uint64_t weight = 1;
    size_t n = 0;

    text = sv_trim(text);
    while (n < text.len && text.ptr[n] != ' ' && text.ptr[n] != '\t')
        n++;
    struct strview rest = sv_trim(sv(text.ptr + n, text.len - n));
    if (!n || (rest.len && (!sv_to_u64(rest, &weight) || !weight || weight > POOL_WEIGHT_MAX)))
        return err_set(
            e, ERR_SYNTAX,
            "'%.*s' is not a member (expected NAME, or NAME WEIGHT with a weight of 1 to "
            "%d)",
            (int)MIN_OF(text.len, (size_t)60), text.ptr ? text.ptr : "", POOL_WEIGHT_MAX);
    *ret_name = sv(text.ptr, n);
    *ret_weight = (uint32_t)weight;
    return 0;
}

bool mx_pattern_is_valid(struct strview pattern)
{
    if (sv_starts_nocase(pattern, SV("*.")))
        pattern = sv(pattern.ptr + 2, pattern.len - 2);
    return address_is_domain(pattern, 0);
}

bool mx_pattern_matches(struct strview pattern, struct strview host)
{
    if (host.len && host.ptr[host.len - 1] == '.')
        host.len--;
    if (!sv_starts_nocase(pattern, SV("*.")))
        return sv_eq_nocase(pattern, host);
    return host.len >= pattern.len && sv_ends_nocase(host, sv(pattern.ptr + 1, pattern.len - 1));
}
