/*
 * The addresses that a queue may connect to from one source address, in the order they are tried.
 */
#ifndef PMTA_PIPE_QUEUE_HOST_PLAN_H
#define PMTA_PIPE_QUEUE_HOST_PLAN_H

#include "delivery/delivery.h"
#include "queue/queue.h"
#include "queue/tls_rules.h"

struct host_plan {
    struct arena arena; /* what TLS has to be */
    struct delivery_host *hosts;
    uint32_t *preference;
    size_t count;
    const struct route *worst; /* an answer that gave nothing, when count is 0 */
    bool skipped;              /* hosts were left out (skip-mx) */
    bool insecure;          /* hosts were left out because TLS to them would not be good enough */
    bool may_change;        /* some of them because the DNS is in trouble */
    char why[TLS_WHY_SIZE]; /* of the last of these */
};

/* Made from what is known of q's route and configuration into *p, which is zero; moves q on to the
 * next one of equal hosts. */
void host_plan_make(struct queue *q, const struct vmta_source *source, struct host_plan *p);
/* Puts host i in front of those before it, which have no place now. */
void host_plan_begin_with(struct host_plan *p, size_t i);
void host_plan_free(struct host_plan *p);

#endif
