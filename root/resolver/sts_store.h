/*
 * sts_store: MTA-STS policies on disk, a file per domain, so that a restart remembers what protects
 * against a man in the middle. Read and written in the thread pool. Root opens the directory.
 */
#ifndef PMTA_RESOLVER_STS_STORE_H
#define PMTA_RESOLVER_STS_STORE_H

#include "sts.h"

#include <uv.h>

struct sts_store {
    uv_loop_t *loop;
    int dirfd;          /* owned; -1: nothing is kept */
    uint32_t last_file; /* for names of unfinished files */
    size_t writes;      /* under way */
    bool complained;    /* about the last write that failed */
};

void sts_store_init(struct sts_store *s, uv_loop_t *loop);
void sts_store_fini(struct sts_store *s);

/* Takes the directory and reads it into `into` (sts_set_loading … sts_loaded), then calls done(arg).
 */
void sts_store_load(struct sts_store *s, int dirfd, struct sts *into, void (*done)(void *arg),
                    void *arg);

/* For sts_ops: owner is the store. */
void sts_store_save(void *owner, const char *domain, struct strview bytes);
void sts_store_forget(void *owner, const char *domain);

#endif
