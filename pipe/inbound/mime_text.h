/*
 * What a MIME part says, as text: transfer encodings undone, charsets made UTF-8 as well as it goes,
 * HTML without its tags; and encoded words of header fields (RFC 2047).
 */
#ifndef PMTA_PIPE_INBOUND_MIME_TEXT_H
#define PMTA_PIPE_INBOUND_MIME_TEXT_H

#include "inbound/mime.h"

enum { MIME_TEXT_MAX = 64 * 1024 }; /* of a text that is looked at */

/* The body with its transfer encoding undone. */
struct strview mime_decode(const struct mime_part *p, struct arena *a, struct budget *b);

/* The same as UTF-8 with LF, at most MIME_TEXT_MAX bytes of it, HTML reduced to its text. */
struct strview mime_text(const struct mime_part *p, struct arena *a, struct budget *b);

/* A field's value with its encoded words undone. */
struct strview mime_words(struct strview value, struct arena *a);

/* Any bytes in that charset as valid UTF-8; what is wrong becomes U+FFFD. */
struct strview mime_utf8(struct strview bytes, struct strview charset, struct arena *a);

#endif
