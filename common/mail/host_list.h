/*
 * Addresses as the configuration writes them: smtp-hosts, smtp-source-host, name-server, listener.
 * All take the whole text and refuse anything left over.
 */
#ifndef PMTA_MAIL_HOST_LIST_H
#define PMTA_MAIL_HOST_LIST_H

#include "base/arena.h"
#include "base/err.h"

#include <netinet/in.h>

enum host_kind {
    HOST_NAME,      /* a host: its addresses are looked up */
    HOST_ADDRESS,   /* addr is set */
    HOST_LOOKUP_MX, /* the MX hosts of that domain */
};

struct host_entry {
    enum host_kind kind;
    struct strview name;          /* lower case; as written for HOST_ADDRESS, without brackets */
    struct sockaddr_storage addr; /* HOST_ADDRESS; its port is `port` */
    uint16_t port;                /* 0: smtp-port */
    unsigned group;               /* 0 first; hosts of one group are of equal preference */
};

enum { HOST_LIST_MAX = 256 };

/* "h1, h2:26; [10.1.1.1]:2525; [IPv6:2001:db8::1]; lookup-mx:x.org": comma within a group,
 * semicolon before the next. The array and names are in the arena. Empty text gives no entries. 0
 * or ERR_SYNTAX with *e filled. */
int host_list_parse(struct strview text, struct arena *a, struct host_entry **ret,
                    size_t *ret_count, struct err *e);

/* --- source addresses (source_host.c) --- */

enum { SOURCE_HOST_MAX = 4096, SOURCE_NAME_SIZE = 256 };

/* What one line of smtp-source-host or smtp-source-ip gives: count addresses from the first one. */
struct source_range {
    int family;          /* AF_INET or AF_INET6 */
    uint8_t first[16];   /* network order; 4 of them for AF_INET */
    uint32_t count;      /* 1 … SOURCE_HOST_MAX */
    struct strview host; /* as written; empty without with_host */
};

/* "ADDRESSES HOSTNAME", or without with_host "ADDRESSES". ADDRESSES: IP, IP/BITS (all addresses of
 * the network, IP being the first), FIRST-LAST where LAST is an address or only its last number
 * (192.0.2.101-150, 2001:db8::10-1f). %i in HOSTNAME stands for the address with hyphens:
 * out-192-0-2-101.example.com; IPv6 with all its digits. ret->host points into text. 0 or ERR_SYNTAX
 * with *e filled. */
int source_range_parse(struct strview text, bool with_host, struct source_range *ret,
                       struct err *e);
/* The i-th address, with port 0. */
void source_range_address(const struct source_range *r, uint32_t i, struct sockaddr_storage *ret);
/* The name that goes with it, in out (SOURCE_NAME_SIZE bytes); empty when there is none. */
struct strview source_range_host(const struct source_range *r, uint32_t i, char *out);

/* Calls each for every address; host is valid during the call only. As source_range_parse. */
int source_host_expand(struct strview text, bool with_host,
                       void (*each)(void *arg, const struct sockaddr_storage *addr,
                                    struct strview host),
                       void *arg, struct err *e);

/* "IP HOSTNAME" for one address: the port is 0, *ret_host points into text. */
int source_host_parse(struct strview text, struct sockaddr_storage *ret_addr,
                      struct strview *ret_host, struct err *e);

enum { POOL_WEIGHT_MAX = 1000 };

/* "NAME [WEIGHT]"; the weight is 1 when not given. *ret_name points into text. */
int pool_member_parse(struct strview text, struct strview *ret_name, uint32_t *ret_weight,
                      struct err *e);

/* One pattern of `mx`: a host name, or *.SUFFIX for all hosts below it. */
bool mx_pattern_is_valid(struct strview pattern);
/* Without case; a trailing dot of the host does not count. */
bool mx_pattern_matches(struct strview pattern, struct strview host);

/* --- servers and listeners --- */

/* "IP", "IP:PORT", "[IP6]:PORT"; the port is 53 when not given. 0 or ERR_SYNTAX. */
int name_server_parse(struct strview text, struct sockaddr_storage *ret);

/* "IP:PORT", "[IP6]:PORT", "*:PORT" (all IPv4 addresses). Port 0 lets the system choose. */
int listener_address_parse(struct strview text, struct sockaddr_storage *ret);

/* A bare IPv4 or IPv6 address, with this port. */
int ip_address_parse(struct strview text, uint16_t port, struct sockaddr_storage *ret);

#endif
