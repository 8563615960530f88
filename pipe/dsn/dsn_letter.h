/*
 * The delivery notice as a message: multipart/report (RFC 6522) of a text for people, the status part
 * (RFC 3464, or RFC 6533 where the message was internationalised) and what is returned of the message.
 */
#ifndef PMTA_PIPE_DSN_LETTER_H
#define PMTA_PIPE_DSN_LETTER_H

#include "dsn/dsn_decide.h"
#include "dsn/dsn_encode.h"
#include "dsn/dsn_limit.h"
#include "mail/dsn_template.h"

/* Product's prefix of its own fields in the status part. */
#define DSN_X "X-PipeMTA-"

enum { DSN_MAX_RCPTS = 1000 }; /* in one notice */

struct dsn_letter_rcpt {
    struct strview address, orcpt; /* of the envelope */
    const struct outcome *outcome; /* of a delay: the last one, with as much as is known */
    unsigned attempts;
    int64_t last_ms;      /* wall; of the last attempt, 0: there was none */
    const char *category; /* bounce category, or NULL */
    const char *vmta;
    uint32_t number; /* in the envelope */
};

struct dsn_letter {
    enum dsn_kind kind;
    const char *host; /* of this system */
    const char *pipe;
    const char *boundary;
    const char *message_id;     /* of the notice, without angle brackets */
    const char *id;             /* of the message in the log */
    const char *from;           /* template of From, or NULL */
    const char *subject;        /* template of Subject, or NULL */
    const char *body;           /* template, or NULL */
    bool plain_text;            /* dsn-format */
    struct strview copy_to;     /* further recipients, separated by commas; or empty */
    const struct envelope *env; /* of the message */
    struct strview header;      /* of the message, in wire form */
    struct strview content;     /* all of it, to be returned in full; empty: the header alone */
    const struct dsn_letter_rcpt *rcpts;
    size_t rcpt_count;
    int64_t bounce_after_ms;
    int64_t next_ms; /* wall; the next attempt, of a delay; 0: not known */
    struct dsn_held held;
};

/* Content is appended to; *env points into a, and static memory. */
void dsn_letter_write(const struct dsn_letter *l, struct arena *a, struct buf *content,
                      struct envelope *env);

/* --- dsn_status.c --- */

/* The fields of the status part, without what is around them. */
void dsn_status_write(const struct dsn_letter *l, struct wire *w);

/* The message was internationalised: its notice is (RFC 6533). */
static inline bool dsn_is_global(const struct dsn_letter *l)
{
    return l->env->flags & ENVELOPE_SMTPUTF8;
}

#endif
