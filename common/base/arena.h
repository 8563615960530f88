/*
 * arena: many small allocations that die together (one transaction, one configuration snapshot).
 * Zero-initialised is valid and empty.
 */
#ifndef PMTA_BASE_ARENA_H
#define PMTA_BASE_ARENA_H

#include "base/str.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks;
    size_t used_bytes; /* sum of what was asked for */
};

/* Zeroed memory, aligned for any type, valid until arena_free or arena_reset. */
void *arena_alloc(struct arena *a, size_t size);
/* Copy of len bytes with a NUL after them. */
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_strdup(struct arena *a, const char *s);
struct strview arena_sv(struct arena *a, struct strview s);

/* Frees everything; the arena is empty and usable again. */
void arena_free(struct arena *a);
/* As arena_free, but keeps one chunk for the next use. */
void arena_reset(struct arena *a);

#endif
