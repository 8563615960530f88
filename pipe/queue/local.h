/*
 * Which addresses this machine has: what a virtual MTA may send from.
 */
#ifndef PMTA_PIPE_QUEUE_LOCAL_H
#define PMTA_PIPE_QUEUE_LOCAL_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An address of an interface; on a loopback interface the whole IPv4 network around it is ours
 * (127.0.0.0/8). */
struct local_net {
    int family;
    uint8_t bytes[16];
    unsigned prefix; /* bits that count: all of them, or the network's on loopback */
};

struct local_addresses {
    struct local_net *nets; /* sorted by local_read; networks first */
    size_t count;
    /* Asks the system for an address that no interface shows (routes of type local,
     * ip_nonlocal_bind); NULL: do not ask. */
    bool (*can_bind)(const struct sockaddr_storage *addr);
};

/* Those of now; all zero when the system does not tell. */
void local_read(struct local_addresses *ret);
void local_free(struct local_addresses *l);

/* An interface has it. */
bool local_is_on_interface(const struct local_addresses *l, const struct sockaddr_storage *addr);
/* It can be sent from: an interface has it, or can_bind says so. */
bool local_has(const struct local_addresses *l, const struct sockaddr_storage *addr);

/* can_bind of local_read: a socket can be bound to it. Never blocks. */
bool local_can_bind(const struct sockaddr_storage *addr);

#endif
