/*
 * A signing key as the configuration names it.
 */
#ifndef PMTA_MAIL_DOMAIN_KEY_H
#define PMTA_MAIL_DOMAIN_KEY_H

#include "base/err.h"
#include "base/str.h"

struct domain_key {
    struct strview selector;
    struct strview domain; /* "*": any */
    struct strview file;
    int64_t from_ms;  /* wall; 0: from ever on */
    int64_t until_ms; /* wall, first moment without it; 0: for ever */
};

/* "selector, domain, file[, from=DATE][, until=DATE]", or in the old form "file selector domain".
 * A date is 2026-12-01 or 2026-12-01T08:00, UTC. Views point into text. 0, or ERR_SYNTAX with *e
 * saying what was expected. */
int domain_key_parse(struct strview text, bool old_form, struct domain_key *ret, struct err *e);

/* The key signs for this identity's domain: it is the same or above it, or "*". */
bool domain_key_matches(const struct domain_key *k, struct strview domain);
/* The key has this selector and can sign with d= this domain; an empty one is not asked for. */
bool domain_key_is_wanted(const struct domain_key *k, struct strview selector,
                          struct strview domain);
/* May stand behind s= or d=: letters, digits, "-", "_" and dots between them. */
bool domain_key_is_name(struct strview s);

#endif
