/*
 * SPF of the return path and of the EHLO name, for each source address. In the end one proposal for
 * all addresses that the record leaves out.
 */
#include "check/check_int.h"

enum { PROPOSED_MAX = 20, LOOKUPS_MANY = 9 };

/* --- runs --- */

static void run_on(struct spf_run *r)
{
    struct spf_question q;

    if (spf_step(r->spf, &q) == SPF_ASK)
        check_ask(r->check, q.kind, sv_of(q.name), &r->waiter);
    else
        r->ended(r);
}

static void on_answer(struct question_waiter *w, const struct lookup_result *r)
{
    struct spf_run *run = container_of(w, struct spf_run, waiter);

    spf_answer(run->spf, r);
    run_on(run);
}

void spf_run_start(struct check *c, struct spf_run *r, const struct sockaddr *ip,
                   struct strview helo, struct strview mail_from)
{
    r->check = c;
    r->spf = spf_new(ip, helo, mail_from);
    r->waiter = (struct question_waiter){.answered = on_answer};
    list_push_back(&c->spf_runs, &r->link);
    run_on(r);
}

static void run_free(struct spf_run *r)
{
    list_remove(&r->link);
    spf_free(r->spf);
    r->spf = NULL;
}

/* --- the return path --- */

struct source_run {
    struct spf_run run;
    const struct check_source *source;
    unsigned order;
};

/* What lets this address pass. */
static void note_missing(struct check *c, const struct check_source *s)
{
    char ip[CHECK_IP_SIZE];

    if (c->spf_missing_count++ >= PROPOSED_MAX)
        return;
    check_ip_text(&s->ip, ip);
    buf_printf(&c->spf_missing, " %s:%s", strchr(ip, ':') ? "ip6" : "ip4", ip);
}

static const char *advice_of(struct check *c, enum spf_result result, const char *ip)
{
    switch (result) {
    case SPF_NONE:
        return check_printf(c, "publish an SPF record for %.*s", SV_ARG(c->mail_from));
    case SPF_NEUTRAL:
    case SPF_FAIL:
    case SPF_SOFTFAIL:
        return check_printf(c, "let %s pass in the SPF record of %.*s", ip, SV_ARG(c->mail_from));
    case SPF_PERMERROR:
        return "mend the record: receivers take it as if there were none";
    case SPF_TEMPERROR:
        return "ask again later; if it stays, look at the name servers of that name";
    default:
        return NULL;
    }
}

static enum check_level level_of(enum spf_result result)
{
    return result == SPF_PASS        ? CHECK_LEVEL_OK
           : result == SPF_TEMPERROR ? CHECK_LEVEL_WARN
                                     : CHECK_LEVEL_FAIL;
}

static void keep_record(struct check *c, const struct spf *s)
{
    size_t count;
    const struct spf_visit *v = spf_trail(s, &count);

    if (!c->spf_record.ptr && count)
        c->spf_record = arena_sv(&c->arena, v[0].record);
}

static void return_path_ended(struct spf_run *r)
{
    struct source_run *t = container_of(r, struct source_run, run);
    struct check *c = r->check;
    enum spf_result result = spf_result(r->spf);
    char ip[CHECK_IP_SIZE];
    struct check_finding *f =
        check_add(c, CHECK_SPF, level_of(result), t->order, check_source_text(c, t->source),
                  "%s: %s", spf_result_text(result), spf_reason(r->spf));

    f->is_passing = result == SPF_TEMPERROR || result == SPF_NONE;
    c->spf_unknown |= result == SPF_TEMPERROR;
    c->spf.all++;
    c->spf.good += result == SPF_PASS;
    keep_record(c, r->spf);
    f->advice = advice_of(c, result, check_ip_text(&t->source->ip, ip));
    if (result == SPF_NONE || result == SPF_NEUTRAL || result == SPF_FAIL ||
        result == SPF_SOFTFAIL) {
        note_missing(c, t->source);
        if (!c->spf_refused || f->order < c->spf_refused->order)
            c->spf_refused = f;
    }
    if (result == SPF_PASS && spf_lookups(r->spf) >= LOOKUPS_MANY) {
        f->level = CHECK_LEVEL_WARN;
        f->text = check_printf(c, "%s, with %u of 10 look-ups", f->text, spf_lookups(r->spf));
        f->advice = "name addresses instead of includes, before one more term breaks the record";
    }
    run_free(r);
    check_end(c);
}

/* --- the EHLO name, which is checked when the return path is null --- */

static void propose_helo(struct check *c, struct check_finding *f, const char *helo)
{
    f->record_name = arena_strdup(&c->arena, helo);
    f->record_type = "TXT";
    f->record = "v=spf1 a -all";
}

static void helo_ended(struct spf_run *r)
{
    struct source_run *t = container_of(r, struct source_run, run);
    struct check *c = r->check;
    enum spf_result result = spf_result(r->spf);
    const char *helo = t->source->helo;
    enum check_level level = result == SPF_NONE   ? CHECK_LEVEL_NOTE
                             : result == SPF_PASS ? CHECK_LEVEL_OK
                             : result == SPF_FAIL ? CHECK_LEVEL_FAIL
                                                  : CHECK_LEVEL_WARN;
    struct check_finding *f =
        check_add(c, CHECK_HELO, level, t->order, check_source_text(c, t->source),
                  "%s greets: %s: %s", helo, spf_result_text(result), spf_reason(r->spf));

    if (result == SPF_NONE && strchr(helo, '.')) {
        f->advice = "an SPF record of the name itself helps mail without return path (reports)";
        propose_helo(c, f, helo);
    } else if (result != SPF_PASS && result != SPF_NONE) {
        f->advice = check_printf(c,
                                 "mend the SPF record of %s, or give the virtual MTA another "
                                 "host-name",
                                 helo);
    }
    run_free(r);
    check_end(c);
}

/* --- begin and end --- */

static void begin_one(struct check *c, const struct check_source *s, unsigned order, bool helo)
{
    struct source_run *t = arena_alloc(&c->arena, sizeof(*t));
    struct buf sender = {0};

    *t = (struct source_run){
        .source = s,
        .order = order,
        .run.ended = helo ? helo_ended : return_path_ended,
    };
    if (!helo)
        buf_printf(&sender, "postmaster@%.*s", SV_ARG(c->mail_from));
    check_begin(c);
    spf_run_start(c, &t->run, (const struct sockaddr *)&s->ip, sv_of(s->helo), buf_view(&sender));
    buf_free(&sender);
}

void check_spf_begin(struct check *c)
{
    for (size_t i = 0; i < c->req.source_count; i++) {
        const struct check_source *s = &c->req.sources[i];
        unsigned order = (unsigned)i;
        if (!s->ip.ss_family) {
            struct check_finding *f = check_add(
                c, CHECK_SPF, CHECK_LEVEL_NOTE, order, check_printf(c, "%s", s->vmta),
                "leaves from the address that the system chooses, which cannot be checked");
            f->advice = "give the virtual MTA its address: smtp-source-host = ADDRESS NAME";
        } else if (!c->req.with_private && !check_is_public(&s->ip)) {
            check_add(c, CHECK_SPF, CHECK_LEVEL_NOTE, order, check_source_text(c, s),
                      "a private address, receivers see another one; not checked (--private does)");
        } else {
            begin_one(c, s, order, false);
            if (!c->req.topics)
                begin_one(c, s, order, true);
        }
    }
}

/* The record as it is with the missing terms in front of what ends it. */
static void insert_terms(struct buf *out, struct strview record, struct strview terms)
{
    size_t at = record.len;

    for (size_t i = 0; i < record.len; i++) {
        struct strview rest = sv(record.ptr + i + 1, record.len - i - 1);
        if (record.ptr[i] != ' ')
            continue;
        if (rest.len && memchr("+-~?", rest.ptr[0], 4))
            rest = sv(rest.ptr + 1, rest.len - 1);
        if (sv_starts_nocase(rest, SV("redirect=")) ||
            (sv_starts_nocase(rest, SV("all")) && (rest.len == 3 || rest.ptr[3] == ' '))) {
            at = i;
            break;
        }
    }
    buf_append_sv(out, sv(record.ptr, at));
    buf_append_sv(out, terms);
    buf_append_sv(out, sv(record.ptr + at, record.len - at));
}

void check_spf_conclude(struct check *c)
{
    struct check_finding *f = c->spf_refused;
    struct buf record = {0};

    if (!f || c->spf_missing_count > PROPOSED_MAX)
        return; /* so many belong in a record of networks, which only the operator knows */
    if (c->spf_record.len)
        insert_terms(&record, c->spf_record, buf_view(&c->spf_missing));
    else
        buf_printf(&record, "v=spf1%.*s ~all", SV_ARG(buf_view(&c->spf_missing)));
    f->record_name = arena_strndup(&c->arena, c->mail_from.ptr, c->mail_from.len);
    f->record_type = "TXT";
    f->record = arena_strndup(&c->arena, buf_data(&record), buf_len(&record));
    buf_free(&record);
}
