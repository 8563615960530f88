/*
 * Writing the few JSON objects that root says itself. Root never reads JSON.
 */
#ifndef PMTA_ROOT_JSON_TEXT_H
#define PMTA_ROOT_JSON_TEXT_H

#include "base/buf.h"

/* Appends s between quotes, escaped; bytes that are not UTF-8 become U+FFFD. */
void json_text(struct buf *out, struct strview s);

#endif
