/*
 * The addresses of this machine; see local.h. Called by vmta.c when the configuration is read, and
 * again while an address is missing. getifaddrs asks the kernel only and returns at once.
 */
#include "queue/local.h"

#include "base/util.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint8_t *bytes_of(const struct sockaddr *a, unsigned *ret_bits)
{
    if (a->sa_family == AF_INET) {
        *ret_bits = 32;
        return (const uint8_t *)&((const struct sockaddr_in *)(const void *)a)->sin_addr;
    }
    *ret_bits = 128;
    return (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
}

static bool is_ip(const struct sockaddr *a)
{
    return a && (a->sa_family == AF_INET || a->sa_family == AF_INET6);
}

static unsigned prefix_of(const struct sockaddr *mask, unsigned bits)
{
    const uint8_t *bytes = is_ip(mask) ? bytes_of(mask, &bits) : NULL;
    unsigned n = 0;

    while (bytes && n < bits && bytes[n / 8] >> (7 - n % 8) & 1)
        n++;
    return bytes ? n : bits;
}

static void add(struct local_addresses *l, size_t *cap, const struct ifaddrs *i)
{
    struct local_net net = {.family = i->ifa_addr->sa_family};
    const uint8_t *bytes = bytes_of(i->ifa_addr, &net.prefix);

    memcpy(net.bytes, bytes, net.prefix / 8);
    if (i->ifa_flags & IFF_LOOPBACK && net.family == AF_INET)
        net.prefix = prefix_of(i->ifa_netmask, net.prefix);
    if (l->count == *cap) {
        *cap = *cap ? *cap * 2 : 16;
        l->nets = xrealloc(l->nets, *cap * sizeof(l->nets[0]));
    }
    l->nets[l->count++] = net;
}

static bool is_network(const struct local_net *n)
{
    return n->family == AF_INET && n->prefix < 32;
}

static int by_address(const void *a, const void *b)
{
    const struct local_net *x = a, *y = b;

    if (is_network(x) != is_network(y))
        return is_network(x) ? -1 : 1;
    if (x->family != y->family)
        return x->family < y->family ? -1 : 1;
    return memcmp(x->bytes, y->bytes, sizeof(x->bytes));
}

void local_read(struct local_addresses *ret)
{
    struct ifaddrs *all = NULL;
    size_t cap = 0;

    *ret = (struct local_addresses){.can_bind = local_can_bind};
    if (getifaddrs(&all) < 0)
        return;
    for (struct ifaddrs *i = all; i; i = i->ifa_next)
        if (is_ip(i->ifa_addr) && i->ifa_flags & IFF_UP)
            add(ret, &cap, i);
    freeifaddrs(all);
    if (ret->count)
        qsort(ret->nets, ret->count, sizeof(ret->nets[0]), by_address);
}

void local_free(struct local_addresses *l)
{
    free(l->nets);
    *l = (struct local_addresses){0};
}

static bool holds(const struct local_net *n, const uint8_t *bytes)
{
    unsigned whole = n->prefix / 8, rest = n->prefix % 8;

    if (memcmp(n->bytes, bytes, whole) != 0)
        return false;
    return !rest || (n->bytes[whole] ^ bytes[whole]) >> (8 - rest) == 0;
}

bool local_is_on_interface(const struct local_addresses *l, const struct sockaddr_storage *addr)
{
    struct local_net key = {.family = addr->ss_family};
    const uint8_t *bytes = bytes_of((const struct sockaddr *)addr, &key.prefix);
    size_t i = 0;

    for (; i < l->count && is_network(&l->nets[i]); i++)
        if (key.family == AF_INET && holds(&l->nets[i], bytes))
            return true;
    memcpy(key.bytes, bytes, key.prefix / 8);
    return i < l->count &&
           bsearch(&key, l->nets + i, l->count - i, sizeof(l->nets[0]), by_address) != NULL;
}

bool local_has(const struct local_addresses *l, const struct sockaddr_storage *addr)
{
    return local_is_on_interface(l, addr) || (l->can_bind && l->can_bind(addr));
}

bool local_can_bind(const struct sockaddr_storage *addr)
{
    struct sockaddr_storage any = *addr;
    socklen_t len =
        addr->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int fd = socket(addr->ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool can = fd >= 0 && bind(fd, (const struct sockaddr *)&any, len) == 0;

    if (fd >= 0)
        close(fd);
    return can;
}
