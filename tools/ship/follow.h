/*
 * The files of one [acct-file], of all pipes: what is in its directories, and which file of a pipe
 * comes next.
 */
#ifndef PMTA_SHIP_FOLLOW_H
#define PMTA_SHIP_FOLLOW_H

#include "place.h"
#include "source.h"

/* One set of files. Descriptors are the owner's. */
struct follow_set {
    char *base; /* "acct" of acct-bulk-2026-11-21-0000.csv */
    int dirfd;
    int move_dirfd; /* move-to, or -1 */
    bool fixed;     /* BASE-PIPE.csv, one for ever */
    char *single;   /* only this one name, whatever it is; NULL: by base */
    /* Longer bases in the same directory, whose files are not of this set. */
    char **other_bases;
    size_t other_count;
};

void follow_set_fini(struct follow_set *s);

/* A file as it was found. */
struct found_file {
    char name[NAME_SIZE], stem[NAME_SIZE];
    struct file_key key;
    enum file_form form;
    bool moved;    /* it is in move-to */
    uint64_t size; /* on disk */
    uint64_t inode;
};

/* Calls fn for each file of the set with its pipe, in no order. 0 or -errno. */
int follow_list(const struct follow_set *s,
                void (*fn)(void *arg, struct strview pipe, const struct found_file *f), void *arg);

/* The file by a place, wherever and however it is now; fixed sets by inode, under whatever name.
 * ERR_NOT_FOUND: it is gone. */
int follow_find(const struct follow_set *s, const struct place *at, struct found_file *ret);

int follow_open(const struct follow_set *s, const struct found_file *f, struct source **ret,
                struct err *e);

#endif
