/*
 * Addresses of the envelope: the paths of RFC 5321 section 4.1.2, with internationalised mailboxes
 * (RFC 6531) where the session allows them. Nothing is allocated: results point into the input.
 */
#ifndef PMTA_MAIL_ADDRESS_H
#define PMTA_MAIL_ADDRESS_H

#include "base/str.h"

enum {
    ADDRESS_LOCAL_MAX = 64,
    ADDRESS_DOMAIN_MAX = 255,
    ADDRESS_PATH_MAX = 256, /* angle brackets included: a mailbox has at most 254 */
};

enum address_flag {
    ADDRESS_UTF8 = 1, /* well-formed UTF-8 is allowed in local part and domain */
};

/* Bare mailbox: local part, @, domain or address literal. True when the whole view is one. */
bool address_is_mailbox(struct strview s, unsigned flags);

/* Host or domain name: labels of letters, digits, hyphens and underscores, at most 63 bytes each;
 * no trailing dot. */
bool address_is_domain(struct strview s, unsigned flags);

/* "[192.0.2.1]" or "[IPv6:2001:db8::1]". */
bool address_is_literal(struct strview s);

/* What stands between < and >: a mailbox with an optional source route, which is checked and left
 * out. False when it is not a path. */
bool address_parse_path(struct strview path, unsigned flags, struct strview *ret_mailbox);

/* Well-formed UTF-8 (no overlong forms, no surrogates). */
bool address_utf8_ok(struct strview s);

#endif
