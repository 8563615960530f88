/*
 * What a regular expression cannot match without: a set of literal texts of which every match
 * contains at least one. Read from the expression itself, with care: where it is not certain,
 * nothing is known.
 */
#ifndef PMTA_PIPE_RULES_LITERAL_H
#define PMTA_PIPE_RULES_LITERAL_H

#include "base/str.h"

enum { LITERAL_BYTES = 24, LITERAL_COUNT = 24 };

struct literal {
    uint8_t len;
    char text[LITERAL_BYTES]; /* lower case */
};

struct literals {
    unsigned count; /* 0: nothing is known */
    struct literal items[LITERAL_COUNT];
};

/* Of an expression in PCRE2's syntax without extended mode, matched byte by byte and without regard
 * to ASCII case. Total on any bytes. */
void literals_of_regex(struct strview regex, struct literals *ret);

/* Bytes of the shortest one; 0 when nothing is known. */
unsigned literals_shortest(const struct literals *l);

#endif
