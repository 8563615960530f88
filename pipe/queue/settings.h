/*
 * What the configuration says about one outgoing queue, resolved once per queue and configuration
 * generation.
 */
#ifndef PMTA_PIPE_QUEUE_SETTINGS_H
#define PMTA_PIPE_QUEUE_SETTINGS_H

#include "limit/slots.h"
#include "mail/config.h"
#include "mail/host_list.h"
#include "queue/react.h"
#include "queue/retry.h"

struct queue_settings {
    struct arena arena;
    struct config *config;    /* a reference: origins and lists live in it */
    struct host_entry *hosts; /* smtp-hosts; none: the MX hosts of the domain */
    size_t host_count;
    struct retry_settings retry;
    struct react_settings react;
    int64_t bounce_after_ms;
    uint32_t max_smtp_out;
    uint32_t max_msg_per_connection;
    uint32_t max_rcpt_per_transaction;
    uint16_t port;
    int64_t connect_timeout_ms;
    int64_t greeting_timeout_ms;
    int64_t command_timeout_ms;
    int64_t data_timeout_ms;
    int64_t idle_timeout_ms;
    bool use_starttls;
    bool use_pipelining;
};

/* Fills *ret; group: queue_group_domain, what the queue is counted as. Empty it with queue_settings_fini. */
struct vmta;
void queue_settings_resolve(struct queue_settings *ret, struct config *cfg, struct strview pipe,
                            const struct vmta *vmta, struct strview domain, struct strview group);
void queue_settings_fini(struct queue_settings *s);

/* The limit that stands on the pipe or virtual MTA itself (not on a domain), for all its queues
 * together; 0 when none is set. */
uint32_t settings_total_connections(const struct config *cfg, const struct config_query *q);

#endif
