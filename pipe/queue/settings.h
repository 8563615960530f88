/*
 * What the configuration says about one outgoing queue, resolved once per queue and configuration
 * generation, and the virtual MTAs with their source addresses.
 */
#ifndef PMTA_PIPE_QUEUE_SETTINGS_H
#define PMTA_PIPE_QUEUE_SETTINGS_H

#include "limit/slots.h"
#include "mail/config.h"
#include "mail/host_list.h"

struct queue_settings {
    struct arena arena;
    struct config *config;    /* a reference: origins and lists live in it */
    struct host_entry *hosts; /* smtp-hosts; none: the MX hosts of the domain */
    size_t host_count;
    const int64_t *retry_after_ms;
    size_t retry_count;
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

/* Fills *ret; empty it with queue_settings_fini. */
struct vmta;
void queue_settings_resolve(struct queue_settings *ret, struct config *cfg, struct strview pipe,
                            const struct vmta *vmta, struct strview domain);
void queue_settings_fini(struct queue_settings *s);

/* The limit that stands on the pipe or virtual MTA itself (not on a domain), for all its queues
 * together; 0 when none is set. */
uint32_t settings_total_connections(const struct config *cfg, const struct config_query *q);

/* One source address of a virtual MTA. */
struct vmta_source {
    struct sockaddr_storage addr; /* family 0: the system chooses */
    char *helo_name;
};

struct vmta {
    struct vmta *next;
    char *name;
    struct slots slots;
    struct vmta_source *sources; /* at least one */
    size_t source_count;
    char *pool;  /* the pool that it is a member of, for settings that stand there; or NULL */
    size_t turn; /* the source that is next */
};

/* The name of the virtual MTA of mail that none was chosen for. */
#define VMTA_DEFAULT "default"

/* (Re)reads the addresses and limits of v. helo_fallback: the name when none is configured. */
void vmta_configure(struct vmta *v, const struct config *cfg, struct strview pipe,
                    const char *helo_fallback);
void vmta_free(struct vmta *v);

/* A name as a message or a directive gives it: itself, or when it is a pool's, the member whose
 * turn it is. The view lives in cfg, or is the one given. */
struct strview vmta_choose(const struct config *cfg, struct strview name, uint64_t turn);
/* A virtual MTA or a pool of that name is defined, or it is the default one. */
bool vmta_is_known(const struct config *cfg, struct strview name);

#endif
