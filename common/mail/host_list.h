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

/* "IP HOSTNAME": the port is 0, *ret_host points into text. */
int source_host_parse(struct strview text, struct sockaddr_storage *ret_addr,
                      struct strview *ret_host, struct err *e);

/* "IP", "IP:PORT", "[IP6]:PORT"; the port is 53 when not given. 0 or ERR_SYNTAX. */
int name_server_parse(struct strview text, struct sockaddr_storage *ret);

/* "IP:PORT", "[IP6]:PORT", "*:PORT" (all IPv4 addresses). Port 0 lets the system choose. */
int listener_address_parse(struct strview text, struct sockaddr_storage *ret);

/* A bare IPv4 or IPv6 address, with this port. */
int ip_address_parse(struct strview text, uint16_t port, struct sockaddr_storage *ret);

#endif
