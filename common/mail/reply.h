/*
 * SMTP replies as they come off the wire (RFC 5321 section 4.2), with enhanced status codes
 * (RFC 2034, RFC 3463). Incremental: bytes in any portions, one reply at a time out.
 */
#ifndef PMTA_MAIL_REPLY_H
#define PMTA_MAIL_REPLY_H

#include "base/buf.h"
#include "base/err.h"
#include "mail/outcome.h"

/* What one reply may cost. A longer line is cut; more lines, or more bytes of whatever kind, end
 * the conversation with ERR_LIMIT. */
struct reply_limits {
    size_t line_bytes; /* kept of the text of one line */
    size_t total_bytes;
    uint32_t lines;
};

struct reply {
    uint16_t code; /* 200 to 599, of the last line */
    bool cut;      /* a line was longer than the limit */
    struct enhanced_code enhanced;
    struct strview lines; /* texts without the codes, separated by LF; control bytes replaced */
};

/* Zero-initialised is not valid: reply_parser_init. */
struct reply_parser {
    struct reply_limits limits;
    struct reply reply;
    struct buf text;
    size_t line_start; /* of the current line, in text */
    size_t total_bytes;
    uint32_t line_count;
    uint16_t code; /* digits of the current line so far */
    uint8_t state;
    bool last; /* the current line ends the reply */
    int error; /* sticky */
};

/* limits NULL: 1 KiB a line, 200 lines, 64 KiB. */
void reply_parser_init(struct reply_parser *p, const struct reply_limits *limits);
void reply_parser_fini(struct reply_parser *p);
/* Ready for a new conversation; memory and limits are kept. */
void reply_parser_reset(struct reply_parser *p);

/* Takes bytes up to the end of the next reply; *used tells how many. 1: p->reply is complete, and
 * valid until the next call. 0: all bytes taken, more are needed. ERR_PROTOCOL: that is no reply;
 * ERR_LIMIT: too much of one; both are for good. */
int reply_parse(struct reply_parser *p, const char *data, size_t len, size_t *used);

/* A part of a reply has come, its end has not. */
bool reply_parser_busy(const struct reply_parser *p);

/* 2 to 5. */
static inline unsigned reply_class(const struct reply *r)
{
    return r->code / 100u;
}

/* Appends the whole reply on one line: the code once, then the texts joined by blanks, the enhanced
 * code only before the first of them. "550 5.1.1 no such user here". */
void reply_text(const struct reply *r, struct buf *out);

/* "d.ddd.ddd" at the start of a text, followed by a blank or the end, of the class of `code` (RFC
 * 2034 section 4). Returns its length, or 0 and zeroes in *ret. */
size_t reply_enhanced(struct strview text, uint16_t code, struct enhanced_code *ret);

#endif
