/*
 * What the suppression list is made of: who may not be written to, within what, and why. The list
 * itself is kept by pmta-suppress (root/suppress); receivers and pipes look things up in its table.
 */
#ifndef PMTA_SUPPRESS_SUPPRESS_H
#define PMTA_SUPPRESS_SUPPRESS_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SUPPRESS_ADDRESS_MAX = 320, /* canonical: 64 octets, @, 255 */
    SUPPRESS_NAME_MAX = 255,    /* of a pipe, domain or job */
    SUPPRESS_NOTE_MAX = 250,    /* what is longer is cut */
};

/* bounceCat of recipients that ended because of the list */
#define SUPPRESSED_CATEGORY "suppressed"

/* SCOPE(ID, "as written"): what an entry holds for; all but global have a name. Values are on disk. */
#define SUPPRESS_SCOPES(SCOPE)                              \
    SCOPE(GLOBAL, "global") /* everybody */                 \
    SCOPE(PIPE, "pipe")     /* mail of one pipe */          \
    SCOPE(DOMAIN, "domain") /* sender domain of the mail */ \
    SCOPE(JOB, "job")       /* X-Job */

enum suppress_scope {
#define SCOPE_ENUM(id, text) SUPPRESS_##id,
    SUPPRESS_SCOPES(SCOPE_ENUM)
#undef SCOPE_ENUM
        SUPPRESS_SCOPE_COUNT
};

/* REASON(ID, "as written"). Values are on disk. */
#define SUPPRESS_REASONS(REASON)                                                      \
    REASON(MANUAL, "manual")           /* an operator, or an import */                \
    REASON(BOUNCE, "bounce")           /* a hard bounce, in the session or by mail */ \
    REASON(COMPLAINT, "complaint")     /* a feedback loop */                          \
    REASON(UNSUBSCRIBE, "unsubscribe") /* RFC 8058 or by mail */

enum suppress_reason {
#define REASON_ENUM(id, text) SUPPRESS_BY_##id,
    SUPPRESS_REASONS(REASON_ENUM)
#undef REASON_ENUM
        SUPPRESS_REASON_COUNT
};

const char *suppress_scope_name(enum suppress_scope s);
const char *suppress_reason_name(enum suppress_reason r);
/* The one of that name, without regard to case, or …_COUNT. */
enum suppress_scope suppress_scope_find(struct strview name);
enum suppress_reason suppress_reason_find(struct strview name);

struct suppress_entry {
    enum suppress_scope scope;
    struct strview scope_name; /* pipe, domain or job; empty for global */
    enum suppress_reason reason;
    struct strview address; /* user@domain, or @domain: all of it; any case: compared without it */
    int64_t expires_ms;     /* wall clock; 0: never */
    struct strview note;    /* one short line: reply, report, who; may be empty */
};

/* --- comparison --- */

/* The form in which addresses are compared: ASCII letters lower case, the domain without a trailing
 * dot and as A-labels (RFC 5890) where it has others. Returns its length, 0 when this is not a mailbox
 * that fits. Only the shape is looked at: something, @, something. */
size_t suppress_canonical(struct strview address, char out[SUPPRESS_ADDRESS_MAX]);
/* The same for what an entry may name: also "@domain", every address there. */
size_t suppress_canonical_entry(struct strview address, char out[SUPPRESS_ADDRESS_MAX]);
/* "@domain": of a whole domain. */
static inline bool suppress_is_domain(struct strview address)
{
    return address.len > 1 && address.ptr[0] == '@';
}
/* The same for the name of a scope: pipes and domains without case, domains as above, jobs as they
 * are. 0 also when it is empty or too long; global has none and gives 0. */
size_t suppress_canonical_name(enum suppress_scope scope, struct strview name,
                               char out[SUPPRESS_NAME_MAX]);

/* Under what an entry is found: SipHash-2-4-128 (libsodium) of the canonical address, xor that of
 * scope and name. Keyed, so neither the disk nor the table tells an address to who has no key. */
struct suppress_hash {
    uint64_t a, b;
};

struct suppress_key {
    uint8_t bytes[16];
};

/* From what the file of frame `secret` holds (at least 32 bytes). */
int suppress_key_derive(struct strview secret, struct suppress_key *ret, struct err *e) MUST_CHECK;
/* The same, read from the file; fd stays the caller's. */
int suppress_key_read(int fd, struct suppress_key *ret, struct err *e) MUST_CHECK;
struct suppress_hash suppress_hash_address(const struct suppress_key *k, struct strview canonical);
/* {0, 0} for global. */
struct suppress_hash suppress_hash_scope(const struct suppress_key *k, enum suppress_scope scope,
                                         struct strview canonical_name);

static inline struct suppress_hash suppress_hash_join(struct suppress_hash x,
                                                      struct suppress_hash y)
{
    return (struct suppress_hash){x.a ^ y.a, x.b ^ y.b};
}

#endif
