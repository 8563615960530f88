/*
 * Routes from answers; see route.h. resolve.c runs one job per request.
 *
 * MX first, then the addresses of all hosts at once; without MX records the domain itself is the
 * host (implicit MX). What decides between temporary and final: a route that could have existed but
 * for a question that failed is temporary, everything else is what DNS says. The job holds
 * references to the answers, host names point into them.
 */
#include "route.h"

#include <stdio.h>

void route_result_free(struct route_result *r)
{
    buf_free(&r->hosts);
}

void route_job_init(struct route_job *job, struct lookups *l, enum route_kind kind,
                    struct strview domain)
{
    struct err e = {0};

    *job = (struct route_job){.lookups = l, .kind = kind};
    int rc = domain_parse_literal(domain, kind == ROUTE_HOST, &job->literal);
    if (rc > 0)
        return;
    job->literal.family = 0;
    if (rc == 0 && domain_normalise(domain, job->domain, &e) == 0)
        return;
    job->bad = rc < 0 ? ROUTE_NO_HOST : ROUTE_NO_DOMAIN;
    snprintf(job->text, sizeof(job->text), "%.120s", rc < 0 ? "not an address literal" : e.text);
}

void route_job_fini(struct route_job *job)
{
    answer_unref(job->mx.answer);
    for (size_t i = 0; i < job->host_count; i++) {
        answer_unref(job->hosts[i].v4.answer);
        answer_unref(job->hosts[i].v6.answer);
    }
}

static void step(struct route_job *job);

static void on_answer(struct lookup_waiter *w, struct answer *a, uint32_t ttl_s)
{
    struct route_question *q = container_of(w, struct route_question, waiter);

    q->answer = answer_ref(a);
    q->ttl_s = ttl_s;
    if (--q->job->pending == 0)
        step(q->job);
}

static void ask(struct route_job *job, struct route_question *q, const char *name,
                enum query_type type)
{
    struct answer *a = lookup_cached(job->lookups, name, type, &q->ttl_s);

    q->job = job;
    q->waiter.done = on_answer;
    if (a) {
        q->answer = answer_ref(a);
        return;
    }
    job->pending++;
    if (job->client)
        lookup_start(job->lookups, job->client, name, type, &q->waiter);
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

static bool is_null_mx(const struct answer *a)
{
    return a->status == ANSWER_OK && a->count == 1 && !a->unusable_host && !a->records[0].host[0];
}

/* --- the result --- */

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
        const struct route_question *both[] = {&h->v4, &h->v6};
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

static void result_of_hosts(const struct route_job *job, struct route_result *r)
{
    const struct answer *failed;
    size_t count = gather(job, r, &failed);

    if (count) {
        set(r, ROUTE_OK, "%s", "");
        if (failed)
            r->ttl_s = MIN_OF(r->ttl_s, (uint32_t)ROUTE_JOB_PARTIAL_TTL_S);
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

/* --- asking --- */

static void finish(struct route_job *job)
{
    struct route_result r;

    result_of(job, &r);
    job->done(job, &r);
    route_result_free(&r);
}

/* Fills in the hosts and asks for their addresses, once the MX answer is there. */
static void ask_addresses(struct route_job *job)
{
    const struct answer *mx = job->mx.answer;

    if (!mx || mx->status == ANSWER_NO_DATA)
        add_host(job, 0, job->domain);
    else if (mx->status == ANSWER_OK && !is_null_mx(mx))
        choose_hosts(job);
    for (size_t i = 0; i < job->host_count; i++) {
        ask(job, &job->hosts[i].v4, job->hosts[i].name, QUERY_A);
        ask(job, &job->hosts[i].v6, job->hosts[i].name, QUERY_AAAA);
    }
}

/* Everything that was asked is answered. */
static void step(struct route_job *job)
{
    if (!job->host_count)
        ask_addresses(job);
    if (!job->pending)
        finish(job);
}

/* Asks the first question. Returns whether there is one. */
static bool begin(struct route_job *job)
{
    if (job->text[0] || job->literal.family)
        return false;
    if (job->kind == ROUTE_MX)
        ask(job, &job->mx, job->domain, QUERY_MX);
    return true;
}

bool route_job_try_cache(struct route_job *job, struct route_result *ret)
{
    if (begin(job) && !job->pending)
        ask_addresses(job);
    if (job->pending)
        return false;
    result_of(job, ret);
    return true;
}

void route_job_start(struct route_job *job, struct fair_client *client,
                     void (*done)(struct route_job *job, struct route_result *result))
{
    job->client = client;
    job->done = done;
    if (!begin(job))
        finish(job);
    else if (!job->pending)
        step(job);
}
