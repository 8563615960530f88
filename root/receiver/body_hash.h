/*
 * body_hash: SHA-256 of the body of a message in the canonical forms that its signatures may want,
 * made while the body arrives.
 */
#ifndef PMTA_RECEIVER_BODY_HASH_H
#define PMTA_RECEIVER_BODY_HASH_H

#include "base/arena.h"

#include <stdbool.h>

enum { BODY_HASH_BYTES = 32 };

struct body_hash;

/* In the arena; NULL when neither form is wanted. */
struct body_hash *body_hash_new(struct arena *a, bool relaxed, bool simple);
/* The next bytes of the body, in wire form. */
void body_hash_feed(struct body_hash *b, const char *bytes, size_t n);
/* The body has ended. Views are in the arena; empty for a form that is not wanted. */
void body_hash_end(struct body_hash *b, struct strview *ret_relaxed, struct strview *ret_simple);

#endif
