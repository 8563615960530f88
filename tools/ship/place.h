/*
 * Where in the files of one pipe everything before was acknowledged, and how that survives a
 * restart.
 */
#ifndef PMTA_SHIP_PLACE_H
#define PMTA_SHIP_PLACE_H

#include "names.h"

#include "base/err.h"

/* Behind a whole line of a file. */
struct place {
    char stem[NAME_SIZE]; /* "": before the first file */
    struct file_key key;
    uint64_t offset; /* uncompressed */
    /* The last bytes before offset, so that another file of that name is not mistaken for it. */
    uint64_t mark;
    unsigned mark_len;
    uint64_t inode; /* of files with one name for ever */
};

enum { PLACE_MARK_MAX = 64 };

uint64_t place_mark(const char *bytes, size_t len);

/* Which files are done: all up to a key, and some after it. Names sort by time, but a clock that is
 * set back makes files that come late. */
enum { TRAIL_FILES = 16 };

struct trail {
    struct file_key before; /* it, and all that sort before it */
    struct file_key files[TRAIL_FILES];
    size_t count;
};

bool trail_has(const struct trail *t, struct file_key key);
void trail_add(struct trail *t, struct file_key key);
/* Numbers of key's date that are missing between the files done and it. */
unsigned trail_missing(const struct trail *t, struct file_key key);

/* --- the file --- */

struct place_entry {
    char label[NAME_SIZE]; /* "acct-bulk" */
    struct place place;
    struct trail trail;
};

/*
 * Two copies in the directory: "position" is written after every acknowledgement and not synced, so
 * that the end of the process costs nothing; "position.synced" is for the end of the power. The
 * newer one that is whole counts.
 */
struct place_file {
    int dirfd; /* borrowed; -1: nothing is kept */
    uint64_t version;
};

/* *ret is a new array, *ret_count 0 when nothing was saved. */
int place_file_load(struct place_file *f, struct place_entry **ret, size_t *ret_count,
                    struct err *e);
int place_file_save(struct place_file *f, const struct place_entry *entries, size_t count,
                    bool sync, struct err *e);

#endif
