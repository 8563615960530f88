/*
 * The log lines "refused", "authentication failed" and "TLS handshake failed" of sessions that come
 * in: their fields in one table, in the order in which they are written.
 */
#ifndef PMTA_MAIL_REFUSED_LINE_H
#define PMTA_MAIL_REFUSED_LINE_H

#include "base/log.h"

/* FIELD(ID, "name", kind, bytes shown or 0, "help") */
/* clang-format off */
#define REFUSED_FIELDS(FIELD)                                                          \
    FIELD(SESSION, "session", WORD, 0, "session, as in all lines of it")               \
    FIELD(CLIENT, "client", WORD, 0, "address of the client")                          \
    FIELD(LISTENER, "listener", WORD, 0, "listener that it came to")                   \
    FIELD(USER, "user", WORD, 255, "user that it logged in as, or failed to")          \
    FIELD(FROM, "from", WORD, 320, "envelope sender, in a transaction; <> when it is null") \
    FIELD(RCPT, "rcpt", WORD, 320, "recipient, when it is this one that is refused")   \
    FIELD(STATE, "state", WORD, 0, "where in the session: connected, ready, rcpt ...") \
    FIELD(REPLY, "reply", TEXT, 400, "what the client was told; of TLS: what went wrong")
/* clang-format on */

enum refused_field {
#define REFUSED_ENUM(id, ...) REFUSED_##id,
    REFUSED_FIELDS(REFUSED_ENUM)
#undef REFUSED_ENUM
        REFUSED_FIELD_COUNT
};

#endif
