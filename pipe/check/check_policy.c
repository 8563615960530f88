/*
 * DMARC (RFC 7489): the record at the domain or at the organisational one, what it says, and whether
 * our mail is aligned with it. BIMI behind it, because it counts only with a policy that is enforced.
 */
#include "check/check_int.h"

struct policy_task {
    struct question_waiter waiter;
    struct check *check;
    struct strview at; /* domain whose record is asked for */
    const char *name;  /* of that record */
};

static void begin_bimi(struct check *c);

static struct check_finding *add(struct check *c, enum check_level level, unsigned order,
                                 const char *subject, const char *text)
{
    return check_add(c, CHECK_DMARC, level, order, subject, "%s", text);
}

/* --- the record --- */

static bool is_policy(struct strview p)
{
    return sv_eq_nocase(p, SV("none")) || sv_eq_nocase(p, SV("quarantine")) ||
           sv_eq_nocase(p, SV("reject"));
}

static void read_record(struct check *c, const struct policy_task *t, struct strview record)
{
    struct strview p = tags_value(record, "p"), sp = tags_value(record, "sp"),
                   rua = tags_value(record, "rua"), pct = tags_value(record, "pct");
    bool inherited = !sv_eq(t->at, c->domain);
    struct check_finding *f;

    if (!is_policy(p) && rua.len)
        p = SV("none"); /* section 6.6.3 */
    if (!is_policy(p)) {
        f = add(c, CHECK_LEVEL_FAIL, CHECK_ORDER_RECORD, t->name, "the record has no valid p=");
        f->advice = "set p= to none, quarantine or reject: receivers pass this record over";
        return;
    }
    c->dmarc = record;
    c->dmarc_policy = inherited && is_policy(sp) ? sp : p;
    f = add(c, CHECK_LEVEL_OK, CHECK_ORDER_RECORD, t->name,
            check_printf(c, "policy %.*s%s", SV_ARG(c->dmarc_policy),
                         inherited ? ", inherited from the organisational domain" : ""));
    if (sv_eq_nocase(c->dmarc_policy, SV("none"))) {
        f->level = CHECK_LEVEL_NOTE;
        f->text = check_printf(c, "%s: forged mail is reported, not stopped", f->text);
    }
    if (!rua.len) {
        f = add(c, CHECK_LEVEL_WARN, CHECK_ORDER_REPORTS, t->name,
                "no rua=, nobody sends you reports");
        f->advice = check_printf(c, "add rua=mailto:ADDRESS to the record");
    }
    if (pct.len && !sv_eq(pct, SV("100")))
        add(c, CHECK_LEVEL_NOTE, CHECK_ORDER_PERCENT, t->name,
            check_printf(c, "the policy holds for %.*s%% of the mail", SV_ARG(pct)));
    check_reports_begin(c, t->at, t->name, record);
}

static void no_record(struct check *c, const struct policy_task *t)
{
    struct check_finding *f = add(
        c, CHECK_LEVEL_FAIL, CHECK_ORDER_RECORD, check_printf(c, "_dmarc.%.*s", SV_ARG(c->domain)),
        sv_eq(c->domain, t->at) ? "no DMARC record"
                                : check_printf(c, "no DMARC record, nor at %.*s", SV_ARG(t->at)));

    f->advice = "publish one; large receivers refuse bulk mail of domains without";
    f->record_name = check_printf(c, "_dmarc.%.*s", SV_ARG(c->from_org));
    f->record_type = "TXT";
    f->record = check_printf(c, "v=DMARC1; p=none; rua=mailto:dmarc@%.*s", SV_ARG(c->from_org));
}

static void ask_record(struct check *c, struct strview at);

static void on_record(struct question_waiter *w, const struct lookup_result *r)
{
    struct policy_task *t = container_of(w, struct policy_task, waiter);
    struct check *c = t->check;
    struct strview found = {NULL, 0};
    unsigned count = 0;

    for (size_t i = 0; i < r->count; i++)
        if (tags_is_version(r->records[i], "DMARC1")) {
            found = r->records[i];
            count++;
        }
    if (r->status == LOOKUP_TEMPORARY) {
        add(c, CHECK_LEVEL_WARN, CHECK_ORDER_RECORD, t->name, check_status_text(c, r))->advice =
            "ask again later";
        c->dmarc_unknown = true;
    } else if (count > 1) {
        add(c, CHECK_LEVEL_FAIL, CHECK_ORDER_RECORD, t->name,
            "more than one DMARC record: receivers take none of them")
            ->advice = "leave one";
    } else if (count) {
        read_record(c, t, found);
    } else if (sv_eq(t->at, c->domain) && !sv_eq(c->from_org, c->domain)) {
        ask_record(c, c->from_org);
        check_end(c);
        return;
    } else {
        no_record(c, t);
    }
    begin_bimi(c);
    check_end(c);
}

static void ask_record(struct check *c, struct strview at)
{
    struct policy_task *t = arena_alloc(&c->arena, sizeof(*t));

    *t = (struct policy_task){
        .waiter.answered = on_record,
        .check = c,
        .at = at,
        .name = check_printf(c, "_dmarc.%.*s", SV_ARG(at)),
    };
    check_begin(c);
    check_ask(c, LOOKUP_TXT, sv_of(t->name), &t->waiter);
}

void check_policy_begin(struct check *c)
{
    ask_record(c, c->domain);
}

/* --- alignment --- */

static bool is_strict(const struct check *c, const char *tag)
{
    return c->dmarc.ptr && sv_eq_nocase(tags_value(c->dmarc, tag), SV("s"));
}

static bool judge_spf(struct check *c)
{
    bool strict = is_strict(c, "aspf");
    bool aligned = org_domain_aligned(&c->arena, c->domain, c->mail_from, strict);
    const char *subject = check_printf(c, "return path %.*s", SV_ARG(c->mail_from));
    struct check_finding *f;

    c->spf_is_aligned = aligned;
    if (aligned) {
        add(c, CHECK_LEVEL_OK, CHECK_ORDER_SPF, subject,
            check_printf(c, "aligned with From, %s", strict ? "strict" : "relaxed"));
    } else {
        f = add(c, CHECK_LEVEL_WARN, CHECK_ORDER_SPF, subject,
                check_printf(c, "not aligned with From (%s): SPF does not count for DMARC",
                             strict ? "strict" : "relaxed"));
        f->advice = check_printf(c, "use a return path %s%.*s", strict ? "at " : "at or below ",
                                 SV_ARG(strict ? c->domain : c->from_org));
    }
    return aligned && c->spf.all && c->spf.good == c->spf.all;
}

static bool judge_keys(struct check *c)
{
    bool strict = is_strict(c, "adkim"), good = false, any = false;

    for (size_t i = 0; i < c->req.key_count; i++) {
        bool aligned =
            org_domain_aligned(&c->arena, c->domain, sv_of(c->req.keys[i].domain), strict);
        any |= aligned;
        good |= aligned && c->key_is_good[i];
    }
    if (any)
        add(c, CHECK_LEVEL_OK, CHECK_ORDER_DKIM, "d= of DKIM",
            check_printf(c, "aligned with From, %s", strict ? "strict" : "relaxed"));
    else if (c->req.key_count)
        add(c, CHECK_LEVEL_WARN, CHECK_ORDER_DKIM, "d= of DKIM",
            check_printf(c,
                         "no key's domain is aligned with From (%s): DKIM does not count for "
                         "DMARC",
                         strict ? "strict" : "relaxed"))
            ->advice = check_printf(c, "sign with a key of %.*s, too", SV_ARG(c->domain));
    return good;
}

void check_policy_conclude(struct check *c)
{
    bool spf = judge_spf(c), dkim = judge_keys(c);
    const char *subject = check_printf(c, "mail of %.*s", SV_ARG(c->domain));
    struct check_finding *f;

    if (spf && dkim) {
        add(c, CHECK_LEVEL_OK, CHECK_ORDER_VERDICT, subject, "passes by SPF and by DKIM");
    } else if (dkim) {
        f = add(c, CHECK_LEVEL_NOTE, CHECK_ORDER_VERDICT, subject,
                !c->spf.all ? "passes by DKIM; SPF was not checked"
                            : "passes by DKIM, not by SPF from every address");
    } else if (spf) {
        f = add(c, CHECK_LEVEL_WARN, CHECK_ORDER_VERDICT, subject,
                "passes by SPF alone: what is forwarded fails");
        f->advice = "sign with DKIM for the domain of From";
    } else if (c->spf_is_aligned && (!c->spf.all || c->spf_unknown)) {
        f = add(c, CHECK_LEVEL_WARN, CHECK_ORDER_VERDICT, subject,
                !c->spf.all ? "no key counts, and SPF was not checked"
                            : "no key counts, and the DNS did not answer for SPF");
        f->advice = "sign with DKIM for the domain of From";
    } else {
        f = add(c, CHECK_LEVEL_FAIL, CHECK_ORDER_VERDICT, subject,
                "fails: neither SPF nor DKIM counts");
        f->advice = "mend one of them as said above; both are better";
    }
}

/* --- BIMI --- */

struct bimi_task {
    struct question_waiter waiter;
    struct check *check;
    struct strview at;
    const char *selector, *name;
};

static void ask_bimi(struct check *c, struct strview at);

static struct check_finding *add_bimi(struct bimi_task *t, enum check_level level, const char *text)
{
    return check_add(t->check, CHECK_BIMI, level, 0, t->name, "%s", text);
}

static bool is_enforced(const struct check *c)
{
    struct strview pct = tags_value(c->dmarc, "pct");

    return (sv_eq_nocase(c->dmarc_policy, SV("quarantine")) ||
            sv_eq_nocase(c->dmarc_policy, SV("reject"))) &&
           (!pct.len || sv_eq(pct, SV("100")));
}

static void read_bimi(struct bimi_task *t, struct strview record)
{
    struct check *c = t->check;
    struct strview l = tags_value(record, "l"), a = tags_value(record, "a");
    struct check_finding *f;

    if (!l.len && !a.len) {
        add_bimi(t, CHECK_LEVEL_NOTE, "the domain declines to show a logo (l= is empty)");
    } else if (!sv_starts_nocase(l, SV("https://")) ||
               (a.len && !sv_starts_nocase(a, SV("https://")))) {
        f = add_bimi(t, CHECK_LEVEL_FAIL, "l= and a= have to be https:// addresses");
        f->advice = "mend the record: it is passed over";
    } else if (!c->dmarc_unknown && !is_enforced(c)) {
        f = add_bimi(t, CHECK_LEVEL_WARN, "published, but the DMARC policy is not enforced");
        f->advice = "logos are shown with p=quarantine or p=reject for all mail only";
    } else if (!a.len) {
        f = add_bimi(t, CHECK_LEVEL_NOTE, "published without a certificate (a=)");
        f->advice = "some mailbox providers show logos only with one";
    } else {
        add_bimi(t, CHECK_LEVEL_OK, "published, with a certificate");
    }
}

static void no_bimi(struct bimi_task *t, const struct lookup_result *r)
{
    struct check *c = t->check;
    bool wanted = c->req.bimi_selector != NULL;
    struct check_finding *f =
        add_bimi(t, wanted ? CHECK_LEVEL_FAIL : CHECK_LEVEL_NOTE,
                 r->status == LOOKUP_OK ? "no BIMI record" : check_status_text(c, r));
    if (!wanted)
        return;
    f->advice = "publish what bimi-selector announces, or take bimi-selector away";
    f->record_name = check_printf(c, "%s._bimi.%.*s", t->selector, SV_ARG(c->domain));
    f->record_type = "TXT";
    f->record = check_printf(c, "v=BIMI1; l=https://%.*s/logo.svg; a=", SV_ARG(c->from_org));
}

static void on_bimi(struct question_waiter *w, const struct lookup_result *r)
{
    struct bimi_task *t = container_of(w, struct bimi_task, waiter);
    struct check *c = t->check;
    struct strview found = {NULL, 0};

    for (size_t i = 0; i < r->count && !found.ptr; i++)
        if (tags_is_version(r->records[i], "BIMI1"))
            found = r->records[i];
    if (found.ptr)
        read_bimi(t, found);
    else if (r->status == LOOKUP_TEMPORARY)
        add_bimi(t, CHECK_LEVEL_WARN, check_status_text(c, r))->advice = "ask again later";
    else if (sv_eq(t->at, c->domain) && !sv_eq(c->from_org, c->domain))
        ask_bimi(c, c->from_org);
    else
        no_bimi(t, r);
    check_end(c);
}

static void ask_bimi(struct check *c, struct strview at)
{
    struct bimi_task *t = arena_alloc(&c->arena, sizeof(*t));
    const char *selector = c->req.bimi_selector ? c->req.bimi_selector : "default";

    *t = (struct bimi_task){
        .waiter.answered = on_bimi,
        .check = c,
        .at = at,
        .selector = selector,
        .name = check_printf(c, "%s._bimi.%.*s", selector, SV_ARG(at)),
    };
    check_begin(c);
    check_ask(c, LOOKUP_TXT, sv_of(t->name), &t->waiter);
}

static void begin_bimi(struct check *c)
{
    ask_bimi(c, c->domain);
}
