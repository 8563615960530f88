/*
 * What a message that came in says: which kind of report it is, about whom, and what is known of the
 * message that it is about. All views are in the arena that it was parsed into.
 */
#ifndef PMTA_PIPE_INBOUND_PARSED_H
#define PMTA_PIPE_INBOUND_PARSED_H

#include "base/arena.h"
#include "inbound/mime.h"

/* KIND(ID, "name", "what people read") */
#define INBOUND_KINDS(KIND)                                                   \
    KIND(OTHER, "other", "no report")                                         \
    KIND(BOUNCE, "bounce", "a report of failure")                             \
    KIND(STATUS, "status", "a report of delay or delivery")                   \
    KIND(COMPLAINT, "complaint", "a complaint")                               \
    KIND(AUTO_REPLY, "auto-reply", "an automatic answer")                     \
    KIND(CHALLENGE, "challenge", "a question whether the sender is a person") \
    KIND(MDN, "mdn", "a notice that a message was read or thrown away")

enum inbound_kind {
#define KIND_ENUM(id, name, text) INBOUND_##id,
    INBOUND_KINDS(KIND_ENUM)
#undef KIND_ENUM
        INBOUND_KIND_COUNT
};

const char *inbound_kind_name(enum inbound_kind k);
const char *inbound_kind_text(enum inbound_kind k);

enum inbound_action {
    REPORTED_FAILED,
    REPORTED_DELAYED,
    REPORTED_DELIVERED,
    REPORTED_RELAYED,
    REPORTED_EXPANDED
};

const char *inbound_action_name(enum inbound_action a);

enum { INBOUND_RCPTS_MAX = 50, INBOUND_CLUES_MAX = 32, INBOUND_DIAGNOSTIC_MAX = 500 };

/* One recipient of a delivery report. */
struct inbound_rcpt {
    struct strview final, original; /* addresses; either may be empty */
    enum inbound_action action_;
    struct strview status;     /* "5.1.1" */
    struct strview diagnostic; /* "smtp;550 5.1.1 no such user", or x-NAME;text */
    struct strview remote_mta;
};

struct inbound_report {
    enum inbound_kind kind;
    const char *format;  /* "dsn", "qmail", "arf" ...; "" when it is no report */
    const char *trouble; /* a limit or a form that could not be read; NULL: none */

    struct strview reporting_mta, envid;
    struct inbound_rcpt rcpts[INBOUND_RCPTS_MAX]; /* of a complaint: final is who complains */
    size_t rcpt_count;

    /* of a complaint */
    struct strview feedback_type, user_agent, source_ip, reported_domain, mail_from;

    /* the message that it is about, as far as it came along */
    struct strview original_header;
    struct strview
        clues[INBOUND_CLUES_MAX]; /* addresses in it that may be ours, or its recipient */
    size_t clue_count;

    struct strview from, subject; /* of the report itself */
};

#endif
