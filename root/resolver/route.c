/*
 * Routes from answers; see route.h. resolve.c runs one job per request.
 *
 * MX first, then the addresses of all hosts at once; without MX records the domain itself is the
 * host (implicit MX). Then, when they are wanted, the TLSA records of the hosts (dane.c); the
 * MTA-STS policy of the domain (sts.c) is asked for meanwhile. What decides between temporary and
 * final: a route that could have existed but for a question that failed is temporary, everything
 * else is what DNS says. The job holds references to the answers, host names point into them.
 */
#include "route.h"

#include <stdio.h>

void route_result_free(struct route_result *r)
{
    buf_free(&r->hosts);
    buf_free(&r->policy);
}

static void on_questions(struct question_set *set);

void route_job_init(struct route_job *job, struct lookups *l, struct sts *sts,
                    const struct route_request *q)
{
    struct err e = {0};

    *job = (struct route_job){
        .questions = {.lookups = l, .step = on_questions},
        .sts = sts,
        .kind = q->kind,
        .wants = q->wants,
        .port = q->port ? q->port : 25,
    };
    int rc = domain_parse_literal(q->domain, q->kind == ROUTE_HOST, &job->literal);
    if (rc > 0)
        return;
    job->literal.family = 0;
    if (rc == 0 && domain_normalise(q->domain, job->domain, &e) == 0)
        return;
    job->bad = rc < 0 ? ROUTE_NO_HOST : ROUTE_NO_DOMAIN;
    snprintf(job->text, sizeof(job->text), "%.120s", rc < 0 ? "not an address literal" : e.text);
}

void route_job_fini(struct route_job *job)
{
    sts_cancel(&job->sts_waiter);
    sts_view_fini(&job->sts_view);
    question_fini(&job->mx);
    for (size_t i = 0; i < job->host_count; i++) {
        question_fini(&job->hosts[i].v4);
        question_fini(&job->hosts[i].v6);
        dane_fini(&job->hosts[i].dane);
    }
}

static void add_host(struct route_job *job, uint16_t preference, const char *name)
{
    job->hosts[job->host_count++] = (struct route_host){.preference = preference, .name = name};
}

/* The best MX hosts by rising preference, equal ones in the order of the packet. "." among others
 * is nobody (RFC 7505 section 3 wants it alone). */
static void choose_hosts(struct route_job *job)
{
    const struct answer *a = job->mx.answer;

    for (size_t i = 0; i < a->count; i++) {
        const struct answer_record *r = &a->records[i];
        size_t at = job->host_count;
        if (!r->host[0])
            continue;
        while (at && job->hosts[at - 1].preference > r->preference)
            at--;
        if (at == ROUTE_JOB_MAX_HOSTS)
            continue;
        size_t keep = MIN_OF(job->host_count, (size_t)ROUTE_JOB_MAX_HOSTS - 1) - at;
        memmove(&job->hosts[at + 1], &job->hosts[at], keep * sizeof(job->hosts[0]));
        job->hosts[at] = (struct route_host){.preference = r->preference, .name = r->host};
        job->host_count = MIN_OF(job->host_count + 1, (size_t)ROUTE_JOB_MAX_HOSTS);
    }
}

/* --- the result --- */

static bool is_null_mx(const struct answer *a)
{
    return a->status == ANSWER_OK && a->count == 1 && !a->unusable_host && !a->records[0].host[0];
}

static void set(struct route_result *r, enum route_status status, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

static void set(struct route_result *r, enum route_status status, const char *fmt, ...)
{
    va_list ap;

    r->status = status;
    va_start(ap, fmt);
    vsnprintf(r->text, sizeof(r->text), fmt, ap);
    va_end(ap);
}

static void append_addresses(struct route_result *r, const struct route_host *h,
                             const struct answer *a, int family, size_t *count)
{
    for (size_t i = 0; i < MIN_OF(a->count, ROUTE_JOB_MAX_PER_HOST); i++) {
        if (*count == ROUTE_MAX_ADDRESSES)
            return;
        route_hosts_append(&r->hosts, h->preference, family, a->records[i].address, sv_of(h->name));
        ++*count;
    }
}

/* All addresses; returns how many, and an answer that failed, if any. */
static size_t gather(const struct route_job *job, struct route_result *r,
                     const struct answer **ret_failed)
{
    size_t count = 0;

    *ret_failed = NULL;
    for (size_t i = 0; i < job->host_count; i++) {
        const struct route_host *h = &job->hosts[i];
        const struct question *both[] = {&h->v4, &h->v6};
        for (size_t k = 0; k < ARRAY_LEN(both); k++) {
            const struct answer *a = both[k]->answer;
            r->ttl_s = MIN_OF(r->ttl_s, both[k]->ttl_s);
            if (a->status == ANSWER_FAILED)
                *ret_failed = a;
            if (a->status == ANSWER_OK)
                append_addresses(r, h, a, k ? AF_INET6 : AF_INET, &count);
        }
    }
    return count;
}

static bool is_implicit(const struct route_job *job)
{
    return job->kind == ROUTE_HOST || job->mx.answer->status != ANSWER_OK;
}

static void append_policy(const struct route_job *job, struct route_result *r);

static void result_of_hosts(const struct route_job *job, struct route_result *r)
{
    const struct answer *failed;
    size_t count = gather(job, r, &failed);

    if (count) {
        set(r, ROUTE_OK, "%s", "");
        if (failed)
            r->ttl_s = MIN_OF(r->ttl_s, (uint32_t)ROUTE_JOB_PARTIAL_TTL_S);
        append_policy(job, r);
    } else if (failed) {
        set(r, ROUTE_TEMPORARY, "%s", failed->text);
    } else if (!is_implicit(job)) {
        set(r, ROUTE_NO_HOST, "no MX host of '%s' has an address", job->domain);
    } else if (job->hosts[0].v4.answer->status == ANSWER_NO_DOMAIN) {
        set(r, ROUTE_NO_DOMAIN, "domain '%s' does not exist", job->domain);
    } else {
        set(r, ROUTE_NO_HOST,
            job->kind == ROUTE_MX ? "'%s' has neither MX nor address" : "host '%s' has no address",
            job->domain);
    }
}

static void result_of(const struct route_job *job, struct route_result *r)
{
    const struct answer *mx = job->mx.answer;

    *r = (struct route_result){.ttl_s = mx ? job->mx.ttl_s : ANSWER_MAX_TTL_S};
    if (job->text[0]) {
        set(r, job->bad, "%s", job->text);
    } else if (job->literal.family) {
        set(r, ROUTE_OK, "%s", "");
        route_hosts_append(&r->hosts, 0, job->literal.family, job->literal.bytes, sv(NULL, 0));
    } else if (mx && mx->status == ANSWER_NO_DOMAIN) {
        set(r, ROUTE_NO_DOMAIN, "domain '%s' does not exist", job->domain);
    } else if (mx && mx->status == ANSWER_FAILED) {
        set(r, ROUTE_TEMPORARY, "%s", mx->text);
    } else if (mx && is_null_mx(mx)) {
        set(r, ROUTE_NULL_MX, "domain '%s' accepts no mail (null MX)", job->domain);
    } else if (!job->host_count) {
        set(r, ROUTE_NO_HOST, "no MX record of '%s' names a host", job->domain);
    } else {
        result_of_hosts(job, r);
    }
}

/* --- the policy --- */

static size_t tlsa_bytes(const struct dane_host *h)
{
    size_t bytes = 0;
    for (size_t i = 0; i < h->count; i++)
        bytes += h->records[i].data.len;
    return bytes;
}

static void policy_of_hosts(const struct route_job *job, struct arena *a, struct tls_policy *p,
                            uint32_t *ttl_s)
{
    size_t bytes = 0;

    p->dane = arena_alloc(a, ROUTE_JOB_MAX_HOSTS * sizeof(p->dane[0]));
    for (size_t i = 0; i < job->host_count; i++) {
        struct dane_host *h = &p->dane[p->dane_count];
        dane_result(&job->hosts[i].dane, job->hosts[i].name, a, h);
        *ttl_s = MIN_OF(*ttl_s,
                        MAX_OF(dane_ttl(&job->hosts[i].dane), (uint32_t)ROUTE_JOB_MIN_TLS_TTL_S));
        bytes += tlsa_bytes(h);
        if (bytes > ROUTE_JOB_TLSA_BYTES) /* nobody's; a record less would be a weaker check */
            *h = (struct dane_host){.host = h->host, .status = DANE_FAILED};
        p->dane_count += h->status != DANE_NONE;
    }
}

/* What CNAMEs make of the domain: for MX records the name that has them. */
static struct strview alias_of_domain(const struct route_job *job)
{
    const struct question *q =
        job->kind == ROUTE_MX && job->mx.answer->status == ANSWER_OK ? &job->mx : &job->hosts[0].v4;
    return q->answer->status == ANSWER_OK ? sv_of(q->answer->text) : sv(NULL, 0);
}

/* Whole lines, up to what a pipe keeps per route. */
static struct strview head_of(struct strview text)
{
    while (text.len > ROUTE_JOB_POLICY_BYTES || (text.len && text.ptr[text.len - 1] != '\n'))
        text.len--;
    return text;
}

static void policy_of_sts(const struct sts_view *v, struct tls_policy *p)
{
    if (v->version) {
        p->sts = v->version->policy;
        if (p->sts.text.len > ROUTE_JOB_POLICY_BYTES)
            p->sts.text = head_of(p->sts.text);
    }
    p->sts.failure = sv_of(v->failure);
}

static void append_policy(const struct route_job *job, struct route_result *r)
{
    struct arena a = {0};
    struct tls_policy p = {
        .mx_secure =
            job->kind == ROUTE_MX && lookup_is_secure(job->questions.lookups, job->mx.answer),
    };

    policy_of_hosts(job, &a, &p, &r->ttl_s);
    if (p.dane_count)
        p.domain_alias = alias_of_domain(job);
    if (job->sts && job->phase == ROUTE_KNOWN && (job->wants & ROUTE_WANT_STS) &&
        job->kind == ROUTE_MX) {
        policy_of_sts(&job->sts_view, &p);
        r->ttl_s = MIN_OF(r->ttl_s, job->sts_view.ttl_s);
    }
    tls_policy_encode(&r->policy, &p);
    arena_free(&a);
}

/* --- asking --- */

static void finish(struct route_job *job)
{
    struct route_result r;

    sts_cancel(&job->sts_waiter);
    result_of(job, &r);
    job->done(job, &r);
    route_result_free(&r);
}

static void step(struct route_job *job);

static void on_questions(struct question_set *set)
{
    step(container_of(set, struct route_job, questions));
}

static void on_sts(struct sts_waiter *w, struct sts_view *view)
{
    struct route_job *job = container_of(w, struct route_job, sts_waiter);

    job->sts_view = *view;
    job->sts_pending = false;
    if (!job->questions.pending)
        step(job);
}

static void ask_mx(struct route_job *job)
{
    job->phase = ROUTE_ASKED_MX;
    if (job->kind == ROUTE_MX)
        question_ask(&job->questions, &job->mx, job->domain, QUERY_MX);
}

/* While the addresses are on their way. */
static void ask_sts(struct route_job *job)
{
    if (!job->sts || job->kind != ROUTE_MX || !(job->wants & ROUTE_WANT_STS))
        return;
    if (sts_cached(job->sts, job->domain, &job->sts_view))
        return;
    job->sts_pending = true;
    job->sts_waiter.done = on_sts;
    if (job->questions.client)
        sts_ask(job->sts, job->questions.client, job->domain, STS_PATIENCE_MS, &job->sts_waiter);
}

/* Fills in the hosts and asks for their addresses. */
static void ask_addresses(struct route_job *job)
{
    const struct answer *mx = job->mx.answer;

    job->phase = ROUTE_ASKED_ADDRESSES;
    if (!mx || mx->status == ANSWER_NO_DATA)
        add_host(job, 0, job->domain);
    else if (mx->status == ANSWER_OK && !is_null_mx(mx))
        choose_hosts(job);
    if (job->host_count)
        ask_sts(job);
    for (size_t i = 0; i < job->host_count; i++) {
        question_ask(&job->questions, &job->hosts[i].v4, job->hosts[i].name, QUERY_A);
        question_ask(&job->questions, &job->hosts[i].v6, job->hosts[i].name, QUERY_AAAA);
    }
}

/* RFC 7672 section 2.2.1: hosts that an insecure MX answer names are anybody's. Without MX records
 * the domain is the host, as long as it is sure that there are none. */
static bool hosts_are_secure(const struct route_job *job)
{
    return job->kind == ROUTE_HOST || lookup_is_secure(job->questions.lookups, job->mx.answer);
}

static void begin_dane(struct route_job *job)
{
    job->phase = ROUTE_ASKED_TLSA;
    if (!(job->wants & ROUTE_WANT_TLSA) || !job->host_count || !hosts_are_secure(job))
        return;
    for (size_t i = 0; i < job->host_count; i++) {
        struct route_host *h = &job->hosts[i];
        dane_begin(&h->dane, &job->questions, h->name, job->port, &h->v4, &h->v6);
    }
}

/* Asks for the TLSA records that come next, until no host needs any. */
static void go_on_with_dane(struct route_job *job)
{
    bool asked = false;

    for (size_t i = 0; i < job->host_count; i++)
        asked |= dane_next(&job->hosts[i].dane, &job->questions, job->hosts[i].name);
    if (!asked)
        job->phase = ROUTE_KNOWN;
}

/* As far as the answers go. */
static void advance(struct route_job *job)
{
    while (!job->questions.pending) {
        switch (job->phase) {
        case ROUTE_BEGIN:
            ask_mx(job);
            break;
        case ROUTE_ASKED_MX:
            ask_addresses(job);
            break;
        case ROUTE_ASKED_ADDRESSES:
            begin_dane(job);
            break;
        case ROUTE_ASKED_TLSA:
            go_on_with_dane(job);
            break;
        case ROUTE_KNOWN:
            return;
        }
    }
}

static bool is_done(const struct route_job *job)
{
    return job->phase == ROUTE_KNOWN && !job->questions.pending && !job->sts_pending;
}

static void step(struct route_job *job)
{
    advance(job);
    if (is_done(job))
        finish(job);
}

static bool needs_no_question(const struct route_job *job)
{
    return job->text[0] || job->literal.family;
}

bool route_job_try_cache(struct route_job *job, struct route_result *ret)
{
    if (!needs_no_question(job)) {
        advance(job);
        if (!is_done(job))
            return false;
    }
    result_of(job, ret);
    return true;
}

void route_job_start(struct route_job *job, struct fair_client *client,
                     void (*done)(struct route_job *job, struct route_result *result))
{
    job->questions.client = client;
    job->done = done;
    if (needs_no_question(job))
        finish(job);
    else
        step(job);
}
