/*
 * Bounce addresses of our own: the reverse path that a recipient's mail goes out with, and what such
 * an address says when a report comes back to it (common/mail/mail_token.h).
 */
#ifndef PMTA_PIPE_VERP_VERP_H
#define PMTA_PIPE_VERP_VERP_H

#include "base/arena.h"
#include "mail/envelope.h"
#include "mail/mail_token.h"

struct verp;

/* What an inbound address (of a bounce, or of an unsubscribe mail) says. Views are in the arena of the call. */
struct verp_origin {
    struct mail_token token;
    bool known; /* the origin is remembered: job, vmta, sender are right */
    struct strview pipe, job, vmta, sender;
    struct strview rcpt; /* empty: not in the address; hold candidates against the token */
};

/* 0; ERR_NOT_FOUND when this is no such address (an ordinary one of a processor), ERR_AUTH when its
 * hash is not ours. */
int verp_read(struct verp *v, struct strview address, struct arena *a, struct verp_origin *ret);
bool verp_is_rcpt(const struct verp *v, const struct verp_origin *o, struct strview candidate);

#endif
