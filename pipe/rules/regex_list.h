/*
 * An ordered list of regular expressions, and the question which is the first that matches a text:
 * with a prefilter over the literals that they cannot match without, and a limit on the time that
 * one text may take. What the expressions stand for is the caller's matter.
 */
#ifndef PMTA_PIPE_RULES_REGEX_LIST_H
#define PMTA_PIPE_RULES_REGEX_LIST_H

#include "base/err.h"
#include "base/str.h"

struct regex_list;

struct regex_list *regex_list_new(void);
void regex_list_free(struct regex_list *l); /* NULL is fine */

/* The next one, numbered from 0. file and line are where it stands, for the log; file is borrowed.
 * ERR_SYNTAX with *e: it does not compile, and nothing was added. */
int regex_list_add(struct regex_list *l, struct strview regex, const char *file, unsigned line,
                   struct err *e);

/* Says whether expression i counts for the text at hand; asked before its regex is tried. */
typedef bool (*regex_list_applies)(const void *arg, size_t i);

/* Number of the first that applies and matches, or -1. Of long texts the first 2000 bytes are
 * matched. One that takes too long does not match, which is logged once, with peer. */
ptrdiff_t regex_list_first(struct regex_list *l, struct strview text, struct strview peer,
                           regex_list_applies applies, const void *arg);

size_t regex_list_count(const struct regex_list *l);
const char *regex_list_text(const struct regex_list *l, size_t i); /* between the slashes */
unsigned regex_list_unfiltered(const struct regex_list *l);        /* tried against every text */
bool regex_list_compiled(const struct regex_list *l);              /* to machine code */

#endif
