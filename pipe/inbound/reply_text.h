/*
 * SMTP replies and status codes inside of running text.
 */
#ifndef PMTA_PIPE_INBOUND_REPLY_TEXT_H
#define PMTA_PIPE_INBOUND_REPLY_TEXT_H

#include "base/str.h"

enum { STATUS_SIZE = 16 };

/* "5.1.1" at the start of text (class 2, 4 or 5), copied to out (STATUS_SIZE). */
bool status_at(struct strview text, char *out);

/* The first status code of class 4 or 5 anywhere in text. */
bool reply_status(struct strview text, char *out);

/* The first reply code from 400 to 599 in text that stands where a reply begins; its index, or -1. */
ptrdiff_t reply_find(struct strview text, unsigned *ret_code);

/* What the words say about the recipient when no code does: "1.1" for "user unknown", …; NULL: nothing
 * known. text is lower case. */
const char *reply_words_status(struct strview text);

#endif
