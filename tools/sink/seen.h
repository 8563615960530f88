/*
 * seen: a set of 128-bit keys with a number each, for "was this here before" over tens of millions
 * of message ids: 24 bytes an entry, no memory per key.
 */
#ifndef PMTA_SINK_SEEN_H
#define PMTA_SINK_SEEN_H

#include "base/str.h"

struct seen_key {
    uint64_t high;
    uint64_t low;
};

struct seen_entry {
    struct seen_key key; /* both 0: free */
    int64_t value;
};

/* Set limit, the largest number of entries; the rest zero. */
struct seen {
    struct seen_entry *entries;
    size_t cap; /* a power of two, or 0 */
    size_t count;
    size_t limit;
    bool full; /* the limit was met: later new keys were not kept */
};

/* Key of one text, or of two in order. */
struct seen_key seen_key1(struct strview a);
struct seen_key seen_key2(struct strview a, struct strview b);

/* The number kept with key. When the key is new it is put in with `value`, and NULL is returned;
 * also when the set is full and cannot keep it. Valid until the next call. */
int64_t *seen_add(struct seen *s, struct seen_key key, int64_t value);
void seen_fini(struct seen *s);

#endif
