/*
 * The signer of a pipe: makes DKIM-Signature (and BIMI-Selector, List-Unsubscribe) fields in threads of its own,
 * several messages at a time. There is one thread per core, started when there is work, and they run
 * at a lower priority than the loop: a pipe that signs at full load leaves disk, connections and
 * other pipes what they need.
 */
#ifndef PMTA_PIPE_SIGN_SIGNER_H
#define PMTA_PIPE_SIGN_SIGNER_H

#include "base/list.h"
#include "sign/keyring.h"

#include <uv.h>

struct signer;

enum { SIGN_HASH_BYTES = 32 };

/* The caller's memory until done. */
struct sign_request {
    struct list link;
    struct sign_plan *plan; /* the caller's reference */
    /* header and body in wire form; in memory, or (empty) content_bytes from offset in fd */
    struct strview content;
    int fd;
    uint64_t offset, content_bytes;
    uint32_t header_bytes;              /* blank line included */
    bool has_body_hash;                 /* else it is made here, from the content */
    uint8_t body_hash[SIGN_HASH_BYTES]; /* of the plan's body_canon */
    struct strview
        bimi; /* what the application said in BIMI-Selector, when the plan says nothing */
    /* List-Unsubscribe and -Post in whole lines: ours, which go in where the header has none, and else
     * those of the application that were taken out */
    struct strview list, list_taken;
    int64_t time_s;
    struct buf fields; /* out: what goes before the header, wire form */
    int status;        /* out: 0, or negative when the fields could not be made */
    void (*done)(struct sign_request *r); /* from the loop, not inside signer_submit */
};

struct signer *signer_new(uv_loop_t *loop);
/* Nothing is under way. Waits for its threads; the memory goes with the next turn of the loop. */
void signer_free(struct signer *s);

void signer_submit(struct signer *s, struct sign_request *r);
/* Requests that are not done. */
size_t signer_pending(const struct signer *s);

/* Ed25519 on a message in memory whose body is hashed takes some 20 µs, and handing it to a thread and
 * back takes as long: it is done on the spot. */
bool sign_request_is_cheap(const struct sign_request *r);

/* What a thread does with one request; also for tools and tests, without a loop. */
void sign_request_run(struct sign_request *r);

#endif
