/*
 * Unsubscribe links: unsubscribe-url with a token behind it (RFC 8058). Pipes make them, the web
 * process knows them again.
 */
#ifndef PMTA_MAIL_UNSUBSCRIBE_URL_H
#define PMTA_MAIL_UNSUBSCRIBE_URL_H

#include "base/buf.h"
#include "base/err.h"

/* What unsubscribe-url may say: https://host/path, printable, without query and fragment. 0, or
 * ERR_SYNTAX with *e saying what was expected. */
enum { UNSUBSCRIBE_URL_MAX = 200 };
int unsubscribe_url_check(struct strview url, struct err *e);

/* Appends the URL with a slash at its end, so that a token can follow. */
void unsubscribe_url_put(struct strview url, struct buf *out);

#endif
