/*
 * Whether a delivery notice is owed (RFC 3461 sections 4.1, 5.2 and 6, RFC 5321 section 6.1). Pure
 * functions: dsn.c gathers the facts.
 */
#ifndef PMTA_PIPE_DSN_DECIDE_H
#define PMTA_PIPE_DSN_DECIDE_H

#include "mail/envelope.h"
#include "mail/outcome.h"

enum dsn_kind { DSN_NONE, DSN_FAILED, DSN_DELAYED, DSN_RELAYED, DSN_KIND_COUNT };

/* "failed", "delayed", "relayed": also the Action field of RFC 3464 section 2.3.3. */
const char *dsn_kind_name(enum dsn_kind k);

struct dsn_facts {
    enum outcome_class class_;
    struct strview sender;
    uint8_t notify;    /* NOTIFY_x bits */
    bool peer_has_dsn; /* the peer that took it answers for further notices */
    bool suppressed;   /* suppress-local-dsn */
    bool to_ourselves; /* the sender is an inbound address of a [bounce-processor] */
};

/* DELAYED is what a DEFERRED outcome may lead to, when it has lasted long enough. *ret_why, which may
 * be NULL: one sentence, of NONE. */
enum dsn_kind dsn_decide(const struct dsn_facts *f, const char **ret_why);

/* How often of `every` has passed between two times, both counted from received_ms: more than none
 * means that a notice of delay is due. */
int64_t dsn_delays_between(int64_t received_ms, int64_t every_ms, int64_t from_ms, int64_t to_ms);

#endif
