/*
 * Delivery status notices: message/delivery-status (RFC 3464) and message/global-delivery-status
 * (RFC 6533), as servers really write them.
 */
#ifndef PMTA_PIPE_INBOUND_DSN_H
#define PMTA_PIPE_INBOUND_DSN_H

#include "inbound/parsed.h"

/* The part's text, decoded. Adds the recipients that it tells of; false when there is none. */
bool dsn_read(struct strview text, struct arena *a, struct budget *b, struct inbound_report *ret);

/* What a report of several recipients is as a whole. */
enum inbound_kind dsn_kind(const struct inbound_report *r);

/* "rfc822;user@x", "utf-8;…", "<user@x>", "user@x (comment)": the address, or empty. */
struct strview dsn_address(struct strview value, struct arena *a);

#endif
