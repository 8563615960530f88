/*
 * Bounces that are written for people: by servers that know no RFC 3464, or whose report lost its
 * form on the way. Recognised by who writes, by the subject and by what the text begins with.
 */
#ifndef PMTA_PIPE_INBOUND_BOUNCE_TEXT_H
#define PMTA_PIPE_INBOUND_BOUNCE_TEXT_H

#include "inbound/parsed.h"

struct bounce_text {
    struct strview text;          /* UTF-8, for people */
    struct strview header;        /* of the whole message */
    struct strview from, subject; /* decoded */
    struct strview own;           /* the address that the report was sent to: never a recipient */
    bool null_sender;
    bool is_report; /* its form says that it is one: only the recipients are looked for */
};

/* True: it is a bounce or a notice of delay, and *ret has format, kind and recipients. */
bool bounce_text_read(const struct bounce_text *t, struct arena *a, struct budget *b,
                      struct inbound_report *ret);

/* Who writes is a mail system. */
bool bounce_text_is_daemon(struct strview from, struct arena *a);

/* A diagnostic text for this recipient of a DSN that has none: what the text for people says. */
struct strview bounce_text_diagnostic(struct strview text, struct strview rcpt, struct arena *a);

#endif
