/*
 * TLSA records of a host; see dane.h. Called by route.c for each host of a route.
 *
 * Only hosts with secure addresses are asked about: where addresses are not signed there is nothing
 * to find, and some name servers fail on the question (RFC 7672 section 2.2.2). When CNAMEs led
 * from the host to another name, that name comes first and the host's own second; when only the
 * first CNAME is secure, the host's own name alone. A question that fails (the name servers answer
 * SERVFAIL to what does not validate) makes the host unusable for now, an insecure or empty answer
 * means that there is no DANE.
 */
#include "dane.h"

#include <stdio.h>

bool dane_record_is_usable(const struct answer_record *r)
{
    if (r->bytes < 4)
        return false;
    unsigned usage = r->data[0], selector = r->data[1], matching = r->data[2];
    size_t len = r->bytes - 3u;

    if ((usage != 2 && usage != 3) || selector > 1)
        return false;
    return (matching == 0 && len <= DANE_MAX_BYTES) || (matching == 1 && len == 32) ||
           (matching == 2 && len == 64);
}

static void add_base(struct dane *d, const char *name)
{
    if (name[0] && strlen(name) + sizeof("_65535._tcp.") <= DOMAIN_SIZE)
        d->bases[d->base_count++] = name;
}

static const char *alias_of(const struct question *q)
{
    return q->answer && q->answer->status == ANSWER_OK ? q->answer->text : "";
}

void dane_begin(struct dane *d, struct question_set *set, const char *host, uint16_t port,
                const struct question *v4, const struct question *v6)
{
    bool has4 = v4->answer->status == ANSWER_OK, has6 = v6->answer->status == ANSWER_OK;
    const char *alias = has4 ? alias_of(v4) : alias_of(v6);

    d->port = port;
    if (!has4 && !has6)
        return;
    if ((!has4 || question_is_secure(v4)) && (!has6 || question_is_secure(v6))) {
        add_base(d, alias);
        add_base(d, host);
    } else if (alias[0]) {
        question_ask(set, &d->alias, host, QUERY_CNAME);
    }
}

/* How the last question ended. */
static enum dane_status judge(const struct question *q)
{
    if (q->answer->status == ANSWER_FAILED)
        return DANE_FAILED;
    if (!question_is_secure(q))
        return DANE_NONE;
    for (size_t i = 0; i < q->answer->count; i++)
        if (dane_record_is_usable(&q->answer->records[i]))
            return DANE_USABLE;
    return DANE_UNUSABLE;
}

bool dane_next(struct dane *d, struct question_set *set, const char *host)
{
    char name[DOMAIN_SIZE];

    if (!d->asked && !d->base_count && d->alias.answer && question_is_secure(&d->alias))
        add_base(d, host);
    if (d->asked == d->base_count || (d->asked && judge(&d->tlsa[d->asked - 1]) != DANE_NONE))
        return false;
    snprintf(name, sizeof(name), "_%u._tcp.%s", d->port, d->bases[d->asked]);
    question_ask(set, &d->tlsa[d->asked++], name, QUERY_TLSA);
    return true;
}

void dane_fini(struct dane *d)
{
    question_fini(&d->alias);
    question_fini(&d->tlsa[0]);
    question_fini(&d->tlsa[1]);
}

static void take_records(const struct answer *a, struct arena *arena, struct dane_host *ret)
{
    size_t bytes = 0;

    ret->records = arena_alloc(arena, DANE_MAX_RECORDS * sizeof(ret->records[0]));
    for (size_t i = 0; i < a->count && ret->count < DANE_MAX_RECORDS; i++) {
        const struct answer_record *r = &a->records[i];
        if (!dane_record_is_usable(r) || bytes + r->bytes > DANE_MAX_BYTES + 3)
            continue;
        bytes += r->bytes;
        ret->records[ret->count++] =
            (struct tlsa_record){.usage = r->data[0],
                                 .selector = r->data[1],
                                 .matching = r->data[2],
                                 .data = sv((const char *)r->data + 3, r->bytes - 3u)};
    }
}

void dane_result(const struct dane *d, const char *host, struct arena *a, struct dane_host *ret)
{
    *ret = (struct dane_host){.host = sv_of(host)};
    if (d->alias.answer && d->alias.answer->status == ANSWER_FAILED)
        ret->status = DANE_FAILED;
    if (!d->asked)
        return;
    const struct question *last = &d->tlsa[d->asked - 1];
    ret->status = judge(last);
    if (ret->status == DANE_USABLE)
        take_records(last->answer, a, ret);
    if (strcmp(d->bases[d->asked - 1], host) != 0)
        ret->base_domain = sv_of(d->bases[d->asked - 1]);
}

uint32_t dane_ttl(const struct dane *d)
{
    uint32_t ttl = UINT32_MAX;

    if (d->alias.answer)
        ttl = MIN_OF(ttl, d->alias.ttl_s);
    for (unsigned i = 0; i < d->asked; i++)
        ttl = MIN_OF(ttl, d->tlsa[i].ttl_s);
    return ttl;
}
