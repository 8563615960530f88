/*
 * Organisational domains (RFC 7489 section 3.2), by the public suffix list.
 */
#ifndef PMTA_PIPE_CHECK_ORG_DOMAIN_H
#define PMTA_PIPE_CHECK_ORG_DOMAIN_H

#include "base/arena.h"

/* "mail.example.co.uk" -> "example.co.uk"; a public suffix is its own. Lower case, in arena. */
struct strview org_domain(struct arena *a, struct strview domain);
/* DMARC alignment (section 3.1): the same domain, or when relaxed the same organisational one. */
bool org_domain_aligned(struct arena *a, struct strview one, struct strview other, bool strict);

#endif
