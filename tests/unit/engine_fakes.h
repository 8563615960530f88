/*
 * The world around a queue engine in tests: a fake spool, fake connections, a fake clock and a
 * resolver that the test plays. Link a test with engine_fakes.c, which defines the functions of
 * spool and delivery, and use ENGINE_CASE for each of its cases.
 */
#ifndef PMTA_TESTS_ENGINE_FAKES_H
#define PMTA_TESTS_ENGINE_FAKES_H

#include "unit.h"

#include "base/clock.h"
#include "mail/config.h"
#include "queue/engine_int.h"
#include "queue/load.h"
#include "verp/verp.h"

#define NOW_MS 1795233906000

enum { MAX_MESSAGES = 4096 };

/* --- fake spool --- */

extern struct fake_spool {
    struct buf envelopes[MAX_MESSAGES];
    uint64_t states[8]; /* journal records by state */
    struct spool_event last;
    char last_text[512];
    int read_status;
    struct spool_read *reads;            /* waiting for fake_reads */
    struct spool_read *envelopes_wanted; /* of an envelope alone: answered by turn */
    unsigned outstanding;
} fs;

/* Answers the reads that wait, with fs.read_status. */
void fake_reads(void);

/* --- fake connections --- */

struct delivery_conn {
    const struct delivery_ops *ops;
    void *owner;
    char queue[100];
    char host[64];
    char tls[500];   /* for each host "NAME POLICY/CHECK[!][+] NAMES;": ! enforced, + required */
    char source[64]; /* address, "" when the system chooses */
    bool closing;
    bool established; /* for tests that play every connection */
    struct delivery_conn *next;
};

extern struct delivery_conn *conns; /* open, newest first */
extern unsigned opened;

/* The newest connection establishes. */
struct delivery_conn *establish(void);
/* Pulls a job; JOB is expected. */
struct delivery_job pull(struct delivery_conn *c);
enum delivery_next ask(struct delivery_conn *c);
/* The same outcome for every recipient of the job. */
void answer(struct delivery_conn *c, const struct delivery_job *job, struct outcome o);
void end_conn(struct delivery_conn *c, const struct outcome *o);
struct outcome outcome(enum outcome_class class_, enum outcome_phase phase, uint16_t code,
                       const char *text);

/* --- fake reply rules: the first whose text is in the reply --- */

struct fake_rule {
    const char *text;
    struct reply_rule rule;
};
extern const struct fake_rule *fake_rules; /* up to one without text; NULL: none */

/* --- the world around the engine --- */

extern struct world {
    uv_loop_t loop;
    struct engine *g;
    struct verp *verp;
    struct routes *routes;
    struct report *report;
    struct config *cfg;
    struct ipc_edge *resolver; /* the test's end */
    char asked[256];
    uint64_t token;
    message_id last_id;
} w;

extern const char *const engine_base_config;

/* The configuration that this text is; fails the test when it is none. */
struct config *engine_load_config(const char *text);

/* cmocka set-up and tear-down; a case's initial state is the text of its configuration, or NULL for
 * engine_base_config. The tear-down drains, and checks that nothing is left over. */
int engine_set_up(void **state);
int engine_tear_down(void **state);
#define ENGINE_CASE(fn) cmocka_unit_test_setup_teardown(fn, engine_set_up, engine_tear_down)
#define ENGINE_CASE_WITH(fn, config) \
    cmocka_unit_test_prestate_setup_teardown(fn, engine_set_up, engine_tear_down, (void *)(uintptr_t)(config))

/* Lets the loop run until it has nothing to do at once. */
void turn(void);
/* Time passes. */
void pass(int64_t ms);
/* Accepts a message for these recipients (blank-separated); returns its id. */
message_id queue_mail(const char *rcpts_text, const char *vmta);
/* The same with what stands in env already: sender, job, schedule, priority, vmta, received_ms. */
message_id queue_envelope(struct envelope *env, const char *rcpts_text);
/* The resolver answers the question that was asked last. */
void play_dns(enum route_status status, const char *text);
/* The same with these hosts: "HOST PREFERENCE, …"; each has the address 127.0.0.7, or one of IPv6
 * when its name begins with "six". */
void play_mx(const char *hosts);
/* The same with what the DNS and the web say about TLS. */
void play_policy(const char *hosts, const struct tls_policy *policy);
struct queue *queue_named(const char *name);
uint64_t live(void);

#endif
