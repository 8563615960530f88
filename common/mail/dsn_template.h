/*
 * Texts of delivery notices with variables in them: "Undelivered: ${subject}". In bodies \n is a line
 * end, \t a tab and \\ a backslash, because a directive is one line.
 */
#ifndef PMTA_MAIL_DSN_TEMPLATE_H
#define PMTA_MAIL_DSN_TEMPLATE_H

#include "base/buf.h"
#include "base/err.h"

/* VAR(NAME, "name", "what it is") */
#define DSN_VARIABLES(VAR)                                                                       \
    VAR(HOSTNAME, "hostname", "name of this host")                                               \
    VAR(ORIGINATOR, "originator", "the sender, to whom the notice goes")                         \
    VAR(RECIPIENT, "recipient", "the recipients that it is about, separated by commas")          \
    VAR(RECIPIENTS, "recipients", "the same, one paragraph each, with what was said about them") \
    VAR(SUBJECT, "subject", "Subject of the message")                                            \
    VAR(RESPONSE, "response", "what was said about the first recipient")                         \
    VAR(STATUS, "status", "status code of the first recipient, as 5.1.1")                        \
    VAR(ATTEMPTS, "attempts", "attempts made for the first recipient")                           \
    VAR(DATE, "date", "now")                                                                     \
    VAR(ACCEPTED, "accepted", "when the message was accepted")                                   \
    VAR(TIME_QUEUED, "timeQueued", "how long ago that was")                                      \
    VAR(RETRY_AFTER, "retryAfter", "time to the next attempt, of a delay")                       \
    VAR(BOUNCE_AFTER, "bounceAfter", "age at which it is given up")                              \
    VAR(MESSAGE_ID, "messageId", "id of the message in the log and in accounting")               \
    VAR(ENVELOPE_ID, "envelopeId", "ENVID of the message")                                       \
    VAR(JOB_ID, "jobId", "job of the message")                                                   \
    VAR(PIPE, "pipe", "pipe of the message")

enum dsn_variable {
#define DSN_ENUM(id, name, help) DSN_VAR_##id,
    DSN_VARIABLES(DSN_ENUM)
#undef DSN_ENUM
        DSN_VARIABLE_COUNT
};

enum { DSN_TEMPLATE_MAX = 32 * 1024 };

/* 0, or ERR_SYNTAX with *e saying which variable is unknown or not closed. */
int dsn_template_check(struct strview text, struct err *e);

/* Appends text with its variables replaced; is_body: and with \n, \t and \\ read. */
void dsn_template_expand(struct strview text, bool is_body,
                         const struct strview values[DSN_VARIABLE_COUNT], struct buf *out);

/* The content of a file as the text of a body; CR is left out. */
void dsn_template_escape(struct strview file, struct buf *out);

/* Name and help of a variable, for the documentation. */
const char *dsn_variable_name(enum dsn_variable v);
const char *dsn_variable_help(enum dsn_variable v);

#endif
