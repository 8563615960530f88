/*
 * Records that are lists of tag=value (DKIM keys, DMARC, BIMI, MTA-STS): RFC 6376 section 3.2.
 */
#ifndef PMTA_PIPE_CHECK_TAGS_H
#define PMTA_PIPE_CHECK_TAGS_H

#include "base/str.h"

/* The value of a tag, trimmed; the name without regard to case. ptr NULL: it is not there. */
struct strview tags_value(struct strview record, const char *name);
/* The record begins with this version tag: "v=DMARC1", blanks around the sign allowed. */
bool tags_is_version(struct strview record, const char *version);
/* The same bytes but for white space, and for '=' at the end (base 64). */
bool tags_same_base64(struct strview a, struct strview b);

#endif
