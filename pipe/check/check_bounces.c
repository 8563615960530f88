/*
 * Whether bounces can come back: MX hosts of the return path's domain and their addresses; and how
 * they are protected on the way: MTA-STS and DANE.
 */
#include "check/check_int.h"

enum { HOSTS_MAX = 10 };

struct bounce_task;

struct bounce_host {
    struct question_waiter a, aaaa, tlsa;
    struct bounce_task *task;
    struct strview name;
    bool has_address, failed;
};

struct bounce_task {
    struct question_waiter waiter, sts, policy;
    struct check *check;
    struct bounce_host hosts[HOSTS_MAX];
    size_t count;
    unsigned open;      /* hosts whose addresses are not known */
    unsigned tlsa_open; /* hosts whose TLSA records are not known */
    unsigned tlsa, tlsa_secure, tlsa_failed;
    bool implicit; /* there is no MX record, the domain itself is the host */
};

static struct check_finding *add(struct bounce_task *t, enum check_topic topic,
                                 enum check_level level, unsigned order, const char *text)
{
    return check_add(t->check, topic, level, order,
                     check_printf(t->check, "%.*s", SV_ARG(t->check->mail_from)), "%s", text);
}

static const char *no_way_back = "give the domain an MX that takes mail: without bounces nobody "
                                 "learns which addresses are dead";

/* --- hosts --- */

static struct check_finding *judge_hosts(struct bounce_task *t)
{
    struct check *c = t->check;
    struct buf good = {0}, bad = {0};
    bool failed = false;
    struct check_finding *f;

    for (size_t i = 0; i < t->count; i++) {
        const struct bounce_host *h = &t->hosts[i];
        struct buf *b = h->has_address ? &good : &bad;
        buf_printf(b, "%s%.*s", buf_len(b) ? ", " : "", SV_ARG(h->name));
        failed |= !h->has_address && h->failed;
    }
    if (t->implicit && buf_len(&good)) {
        f = add(t, CHECK_BOUNCES, CHECK_LEVEL_WARN, 0,
                "no MX record, bounces go to the address of the domain itself");
        f->advice = "publish an MX record";
    } else if (t->implicit && !failed) {
        f = add(t, CHECK_BOUNCES, CHECK_LEVEL_FAIL, 0, "neither MX record nor address");
        f->advice = no_way_back;
    } else if (failed) {
        f = add(
            t, CHECK_BOUNCES, CHECK_LEVEL_WARN, 0,
            check_printf(c, "the DNS did not say the addresses of %.*s", SV_ARG(buf_view(&bad))));
        f->advice = "ask again later";
    } else if (buf_len(&bad)) {
        f = add(t, CHECK_BOUNCES, buf_len(&good) ? CHECK_LEVEL_WARN : CHECK_LEVEL_FAIL, 0,
                check_printf(c, "MX hosts without address: %.*s", SV_ARG(buf_view(&bad))));
        f->advice = "give the hosts their addresses, or take them out of the MX record";
    } else {
        f = add(t, CHECK_BOUNCES, CHECK_LEVEL_OK, 0,
                check_printf(c, "bounces go to %.*s", SV_ARG(buf_view(&good))));
    }
    buf_free(&good);
    buf_free(&bad);
    return f;
}

/* --- DANE --- */

static void judge_tlsa(struct bounce_task *t)
{
    struct check *c = t->check;

    if (t->tlsa && t->tlsa_secure == t->count)
        add(t, CHECK_TLSA, CHECK_LEVEL_OK, 0, "every MX host has TLSA records, signed by DNSSEC");
    else if (t->tlsa && !t->tlsa_secure)
        add(t, CHECK_TLSA, CHECK_LEVEL_NOTE, 0,
            "TLSA records, but the name server does not say that DNSSEC vouches for them");
    else if (t->tlsa)
        add(t, CHECK_TLSA, CHECK_LEVEL_WARN, 0,
            check_printf(c, "only %u of %zu MX hosts have signed TLSA records", t->tlsa_secure,
                         t->count))
            ->advice = "publish TLSA records for all of them";
    else if (t->tlsa_failed)
        add(t, CHECK_TLSA, CHECK_LEVEL_NOTE, 0, "the DNS did not say");
    else
        add(t, CHECK_TLSA, CHECK_LEVEL_NOTE, 0, "no TLSA records for bounces on their way");
}

static void on_tlsa(struct question_waiter *w, const struct lookup_result *r)
{
    struct bounce_host *h = container_of(w, struct bounce_host, tlsa);
    struct bounce_task *t = h->task;

    t->tlsa += r->count != 0;
    t->tlsa_secure += r->count && r->secure;
    t->tlsa_failed += r->status == LOOKUP_TEMPORARY;
    if (!--t->tlsa_open)
        judge_tlsa(t);
    check_end(t->check);
}

static void ask_tlsa(struct bounce_task *t)
{
    t->tlsa_open = (unsigned)t->count;
    for (size_t i = 0; i < t->count; i++) {
        struct bounce_host *h = &t->hosts[i];
        h->tlsa.answered = on_tlsa;
        check_begin(t->check);
        check_ask(t->check, LOOKUP_TLSA,
                  sv_of(check_printf(t->check, "_25._tcp.%.*s", SV_ARG(h->name))), &h->tlsa);
    }
}

/* --- addresses --- */

static void address_came(struct bounce_host *h, const struct lookup_result *r)
{
    struct bounce_task *t = h->task;

    h->has_address |= r->count != 0;
    h->failed |= r->status == LOOKUP_TEMPORARY;
    if (!--t->open && judge_hosts(t)->level < CHECK_LEVEL_FAIL)
        ask_tlsa(t);
    check_end(t->check);
}

static void on_a(struct question_waiter *w, const struct lookup_result *r)
{
    address_came(container_of(w, struct bounce_host, a), r);
}

static void on_aaaa(struct question_waiter *w, const struct lookup_result *r)
{
    address_came(container_of(w, struct bounce_host, aaaa), r);
}

static void add_host(struct bounce_task *t, struct strview name)
{
    if (name.len && name.ptr[name.len - 1] == '.')
        name.len--;
    if (t->count < HOSTS_MAX && name.len)
        t->hosts[t->count++] = (struct bounce_host){.task = t, .name = name};
}

static void ask_hosts(struct bounce_task *t)
{
    t->open = (unsigned)t->count * 2;
    for (size_t i = 0; i < t->count; i++) {
        struct bounce_host *h = &t->hosts[i];
        h->a.answered = on_a;
        h->aaaa.answered = on_aaaa;
        check_begin(t->check);
        check_ask(t->check, LOOKUP_A, h->name, &h->a);
        check_begin(t->check);
        check_ask(t->check, LOOKUP_AAAA, h->name, &h->aaaa);
    }
}

static void on_mx(struct question_waiter *w, const struct lookup_result *r)
{
    struct bounce_task *t = container_of(w, struct bounce_task, waiter);
    struct check *c = t->check;

    for (size_t i = 0; i < r->count; i++)
        if (r->records[i].len > 2)
            add_host(t, sv(r->records[i].ptr + 2, r->records[i].len - 2));
    if (r->status == LOOKUP_TEMPORARY) {
        add(t, CHECK_BOUNCES, CHECK_LEVEL_WARN, 0, check_status_text(c, r))->advice =
            "ask again later";
    } else if (r->status == LOOKUP_NO_DOMAIN) {
        add(t, CHECK_BOUNCES, CHECK_LEVEL_FAIL, 0, "the domain does not exist")->advice =
            no_way_back;
    } else if (r->count && !t->count) {
        add(t, CHECK_BOUNCES, CHECK_LEVEL_FAIL, 0, "the domain takes no mail (null MX)")->advice =
            no_way_back;
    } else {
        t->implicit = !t->count;
        if (t->implicit)
            add_host(t, c->mail_from);
        ask_hosts(t);
    }
    check_end(c);
}

/* --- MTA-STS --- */

static void on_policy(struct question_waiter *w, const struct lookup_result *r)
{
    struct bounce_task *t = container_of(w, struct bounce_task, policy);
    struct check *c = t->check;

    if (r->status == LOOKUP_OK && r->count) {
        add(t, CHECK_STS, CHECK_LEVEL_OK, 0, "announced, and the policy can be fetched");
    } else {
        struct strview why = r->text.len ? r->text : SV("no reason given");
        struct check_finding *f =
            add(t, CHECK_STS, CHECK_LEVEL_WARN, 0,
                check_printf(c, "announced, but there is no policy: %.*s", SV_ARG(why)));
        f->advice = check_printf(c,
                                 "serve https://mta-sts.%.*s/.well-known/mta-sts.txt, or take "
                                 "the announcement away",
                                 SV_ARG(c->mail_from));
    }
    check_end(c);
}

static void on_sts(struct question_waiter *w, const struct lookup_result *r)
{
    struct bounce_task *t = container_of(w, struct bounce_task, sts);
    struct check *c = t->check;
    unsigned count = 0;

    for (size_t i = 0; i < r->count; i++)
        count += tags_is_version(r->records[i], "STSv1");
    if (r->status == LOOKUP_TEMPORARY) {
        add(t, CHECK_STS, CHECK_LEVEL_NOTE, 0, check_status_text(c, r));
    } else if (count > 1) {
        add(t, CHECK_STS, CHECK_LEVEL_WARN, 0, "more than one record: senders take none of them")
            ->advice = "leave one";
    } else if (!count) {
        add(t, CHECK_STS, CHECK_LEVEL_NOTE, 0, "no MTA-STS for bounces on their way");
    } else {
        t->policy.answered = on_policy;
        check_begin(c);
        check_ask(c, LOOKUP_STS_POLICY, c->mail_from, &t->policy);
    }
    check_end(c);
}

void check_bounces_begin(struct check *c)
{
    struct bounce_task *t = arena_alloc(&c->arena, sizeof(*t));

    *t = (struct bounce_task){
        .waiter.answered = on_mx,
        .sts.answered = on_sts,
        .check = c,
    };
    check_begin(c);
    check_ask(c, LOOKUP_MX, c->mail_from, &t->waiter);
    check_begin(c);
    check_ask(c, LOOKUP_TXT, sv_of(check_printf(c, "_mta-sts.%.*s", SV_ARG(c->mail_from))),
              &t->sts);
}
