/*
 * weights: a list of names with weights ("a.example:5,b.example:1"; the weight is 1 when left out)
 * and the choice of one of them.
 */
#ifndef PMTA_TOOLS_WEIGHTS_H
#define PMTA_TOOLS_WEIGHTS_H

#include "base/err.h"
#include "base/str.h"
#include "kit/rng.h"

#define WEIGHTS_MAX 1000

struct weights_entry {
    struct strview name; /* borrowed from the text that was parsed */
    uint64_t until;      /* sum of the weights up to and including this one */
};

/* Zero-initialised is valid and empty. */
struct weights {
    struct weights_entry *entries;
    size_t count;
    uint64_t total;
};

/* Parses text, which must outlive *w. 0 or ERR_SYNTAX. What was in *w is replaced. */
int weights_parse(struct weights *w, const char *text, struct err *e);
void weights_fini(struct weights *w);

/* Index of an entry; w is not empty. */
size_t weights_pick(const struct weights *w, struct rng *r);

#endif
