/*
 * The text of a notice: a small message (RFC 5322) in wire form, and its envelope.
 */
#ifndef PMTA_PIPE_NOTICE_LETTER_H
#define PMTA_PIPE_NOTICE_LETTER_H

#include "base/buf.h"
#include "mail/envelope.h"

/* Name of the source in accounting; no [source] can have it. */
#define LETTER_SOURCE "{notice}"

enum { LETTER_MAX_TO = 20, LETTER_MAX_SUBJECT = 200, LETTER_MAX_BODY = 32 * 1024 };

struct letter {
    struct strview about; /* addresses in this domain are left out; empty: none */
    struct strview to;    /* separated by commas */
    struct strview subject;
    struct strview body;
    const char *host, *pipe;
    uint64_t serial;
    uint32_t held, held_same; /* notices held back before this one; of these with its subject */
    int64_t held_since_ms;
};

/* content is appended to; *env points into a and static memory. env->rcpt_count may be 0. */
void letter_write(const struct letter *l, struct arena *a, struct buf *content,
                  struct envelope *env);

#endif
