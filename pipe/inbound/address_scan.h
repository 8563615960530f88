/*
 * Addresses in running text.
 */
#ifndef PMTA_PIPE_INBOUND_ADDRESS_SCAN_H
#define PMTA_PIPE_INBOUND_ADDRESS_SCAN_H

#include "base/str.h"

/* The next mailbox in text from *at on; *at moves past it. False: there is no more. */
bool address_next(struct strview text, size_t *at, struct strview *ret);

/* The first mailbox in text, or empty. */
struct strview address_first(struct strview text);

#endif
