/*
 * pmta-simulate: how long a configuration takes for given volumes. The engine is the real one; this
 * room is the world around it: a clock that jumps from event to event, peers that answer after a
 * fixed time, a spool that forgets, a DNS that knows every domain.
 */
#ifndef PMTA_TOOLS_SIMULATE_H
#define PMTA_TOOLS_SIMULATE_H

#include "kit/cli.h"

#include "base/hash.h"
#include "base/heap.h"
#include "base/units.h"
#include "mail/config.h"
#include "queue/engine_int.h"

/* --- the command line (options.c) --- */

struct volume {
    char *domain; /* lower case */
    uint64_t count;
    char *vmta, *pipe; /* NULL: as the configuration says */
};

/* "DOMAIN=VALUE" of --mx and --accept-rate. */
struct domain_option {
    char *domain; /* lower case */
    char *value;
    struct rate rate;
};

struct simulate_options {
    const char *config_dir;
    struct volume *volumes;
    size_t volume_count;
    struct domain_option *mx, *accept;
    size_t mx_count, accept_count;
    int64_t latency_ms, connect_ms, for_ms, start_ms;
    bool json, verbose;
};

enum { VOLUME_TOTAL_MAX = 20000000 };

int simulate_options_parse(struct simulate_options *o, int argc, char **argv, struct err *e);
void simulate_options_fini(struct simulate_options *o);

/* --- what is found out --- */

/* What held mail back: a limit with the value that sets it, or something else in words. */
struct cause {
    struct hash_node node; /* in sim->causes, by key */
    char *key;             /* the limit's name, or words */
    unsigned measure;
    const struct config_value *origin;
    char *directive; /* "max-msg-rate", or "retry-after" …; in words when there is no value */
    char *value;     /* as written, or NULL */
    char *limit;     /* "virtual-mta mta1", or NULL */
    char *at;        /* "FILE:LINE", or NULL */
};

struct held {
    struct cause *cause;
    double ms; /* virtual */
};

/* Envelopes of one row that differ in the virtual MTA that was chosen. */
struct variant {
    struct buf envelope;
    char *chosen, *of_rcpt;
    struct body *body;
};

/* The mail for one domain through one pipe. */
struct row {
    struct hash_node node; /* in sim->rows_by_name */
    struct sim_pipe *pipe;
    const char *domain;
    uint64_t messages;

    struct variant *variants;
    size_t variant_count;

    uint64_t delivered, expired, bounced, deferrals;
    int64_t last_ms; /* when the last message that was delivered was handed over; 0: none */
    char **queues;   /* identities that were seen */
    size_t queue_count;
    struct held *held;
    size_t held_count;
    double active_ms; /* virtual, while it had mail */
    double weight;    /* of this sample */

    const struct domain_option *accept; /* or NULL */
    double tokens;
    int64_t tokens_ms;
};

struct sim_pipe {
    char *name;
    struct engine *engine;
    struct routes *routes;
    struct report *report;
    struct spool *spool;
    struct delivery *delivery;
    bool drained;
};

struct sim {
    const struct simulate_options *options;
    struct config *config;
    uv_loop_t loop;
    int limit_fd;
    struct sim_pipe *pipes;
    size_t pipe_count;
    struct row *rows;
    size_t row_count;
    struct hash rows_by_name;
    struct hash causes;
    struct heap events; /* of connections */
    bool has_ipv6;      /* some source address is one */
    int64_t end_ms;
    int64_t sampled_ms;
    uint32_t skipped; /* moves of the clock since then */
    uint64_t live;
    bool gave_up; /* --for was over, mail is left */
};

extern struct sim sim; /* one per process: the engine's neighbours have no owner pointer */

/* --- setup.c --- */
int sim_init(const struct simulate_options *o, struct err *e);
void sim_fini(void);
struct row *sim_find_row(const struct sim_pipe *p, struct strview domain); /* or NULL */

/* --- run.c --- */
void sim_run(void);

/* --- world.c: spool, routes, local addresses --- */
struct spool *world_spool_new(void);
void world_spool_free(struct spool *s);
/* Answers reads that wait; true when there were any. */
bool world_answer_reads(void);
struct row *world_row(uint32_t segment);

/* --- peers.c: connections --- */
struct delivery *peers_new(void);
/* What is due happens; true when something was. */
bool peers_step(void);
/* When the next thing happens, wall; INT64_MAX: nothing will. */
int64_t peers_next_ms(void);

/* --- held.c: who is held by what --- */
/* The clock is about to jump: the time until then is put to what holds each queue now. */
void held_sample(int64_t until_ms);
const struct held *held_most(const struct row *r);
void held_fini(void);

/* --- print.c --- */
void print_table(void);
void print_json(void);

#endif
