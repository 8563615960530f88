/*
 * Which rules of a list can match a text at all: one pass over the text finds the literals (four
 * bytes or longer) that rules cannot match without.
 */
#ifndef PMTA_PIPE_RULES_PREFILTER_H
#define PMTA_PIPE_RULES_PREFILTER_H

#include "rules/literal.h"

struct prefilter;

struct prefilter *prefilter_new(void);
void prefilter_free(struct prefilter *f); /* NULL is fine */

/* Rules are numbered from 0 in the order in which they are added. */
void prefilter_add(struct prefilter *f, const struct literals *l);

/* Bit i of ret: rule i may match. lower is the text in lower case; ret has prefilter_words() words,
 * which are overwritten. */
void prefilter_scan(const struct prefilter *f, struct strview lower, uint64_t *ret);
unsigned prefilter_unfiltered(const struct prefilter *f); /* rules that may always match */
size_t prefilter_words(const struct prefilter *f);

#endif
