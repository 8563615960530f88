/*
 * Judging reports; see judge.h. Called by processor.c on the loop, once per recipient of a message
 * that came in.
 *
 * Trust: a report that came to an address with a valid token is about the recipient of that token,
 * whatever else it says. So is one that brings our message along with a token in it: only who has got
 * the message can do that. Everything else is written down, and suppresses nobody unless
 * trust-plain-reports says so.
 */
#include "inbound/judge.h"

#include "base/clock.h"
#include "inbound/address_scan.h"
#include "inbound/category.h"
#include "report/headers.h"

#include <stdio.h>

struct judging {
    const struct judge_input *in;
    struct arena *arena;
    struct judgement *ret;
    struct verp_origin origin;
    bool has_origin;     /* origin says something */
    bool own_token;      /* of the address that it came to */
    struct strview rcpt; /* of the token, when known */
    struct strview headers;
};

/* --- whose message it was --- */

static bool take_origin(struct judging *j, struct strview address)
{
    int status = verp_read(j->in->verp, address, j->arena, &j->origin);

    if (status != 0 && status != ERR_TIMEOUT)
        return false;
    j->has_origin = true;
    j->ret->trusted = status == 0;
    return true;
}

static int hex_digit(char c)
{
    c = ascii_lower(c);
    return ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* As in a link (RFC 6068): %3D is an equals sign. */
static struct strview unescaped(struct strview s, struct arena *a)
{
    char *out = arena_alloc(a, s.len + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        int high = s.ptr[i] == '%' && i + 2 < s.len ? hex_digit(s.ptr[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(s.ptr[i + 2]) : -1;
        out[n++] = low >= 0 ? (char)(high << 4 | low) : s.ptr[i];
        i += low >= 0 ? 2 : 0;
    }
    return sv(out, n);
}

static void find_origin(struct judging *j)
{
    const struct inbound_report *r = j->in->report;

    j->own_token = take_origin(j, j->in->address);
    for (size_t i = 0; i < r->clue_count && !j->has_origin; i++)
        if (sv_find(r->clues[i], INBOUND_DELIMITER) >= 0)
            take_origin(j, sv_find(r->clues[i], '%') < 0 ? r->clues[i]
                                                         : unescaped(r->clues[i], j->arena));
}

static bool is_rcpt(const struct judging *j, struct strview candidate)
{
    return candidate.len && verp_is_rcpt(j->in->verp, &j->origin, candidate);
}

/* The token's recipient: in it, or a candidate of the report that it agrees with. */
static void find_rcpt(struct judging *j)
{
    const struct inbound_report *r = j->in->report;
    struct strview from = address_first(r->from);

    if (!j->has_origin)
        return;
    j->rcpt = j->origin.rcpt;
    for (size_t i = 0; i < r->rcpt_count && !j->rcpt.len; i++)
        j->rcpt = is_rcpt(j, r->rcpts[i].original) ? r->rcpts[i].original
                  : is_rcpt(j, r->rcpts[i].final)  ? r->rcpts[i].final
                                                   : j->rcpt;
    for (size_t i = 0; i < r->clue_count && !j->rcpt.len; i++)
        if (is_rcpt(j, r->clues[i]))
            j->rcpt = r->clues[i];
    if (!j->rcpt.len && is_rcpt(j, from)) /* who unsubscribes writes himself */
        j->rcpt = from;
}

/* --- records --- */

static struct judged_record *add_record(struct judging *j, enum acct_record type,
                                        struct strview rcpt)
{
    struct judgement *ret = j->ret;
    const struct inbound_report *r = j->in->report;
    struct judged_record *x = &ret->records[ret->record_count];
    char id[MESSAGE_ID_SIZE], text[MESSAGE_ID_SIZE + 32];

    message_id_format(j->in->id, id);
    snprintf(text, sizeof(text), "%s.%u.%zu", id, j->in->rcpt, ret->record_count);
    *x = (struct judged_record){
        .event = {.record = type,
                  .rcpt = rcpt,
                  .envid = r->envid,
                  .headers = j->headers,
                  .id = arena_sv(j->arena, sv_of(text))},
        .remote = {.reporting_mta = r->reporting_mta, .format = sv_of(r->format)},
    };
    x->event.orig = j->in->report->mail_from;
    if (j->has_origin && j->origin.known) {
        x->event.orig = j->origin.sender;
        x->event.job = j->origin.job;
        x->event.vmta = j->origin.vmta;
    } else if (!x->event.orig.len && type != ACCT_F) {
        x->event.orig = j->in->address; /* reports come to who sent */
    }
    ret->record_count++;
    return x;
}

/* --- suppression --- */

/* Nobody else reaches an address that is gone; a complaint is about what its pipe sends. */
static enum suppress_scope scope_of(const struct judging *j, const struct suppress_entry *e)
{
    if (j->in->settings->has_scope)
        return j->in->settings->scope;
    return e->reason == SUPPRESS_BY_BOUNCE ? SUPPRESS_GLOBAL : SUPPRESS_PIPE;
}

static void set_scope(const struct judging *j, struct strview sender, struct suppress_entry *e)
{
    bool known = j->has_origin && j->origin.known;
    struct strview pipe = known && j->origin.pipe.len ? j->origin.pipe : j->in->pipe;
    struct strview domain = address_domain(sender), job = known ? j->origin.job : sv("", 0);

    e->scope = scope_of(j, e);
    e->scope_name = e->scope == SUPPRESS_GLOBAL   ? sv("", 0)
                    : e->scope == SUPPRESS_DOMAIN ? domain
                    : e->scope == SUPPRESS_JOB    ? job
                                                  : pipe;
    if (e->scope != SUPPRESS_GLOBAL && !e->scope_name.len) { /* not known: the pipe always is */
        e->scope = SUPPRESS_PIPE;
        e->scope_name = pipe;
    }
}

static struct strview note_of(struct judging *j, const struct judged_record *x, struct strview said)
{
    struct buf out = {0};

    buf_printf(&out, "%.*s %.*s: ", SV_ARG(x->remote.format), SV_ARG(x->event.id));
    buf_append(&out, said.ptr, MIN_OF(said.len, (size_t)300));
    for (size_t i = 0; i < buf_len(&out); i++)
        if ((unsigned char)buf_data(&out)[i] < ' ')
            buf_data(&out)[i] = ' ';
    struct strview ret = arena_sv(j->arena, buf_view(&out));
    buf_free(&out);
    return ret;
}

static void suppress(struct judging *j, const struct judged_record *x, enum suppress_reason reason,
                     struct strview said)
{
    const struct inbound_settings *s = j->in->settings;
    bool about_token = j->ret->trusted && sv_eq_nocase(x->event.rcpt, j->rcpt);
    struct suppress_entry e = {.reason = reason, .address = x->event.rcpt};

    if (!s->suppress || !x->event.rcpt.len || !(about_token || s->trust_plain))
        return;
    set_scope(j, x->event.orig, &e);
    e.expires_ms = s->expire_after_ms ? clock_wall_ms() + s->expire_after_ms : 0;
    e.note = note_of(j, x, said);
    j->ret->entries[j->ret->entry_count++] = e;
}

/* --- delivery reports --- */

static void judge_rcpt(struct judging *j, const struct inbound_rcpt *r, struct strview rcpt)
{
    bool failed = r->action_ == REPORTED_FAILED;
    struct judged_record *x = add_record(j, failed ? ACCT_RB : ACCT_RS, rcpt);
    struct classification k = {.category = ""};

    x->remote.action = sv_of(inbound_action_name(r->action_));
    x->remote.status = r->status;
    x->remote.diagnostic = r->diagnostic;
    x->remote.remote_mta = r->remote_mta;
    if (!sv_eq_nocase(r->final, rcpt)) /* it went on to another address */
        x->event.orcpt =
            sv_eq_nocase(r->original, rcpt) || !r->original.len ? r->final : r->original;
    if (r->action_ <= REPORTED_DELAYED) {
        inbound_category(j->in->classify, r, &j->ret->text, &k);
        x->remote.category = sv_of(k.category);
        x->event.bounce_file = k.file;
        x->event.bounce_line = k.line;
    }
    if (failed && inbound_settings_feeds(j->in->settings, x->remote.category))
        suppress(j, x, SUPPRESS_BY_BOUNCE, r->diagnostic);
}

/* The one that the token is about: by name, else the first that failed, else the first. */
static const struct inbound_rcpt *rcpt_of_token(const struct judging *j)
{
    const struct inbound_report *r = j->in->report;

    for (size_t i = 0; i < r->rcpt_count; i++)
        if (is_rcpt(j, r->rcpts[i].original) || is_rcpt(j, r->rcpts[i].final))
            return &r->rcpts[i];
    for (size_t i = 0; i < r->rcpt_count; i++)
        if (r->rcpts[i].action_ == REPORTED_FAILED)
            return &r->rcpts[i];
    return &r->rcpts[0];
}

static struct strview reported(const struct inbound_rcpt *r)
{
    return r->original.len ? r->original : r->final;
}

static void judge_delivery_report(struct judging *j)
{
    const struct inbound_report *r = j->in->report;

    if (j->has_origin) { /* a token is about one recipient */
        const struct inbound_rcpt *one = rcpt_of_token(j);
        judge_rcpt(j, one, j->rcpt.len ? j->rcpt : reported(one));
        return;
    }
    for (size_t i = 0; i < r->rcpt_count; i++)
        judge_rcpt(j, &r->rcpts[i], reported(&r->rcpts[i]));
}

/* --- complaints --- */

static bool is_displeased(struct strview type)
{
    static const char *const no[] = {"not-spam", "auth-failure", "dmarc", "virus", "malware"};

    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        if (sv_eq_nocase(type, sv_of(no[i])))
            return false;
    return true;
}

static void judge_complainer(struct judging *j, struct strview rcpt)
{
    const struct inbound_report *r = j->in->report;
    struct judged_record *x = add_record(j, ACCT_F, rcpt);
    bool leaves = sv_starts_nocase(r->feedback_type, SV("opt-out"));

    x->remote.feedback_type = r->feedback_type;
    x->remote.user_agent = r->user_agent;
    x->remote.source_ip = r->source_ip;
    x->remote.reported_domain = r->reported_domain;
    if (is_displeased(r->feedback_type))
        suppress(j, x, leaves ? SUPPRESS_BY_UNSUBSCRIBE : SUPPRESS_BY_COMPLAINT, r->feedback_type);
}

static void judge_complaint(struct judging *j)
{
    const struct inbound_report *r = j->in->report;

    if (j->rcpt.len || !r->rcpt_count) {
        judge_complainer(j, j->rcpt);
        return;
    }
    for (size_t i = 0; i < r->rcpt_count; i++)
        judge_complainer(j, r->rcpts[i].final);
}

/* Mail that a person sent to an address that unsubscribes. */
static void judge_unsubscribe(struct judging *j)
{
    struct judged_record *x = add_record(j, ACCT_F, j->rcpt);
    struct suppress_entry e = {.reason = SUPPRESS_BY_UNSUBSCRIBE};

    x->remote.format = SV("mailto");
    x->remote.feedback_type = SV("opt-out");
    j->ret->what = "unsubscribe";
    if (!j->ret->trusted || !j->rcpt.len || !verp_unsubscribes(&j->origin, j->rcpt, &e))
        return;
    e.note = note_of(j, x, SV("unsubscribed by mail"));
    j->ret->entries[j->ret->entry_count++] = e;
}

void judge(const struct judge_input *in, struct arena *a, struct judgement *ret)
{
    const struct inbound_report *r = in->report;
    struct judging j = {.in = in, .arena = a, .ret = ret};
    struct buf headers = {0};

    *ret = (struct judgement){.what = inbound_kind_name(r->kind)};
    find_origin(&j);
    find_rcpt(&j);
    if (in->header_names.len && r->original_header.len)
        headers_pick(in->header_names, r->original_header, &headers);
    j.headers = arena_sv(a, buf_view(&headers));
    buf_free(&headers);
    ret->matched = true;
    if (r->kind == INBOUND_BOUNCE || r->kind == INBOUND_STATUS)
        judge_delivery_report(&j);
    else if (r->kind == INBOUND_COMPLAINT)
        judge_complaint(&j);
    else if (r->kind == INBOUND_OTHER && j.own_token &&
             j.origin.token.use == MAIL_TOKEN_UNSUBSCRIBE)
        judge_unsubscribe(&j);
    else
        ret->matched = false;
}

void judgement_free(struct judgement *j)
{
    buf_free(&j->text);
}
