/*
 * Origins: what a bounce address has no room for. A number in the address stands for job, virtual MTA
 * and sender of the mail that it was made for. The number is made from these three, so that after a
 * crash that lost the newest ones it comes out the same. They are forgotten by age, or when there are
 * too many, those first that were not used for longest.
 */
#ifndef PMTA_PIPE_VERP_ORIGINS_H
#define PMTA_PIPE_VERP_ORIGINS_H

#include "base/buf.h"

enum { ORIGINS_MAX = 50000 };

struct origins;

struct origin {
    struct strview job, vmta, sender;
};

/* changed(arg): what origins_write says is another text from now on; may be NULL. */
struct origins *origins_new(void (*changed)(void *arg), void *arg);
void origins_free(struct origins *o); /* NULL is fine */

/* The number of that origin, remembered as used on this day (since 1970). 0 when it cannot be
 * remembered (over-long, or with control characters). */
uint32_t origins_number(struct origins *o, const struct origin *what, uint16_t day);
/* False: never heard of it, or forgotten. Views live until the next change. */
bool origins_find(const struct origins *o, uint32_t number, struct origin *ret);
/* Forgets what was not used since that day. */
void origins_forget(struct origins *o, uint16_t before_day);
size_t origins_count(const struct origins *o);

/* As text, one line each, and back; a line that makes no sense is passed over. */
void origins_write(const struct origins *o, struct buf *out);
void origins_read(struct origins *o, struct strview text);

#endif
