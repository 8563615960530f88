/*
 * One compiled regular expression (PCRE2), and matching that ends: however expression and text are
 * made, a match costs about as much as its budget.
 */
#ifndef PMTA_PIPE_RULES_PATTERN_H
#define PMTA_PIPE_RULES_PATTERN_H

#include "base/err.h"
#include "base/str.h"

struct pattern;

/* Bytes of a text that are looked at. */
enum { PATTERN_TEXT_MAX = 2000 };

/* CPU time that matching may take, over any number of patterns (one reply). */
struct pattern_budget {
    int64_t limit_us;
    int64_t began_us; /* wall time; 0: not begun */
    int64_t cpu_us;   /* CPU time of the thread when it was looked at first; 0: not yet */
};

/* ASCII case does not matter (unless (?-i)), the dot matches all bytes. ERR_SYNTAX with *e saying
 * what is wrong and where. */
int pattern_new(struct strview regex, struct pattern **ret, struct err *e);
void pattern_free(struct pattern *p); /* NULL is fine */

enum pattern_result { PATTERN_NO, PATTERN_YES, PATTERN_GAVE_UP };

/* GAVE_UP: a limit was met before an answer. The text is cut at PATTERN_TEXT_MAX. */
enum pattern_result pattern_match(const struct pattern *p, struct strview text,
                                  struct pattern_budget *b);

/* Matches are made by machine code. */
bool pattern_is_compiled(const struct pattern *p);

#endif
