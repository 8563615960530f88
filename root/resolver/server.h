/*
 * server: the recursive name servers, and which one to ask next. Each has a smoothed round-trip
 * time; one that does not answer several times in a row is left alone for a while that doubles, and
 * is then tried with one query.
 */
#ifndef PMTA_RESOLVER_SERVER_H
#define PMTA_RESOLVER_SERVER_H

#include "base/err.h"
#include "base/str.h"

#include <netinet/in.h>

enum {
    SERVER_MAX = 8,
    SERVER_TEXT_SIZE = 80,
    SERVER_DEAD_AFTER = 3,     /* failures in a row */
    SERVER_BACK_OFF_MS = 1000, /* first time, doubling */
    SERVER_MAX_BACK_OFF_MS = 60000,
};

struct server {
    struct sockaddr_storage addr;
    char text[SERVER_TEXT_SIZE]; /* "192.0.2.1:53", "[2001:db8::1]:53" */
    double rtt_ms;               /* smoothed; 0: never answered */
    unsigned failures;           /* in a row */
    int64_t back_off_ms;
    int64_t dead_until_ms; /* monotonic; meaning only while failures >= SERVER_DEAD_AFTER */
    bool no_edns;
    uint64_t queries, answers, timeouts;
};

struct servers {
    struct server items[SERVER_MAX];
    size_t count;
};

/* IP, IP:PORT or [IP6]:PORT; IPv6 may have %interface. Returns 0, or ERR_SYNTAX with *e filled. */
int server_parse(struct strview text, struct sockaddr_storage *ret, struct err *e);

/* On this machine or in a private network (RFC 1918, RFC 4193, link-local). */
bool server_is_near(const struct server *s);

/* Puts one more in; what is known about an equal address in `old` (may be NULL) is kept. Returns 0,
 * or ERR_LIMIT when there are SERVER_MAX, ERR_BUSY when it is in already. */
int servers_add(struct servers *s, const struct sockaddr_storage *addr, const struct servers *old);

/* The `nameserver` lines of a resolv.conf text; lines that cannot be used are passed over. Returns
 * how many were added. */
size_t servers_add_resolv_conf(struct servers *s, struct strview text, const struct servers *old);

/* The one to ask next among those not in the mask `tried` (bit per index): the quickest that is not
 * dead, else the one whose back-off ends first. NULL when all were tried. */
struct server *servers_pick(struct servers *s, uint32_t tried);
static inline uint32_t server_bit(const struct servers *s, const struct server *one)
{
    return 1u << (unsigned)(one - s->items);
}

/* What came of a query. answered returns whether it was dead, failed whether it is dead just now.
 */
bool server_answered(struct server *s, int64_t rtt_ms);
bool server_failed(struct server *s, int64_t waited_ms);

#endif
