/*
 * TLS rules; see tls_rules.h. Called by the scheduler for each host of a plan, and when the settings of
 * a queue are resolved. Nothing is kept.
 *
 * What decides, in this order: tls-verify = none and mandatory stand alone; else the TLSA records of
 * the host; else the MTA-STS policy of the domain; else what tls-verify says about having neither.
 */
#include "queue/tls_rules.h"

#include "mail/route.h"

#include <stdio.h>

void tls_settings_resolve(struct tls_settings *ret, const struct config *cfg,
                          const struct config_query *q)
{
    *ret = (struct tls_settings){
        .use_starttls = config_bool(cfg, q, DIR_USE_STARTTLS),
        .required = config_bool(cfg, q, DIR_REQUIRE_STARTTLS),
        .use_dane = config_bool(cfg, q, DIR_USE_DANE),
        .use_mta_sts = config_bool(cfg, q, DIR_USE_MTA_STS),
        .verify = (enum tls_verify)config_number(cfg, q, DIR_TLS_VERIFY),
        .min_version = (enum tls_version)config_number(cfg, q, DIR_TLS_MIN_VERSION),
        .broken_ms = config_number(cfg, q, DIR_TLS_BROKEN_FOR),
        .match = config_text(cfg, q, DIR_TLS_MATCH),
        .ca_file = config_text(cfg, q, DIR_TLS_CA_FILE),
        .certificate = config_text(cfg, q, DIR_TLS_CLIENT_CERTIFICATE),
        .key = config_text(cfg, q, DIR_TLS_CLIENT_KEY),
    };
    /* to ask for proof is to ask for TLS, and for what the proof is made of */
    ret->use_dane |= ret->verify == TLS_VERIFY_DANE;
    ret->use_mta_sts |= ret->verify == TLS_VERIFY_STS;
    ret->required |= ret->verify > TLS_VERIFY_OPPORTUNISTIC;
    ret->use_starttls |= ret->required;
}

uint8_t tls_settings_wants(const struct tls_settings *s)
{
    if (!s->use_starttls || s->verify == TLS_VERIFY_NONE || s->verify == TLS_VERIFY_MANDATORY)
        return 0;
    bool sts = s->use_mta_sts && s->verify != TLS_VERIFY_DANE;
    return (uint8_t)((s->use_dane ? ROUTE_WANT_TLSA : 0) | (sts ? ROUTE_WANT_STS : 0));
}

static struct tls_need *new_need(struct arena *a, const struct tls_host *h, enum tls_check check,
                                 const char *policy)
{
    struct tls_need *n = arena_alloc(a, sizeof(*n));

    *n = (struct tls_need){
        .check = check,
        .required = true,
        .enforced = true,
        .policy = policy,
        .known_text = "",
    };
    n->names[n->name_count++] = arena_strdup(a, h->name);
    return n;
}

/* --- DANE --- */

static const struct dane_host *find_dane(const struct tls_policy *p, struct strview host)
{
    for (size_t i = 0; p && i < p->dane_count; i++)
        if (sv_eq_nocase(p->dane[i].host, host))
            return &p->dane[i];
    return NULL;
}

static struct tls_need *dane_need(const struct tls_host *h, const struct dane_host *d,
                                  struct arena *a)
{
    struct tls_need *n = new_need(a, h, TLS_CHECK_DANE, "dane");
    struct tls_tlsa *records = arena_alloc(a, d->count * sizeof(records[0]) + 1);

    for (size_t i = 0; i < d->count; i++)
        records[i] = (struct tls_tlsa){
            .usage = d->records[i].usage,
            .selector = d->records[i].selector,
            .matching = d->records[i].matching,
            .data = (const uint8_t *)d->records[i].data.ptr,
            .len = d->records[i].data.len,
        };
    n->records = records;
    n->record_count = d->count;
    if (d->base_domain.len) { /* RFC 7672 section 3.2.2: reference name and SNI */
        n->sni = arena_strndup(a, d->base_domain.ptr, d->base_domain.len);
        if (!sv_eq_nocase(d->base_domain, sv_of(h->name)))
            n->names[n->name_count++] = n->sni;
    }
    return n;
}

/* The host has something to say by DANE. */
static enum tls_result by_dane(const struct tls_host *h, const struct dane_host *d, struct arena *a,
                               const struct tls_need **ret, char *why)
{
    if (d->status == DANE_FAILED) {
        snprintf(
            why, TLS_WHY_SIZE,
            "host %s is not used: whether it has TLSA records cannot be found out, or they are "
            "forged (DANE)",
            h->name);
        return TLS_RESULT_DNSSEC_INVALID;
    }
    if (d->status == DANE_USABLE) {
        *ret = dane_need(h, d, a);
        return TLS_RESULT_VERIFIED;
    }
    if (h->settings->verify == TLS_VERIFY_DANE || h->settings->verify == TLS_VERIFY_STS) {
        snprintf(why, TLS_WHY_SIZE,
                 "host %s is not used: none of its TLSA records can be used (tls-verify)", h->name);
        return TLS_RESULT_TLSA_INVALID;
    }
    *ret = new_need(a, h, TLS_CHECK_NONE, "dane"); /* RFC 7672 section 2.2: encrypted, unchecked */
    return TLS_RESULT_VERIFIED;
}

/* --- MTA-STS --- */

static enum tls_result by_sts(const struct tls_host *h, struct arena *a,
                              const struct tls_need **ret, char *why)
{
    const struct sts_policy *p = &h->policy->sts;
    bool matches = sts_policy_matches(p, sv_of(h->name));
    bool enforced = p->mode == STS_ENFORCE || h->settings->verify == TLS_VERIFY_STS;
    struct tls_need *n;

    if (!matches)
        snprintf(why, TLS_WHY_SIZE,
                 "host %s is not %s: the MTA-STS policy of %.*s does not name it", h->name,
                 enforced ? "used" : "trusted", (int)MIN_OF(h->nexthop.len, (size_t)100),
                 h->nexthop.ptr);
    if (!matches && enforced)
        return TLS_RESULT_FAILURE;
    n = new_need(a, h, TLS_CHECK_ROOTS, p->mode == STS_TESTING ? "sts-testing" : "sts");
    n->required = enforced || h->settings->required;
    n->enforced = enforced;
    if (!matches) { /* told as if the check had failed */
        n->known = TLS_RESULT_FAILURE;
        n->known_text = arena_strdup(a, why);
    }
    *ret = n;
    return TLS_RESULT_VERIFIED;
}

/* --- configuration --- */

/* tls-match of the configuration. */
static const struct tls_need *by_match(const struct tls_host *h, struct arena *a)
{
    struct tls_need *n = new_need(a, h, TLS_CHECK_ROOTS, "configured");
    struct strview rest = sv_of(h->settings->match ? h->settings->match : "hostname"), one;

    n->name_count = 0;
    while (n->name_count < TLS_NEED_NAMES && sv_split(&rest, ',', &one)) {
        one = sv_trim(one);
        if (sv_eq_nocase(one, SV("hostname")))
            one = sv_of(h->name);
        else if (sv_eq_nocase(one, SV("nexthop")))
            one = h->nexthop;
        if (one.len)
            n->names[n->name_count++] = arena_strndup(a, one.ptr, one.len);
    }
    return n;
}

static enum tls_result without_policy(const struct tls_host *h, struct arena *a,
                                      const struct tls_need **ret, char *why)
{
    const struct tls_settings *s = h->settings;

    if (s->verify == TLS_VERIFY_DANE || s->verify == TLS_VERIFY_STS) {
        snprintf(why, TLS_WHY_SIZE, "host %s is not used: it has no TLSA records%s (tls-verify)",
                 h->name, s->verify == TLS_VERIFY_STS ? " and its domain no MTA-STS policy" : "");
        return s->verify == TLS_VERIFY_DANE ? TLS_RESULT_DANE_REQUIRED : TLS_RESULT_STS_INVALID;
    }
    if (s->required) {
        struct tls_need *n = new_need(a, h, TLS_CHECK_NONE, "configured");
        n->enforced = false;
        *ret = n;
    }
    return TLS_RESULT_VERIFIED;
}

enum tls_result tls_rules_host(const struct tls_host *h, struct arena *a,
                               const struct tls_need **ret, char *why)
{
    const struct tls_settings *s = h->settings;

    *ret = NULL;
    if (!s->use_starttls)
        return TLS_RESULT_VERIFIED;
    if (s->verify == TLS_VERIFY_MANDATORY) {
        *ret = by_match(h, a);
        return TLS_RESULT_VERIFIED;
    }
    if (s->verify == TLS_VERIFY_NONE)
        return without_policy(h, a, ret, why);
    const struct dane_host *d = s->use_dane ? find_dane(h->policy, sv_of(h->name)) : NULL;
    if (d && d->status != DANE_NONE)
        return by_dane(h, d, a, ret, why);
    if (h->policy && h->policy->sts.mode != STS_NONE && s->use_mta_sts &&
        s->verify != TLS_VERIFY_DANE)
        return by_sts(h, a, ret, why);
    return without_policy(h, a, ret, why);
}
