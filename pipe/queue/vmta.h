/*
 * Virtual MTAs: the source addresses that mail leaves from, with the host names that go with them;
 * and pools of them. An address that the machine does not have is left out, and looked for again
 * every minute; mail never leaves from another one instead.
 */
#ifndef PMTA_PIPE_QUEUE_VMTA_H
#define PMTA_PIPE_QUEUE_VMTA_H

#include "base/hash.h"
#include "base/list.h"
#include "mail/config.h"
#include "queue/local.h"

/* One source address of a virtual MTA. */
struct vmta_source {
    struct sockaddr_storage addr; /* family 0: the system chooses */
    char *helo_name;
    const char *file; /* where it is configured; lives in the configuration */
    unsigned line;
    bool is_missing;
};

struct vmta_load {
    uint64_t queued;
    uint32_t queues, backoff, connections;
};

struct vmta {
    struct vmta *next;     /* all of an engine */
    struct hash_node node; /* in engine->vmta_names */
    char *name;            /* lower case */
    /* At least one: source_count that the machine has, then missing_count that it does not have.
     * When it has none of them, is_stranded is set and source_count counts the missing ones. */
    struct vmta_source *sources;
    size_t source_count;
    size_t missing_count;
    bool is_stranded; /* nothing may be sent */
    bool is_defined;  /* the configuration has it, or it is the default one */
    const char *to_pipe; /* part of name: what it has is handed to that pipe (dsn-pipe); or NULL */
    char *pool;       /* the pool that it is a member of, for settings that stand there; or NULL */
    char **cold;      /* cold-virtual-mta */
    size_t cold_count;
    size_t turn;           /* the source that is next */
    struct vmta_load load; /* as show vmtas counted it last */
    int64_t checked_ms;    /* monotonic; when missing addresses were looked for */
};

/* The name of the virtual MTA of mail that none was chosen for. */
#define VMTA_DEFAULT "default"
/* Begins the name of one that is no source of mail but another pipe: "pipe:NAME". */
#define VMTA_PIPE "pipe:"

/* (Re)reads the addresses and limits of v. helo_fallback: the name when none is configured. Missing
 * addresses are logged with file and line. */
void vmta_configure(struct vmta *v, const struct config *cfg, struct strview pipe,
                    const char *helo_fallback, const struct local_addresses *local);
void vmta_free(struct vmta *v);

/* A virtual MTA or a pool of that name is defined, or it is the default one. */
bool vmta_is_known(const struct config *cfg, struct strview name);

/* Looks again which addresses the machine has. True when one came back. */
bool vmta_recheck(struct vmta *v, const struct config *cfg, struct strview pipe,
                  const char *helo_fallback, const struct local_addresses *local);
/* Connecting from this address failed: when the machine does not have it (any more), it is left out
 * from now on and true is returned. */
bool vmta_source_lost(struct vmta *v, const struct sockaddr_storage *addr);

/* --- pools --- */

struct vmta_pool_member {
    struct vmta *vmta;
    uint32_t weight;
};

enum { VMTA_POOL_LANES = 64 };

struct vmta_pool {
    struct hash_node node; /* in engine->pools */
    char *name;            /* lower case */
    struct vmta_pool_member *members;
    size_t count;
    char **cold; /* cold-virtual-mta */
    size_t cold_count;
    int64_t *turns[VMTA_POOL_LANES]; /* the state of each lane's round, made when it is used */
};

void vmta_pool_free(struct vmta_pool *p);
/* The member whose turn it is: smooth weighted round robin, exact over each run of as many calls as
 * the weights sum up to. lane (any number): each goes its own round, so that domains that alternate
 * in what is submitted do not each meet only half of the members. Members without any address are
 * left out, unless all are. NULL when the pool has no members. */
struct vmta *vmta_pool_next(struct vmta_pool *p, uint64_t lane);

/* The names in a repeatable directive of a query, as an array of copies. */
size_t vmta_name_list(const struct config *cfg, const struct config_query *q, enum directive d,
                      char ***ret);

#endif
