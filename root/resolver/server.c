/*
 * The list of name servers; see server.h. main.c fills it from the configuration or resolv.conf,
 * lookup.c picks from it and tells what came of each query. No I/O.
 */
#include "server.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>

static int parse_v6(const char *text, uint16_t port, struct sockaddr_storage *ret)
{
    struct sockaddr_in6 *a = (struct sockaddr_in6 *)ret;
    char host[SERVER_TEXT_SIZE];
    char *scope;

    snprintf(host, sizeof(host), "%s", text);
    scope = strchr(host, '%');
    if (scope)
        *scope++ = '\0';
    if (inet_pton(AF_INET6, host, &a->sin6_addr) != 1)
        return ERR_SYNTAX;
    a->sin6_family = AF_INET6;
    a->sin6_port = htons(port);
    if (scope && !(a->sin6_scope_id = if_nametoindex(scope)))
        return ERR_SYNTAX;
    return 0;
}

static int parse_ip(const char *text, uint16_t port, struct sockaddr_storage *ret)
{
    struct sockaddr_in *a = (struct sockaddr_in *)ret;

    memset(ret, 0, sizeof(*ret));
    if (strchr(text, ':'))
        return parse_v6(text, port, ret);
    a->sin_family = AF_INET;
    a->sin_port = htons(port);
    return inet_pton(AF_INET, text, &a->sin_addr) == 1 ? 0 : ERR_SYNTAX;
}

static ptrdiff_t last_colon(struct strview s)
{
    const char *p = s.len ? memrchr(s.ptr, ':', s.len) : NULL;
    return p ? p - s.ptr : -1;
}

/* Splits "IP:PORT" and "[IP6]:PORT"; a colon in a bare IPv6 address is no port. */
static int split_port(struct strview text, struct strview *ret_host, uint64_t *ret_port)
{
    ptrdiff_t colon = sv_find(text, ':');
    ptrdiff_t bracket = sv_find(text, ']');

    *ret_host = text;
    *ret_port = 53;
    if (text.len && text.ptr[0] == '[') {
        if (bracket < 0)
            return ERR_SYNTAX;
        *ret_host = sv(text.ptr + 1, (size_t)bracket - 1);
        text = sv(text.ptr + bracket + 1, text.len - (size_t)bracket - 1);
        if (!text.len)
            return 0;
        colon = text.ptr[0] == ':' ? 0 : -1;
        if (colon < 0)
            return ERR_SYNTAX;
    } else if (colon < 0 || colon != last_colon(text)) {
        return 0;
    } else {
        *ret_host = sv(text.ptr, (size_t)colon);
    }
    struct strview port = sv(text.ptr + colon + 1, text.len - (size_t)colon - 1);
    return sv_to_u64(port, ret_port) && *ret_port > 0 && *ret_port <= 65535 ? 0 : ERR_SYNTAX;
}

int server_parse(struct strview text, struct sockaddr_storage *ret, struct err *e)
{
    struct strview host;
    uint64_t port;
    char ip[SERVER_TEXT_SIZE];

    text = sv_trim(text);
    if (split_port(text, &host, &port) < 0 || !host.len || host.len >= sizeof(ip))
        goto bad;
    memcpy(ip, host.ptr, host.len);
    ip[host.len] = '\0';
    if (parse_ip(ip, (uint16_t)port, ret) == 0)
        return 0;
bad:
    return err_set(e, ERR_SYNTAX, "'%.*s' is no name server: expected IP, IP:PORT or [IP6]:PORT",
                   (int)MIN_OF(text.len, (size_t)80), text.ptr);
}

static void format(const struct sockaddr_storage *addr, char *out)
{
    char ip[INET6_ADDRSTRLEN] = "?";

    if (addr->ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)addr;
        inet_ntop(AF_INET6, &a->sin6_addr, ip, sizeof(ip));
        snprintf(out, SERVER_TEXT_SIZE, "[%s]:%u", ip, ntohs(a->sin6_port));
    } else {
        const struct sockaddr_in *a = (const struct sockaddr_in *)addr;
        inet_ntop(AF_INET, &a->sin_addr, ip, sizeof(ip));
        snprintf(out, SERVER_TEXT_SIZE, "%s:%u", ip, ntohs(a->sin_port));
    }
}

static bool is_near_v4(uint32_t ip)
{
    return ip >> 24 == 127 || ip >> 24 == 10 || ip >> 20 == 0xac1 || ip >> 16 == 0xc0a8 ||
           ip >> 16 == 0xa9fe;
}

bool server_is_near(const struct server *s)
{
    const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)&s->addr;
    const struct in6_addr *ip = &a->sin6_addr;

    if (s->addr.ss_family == AF_INET)
        return is_near_v4(ntohl(((const struct sockaddr_in *)&s->addr)->sin_addr.s_addr));
    return IN6_IS_ADDR_LOOPBACK(ip) || IN6_IS_ADDR_LINKLOCAL(ip) ||
           (ip->s6_addr[0] & 0xfe) == 0xfc ||
           (IN6_IS_ADDR_V4MAPPED(ip) && is_near_v4(ntohl(ip->s6_addr32[3])));
}

static const struct server *find(const struct servers *s, const struct sockaddr_storage *addr)
{
    for (size_t i = 0; i < s->count; i++)
        if (memcmp(&s->items[i].addr, addr, sizeof(*addr)) == 0)
            return &s->items[i];
    return NULL;
}

int servers_add(struct servers *s, const struct sockaddr_storage *addr, const struct servers *old)
{
    const struct server *known = old ? find(old, addr) : NULL;

    if (find(s, addr))
        return ERR_BUSY;
    if (s->count == SERVER_MAX)
        return ERR_LIMIT;
    struct server *one = &s->items[s->count++];
    if (known) {
        *one = *known;
        return 0;
    }
    *one = (struct server){.addr = *addr};
    format(addr, one->text);
    return 0;
}

size_t servers_add_resolv_conf(struct servers *s, struct strview text, const struct servers *old)
{
    struct strview key = SV("nameserver"), line;
    struct sockaddr_storage addr;
    size_t added = 0;

    while (sv_split(&text, '\n', &line)) {
        line = sv_trim(line);
        if (line.len <= key.len || !sv_starts_nocase(line, key) ||
            (line.ptr[key.len] != ' ' && line.ptr[key.len] != '\t'))
            continue;
        struct strview value = sv_trim(sv(line.ptr + key.len, line.len - key.len));
        if (server_parse(value, &addr, NULL) == 0 && servers_add(s, &addr, old) == 0)
            added++;
    }
    return added;
}

static bool is_dead(const struct server *s)
{
    return s->failures >= SERVER_DEAD_AFTER;
}

/* Whether a goes before b. */
static bool is_better(const struct server *a, const struct server *b, int64_t now)
{
    bool a_waits = is_dead(a) && a->dead_until_ms > now;
    bool b_waits = is_dead(b) && b->dead_until_ms > now;

    if (a_waits != b_waits)
        return b_waits;
    if (a_waits)
        return a->dead_until_ms < b->dead_until_ms;
    return a->rtt_ms < b->rtt_ms;
}

struct server *servers_pick(struct servers *s, uint32_t tried)
{
    struct server *best = NULL;
    int64_t now = clock_mono_ms();

    for (size_t i = 0; i < s->count; i++) {
        struct server *one = &s->items[i];
        if (tried & (1u << i))
            continue;
        if (!best || is_better(one, best, now))
            best = one;
    }
    /* those passed over look better each time, so that they are measured again some day */
    for (size_t i = 0; best && i < s->count; i++)
        if (&s->items[i] != best)
            s->items[i].rtt_ms *= 0.98;
    if (best && is_dead(best) && best->dead_until_ms <= now)
        best->dead_until_ms = now + best->back_off_ms; /* one query finds out, the others go on */
    if (best)
        best->queries++;
    return best;
}

bool server_answered(struct server *s, int64_t rtt_ms)
{
    bool was_dead = is_dead(s);
    double rtt = rtt_ms > 0 ? (double)rtt_ms : 0.5;

    s->rtt_ms = s->rtt_ms > 0 && !was_dead ? s->rtt_ms * 0.7 + rtt * 0.3 : rtt;
    s->failures = 0;
    s->back_off_ms = 0;
    s->answers++;
    return was_dead;
}

bool server_failed(struct server *s, int64_t waited_ms)
{
    int64_t now = clock_mono_ms();
    bool was_dead = is_dead(s);

    s->timeouts++;
    s->failures++;
    s->rtt_ms = MAX_OF(s->rtt_ms * 1.5, (double)MAX_OF(waited_ms, (int64_t)1000));
    s->rtt_ms = MIN_OF(s->rtt_ms, 60000.0);
    if (!is_dead(s) || (was_dead && s->dead_until_ms > now + s->back_off_ms / 2))
        return false; /* queries that were under way when it died do not count again */
    s->back_off_ms =
        s->back_off_ms ? MIN_OF(s->back_off_ms * 2, SERVER_MAX_BACK_OFF_MS) : SERVER_BACK_OFF_MS;
    s->dead_until_ms = now + s->back_off_ms;
    return !was_dead;
}
