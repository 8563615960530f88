/*
 * Who a request is from: the peer, unless it is a proxy that we trust to say for whom it speaks.
 */
#ifndef PMTA_WEB_PROXY_H
#define PMTA_WEB_PROXY_H

#include "base/err.h"
#include "base/str.h"

#include <sys/socket.h>

enum { PROXIES_MAX = 64 };

struct proxies {
    struct proxy_net {
        uint8_t family, prefix;
        uint8_t address[16];
    } items[PROXIES_MAX];
    size_t count;
};

/* "127.0.0.0/8, ::1"; what does not parse is left out. text may be NULL. */
void proxies_read(struct proxies *p, const char *text);

/* The address as text. forwarded: X-Forwarded-For, or NULL: of it the last address that is no proxy of
 * ours counts. */
void proxy_client(const struct proxies *p, const struct sockaddr *peer, const char *forwarded,
                  char *out, size_t size);

#endif
