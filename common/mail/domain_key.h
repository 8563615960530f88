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
};

/* "selector, domain, file", or in the old form "file selector domain". Views point into text. 0, or
 * ERR_SYNTAX with *e saying what was expected. */
int domain_key_parse(struct strview text, bool old_form, struct domain_key *ret, struct err *e);

/* The key signs for this identity's domain: it is the same or above it, or "*". */
bool domain_key_matches(const struct domain_key *k, struct strview domain);

#endif
