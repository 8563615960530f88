/*
 * Where the mail for a domain goes: what the resolver answers and the pipe caches. The wire form of
 * the host list (ipc route_reply.hosts) is, per address: u16 preference, u8 family (4 or 6),
 * address bytes (4 or 16), u8 name length, host name; hosts by rising preference, order of equal
 * ones as the DNS gave them (the pipe shuffles).
 */
#ifndef PMTA_MAIL_ROUTE_H
#define PMTA_MAIL_ROUTE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#include <netinet/in.h>

/* What is asked for. */
enum route_kind {
    ROUTE_MX = 1,   /* MX hosts of a domain with their addresses (RFC 5321 section 5.1) */
    ROUTE_HOST = 2, /* addresses of one host name */
};

/* What a pipe wants to know besides the hosts, for the TLS policy of the route; bits. */
enum {
    ROUTE_WANT_TLSA = 1, /* TLSA records of the hosts (RFC 7672), for one port */
    ROUTE_WANT_STS = 2,  /* the MTA-STS policy of the domain (RFC 8461); ROUTE_MX only */
};

/* STATUS(NAME, number, "name") */
#define ROUTE_STATUSES(STATUS)                                                                  \
    STATUS(OK, 0, "ok")                                                                         \
    STATUS(NO_DOMAIN, 1, "no such domain")  /* NXDOMAIN: 5.1.2 */                               \
    STATUS(NULL_MX, 2, "null MX")           /* RFC 7505: 5.1.10 */                              \
    STATUS(NO_HOST, 3, "no usable address") /* no MX, no address, or MX hosts without: 5.4.4 */ \
    STATUS(TEMPORARY, 4, "DNS failure")     /* SERVFAIL, time-out: 4.4.3 */

enum route_status {
#define ROUTE_ENUM(name, number, text) ROUTE_##name = (number),
    ROUTE_STATUSES(ROUTE_ENUM)
#undef ROUTE_ENUM
};

struct route_address {
    uint16_t preference;
    struct strview host;
    struct sockaddr_storage addr; /* port 0 */
};

enum { ROUTE_MAX_ADDRESSES = 256 };

const char *route_status_name(enum route_status s);

/* Appends one address. family: AF_INET or AF_INET6, bytes in network order. */
void route_hosts_append(struct buf *out, uint16_t preference, int family, const void *bytes,
                        struct strview host);
/* Array in arena, host views point into `in`. At most ROUTE_MAX_ADDRESSES. 0 or ERR_PROTOCOL. */
int route_hosts_decode(struct strview in, struct arena *arena, struct route_address **ret,
                       size_t *ret_count);

#endif
