/*
 * Proxies; see proxy.h. Only reads.
 */
#include "proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

struct address {
    uint8_t family;
    uint8_t bytes[16];
};

static bool parse(struct strview text, struct address *ret)
{
    char z[INET6_ADDRSTRLEN + 1];

    *ret = (struct address){0};
    if (!text.len || text.len >= sizeof(z))
        return false;
    memcpy(z, text.ptr, text.len);
    z[text.len] = '\0';
    if (inet_pton(AF_INET, z, ret->bytes) == 1)
        ret->family = AF_INET;
    else if (inet_pton(AF_INET6, z, ret->bytes) == 1)
        ret->family = AF_INET6;
    return ret->family != 0;
}

/* An IPv4 client of an IPv6 socket is an IPv4 client. */
static void unmap(struct address *a)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (a->family != AF_INET6 || memcmp(a->bytes, mapped, sizeof(mapped)) != 0)
        return;
    memmove(a->bytes, a->bytes + 12, 4);
    memset(a->bytes + 4, 0, 12);
    a->family = AF_INET;
}

void proxies_read(struct proxies *p, const char *text)
{
    struct strview rest = sv_of(text), one, net;

    p->count = 0;
    while (p->count < PROXIES_MAX && sv_split(&rest, ',', &one)) {
        struct address a;
        uint64_t prefix;
        one = sv_trim(one);
        if (!sv_split(&one, '/', &net) || !parse(net, &a))
            continue;
        uint64_t bits = a.family == AF_INET ? 32 : 128;
        if (!one.ptr)
            prefix = bits;
        else if (!sv_to_u64(one, &prefix) || prefix > bits)
            continue;
        struct proxy_net *n = &p->items[p->count++];
        *n = (struct proxy_net){.family = a.family, .prefix = (uint8_t)prefix};
        memcpy(n->address, a.bytes, sizeof(n->address));
    }
}

static bool is_in(const struct proxy_net *n, const struct address *a)
{
    size_t whole = n->prefix / 8;
    uint8_t mask = (uint8_t)(0xff00 >> (n->prefix % 8));

    if (n->family != a->family || memcmp(n->address, a->bytes, whole) != 0)
        return false;
    return !mask || (n->address[whole] & mask) == (a->bytes[whole] & mask);
}

static bool is_proxy(const struct proxies *p, const struct address *a)
{
    for (size_t i = 0; i < p->count; i++)
        if (is_in(&p->items[i], a))
            return true;
    return false;
}

static struct address address_of(const struct sockaddr *s)
{
    struct address a = {0};

    if (s && s->sa_family == AF_INET)
        memcpy(a.bytes, &((const struct sockaddr_in *)(const void *)s)->sin_addr, 4);
    else if (s && s->sa_family == AF_INET6)
        memcpy(a.bytes, &((const struct sockaddr_in6 *)(const void *)s)->sin6_addr, 16);
    else
        return a;
    a.family = (uint8_t)s->sa_family;
    unmap(&a);
    return a;
}

/* The part behind the last comma, taken off. */
static struct strview take_last(struct strview *list)
{
    size_t at = list->len;

    while (at > 0 && list->ptr[at - 1] != ',')
        at--;
    struct strview last = sv_trim(sv(list->ptr + at, list->len - at));
    list->len = at ? at - 1 : 0;
    return last;
}

void proxy_client(const struct proxies *p, const struct sockaddr *peer, const char *forwarded,
                  char *out, size_t size)
{
    struct address a = address_of(peer), said;
    struct strview rest = sv_of(forwarded);

    while (rest.len && is_proxy(p, &a)) {
        if (!parse(take_last(&rest), &said))
            break;
        unmap(&said);
        a = said;
    }
    if (!a.family || !inet_ntop(a.family, a.bytes, out, (socklen_t)size))
        snprintf(out, size, "unknown");
}
