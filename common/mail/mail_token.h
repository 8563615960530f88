/*
 * Addresses of our own that nobody else can make: a token with a keyed hash (libsodium) in the
 * local part of bounce and unsubscribe addresses, and in unsubscribe links. A receiver checks it at
 * RCPT, so a forged report is refused before it is taken.
 *
 * A token names what it is for, the day it was made, the pipe (by a hash of its name), the origin (a number
 * under which the pipe remembers job, virtual MTA and sender, pipe/verp/origins.h), and the recipient: the
 * address itself where it fits, else a hash that a candidate from the report can be held against. One of
 * an unsubscribe link also says what for: scope and its name.
 * A local part is at most 64 octets (RFC 5321 section 4.5.3.1.1), letters, digits, - = . _ only, and does
 * not depend on upper and lower case.
 *
 * Text: base32 of fixed length (what, day, pipe, origin, the recipient's hash where the address is not
 * there, 64 bits of BLAKE2b over all of it), then "-scope" and "-user=domain" where they are there;
 * docs/bounce-addresses.md.
 */
#ifndef PMTA_MAIL_MAIL_TOKEN_H
#define PMTA_MAIL_MAIL_TOKEN_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum mail_token_use { MAIL_TOKEN_BOUNCE = 1, MAIL_TOKEN_UNSUBSCRIBE = 2 };

enum {
    MAIL_TOKEN_KEY_BYTES = 32,
    MAIL_TOKEN_MAX = 700,
    MAIL_TOKEN_SCOPE_MAX = 255,
    MAIL_TOKEN_SECRET_MIN = 32, /* bytes of the installation's secret */
};

/* Derived from the installation's secret; libsodium. */
struct mail_token_key {
    uint8_t bytes[MAIL_TOKEN_KEY_BYTES];
};

/* Reads the file of frame `secret` (at least 32 bytes); fd stays the caller's. 0 or negative, *e. */
int mail_token_key_read(int fd, struct mail_token_key *ret, struct err *e);
/* The same from memory. */
int mail_token_key_derive(struct strview secret, struct mail_token_key *ret, struct err *e);

struct mail_token {
    enum mail_token_use use;
    uint16_t day;    /* days since 1970 */
    uint16_t pipe;   /* mail_token_pipe() of its name */
    uint32_t origin; /* 0: none */
    /* of an unsubscribe token: enum suppress_scope; the name is there in links, and in an address it
     * comes from the origin */
    uint8_t scope;
    char scope_name[MAIL_TOKEN_SCOPE_MAX + 1];
    bool has_rcpt;        /* rcpt is the address itself */
    char rcpt[321];       /* user@domain in lower case, or "" */
    uint8_t rcpt_hash[8]; /* keyed, of the address in lower case; always */
};

uint16_t mail_token_pipe(struct strview name);

/* Day of a time of the wall clock. */
uint16_t mail_token_day(int64_t wall_ms);
/* Older than max_age_ms (whole days, rounded up); 0: never. */
bool mail_token_is_old(const struct mail_token *t, int64_t wall_ms, int64_t max_age_ms);

/* Appends the token for rcpt. room: bytes that it may take (what is left of a local part); for a link
 * MAIL_TOKEN_MAX. t->rcpt_hash and has_rcpt are filled in. 0, or ERR_LIMIT when room is too small. */
int mail_token_make(const struct mail_token_key *key, struct mail_token *t, struct strview rcpt,
                    size_t room, struct buf *out);

/* 0 and *ret; ERR_SYNTAX when it is no token at all, ERR_AUTH when its hash is not ours (forged,
 * or of another installation). Constant time in the hash. */
int mail_token_read(const struct mail_token_key *key, struct strview text, struct mail_token *ret);

/* Whether this is the recipient that the token was made for. */
bool mail_token_is_rcpt(const struct mail_token_key *key, const struct mail_token *t,
                        struct strview candidate);

#endif
