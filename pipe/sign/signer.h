/*
 * The signer of a pipe: makes DKIM-Signature (and BIMI-Selector) fields in the thread pool, several
 * messages per job, at most as many jobs at a time as there are cores, so that the pool always has a
 * thread for the disk.
 */
#ifndef PMTA_PIPE_SIGN_SIGNER_H
#define PMTA_PIPE_SIGN_SIGNER_H

#include "base/list.h"
#include "sign/keyring.h"

#include <uv.h>

struct signer;

/* The caller's memory until done. */
struct sign_request {
    struct list link;
    struct sign_plan *plan; /* the caller's reference */
    struct strview header;  /* header block in wire form, blank line included; or empty and: */
    int fd;                 /* header_bytes from offset here */
    uint64_t offset;
    uint32_t header_bytes;
    uint8_t body_hash[32]; /* of the plan's body_canon */
    int64_t time_s;
    struct buf fields; /* out: what goes before the header, wire form */
    int status;        /* out: 0, or negative when the fields could not be made */
    void (*done)(struct sign_request *r); /* from the loop, not inside signer_submit */
};

struct signer *signer_new(uv_loop_t *loop);
/* Nothing is under way. */
void signer_free(struct signer *s);

void signer_submit(struct signer *s, struct sign_request *r);
/* Requests that are not done. */
size_t signer_pending(const struct signer *s);

/* What a job does with one request; also for tools and tests, without a loop. */
void sign_request_run(struct sign_request *r);

#endif
