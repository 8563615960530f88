/*
 * XARF: reports of abuse as JSON (version 3 and 4) or as fields (the older form).
 */
#ifndef PMTA_PIPE_INBOUND_XARF_H
#define PMTA_PIPE_INBOUND_XARF_H

#include "inbound/parsed.h"

/* Some part is such a report: fills *ret in. header: of the whole message. */
bool xarf_read(const struct mime *m, struct arena *a, struct budget *b, struct inbound_report *ret);

#endif
