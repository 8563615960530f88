/*
 * policy: what the sink does wrong on purpose: faults and delays by phase and percentage, and
 * greylisting; one policy for everybody, and personalities by recipient domain from a file.
 */
#ifndef PMTA_SINK_POLICY_H
#define PMTA_SINK_POLICY_H

#include "base/err.h"
#include "base/hash.h"
#include "kit/rng.h"

/* PHASE(NAME, "name"): a point at which a reply is given */
#define POLICY_PHASES(PHASE)  \
    PHASE(CONNECT, "connect") \
    PHASE(HELO, "helo")       \
    PHASE(MAIL, "mail")       \
    PHASE(RCPT, "rcpt")       \
    PHASE(DATA, "data")       \
    PHASE(EOD, "eod")

enum policy_phase {
#define POLICY_ENUM(name, text) PHASE_##name,
    POLICY_PHASES(POLICY_ENUM)
#undef POLICY_ENUM
        PHASE_COUNT
};

const char *policy_phase_name(enum policy_phase phase);

enum fault_kind {
    FAULT_REPLY, /* answer with code and text */
    FAULT_DROP,  /* close the connection instead of answering */
    FAULT_HANG,  /* never answer again on this connection */
    FAULT_LOST,  /* eod only: accept the message, then close instead of answering */
};

struct fault {
    enum fault_kind kind;
    int code;
    double percent;
    char *text; /* after the code */
};

#define POLICY_FAULTS_MAX 16

struct policy {
    struct hash_node node;
    char *domain; /* NULL for the one that applies to everybody */
    struct fault faults[PHASE_COUNT][POLICY_FAULTS_MAX];
    unsigned fault_count[PHASE_COUNT];
    int64_t delay_ms[PHASE_COUNT];
    double delay_percent[PHASE_COUNT];
    int64_t greylist_ms; /* 0: none */
};

struct policies {
    struct policy everybody;
    struct hash by_domain;
};

void policies_init(struct policies *p);
void policies_fini(struct policies *p);

/* "PHASE:CODE[:PERCENT][:TEXT]", CODE also drop, hang, lost. 0 or ERR_SYNTAX. */
int policy_add_fault(struct policy *p, const char *text, struct err *e);
/* "PHASE:INTERVAL[:PERCENT]" */
int policy_add_delay(struct policy *p, const char *text, struct err *e);
int policy_set_greylist(struct policy *p, const char *text, struct err *e);

/* Reads [domain] sections with `fault =`, `delay =` and `greylist =` lines. Errors name file:line.
 */
int policies_load(struct policies *p, const char *path, struct err *e);

/* The personality of this domain, or NULL. */
const struct policy *policies_find(const struct policies *p, struct strview domain);

/* The fault that strikes now, or NULL. A personality (may be NULL) that has rules for the phase
 * stands in for the policy of everybody. */
const struct fault *policies_fault(const struct policies *p, const struct policy *personality,
                                   enum policy_phase phase, struct rng *rng);
int64_t policies_delay_ms(const struct policies *p, const struct policy *personality,
                          enum policy_phase phase, struct rng *rng);
int64_t policies_greylist_ms(const struct policies *p, const struct policy *personality);

#endif
