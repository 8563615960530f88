/*
 * The pages that a person sees: short, plain, without scripts, readable on a telephone, by a screen
 * reader and in the dark. The style is in the page, and the policy names its hash.
 */
#ifndef PMTA_WEB_PAGE_H
#define PMTA_WEB_PAGE_H

#include "base/buf.h"

/* A page with one heading and sentences. text is put as it is: HTML of ours. */
void page_put(struct buf *out, const char *title, struct strview text);

/* The same text where HTML would see markup. */
void page_escape(struct buf *out, struct strview s);

/* "Content-Security-Policy: …" and the other fields of a page, one a line. */
const char *page_headers(void);

#endif
