/*
 * A disk between the spool and the kernel, put in by the linker (--wrap): it keeps a log of every
 * write, sync, truncation, rename and unlink, rebuilds what a power cut at a moment would leave
 * (what was synced, and a random part of what was not), and makes calls fail on demand. As with
 * Linux, what a failed sync covered may be lost for good: a later sync makes only that durable which
 * was written after the failed one.
 */
#ifndef PMTA_TESTS_DISK_SHIM_H
#define PMTA_TESTS_DISK_SHIM_H

#include "base/util.h"

enum disk_call { DISK_WRITE, DISK_SYNC, DISK_TRUNCATE, DISK_CALLS };

/* From now on everything is logged; forgets what was. */
void disk_record(void);
void disk_stop(void);
/* How many operations there are; an image can be made for each count up to it. */
size_t disk_operations(void);
/* Rebuilds, below `to`, the files that were below `from` when recording began (it was empty), as
 * they are after a power cut behind the first `count` operations. */
void disk_image(const char *from, const char *to, size_t count, uint32_t seed);

/* The next `count` calls after `skip` more ones fail with error (writes after half of the bytes;
 * when they append, the half is a short write and the call after it fails). */
void disk_fail(enum disk_call call, unsigned skip, unsigned count, int error);

#endif
