/*
 * The one writer of the table that receivers and pipes look things up in (common/suppress/table.h).
 * One thread at a time; readers of other processes need not be told of anything. The table grows in
 * place, a bucket at a time, and does not shrink: a start makes a new one.
 */
#ifndef PMTA_SUPPRESS_TABLE_WRITER_H
#define PMTA_SUPPRESS_TABLE_WRITER_H

#include "suppress/table_int.h"

struct table_writer {
    int fd;
    struct suppress_memory *mem;  /* NULL: not open */
    uint32_t buckets;             /* in use */
    uint32_t buckets_room;        /* that have memory */
    uint64_t expiring;            /* entries with an expiry */
    struct suppress_table reader; /* our own view, to look up as the others do */
};

/* What an entry carries besides its hash. */
struct table_value {
    uint32_t expires_s; /* since 1970; 0: never */
    uint64_t meta;
};

/* Zero-initialised before; entries count as added now. 0 or negative with *e; then it needs no fini. */
int table_writer_init(struct table_writer *t, const struct suppress_key *key, struct err *e);
void table_writer_fini(struct table_writer *t);

/* Puts an entry in, or gives the one that is there another value; *ret_was says whether there was one,
 * with *ret_old. ERR_LIMIT: the table is full; -errno: no memory. Then nothing has changed. */
int table_put(struct table_writer *t, struct suppress_hash h, const struct table_value *v,
              bool *ret_was, struct table_value *ret_old) MUST_CHECK;
/* Entries were put in at that time, wall clock: for suppress_table_added_ms. */
void table_added(struct table_writer *t, int64_t now_ms);
/* What is about to be looked for is fetched into the caches, so that a load does not wait for memory:
 * first where, some entries later what. */
void table_prefetch_place(const struct table_writer *t, struct suppress_hash h);
void table_prefetch_bucket(const struct table_writer *t, struct suppress_hash h);
/* Whatever its expiry. */
bool table_get(const struct table_writer *t, struct suppress_hash h, struct table_value *ret);
bool table_remove(struct table_writer *t, struct suppress_hash h, struct table_value *ret_old);
/* The entry lies elsewhere now, unless it has another meta than `from`. */
bool table_move(struct table_writer *t, struct suppress_hash h, uint64_t from, uint64_t to);

/* Takes out what has expired in `count` buckets from *cursor on (which goes round), telling each. */
void table_sweep(struct table_writer *t, uint32_t *cursor, uint32_t count, int64_t now_s,
                 void (*gone)(void *arg, const struct table_value *old), void *arg);

uint64_t table_count(const struct table_writer *t);
/* Bytes of memory in use. */
uint64_t table_bytes(const struct table_writer *t);

#endif
