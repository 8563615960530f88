/*
 * What an event sink still needs of the accounting files of a pipe. pmta-ship says so in a small file
 * beside them, ".LABEL.keep-SINK", that holds the name of the oldest file which it has not sent
 * whole; a pipe reads it before it deletes finished files.
 */
#ifndef PMTA_MAIL_ACCT_HOLD_H
#define PMTA_MAIL_ACCT_HOLD_H

#include "base/err.h"

enum { ACCT_HOLD_NAME = 300 };

/* label: "acct-bulk"; stem: "acct-bulk-2026-11-21-0003". Written whole (rename). 0 or -errno. */
int acct_hold_write(int dirfd, const char *label, const char *sink, const char *stem,
                    struct err *e);
/* ret has room for ACCT_HOLD_NAME bytes. ERR_NOT_FOUND: the sink has said nothing yet. */
int acct_hold_read(int dirfd, const char *label, const char *sink, char *ret);

/* A file of that name (stem, and whatever stands behind it) sorts before the stem: by date, then
 * number. Both begin with "LABEL-". */
bool acct_hold_is_before(const char *label, const char *name, const char *stem);

#endif
