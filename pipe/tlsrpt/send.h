/*
 * One report on its way to the places that its domain names: by mail, by HTTPS, and as a file.
 */
#ifndef PMTA_PIPE_TLSRPT_SEND_H
#define PMTA_PIPE_TLSRPT_SEND_H

#include "queue/engine.h"
#include "route/posts.h"
#include "tlsrpt/letter.h"
#include "tlsrpt/record.h"

/* What all of them need; refcounted, because mail and files that are being written outlive the rest. */
struct tlsrpt_outlet {
    uint32_t refs;
    uv_loop_t *loop;
    struct engine *engine; /* NULL: gone */
    struct routes *routes;
};

void tlsrpt_outlet_unref(struct tlsrpt_outlet *o);

/* Begins zero, with outlet and ended set; kept from one attempt to the next, so that a place that has
 * the report does not get it again. */
struct tlsrpt_sending {
    struct tlsrpt_outlet *outlet;
    void *entry;                                       /* the caller's */
    void (*ended)(struct tlsrpt_sending *s, bool all); /* not inside tlsrpt_send */
    uint64_t done[TLSRPT_MAX_RUA + 2];                 /* hashes of places */
    size_t done_count;
    struct post posts[TLSRPT_MAX_RUA];
    char *places[TLSRPT_MAX_RUA];
    unsigned pending;
    bool failed;
};

enum tlsrpt_sent {
    TLSRPT_SENT,      /* everybody has it */
    TLSRPT_LATER,     /* not everybody: again later */
    TLSRPT_UNDER_WAY, /* `ended` will say */
};

/* dir: where a copy is written, or NULL. The report is not kept. */
enum tlsrpt_sent tlsrpt_send(struct tlsrpt_sending *s, const struct tlsrpt_report *r,
                             const struct tlsrpt_record *record, const char *dir);
/* ended will not fire. Frees what s holds, not s; NULL is fine. */
void tlsrpt_sending_fini(struct tlsrpt_sending *s);

#endif
