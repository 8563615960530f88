/*
 * Inside the store: what its files share.
 *
 *   store.c          requests: changes go into the table and into the open batch at once
 *   store_commit.c   batches to the disk, one after the other; what failed is taken back
 *   store_load.c     the log into the table, at the start
 *   store_compact.c  collecting the log from its oldest end
 *   store_read.c     find and export
 *
 * The table runs ahead of the disk by the batches that are not written yet: places in the log are
 * given out when a change comes, so log and table always tell the same story in the same order. When
 * a batch cannot be written, it and everything behind it is undone, newest first, and told so.
 */
#ifndef PMTA_SUPPRESS_STORE_INT_H
#define PMTA_SUPPRESS_STORE_INT_H

#include "format.h"
#include "store.h"

enum {
    SEGMENT_SOFT_BYTES = 48 * 1024 * 1024, /* a new segment is begun beyond this */
    SEGMENT_HARD_BYTES = 64 * 1024 * 1024, /* what a place can name */
    BATCH_BYTES = 4 * 1024 * 1024,         /* a new batch is begun beyond this */
    SEGMENT_NUMBER_MAX = (1 << 20) - 1,
    SCOPES_MAX = 1000000,
    COMPACT_MIN_RECORDS = 50000, /* of garbage */
};

struct segment {
    uint32_t number;
    uint32_t tag;
    uint64_t bytes;   /* given out; what is on disk may be less */
    uint64_t records; /* in it */
    uint64_t live;    /* of these, that the table points to */
    uint64_t clear;   /* of these records, with an address in clear */
};

/* --- places --- */

/* meta of the table: whole domain 1, note hash 15, segment 20, offset / 8 23, reason 3, scope 2 bits. */
struct place {
    uint32_t segment, offset;
};

static inline uint64_t meta_make(struct place at, const struct record *r, uint16_t note_hash)
{
    return (r->is_domain ? SUPPRESS_META_DOMAIN : 0) | (uint64_t)note_hash << 48 |
           (uint64_t)at.segment << 28 | (uint64_t)(at.offset / RECORD_ALIGN) << 5 |
           (uint64_t)r->reason << 2 | (uint64_t)r->scope;
}

static inline struct place meta_place(uint64_t meta)
{
    return (struct place){(uint32_t)(meta >> 28 & SEGMENT_NUMBER_MAX),
                          (uint32_t)(meta >> 5 & ((1u << 23) - 1)) * RECORD_ALIGN};
}

static inline uint16_t meta_note(uint64_t meta)
{
    return (uint16_t)(meta >> 48 & 0x7fff);
}

/* --- changes under way --- */

enum op_kind { OP_PUT, OP_REMOVE, OP_MOVE, OP_NOTHING };

struct op {
    struct suppress_hash h;
    struct store_request *request;
    struct table_value now, old;
    bool was; /* old is valid */
    bool clear;
    uint8_t kind;
    uint32_t segment; /* its record is in */
};

struct batch {
    struct list link; /* store->batches, oldest first */
    struct buf bytes;
    struct op *ops;
    size_t count, cap;
    uint32_t segment, offset; /* where it goes */
    bool rotate;              /* the segment is new */
};

struct scope {
    struct hash_node node; /* store->scopes */
    enum suppress_scope scope;
    struct suppress_hash h;
    size_t len;
    char name[];
};

struct commit;
struct compact;

struct store {
    uv_loop_t *loop;
    int dirfd;
    struct suppress_key key;
    uint64_t key_id;
    uint32_t tag;
    struct table_writer table;
    struct hash scopes;
    struct scope *last_scope;

    struct segment *segments; /* oldest first; the last one is written to */
    size_t segment_count, segment_cap;
    bool rotate; /* what comes next begins a new one */
    int fd;      /* of the segment that was committed to last; -1 */
    uint32_t fd_segment;

    struct list batches;
    struct commit *commit; /* the first of them is being written */
    uv_timer_t kick; /* commit at the next turn of the loop, so that a turn's changes share one */
    uv_timer_t sweep;
    uint32_t sweep_cursor;
    uint8_t handles_open;
    struct compact *compact; /* under way */
    uint64_t compact_min;
    int64_t compact_after_ms; /* monotonic: not before, an export runs or the disk failed */
    unsigned jobs;            /* in the thread pool */
    bool loaded, closing, hashing;
    void (*closed)(void *arg);
    void *closed_arg;

    uint64_t damaged_bytes, commits, commit_bytes, hashed;
    int64_t load_ms, last_failure_ms;
    char trouble[160];
};

/* store.c */
struct segment *store_segment(struct store *s, uint32_t number); /* NULL: gone */
struct segment *store_add_segment(struct store *s, uint32_t number, uint32_t tag, uint64_t bytes);
/* The hash of a scope, remembered; ERR_LIMIT when there are too many. */
int store_scope(struct store *s, enum suppress_scope scope, struct strview canonical,
                struct suppress_hash *ret);
/* The hash of a record's address in a scope. Any thread. */
struct suppress_hash store_record_hash(const struct store *s, const struct record *r,
                                       struct suppress_hash scope);
/* Appends a change; the table has it already. record NULL: only waits for what is before it. */
void store_append(struct store *s, struct op *op, const struct record *record);
/* Where the next record will be, `bytes` long. ERR_LIMIT when numbers have run out. */
int store_next_place(struct store *s, size_t bytes, struct place *ret);
/* 32 hexadecimal digits, as export writes a hash; after an @ that of a whole domain. */
bool store_hash_from_hex(struct strview text, struct suppress_hash *ret, bool *ret_is_domain);
/* The same of an address or "@domain". Its canonical length, or 0. */
size_t store_canonical(struct strview address, char out[SUPPRESS_ADDRESS_MAX]);
/* live and other counts after the table changed from old to now (either may be NULL). */
void store_account(struct store *s, const struct table_value *old, const struct table_value *now);

void store_open_timers(struct store *s);
void store_check_closed(struct store *s);

/* store_commit.c */
/* Commits at the next turn of the loop. */
void store_kick(struct store *s);

/* store_compact.c */
void compact_consider(struct store *s);

static inline uint16_t note_hash(struct strview note)
{
    return note.len ? (uint16_t)(hash_bytes(note.ptr, note.len) & 0x7fff) : 0;
}

#endif
