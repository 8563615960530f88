/*
 * List-Unsubscribe and List-Unsubscribe-Post (RFC 2369, RFC 8058) with a link and an address that only
 * we can make, for one message to one recipient.
 */
#ifndef PMTA_PIPE_VERP_UNSUBSCRIBE_H
#define PMTA_PIPE_VERP_UNSUBSCRIBE_H

#include "sign/keyring.h"
#include "verp/verp.h"

/* Appends the fields in wire form; nothing when there is no key, or no link and no address. job, vmta,
 * sender and rcpt of *m are those of the message. */
void unsubscribe_put(struct verp *v, const struct sign_unsubscribe *set, const struct verp_mail *m,
                     struct buf *out);

#endif
