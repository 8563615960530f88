/*
 * What the configuration says about one outgoing queue, resolved once per queue and configuration
 * generation.
 */
#ifndef PMTA_PIPE_QUEUE_SETTINGS_H
#define PMTA_PIPE_QUEUE_SETTINGS_H

#include "mail/config.h"
#include "mail/host_list.h"
#include "queue/react.h"
#include "queue/retry.h"
#include "queue/tls_rules.h"
#include "pace/pace.h"
#include "route/routes.h"
#include "verp/verp.h"

/* What limits a queue, each with a backoff- twin. LIMIT(ID of the directive) */
#define QUEUE_LIMITS(LIMIT)           \
    LIMIT(MAX_SMTP_OUT)               \
    LIMIT(MAX_MSG_RATE)               \
    LIMIT(MAX_CONNECT_RATE)           \
    LIMIT(MAX_DATA_VOLUME_RATE)       \
    LIMIT(SMTP_OUT_RAMPUP_INTERVAL)   \
    LIMIT(MAX_MSG_PER_CONNECTION)     \
    LIMIT(MAX_RCPT_PER_TRANSACTION)   \
    LIMIT(MX_CONNECTION_LIMIT)        \
    LIMIT(IP_CONNECTION_LIMIT)        \
    LIMIT(SOURCE_IP_MAX_SMTP_OUT)     \
    LIMIT(SOURCE_IP_MAX_MSG_RATE)     \
    LIMIT(SOURCE_IP_MAX_CONNECT_RATE) \
    LIMIT(SOURCE_IP_MAX_DATA_VOLUME_RATE)

enum queue_limit {
#define LIMIT_ENUM(id) QLIMIT_##id,
    QUEUE_LIMITS(LIMIT_ENUM)
#undef LIMIT_ENUM
        QLIMIT_COUNT
};

enum queue_mode { QUEUE_NORMAL, QUEUE_BACKOFF };

struct queue_settings {
    struct arena arena;
    struct config *config;    /* a reference: origins and lists live in it */
    struct host_entry *hosts; /* smtp-hosts; none: the MX hosts of the domain */
    size_t host_count;
    struct retry_settings retry;
    struct react_settings react;
    int64_t bounce_after_ms;
    uint16_t port;
    uint8_t priority; /* queue-priority: 100 is the most urgent */
    int64_t connect_timeout_ms;
    int64_t greeting_timeout_ms;
    int64_t command_timeout_ms;
    int64_t data_timeout_ms;
    int64_t idle_timeout_ms;
    struct tls_settings tls;
    bool use_pipelining;
    bool verp; /* with bounce_base: one recipient per transaction, from an address of its own */
    struct verp_base bounce_base;
};

/* Fills *ret; group: queue_group_domain, what the queue is counted as. Empty it with queue_settings_fini. */
struct vmta;
void queue_settings_resolve(struct queue_settings *ret, struct config *cfg, struct strview pipe,
                            const struct vmta *vmta, struct strview domain, struct strview group,
                            enum tls_ask ask);
void queue_settings_fini(struct queue_settings *s);

/* What a limit of a queue is in that mode: in back-off the backoff- twin where one is set. Never
 * NULL; lives in cfg. */
const struct config_value *queue_limit_value(const struct config *cfg, const struct config_query *q,
                                             enum queue_limit which, enum queue_mode mode);

/* What paces a queue in that mode. */
void queue_pace_resolve(struct pace_settings *ret, const struct config *cfg,
                        const struct config_query *q, enum queue_mode mode);
/* What to ask for with the route of hosts[i] (of the domain, when there are no hosts). */
struct route_wants queue_settings_wants(const struct queue_settings *s, size_t i);

#endif
