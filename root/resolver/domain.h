/*
 * domain: names as the resolver works with them: ASCII, lower case, without the final dot, at most
 * 253 bytes, labels of letters, digits, hyphen and underscore. Only names that pipes ask about
 * themselves, and the aliases of such, may hold other characters.
 */
#ifndef PMTA_RESOLVER_DOMAIN_H
#define PMTA_RESOLVER_DOMAIN_H

#include "base/err.h"
#include "base/str.h"

#include <netinet/in.h>

enum { DOMAIN_SIZE = 256 }; /* with the NUL */

struct domain_address {
    int family; /* AF_INET or AF_INET6 */
    uint8_t bytes[16];
};

/* A domain as it came in an address: ASCII or UTF-8 (U-labels become A-labels by IDNA 2008), one
 * final dot allowed. out holds DOMAIN_SIZE bytes. Returns 0, or ERR_SYNTAX with *e filled. */
int domain_normalise(struct strview in, char *out, struct err *e);

/* The same for a name that need not be a host's (an SPF macro, a reverse zone): any printable ASCII
 * but dots within labels; no UTF-8. */
int domain_normalise_any(struct strview in, char *out, struct err *e);

/* An address literal of RFC 5321 section 4.1.3, [192.0.2.1] or [IPv6:2001:db8::1]; with bare_ok the
 * address alone as well. Returns 1 and fills *ret, 0 when it is no literal, ERR_SYNTAX when it
 * begins like one and is none. */
int domain_parse_literal(struct strview in, bool bare_ok, struct domain_address *ret);

/* Which names domain_from_wire takes: those a host can have, or those of domain_normalise_any. */
enum domain_form { DOMAIN_HOST, DOMAIN_ANY };

/* Uncompressed wire form (RFC 1035 section 3.1) to text; the root is "". Returns 0, or ERR_SYNTAX
 * when the bytes are no name or one of another form. */
int domain_from_wire(const uint8_t *wire, size_t len, enum domain_form form, char *out);

/* Text to wire form; out holds DOMAIN_SIZE bytes. name is a normalised domain. Returns the length.
 */
size_t domain_to_wire(const char *name, uint8_t *out);

#endif
