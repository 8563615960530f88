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

struct suppress_entry {
    enum suppress_scope scope;
    struct strview scope_name; /* pipe, domain or job; empty for global */
    enum suppress_reason reason;
    struct strview address; /* user@domain; any case: compared without it */
    int64_t expires_ms;     /* wall clock; 0: never */
    struct strview note;    /* one short line: reply, report, who; may be empty */
};

#endif
