/*
 * What inbound mail came to, as text: how it survives a restart (file "inbound" of the spool).
 */
#ifndef PMTA_PIPE_INBOUND_COUNTS_H
#define PMTA_PIPE_INBOUND_COUNTS_H

#include "base/buf.h"
#include "inbound/inbound.h"

/* A line "NAME NUMBER" for each. */
void inbound_counts_write(const struct inbound_stats *s, struct buf *out);
/* Takes what was written. Lines of other names or that are damaged are passed over. */
void inbound_counts_read(struct inbound_stats *s, struct strview text);

#endif
