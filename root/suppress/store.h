/*
 * store: the list itself. What is in it lies in a log on disk, segment after segment
 * (format.h), and where each entry's record is, in the table that others look things up in
 * (table_writer.h). Loop thread, but for what runs in the thread pool.
 *
 * A change is written and synced together with all that came meanwhile (group commit), then put into
 * the table, and then told. The log is collected from its oldest end: live records of the oldest
 * segment are written again behind the newest, and the segment goes. So a deletion can be forgotten with
 * its segment, because nothing older can be left that it would have to be held against.
 */
#ifndef PMTA_SUPPRESS_STORE_H
#define PMTA_SUPPRESS_STORE_H

#include "base/hash.h"
#include "base/list.h"
#include "table_writer.h"

#include <uv.h>

struct store;

/* dirfd is taken. Never NULL. */
struct store *store_new(uv_loop_t *loop, int dirfd, const struct suppress_key *key);

/* Reads the log into a new table; loaded(arg, e) fires later: e NULL, or why there is no list. Until
 * then nothing below may be called but store_free. */
void store_load(struct store *s, void (*loaded)(void *arg, const struct err *e), void *arg);
/* Writes what waits, then done(arg); nothing may be called meanwhile. */
void store_close(struct store *s, void (*done)(void *arg), void *arg);
/* Only when nothing is under way (after store_close, or before store_load). NULL is fine. */
void store_free(struct store *s);

/* Addresses of entries made from now on are kept as hashes; those in clear are written again so. */
void store_set_hashing(struct store *s, bool hashing);

const struct table_writer *store_table(const struct store *s);

/* --- changes --- */

/* What to do when an entry is there already. */
enum store_way {
    STORE_EXTEND,  /* a feed: holds longer than before, or nothing changes */
    STORE_REPLACE, /* an operator: as given */
};

/* Some changes that are told together. The caller's memory until done fires, which is never inside. */
struct store_request {
    void (*done)(struct store_request *r,
                 int status);               /* 0: durable; or why nothing of it is certain */
    uint64_t added, changed, removed, same; /* of what came */
    /* ours */
    struct store *store;
    struct list link;
    uint32_t left;
    int status;
    bool began, ended;
};

void store_begin(struct store *s, struct store_request *r);
/* 0, or ERR_SYNTAX with *e: the address or the scope's name cannot be one; ERR_LIMIT. Texts are copied. */
int store_add(struct store_request *r, const struct suppress_entry *entry, enum store_way way,
              struct err *e) MUST_CHECK;
/* An address that is 32 hexadecimal digits, an @ before them or not, is a hash from an export. Not
 * being there is no error. */
int store_del(struct store_request *r, enum suppress_scope scope, struct strview scope_name,
              struct strview address, struct err *e) MUST_CHECK;
void store_end(struct store_request *r);

/* --- looking --- */

/* An entry as an operator sees it. */
struct store_entry {
    enum suppress_scope scope;
    enum suppress_reason reason;
    bool hashed;
    bool is_domain;            /* of a whole domain: the address is "@domain" */
    int64_t expires_s, made_s; /* expires 0: never */
    struct strview name, address,
        note; /* address of a hashed one: as was asked, or in hexadecimal */
};

/* Every entry of this address, or of all of its domain, in whatever scope; found(arg, …) for each,
 * then done. Views are valid during the call. ERR_SYNTAX when it is no address (nothing fires
 * then). */
int store_find(struct store *s, struct strview address,
               void (*found)(void *arg, const struct store_entry *e),
               void (*done)(void *arg, int status), void *arg);

/* What export reads: from a place in the log on, for about `bytes` of it; line(arg, …) is called in the
 * thread pool for each entry, done(arg, status, next) in the loop; next {0, 0}: that was all. From
 * {0, 0} on it begins. Entries that come meanwhile may be among them. */
struct store_place {
    uint32_t segment;
    uint32_t offset;
};
void store_export(struct store *s, struct store_place from, size_t bytes,
                  void (*line)(void *arg, const struct store_entry *e),
                  void (*done)(void *arg, int status, struct store_place next), void *arg);

struct store_stats {
    uint64_t counts[SUPPRESS_SCOPE_COUNT];
    uint64_t expiring, scopes;
    uint64_t table_bytes, log_bytes, segments, records, live;
    uint64_t hashed_records, damaged_bytes;
    uint64_t commits, commit_bytes;
    int64_t load_ms;
    int64_t last_failure_ms; /* wall; 0: writing has not failed */
    char trouble[160];
    bool hashing;
};
void store_stats(const struct store *s, struct store_stats *ret);

#endif
