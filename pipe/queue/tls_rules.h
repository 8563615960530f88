/*
 * What TLS has to be on the way to each host of a queue: the configuration (tls-verify and its kin)
 * and what the DNS and the MTA-STS policy of the domain say, put together where the list of hosts is
 * made. DANE goes before MTA-STS (RFC 8461 section 2), per host.
 */
#ifndef PMTA_PIPE_QUEUE_TLS_RULES_H
#define PMTA_PIPE_QUEUE_TLS_RULES_H

#include "mail/config.h"
#include "mail/envelope.h"
#include "mail/tls_policy.h"
#include "pipe/delivery/tls_need.h"

/* In the order of the choices of tls-verify. */
enum tls_verify {
    TLS_VERIFY_NONE,
    TLS_VERIFY_OPPORTUNISTIC,
    TLS_VERIFY_DANE,
    TLS_VERIFY_STS,
    TLS_VERIFY_MANDATORY,
};

/* What a message says about TLS by itself (RFC 8689). Mail that says something has queues of its own
 * beside the usual one of its domain and virtual MTA (queue->base). */
enum tls_ask {
    TLS_ASK_NOTHING,
    TLS_ASK_REQUIRETLS, /* MAIL FROM … REQUIRETLS */
    TLS_ASK_OPTIONAL,   /* TLS-Required: No */
    TLS_ASK_COUNT
};

static inline enum tls_ask tls_ask_of(const struct envelope *env)
{
    return env->flags & ENVELOPE_REQUIRETLS     ? TLS_ASK_REQUIRETLS
           : env->flags & ENVELOPE_TLS_OPTIONAL ? TLS_ASK_OPTIONAL
                                                : TLS_ASK_NOTHING;
}

/* Behind the name of a queue: "", "+requiretls", "+tls-optional". */
const char *tls_ask_suffix(enum tls_ask ask);

/* Texts live in the configuration. */
struct tls_settings {
    enum tls_ask ask;
    bool use_starttls;
    bool required;
    bool heeds_optional; /* TLS-Required: No makes a difference */
    bool use_dane;
    bool use_mta_sts;
    enum tls_verify verify;
    enum tls_version min_version;
    int64_t broken_ms;
    const char *match; /* tls-match */
    const char *ca_file;
    const char *certificate, *key; /* or NULL */
};

void tls_settings_resolve(struct tls_settings *ret, const struct config *cfg,
                          const struct config_query *q, enum tls_ask ask);
/* ROUTE_WANT_ bits. */
uint8_t tls_settings_wants(const struct tls_settings *s);

struct tls_host {
    const struct tls_settings *settings;
    const struct tls_policy *policy; /* of the route that names the host; NULL: an address */
    const char *name;                /* MX host, or "[address]" */
    bool configured;                 /* the configuration names it, not the DNS */
    struct strview nexthop;          /* domain of the queue */
};

enum { TLS_WHY_SIZE = 300 };

/* VERIFIED: the host may be tried, and *ret is what has to be, or NULL when nothing has to (all in
 * the arena; records point into the policy). Otherwise it is left out, and why (TLS_WHY_SIZE bytes)
 * says for a person what is wrong. */
enum tls_result tls_rules_host(const struct tls_host *h, struct arena *a,
                               const struct tls_need **ret, char *why);

#endif
