/*
 * The bytes of one accounting file, plain or compressed, counted as they were before compression, so
 * that an offset keeps its meaning when a file is compressed.
 */
#ifndef PMTA_SHIP_SOURCE_H
#define PMTA_SHIP_SOURCE_H

#include "names.h"

#include "base/err.h"

#include <sys/types.h>

struct source;

/* 0, or -errno with *e. */
int source_open(int dirfd, const char *name, enum file_form form, struct source **ret,
                struct err *e);
void source_close(struct source *s); /* NULL is fine */

/* Up to len bytes from where it stands; 0: nothing more for now. -errno, or ERR_CORRUPT when
 * compressed bytes make no sense. */
ssize_t source_read(struct source *s, char *room, size_t len);
/* Goes to that offset; a compressed file is read up to there. 0, ERR_NOT_FOUND when the file is
 * shorter, or as source_read. */
int source_seek(struct source *s, uint64_t offset);

uint64_t source_offset(const struct source *s);
enum file_form source_form(const struct source *s);
/* Bytes that are left to read; of a compressed file an estimate. */
uint64_t source_left(struct source *s);
/* Size as it is on disk now, when it was written last, and its inode. False: it cannot be asked. */
bool source_stat(const struct source *s, uint64_t *ret_size, int64_t *ret_mtime_ms,
                 uint64_t *ret_inode);

#endif
