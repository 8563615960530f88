/*
 * What happens to a finished accounting file: compressed, moved, and in the end deleted. Runs in the
 * thread pool.
 */
#ifndef PMTA_PIPE_REPORT_FINISH_H
#define PMTA_PIPE_REPORT_FINISH_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum finish_compression { FINISH_PLAIN, FINISH_GZIP, FINISH_ZSTD };

enum { FINISH_NAME = 300 };

/* All files whose name is PREFIX + "YYYY-MM-DD-NNNN." + anything belong to the set. */
struct finish_job {
    int dirfd;      /* own copies, closed by finish_job_free */
    int move_dirfd; /* -1: they stay */
    char prefix[FINISH_NAME];
    char suffix[8];             /* of a file as it is written: ".csv" */
    char active[FINISH_NAME];   /* it, and what comes after it in name order, is left alone */
    char finished[FINISH_NAME]; /* to be compressed and moved; "": whatever is not the active one */
    enum finish_compression compression;
    int64_t delete_after_ms; /* 0: never */
    int64_t max_total_bytes; /* 0: no limit */
    /* Event sinks that need the files, names with a comma behind each: what one of them has not sent
     * yet (mail/acct_hold.h) goes only when max_total_bytes asks for it. */
    char *sinks; /* NULL: none */
    /* Set by finish_run: old files that were kept for a sink, and files deleted in spite of one. */
    unsigned kept, forced;
};

/* 0, or negative with *e: what could not be done is tried again at the next start. */
int finish_run(struct finish_job *job, struct err *e);
void finish_job_free(struct finish_job *job); /* NULL is fine */

/* The name is of that set; *ret_number is its NNNN when it is of that date ("YYYY-MM-DD"), else -1.
 * date may be NULL. */
bool finish_is_member(const char *name, const char *prefix, const char *date, int *ret_number);

#endif
