/*
 * The suppression list as receivers and pipes see it: a table in shared memory that pmta-suppress
 * alone writes (root/suppress/table_writer.h) and everybody else maps read-only.
 *
 * Looking up takes no lock and never waits: it ends after a bounded number of steps whatever the
 * writer does or did when it died, and touches no memory that the table does not have. An entry that
 * is in the table for the whole time of a look-up is found; one that comes or goes meanwhile may be
 * found or not. The mapping stays valid when the writer is gone.
 */
#ifndef PMTA_SUPPRESS_TABLE_H
#define PMTA_SUPPRESS_TABLE_H

#include "suppress/suppress.h"

struct suppress_table;

/* Maps the memfd of frame suppress_table; fd stays the caller's. 0, -errno, or ERR_VERSION or
 * ERR_CORRUPT when it is no such table. */
int suppress_table_map(struct suppress_table **ret, int fd, uint64_t bytes,
                       struct err *e) MUST_CHECK;
void suppress_table_unmap(struct suppress_table *t); /* NULL is fine */

/* Entries of that scope, those that have expired and were not swept yet included. */
uint64_t suppress_table_count(const struct suppress_table *t, enum suppress_scope scope);
/* Of these, those of whole domains. */
uint64_t suppress_table_domains(const struct suppress_table *t, enum suppress_scope scope);

/* Wall clock; when an entry came or changed last, or the table was made. Who was looked up after that
 * need not be looked up again. */
int64_t suppress_table_added_ms(const struct suppress_table *t);

struct suppress_hit {
    enum suppress_scope scope;
    enum suppress_reason reason;
    bool is_domain; /* the entry is of the recipient's whole domain */
};

/* --- what a message is looked up with --- */

/* The scopes that mail is in and that have entries at all; filled once per message. Zero-initialised
 * is none. */
struct suppress_scopes {
    unsigned count;
    uint8_t domains; /* a bit for each that has entries of whole domains */
    struct suppress_hash hash[8];
};

/* global as such, the others with their name; an empty name adds nothing. t NULL: nothing either. */
void suppress_scopes_add(struct suppress_scopes *s, const struct suppress_table *t,
                         enum suppress_scope scope, struct strview name);

/* The first of these scopes in which this address (any form) is suppressed at now_ms (wall clock), or
 * else the first in which all of its domain is; that is looked for only where such entries are. */
bool suppress_table_find(const struct suppress_table *t, const struct suppress_scopes *s,
                         struct strview address, int64_t now_ms, struct suppress_hit *ret);

/* One look-up by a hash that was made before. */
bool suppress_table_has(const struct suppress_table *t, struct suppress_hash h, int64_t now_ms,
                        struct suppress_hit *ret);

#endif
