/*
 * Bytes of a notice: lines in wire form (CRLF, a dot in front doubled), quoted-printable and encoded
 * words where 8-bit text has to pass 7-bit hosts, xtext read.
 */
#ifndef PMTA_PIPE_DSN_ENCODE_H
#define PMTA_PIPE_DSN_ENCODE_H

#include "base/buf.h"

/* Where a message in wire form is written. */
struct wire {
    struct buf *out;
    uint32_t stuffed_dots;
    bool is_8bit; /* some byte is above 0x7f */
};

bool dsn_is_8bit(struct strview s);

/* Lines that end in LF or CRLF; control characters but tab become blanks, over-long lines are cut at
 * a character of UTF-8. The last line is ended too. */
void wire_text(struct wire *w, struct strview text);
/* The same in quoted-printable (RFC 2045 section 6.7). */
void wire_quoted(struct wire *w, struct strview text);
/* What is in wire form already (CRLF, stuffed) as it is, and a CRLF behind it where that is missing. */
void wire_stored(struct wire *w, struct strview stored);
/* It is in quoted-printable: what the reader gets back is the message before it was stuffed. */
void wire_stored_quoted(struct wire *w, struct strview stored);

/* "Name: value" and CRLF, folded at blanks so that lines stay near 78 characters; control characters
 * become blanks, and without utf8 bytes above 0x7f '?'. */
void wire_field(struct wire *w, const char *name, struct strview value, bool utf8);
/* The same with what is 8-bit as encoded words (RFC 2047), unless utf8. */
void wire_field_encoded(struct wire *w, const char *name, struct strview value, bool utf8);

/* xtext (RFC 3461 section 4) decoded; what is no xtext stays as it is. */
void dsn_unxtext(struct strview xtext, struct buf *out);

#endif
