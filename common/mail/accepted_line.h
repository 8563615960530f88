/*
 * The log line of an accepted message: its fields in one table, in the order in which they are
 * written.
 */
#ifndef PMTA_MAIL_ACCEPTED_LINE_H
#define PMTA_MAIL_ACCEPTED_LINE_H

#include "base/log.h"

/* FIELD(ID, "name", kind, bytes shown or 0, "help") */
/* clang-format off */
#define ACCEPTED_FIELDS(FIELD)                                                       \
    FIELD(SESSION, "session", WORD, 0, "session, as in all lines of it")             \
    FIELD(CLIENT, "client", WORD, 0, "address of the submitting client")             \
    FIELD(ID, "id", WORD, 0, "message id")                                           \
    FIELD(PIPE, "pipe", WORD, 0, "pipe that took it")                                \
    FIELD(RCPTS, "rcpts", NUMBER, 0, "recipients")                                   \
    FIELD(SIZE, "size", NUMBER, 0, "size in bytes")                                  \
    FIELD(FROM, "from", WORD, 320, "envelope sender; <> when it is null")            \
    FIELD(JOB, "job", WORD, 200, "X-Job of the message")                             \
    FIELD(USER, "user", WORD, 0, "user that the client logged in as")                \
    FIELD(TLS, "tls", WORD, 0, "TLS version and cipher suite; left out without TLS")
/* clang-format on */

enum accepted_field {
#define ACCEPTED_ENUM(id, ...) ACCEPTED_##id,
    ACCEPTED_FIELDS(ACCEPTED_ENUM)
#undef ACCEPTED_ENUM
        ACCEPTED_FIELD_COUNT
};

#endif
