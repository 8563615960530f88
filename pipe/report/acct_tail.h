/*
 * What the last lines of an accounting file say about r records.
 */
#ifndef PMTA_PIPE_REPORT_ACCT_TAIL_H
#define PMTA_PIPE_REPORT_ACCT_TAIL_H

#include "base/buf.h"
#include "spool/spool.h"

struct acct_tail {
    message_id newest; /* message with an r record among the last lines; 0: none there */
    int64_t mtime_ms;
    bool has_records;
    bool torn; /* the last line has no end */
    bool json;
    ptrdiff_t type_at, id_at; /* columns of CSV, by the file's own first line; -1: it has none */
};

/* grown: columns were added behind by later versions, msgId is always the last. 0 or -errno. */
int acct_tail_scan(int dirfd, const char *name, bool grown, struct acct_tail *ret);

#endif
