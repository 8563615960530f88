/*
 * Bounce addresses of our own: the reverse path that a recipient's mail goes out with, and what such
 * an address says when a report comes back to it (common/mail/mail_token.h). Unsubscribe addresses
 * are made and read the same way.
 */
#ifndef PMTA_PIPE_VERP_VERP_H
#define PMTA_PIPE_VERP_VERP_H

#include "base/arena.h"
#include "mail/config.h"
#include "mail/envelope.h"
#include "mail/inbound_address.h"
#include "mail/mail_token.h"
#include "suppress/suppress.h"

struct verp;

/* What an inbound address (of a bounce, or of an unsubscribe mail) says. Views are in the arena of the call. */
struct verp_origin {
    struct mail_token token;
    bool known; /* the origin is remembered: job, vmta, sender are right */
    struct strview pipe, job, vmta, sender;
    struct strview rcpt; /* empty: not in the address; hold candidates against the token */
};

/* 0; ERR_NOT_FOUND when this is no such address (an ordinary one of a processor), ERR_AUTH when its
 * hash is not ours. ERR_TIMEOUT when it is ours and too old to count; *ret is filled in then too. */
int verp_read(struct verp *v, struct strview address, struct arena *a, struct verp_origin *ret);
bool verp_is_rcpt(const struct verp *v, const struct verp_origin *o, struct strview candidate);
/* What the holder of an unsubscribe address unsubscribes from; address is what the token names, or a
 * candidate that verp_is_rcpt agreed with. Where the scope needs the origin and that is forgotten, it
 * is the pipe. False when o is no such address, or its pipe is gone. Views are those of o. */
bool verp_unsubscribes(const struct verp_origin *o, struct strview address,
                       struct suppress_entry *ret);

/* --- the room itself --- */

/* pipe: our name, copied. changed(arg): verp_write has another text from now on; may be NULL. Never
 * NULL. Until verp_set_key nothing is made, and what is read is not known to be ours (ERR_AUTH). */
struct verp *verp_new(const char *pipe, void (*changed)(void *arg), void *arg);
void verp_free(struct verp *v); /* NULL is fine */
void verp_set_key(struct verp *v, const struct mail_token_key *key);
void verp_configure(struct verp *v, struct config *cfg);
/* Which recipients are for ourselves, by the configuration; NULL before it. */
const struct inbound_table *verp_table(const struct verp *v);

/* Origins, as text for a state file, and back. */
void verp_write(const struct verp *v, struct buf *out);
void verp_restore(struct verp *v, struct strview text);
size_t verp_origins(const struct verp *v);

/* --- sending --- */

/* One message on its way out, to one recipient. */
struct verp_mail {
    struct strview job, vmta, sender, rcpt;
};

/* The parts of bounce-address and unsubscribe-address; local.len 0: not set. */
struct verp_base {
    struct strview local, domain;
};
/* base.local.len is 0 when text is NULL or wrong. */
struct verp_base verp_base_of(const char *text);

/* Sets what a token says of that mail but for use and scope; and base+TOKEN@domain. False: no key, or
 * no room; nothing is appended. */
void verp_token(struct verp *v, const struct verp_mail *m, struct mail_token *ret);
bool verp_address(struct verp *v, const struct verp_base *base, struct mail_token *t,
                  struct strview rcpt, struct buf *out);
/* The key, or NULL: none yet, which is logged once. */
const struct mail_token_key *verp_key(struct verp *v);

/* The reverse path for that mail, in the arena. False: the sender stays (a null sender, no key). */
bool verp_sender(struct verp *v, const struct verp_base *base, const struct verp_mail *m,
                 struct arena *a, struct strview *ret);

/* Plain VERP: u@d and r@e make u-r=e@d. False when there is no room, or an end is no mailbox. */
bool verp_plain_sender(struct strview sender, struct strview rcpt, struct arena *a,
                       struct strview *ret);

#endif
