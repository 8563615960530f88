/*
 * TLS rules; see tls_rules.h. Called by the scheduler for each host of a plan, and when the settings of
 * a queue are resolved. Nothing is kept.
 *
 * What decides, in this order: tls-verify = none and mandatory stand alone; else the TLSA records of
 * the host; else the MTA-STS policy of the domain; else what tls-verify says about having neither.
 * Mail with REQUIRETLS takes no host that is not proven by one of these or, where its name is to be
 * trusted, by a certificate for it.
 */
#include "queue/tls_rules.h"

#include "mail/route.h"

#include <stdio.h>

const char *tls_ask_suffix(enum tls_ask ask)
{
    static const char *const texts[TLS_ASK_COUNT] = {"", "+requiretls", "+tls-optional"};
    return texts[ask];
}

/* What the messages say: the configuration stands above TLS-Required: No, and REQUIRETLS above it. */
static void apply_ask(struct tls_settings *s, bool allowed)
{
    s->heeds_optional = allowed && s->use_starttls && !s->required;
    if (s->ask == TLS_ASK_OPTIONAL && s->heeds_optional) {
        s->verify = TLS_VERIFY_NONE;
        s->use_dane = s->use_mta_sts = false;
    }
    s->required |= s->ask == TLS_ASK_REQUIRETLS;
}

void tls_settings_resolve(struct tls_settings *ret, const struct config *cfg,
                          const struct config_query *q, enum tls_ask ask)
{
    *ret = (struct tls_settings){
        .ask = ask,
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
    apply_ask(ret, config_bool(cfg, q, DIR_ALLOW_TLS_REQUIRED_NO));
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

static void add_name(struct tls_need *n, struct strview name, struct arena *a)
{
    for (size_t i = 0; i < n->name_count; i++)
        if (sv_eq_nocase(sv_of(n->names[i]), name))
            return;
    if (name.len && n->name_count < TLS_NEED_NAMES)
        n->names[n->name_count++] = arena_strndup(a, name.ptr, name.len);
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

/* RFC 8689 section 4.2.1: the name of the host has to come from a source that is trusted, and its
 * certificate has to be valid for it. */
static enum tls_result proven_by_name(const struct tls_host *h, struct arena *a,
                                      const struct tls_need **ret, char *why)
{
    bool trusted = h->configured || (h->policy && h->policy->mx_secure);

    if (h->settings->verify == TLS_VERIFY_NONE || !trusted || h->name[0] == '[') {
        snprintf(why, TLS_WHY_SIZE,
                 "REQUIRETLS support is required, but it was not proven whose server this is (%s)",
                 h->settings->verify == TLS_VERIFY_NONE ? "tls-verify = none" : "tls-verify");
        return TLS_RESULT_FAILURE;
    }
    *ret = new_need(a, h, TLS_CHECK_ROOTS, "requiretls");
    return TLS_RESULT_VERIFIED;
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
    if (s->ask == TLS_ASK_REQUIRETLS)
        return proven_by_name(h, a, ret, why);
    if (s->required) {
        struct tls_need *n = new_need(a, h, TLS_CHECK_NONE, "configured");
        n->enforced = false;
        *ret = n;
    }
    return TLS_RESULT_VERIFIED;
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
        add_name(n, d->base_domain, a);
    }
    if (!h->configured) { /* the domain itself, whose MX answer was validated */
        add_name(n, h->nexthop, a);
        add_name(n, h->policy->domain_alias, a);
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
    if (h->settings->ask == TLS_ASK_REQUIRETLS)
        return without_policy(h, a, ret, why);
    *ret = new_need(a, h, TLS_CHECK_NONE, "dane"); /* RFC 7672 section 2.2: encrypted, unchecked */
    return TLS_RESULT_VERIFIED;
}

/* --- MTA-STS --- */

static enum tls_result by_sts(const struct tls_host *h, struct arena *a,
                              const struct tls_need **ret, char *why)
{
    const struct sts_policy *p = &h->policy->sts;
    bool matches = sts_policy_matches(p, sv_of(h->name));
    bool enforced = p->mode == STS_ENFORCE || h->settings->verify == TLS_VERIFY_STS ||
                    h->settings->ask == TLS_ASK_REQUIRETLS;
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

enum tls_result tls_rules_host(const struct tls_host *h, struct arena *a,
                               const struct tls_need **ret, char *why)
{
    const struct tls_settings *s = h->settings;

    *ret = NULL;
    if (!s->use_starttls && s->ask == TLS_ASK_REQUIRETLS) {
        snprintf(why, TLS_WHY_SIZE, "REQUIRETLS support is required, but use-starttls = no");
        return TLS_RESULT_FAILURE;
    }
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
