/*
 * plan: what each message is: sizes, pipes, recipients and the Message-Id follow from the seed and
 * the index of the message alone, so that a run can be repeated and a message composed at any time.
 * RFC 5322.
 */
#ifndef PMTA_FLOOD_PLAN_H
#define PMTA_FLOOD_PLAN_H

#include "base/buf.h"
#include "kit/weights.h"

#define PLAN_SIZE_MAX (UINT64_C(1) << 28)

struct plan_options {
    struct weights sizes;   /* names are sizes */
    struct weights domains; /* of the recipients */
    struct weights pipes;   /* empty: no X-Pipe */
    const char *from;       /* without brackets, may be empty */
    const char *job;        /* X-Job, or NULL */
    const char *vmta;       /* X-Virtual-MTA, or NULL */
    uint64_t recipients;    /* per message */
    uint64_t seed;
};

struct plan {
    const struct plan_options *options;
    uint64_t *sizes; /* of options->sizes */
    char *filler;    /* lines for the bodies; all messages are sent from here */
    size_t filler_len;
    struct buf seed;  /* as text */
    struct buf fixed; /* header fields that are the same in all messages */
};

/* One message; recipients are drawn one after the other from rng. */
struct plan_message {
    uint64_t index;
    uint64_t size; /* wanted; a header that is longer wins */
    size_t pipe;   /* index into options->pipes */
    struct rng rng;
};

/* Options must outlive the plan. 0, or ERR_SYNTAX when a size is none. */
int plan_init(struct plan *p, const struct plan_options *options, struct err *e);
void plan_fini(struct plan *p);

void plan_message(const struct plan *p, uint64_t index, struct plan_message *ret);
/* Appends the address of the message's next recipient; number counts from 0. */
void plan_recipient(const struct plan *p, struct plan_message *m, uint64_t number, struct buf *out);
/* "<SEED.INDEX@flood.example>" */
void plan_id(const struct plan *p, uint64_t index, struct buf *out);

/* Appends the header and perhaps the first byte of the body to *header; the rest of the body (a
 * view into the plan) goes to *body. The message ends in CRLF, no line begins with a dot. Returns
 * its size. */
uint64_t plan_compose(const struct plan *p, uint64_t index, int64_t wall_us, struct buf *header,
                      struct strview *body);

#endif
