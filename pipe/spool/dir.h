/*
 * The directory of one spool: its lock, its format file, its numbered files, and quarantine.
 */
#ifndef PMTA_PIPE_SPOOL_DIR_H
#define PMTA_PIPE_SPOOL_DIR_H

#include "base/err.h"
#include "base/str.h"

struct spool_dir {
    int fd;
    int segments;
    int journals;
    int quarantine;
    int lock; /* -1 for a reader */
};

/* Makes what is missing and takes the lock. fd is taken over, also on failure. 0, ERR_BUSY,
 * ERR_VERSION, or -errno, with *e filled. */
int spool_dir_open(struct spool_dir *d, int fd, const char *pipe, struct err *e);
/* As spool_dir_open for somebody who only reads: no lock, nothing is made. */
int spool_dir_open_reader(struct spool_dir *d, const char *path, struct err *e);
void spool_dir_close(struct spool_dir *d);

/* The numbers of the numbered files in a directory, ascending; caller frees *ret. 0 or -errno. */
int spool_dir_list(int dirfd, uint64_t **ret, size_t *ret_count);

#define SPOOL_NAME_SIZE 24
/* "00000042" */
char *spool_dir_name(uint64_t number, char *out);

/* Opens a numbered file, or a new temporary one that spool_dir_publish gives its number and makes
 * durable, name and content. Both return a descriptor or -errno. */
int spool_dir_open_file(int dirfd, uint64_t number);
int spool_dir_new_file(int dirfd, uint64_t number);
int spool_dir_publish(int dirfd, int fd, uint64_t number);
void spool_dir_abandon(int dirfd, uint64_t number);
/* Removes temporary files that a crash left. */
void spool_dir_sweep(int dirfd);

/* An unlinked file in dirfd. Descriptor or -errno. */
int spool_dir_unnamed(int dirfd);

/* Copies bytes [from, to) of fd to quarantine/ under a name made of kind, number and place, and
 * makes it durable. 1: done; 0: was there already; -errno. */
int spool_dir_quarantine(const struct spool_dir *d, int fd, const char *kind, uint64_t number,
                         uint64_t from, uint64_t to);

/* Whole reads and writes at a place. 0, -errno; a read that meets the end of the file: -ENODATA. */
int spool_read_at(int fd, void *data, size_t len, uint64_t at);
int spool_write_at(int fd, const void *data, size_t len, uint64_t at);

/* Size of the file, or -errno. */
int64_t spool_file_size(int fd);

#endif
