/*
 * A strict look at one JSON object (RFC 8259) without building it: it is well-formed, and the texts
 * of some of its members.
 */
#ifndef PMTA_SHIP_JSON_SCAN_H
#define PMTA_SHIP_JSON_SCAN_H

#include "base/str.h"

struct json_wanted {
    const char *key;
    struct strview value; /* as written: a string without its quotes, a number, true ... */
    bool seen;            /* the last one counts */
};

/* The line is one object, with white space around at most; `wanted` of its own members are filled
 * in. */
bool json_scan_object(struct strview line, struct json_wanted *wanted, size_t count);

/* Bytes of the UTF-8 sequence that s begins with, 0: it is none. */
size_t utf8_sequence(struct strview s);

#endif
