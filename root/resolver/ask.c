/*
 * Answers to pipes' questions; see ask.h. resolve.c runs one job per request. Names may be such that
 * no host can have (SPF macros, reverse zones); what cannot be a name at all does not exist.
 */
#include "ask.h"

#include <stdio.h>

static const enum query_type types[] = {
    [LOOKUP_A] = QUERY_A,     [LOOKUP_PTR] = QUERY_PTR,   [LOOKUP_MX] = QUERY_MX,
    [LOOKUP_TXT] = QUERY_TXT, [LOOKUP_AAAA] = QUERY_AAAA, [LOOKUP_TLSA] = QUERY_TLSA,
};

bool ask_kind_is_known(unsigned kind)
{
    return kind == LOOKUP_STS_POLICY || (kind < ARRAY_LEN(types) && types[kind]);
}

void ask_result_free(struct ask_result *r)
{
    buf_free(&r->records);
}

static void on_question(struct question_set *set);

void ask_job_init(struct ask_job *job, struct lookups *l, struct sts *sts, enum lookup_kind kind,
                  struct strview name)
{
    struct err e = {0};

    *job = (struct ask_job){
        .questions = {.lookups = l, .step = on_question}, .sts = sts, .kind = kind};
    if ((kind == LOOKUP_STS_POLICY || domain_normalise_any(name, job->name, &e) < 0) &&
        domain_normalise(name, job->name, &e) < 0)
        snprintf(job->text, sizeof(job->text), "%.120s", e.text);
}

void ask_job_fini(struct ask_job *job)
{
    sts_cancel(&job->sts_waiter);
    sts_view_fini(&job->sts_view);
    question_fini(&job->question);
}

/* --- the result --- */

static void append_mx(struct buf *out, const struct answer_record *r)
{
    char bytes[2 + DOMAIN_SIZE] = {(char)(r->preference >> 8), (char)r->preference};
    size_t len = strlen(r->host);

    memcpy(bytes + 2, r->host, len);
    lookup_records_append(out, sv(bytes, 2 + len));
}

static void append_record(struct buf *out, enum lookup_kind kind, const struct answer_record *r)
{
    switch (kind) {
    case LOOKUP_A:
        lookup_records_append(out, sv((const char *)r->address, 4));
        return;
    case LOOKUP_AAAA:
        lookup_records_append(out, sv((const char *)r->address, 16));
        return;
    case LOOKUP_MX:
        append_mx(out, r);
        return;
    case LOOKUP_PTR:
        lookup_records_append(out, sv_of(r->host));
        return;
    case LOOKUP_TXT:
    case LOOKUP_TLSA:
        lookup_records_append(out, sv((const char *)r->data, r->bytes));
        return;
    case LOOKUP_STS_POLICY:
        return;
    }
}

static void result_of_answer(const struct ask_job *job, struct ask_result *r)
{
    const struct answer *a = job->question.answer;
    const char *type = query_type_name(types[job->kind]);

    *r = (struct ask_result){.ttl_s = job->question.ttl_s};
    r->secure = lookup_is_secure(job->questions.lookups, a);
    if (a->status == ANSWER_FAILED) {
        r->status = LOOKUP_TEMPORARY;
        snprintf(r->text, sizeof(r->text), "%s", a->text);
    } else if (a->status == ANSWER_NO_DOMAIN) {
        r->status = LOOKUP_NO_DOMAIN;
        snprintf(r->text, sizeof(r->text), "'%s' does not exist", job->name);
    } else if (a->status == ANSWER_OK && a->count) {
        for (size_t i = 0; i < a->count; i++)
            append_record(&r->records, job->kind, &a->records[i]);
    } else {
        r->status = LOOKUP_NO_DATA;
        snprintf(r->text, sizeof(r->text), "'%s' has no %s record%s", job->name, type,
                 a->status == ANSWER_OK ? " that can be used" : "");
    }
}

static void result_of_policy(const struct ask_job *job, struct ask_result *r)
{
    const struct sts_view *v = &job->sts_view;

    *r = (struct ask_result){.ttl_s = v->ttl_s};
    if (v->version) {
        lookup_records_append(&r->records, buf_view(&v->version->text));
    } else if (v->failure[0] || v->pending) {
        r->status = LOOKUP_TEMPORARY;
        snprintf(r->text, sizeof(r->text), "%s",
                 v->failure[0] ? v->failure
                               : "sts-policy-fetch-error: the policy is still being fetched");
    } else {
        r->status = LOOKUP_NO_DATA;
        snprintf(r->text, sizeof(r->text), "'%s' has no MTA-STS record", job->name);
    }
}

static void result_of(const struct ask_job *job, struct ask_result *r)
{
    if (job->text[0]) {
        *r = (struct ask_result){.status = LOOKUP_NO_DOMAIN, .ttl_s = ANSWER_MAX_TTL_S};
        snprintf(r->text, sizeof(r->text), "%s", job->text);
    } else if (job->kind == LOOKUP_STS_POLICY) {
        result_of_policy(job, r);
    } else {
        result_of_answer(job, r);
    }
}

/* --- asking --- */

static void finish(struct ask_job *job)
{
    struct ask_result r;

    result_of(job, &r);
    job->done(job, &r);
    ask_result_free(&r);
}

static void on_question(struct question_set *set)
{
    finish(container_of(set, struct ask_job, questions));
}

static void on_sts(struct sts_waiter *w, struct sts_view *view)
{
    struct ask_job *job = container_of(w, struct ask_job, sts_waiter);

    job->sts_view = *view;
    finish(job);
}

/* Whether it is known already. */
static bool ask(struct ask_job *job)
{
    if (job->text[0])
        return true;
    if (job->kind != LOOKUP_STS_POLICY) {
        question_ask(&job->questions, &job->question, job->name, types[job->kind]);
        return !job->questions.pending;
    }
    if (!job->sts || sts_cached(job->sts, job->name, &job->sts_view))
        return true;
    job->sts_waiter.done = on_sts;
    if (job->questions.client)
        sts_ask(job->sts, job->questions.client, job->name, ASK_STS_PATIENCE_MS, &job->sts_waiter);
    return false;
}

bool ask_job_try_cache(struct ask_job *job, struct ask_result *ret)
{
    if (!ask(job))
        return false;
    result_of(job, ret);
    return true;
}

void ask_job_start(struct ask_job *job, struct fair_client *client,
                   void (*done)(struct ask_job *job, struct ask_result *result))
{
    job->questions.client = client;
    job->done = done;
    if (ask(job))
        finish(job);
}
