/*
 * Values of header fields for accounting records, picked out of a message's header block when it is
 * taken in (only when an [acct-file] asks for some).
 */
#ifndef PMTA_PIPE_REPORT_HEADERS_H
#define PMTA_PIPE_REPORT_HEADERS_H

#include "base/buf.h"

enum { HEADER_VALUE_MAX = 1000, HEADER_VALUES_MAX = 8000 };

/* Appends "Name: value" and LF for the first field of each wanted name; unfolded, control bytes as
 * blanks, cut at HEADER_VALUE_MAX. names is "\nsubject\nx-job\n"; block is in wire form (CRLF,
 * dot-stuffed). Total on any bytes. */
void headers_pick(struct strview names, struct strview block, struct buf *out);

#endif
