/*
 * Reports that came in by mail; see parse.h. Called by processor.c. In this order: forms that a
 * program wrote (delivery-status, feedback-report, XARF, JMRP), then texts that say they are a
 * bounce; automatic answers are told apart before texts are weighed, because many of them quote one.
 */
#include "inbound/parse.h"

#include "inbound/address_scan.h"
#include "inbound/bounce_text.h"
#include "inbound/dsn.h"
#include "inbound/feedback.h"
#include "inbound/mime_text.h"
#include "inbound/phrases.h"
#include "inbound/xarf.h"

enum { ORIGINAL_MAX = 32 * 1024, CLUE_MIN = 12 };

const char *inbound_kind_name(enum inbound_kind k)
{
    static const char *const names[] = {
#define KIND_NAME(id, name, text) name,
        INBOUND_KINDS(KIND_NAME)
#undef KIND_NAME
    };
    return names[k];
}

const char *inbound_kind_text(enum inbound_kind k)
{
    static const char *const texts[] = {
#define KIND_TEXT(id, name, text) text,
        INBOUND_KINDS(KIND_TEXT)
#undef KIND_TEXT
    };
    return texts[k];
}

const char *inbound_action_name(enum inbound_action a)
{
    static const char *const names[] = {"failed", "delayed", "delivered", "relayed", "expanded"};
    return names[a];
}

struct reading {
    const struct inbound_wanted *wanted;
    struct arena *arena;
    struct budget budget;
    struct mime *mime;
    struct strview header;
    struct inbound_report *ret;
};

/* The text for people: the first text part that is not of an attached message. */
static struct strview text_of(struct reading *r)
{
    const struct mime *m = r->mime;
    int html = -1;

    for (size_t i = 0; i < m->count; i++) {
        const struct mime_part *p = &m->parts[i];
        bool attached = false;
        for (int up = p->parent; up >= 0; up = m->parts[up].parent)
            attached |= sv_starts_nocase(m->parts[up].type, SV("message/"));
        if (attached)
            continue;
        if (sv_eq(p->type, SV("text/plain")) && sv_trim(p->body).len)
            return mime_text(p, r->arena, &r->budget);
        if (sv_eq(p->type, SV("text/html")) && html < 0)
            html = (int)i;
    }
    return html >= 0 ? mime_text(&m->parts[html], r->arena, &r->budget) : sv("", 0);
}

/* The message that the report is about: an attached one behind the report's own parts. */
static void find_original(struct reading *r)
{
    const struct mime *m = r->mime;

    if (r->ret->original_header.len)
        return;
    for (size_t i = 1; i < m->count; i++) {
        const struct mime_part *p = &m->parts[i];
        const struct mime_part *in = &m->parts[p->parent];
        if (sv_eq(in->type, SV("message/rfc822")) || sv_eq(in->type, SV("message/global"))) {
            r->ret->original_header = p->header;
            break;
        }
        if (sv_eq(p->type, SV("text/rfc822-headers")) ||
            sv_eq(p->type, SV("message/rfc822-headers")) ||
            sv_eq(p->type, SV("message/global-headers"))) {
            struct strview text = mime_decode(p, r->arena, &r->budget);
            while (text.len && (text.ptr[0] == '\r' || text.ptr[0] == '\n'))
                text = sv(text.ptr + 1, text.len - 1);
            r->ret->original_header = text;
            break;
        }
    }
}

static void add_clue(struct inbound_report *r, struct strview address)
{
    if (r->clue_count == INBOUND_CLUES_MAX)
        return;
    for (size_t i = 0; i < r->clue_count; i++)
        if (sv_eq_nocase(r->clues[i], address))
            return;
    r->clues[r->clue_count++] = address;
}

/* Addresses of the fields that ours stand in come first, then all others. */
static void find_clues(struct reading *r)
{
    static const char *const names[] = {
        "Return-Path", "List-Unsubscribe", "X-HmXmrOriginalRecipient", "Errors-To", "Sender", "To"};
    struct inbound_report *ret = r->ret;
    struct strview one;

    ret->original_header.len = MIN_OF(ret->original_header.len, (size_t)ORIGINAL_MAX);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct strview v = mime_get(ret->original_header, names[i], r->arena);
        for (size_t at = 0; !budget_over(&r->budget) && address_next(v, &at, &one);)
            add_clue(ret, one);
    }
    for (size_t at = 0; ret->clue_count < INBOUND_CLUES_MAX && !budget_over(&r->budget) &&
                        address_next(ret->original_header, &at, &one);)
        if (one.len >= CLUE_MIN)
            add_clue(ret, one);
}

/* --- kinds --- */

static bool is_report_type(const struct reading *r, const char *type)
{
    const struct mime_part *top = &r->mime->parts[0];
    struct strview v = mime_parameter(top->content_type, "report-type", r->arena);
    return sv_eq(top->type, SV("multipart/report")) && sv_eq_nocase(v, sv_of(type));
}

static bool read_dsn(struct reading *r)
{
    static const char *const types[] = {"message/delivery-status", "message/global-delivery-status",
                                        "text/delivery-status"};
    struct inbound_report *ret = r->ret;
    bool any = false;

    for (size_t t = 0; t < ARRAY_LEN(types) && !any; t++)
        for (int i = -1; (i = mime_find(r->mime, types[t], (size_t)(i + 1))) >= 0;)
            any |= dsn_read(mime_text(&r->mime->parts[i], r->arena, &r->budget), r->arena,
                            &r->budget, ret);
    if (!any)
        return false;
    ret->format = "dsn";
    ret->kind = dsn_kind(ret);
    struct strview text = {NULL, 0};
    for (size_t i = 0; i < ret->rcpt_count; i++) {
        struct inbound_rcpt *rcpt = &ret->rcpts[i];
        if (rcpt->diagnostic.len || rcpt->action_ > REPORTED_DELAYED)
            continue;
        if (!text.ptr)
            text = text_of(r);
        rcpt->diagnostic = bounce_text_diagnostic(text, rcpt->final, r->arena);
    }
    return true;
}

static bool is_auto_reply(const struct reading *r)
{
    static const char *const marks[] = {
        "X-Autoreply",      "X-Autorespond", "X-Autoresponder",   "X-AutoReply-From",
        "X-Mail-Autoreply", "X-Vacation",    "X-Auto-Reply-From", "X-OOO"};
    struct arena *a = r->arena;
    struct strview v, subject = phrase_lower(r->ret->subject, a);

    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        if (mime_field(r->header, marks[i], 0, a, &v))
            return true;
    if (phrase_begins(phrases_auto_subject, subject) ||
        phrase_find(phrases_auto_anywhere, subject, NULL))
        return true;
    bool answer = sv_starts_nocase(mime_get(r->header, "Auto-Submitted", a), SV("auto-replied"));
    v = mime_get(r->header, "Precedence", a);
    bool precedence = sv_eq_nocase(v, SV("auto_reply")) || sv_eq_nocase(v, SV("auto-reply"));
    bool bulk = sv_eq_nocase(v, SV("bulk")) || sv_eq_nocase(v, SV("junk"));
    bool quiet = mime_get(r->header, "X-Auto-Response-Suppress", a).len > 0;
    return answer || precedence || (quiet && (bulk || r->wanted->null_sender));
}

static bool is_challenge(const struct reading *r, struct strview text)
{
    struct strview head = phrase_lower(sv(text.ptr, MIN_OF(text.len, (size_t)4000)), r->arena);

    return phrase_find(phrases_challenge, phrase_lower(r->ret->subject, r->arena), NULL) ||
           phrase_find(phrases_challenge, phrase_lower(r->ret->from, r->arena), NULL) ||
           phrase_find(phrases_challenge, head, NULL);
}

static void read_text(struct reading *r)
{
    struct inbound_report *ret = r->ret;
    struct strview failed, text = text_of(r);
    struct bounce_text t = {
        .text = text,
        .header = r->header,
        .from = ret->from,
        .subject = ret->subject,
        .own = r->wanted->own,
        .null_sender = r->wanted->null_sender,
        .is_report = is_report_type(r, "delivery-status"),
    };
    bool daemon = bounce_text_is_daemon(ret->from, r->arena) ||
                  mime_field(r->header, "X-Failed-Recipients", 0, r->arena, &failed);

    if (!daemon && is_auto_reply(r))
        ret->kind = INBOUND_AUTO_REPLY;
    else if (!daemon && is_challenge(r, text))
        ret->kind = INBOUND_CHALLENGE;
    else if (bounce_text_read(&t, r->arena, &r->budget, ret))
        return;
    else if (is_auto_reply(r))
        ret->kind = INBOUND_AUTO_REPLY;
}

static void read_kind(struct reading *r)
{
    struct inbound_report *ret = r->ret;

    if (feedback_arf(r->mime, r->arena, &r->budget, ret))
        return;
    if (is_report_type(r, "disposition-notification") ||
        mime_find(r->mime, "message/disposition-notification", 0) >= 0) {
        ret->kind = INBOUND_MDN;
        return;
    }
    if (read_dsn(r) || xarf_read(r->mime, r->arena, &r->budget, ret) ||
        feedback_jmrp(r->mime, r->arena, ret))
        return;
    if (is_report_type(r, "tlsrpt") || is_report_type(r, "dmarc"))
        return;
    read_text(r);
    if (ret->kind == INBOUND_OTHER && r->wanted->for_feedback)
        feedback_forwarded(r->mime, r->arena, ret);
}

static const char *trouble_of(const struct reading *r)
{
    if (r->budget.over)
        return "reading it took too long";
    if (r->mime->cut)
        return "it has too many parts, or parts too deep in parts";
    if (r->mime->unreadable && r->ret->kind == INBOUND_OTHER)
        return "it says that it has parts, and none could be read";
    bool says = is_report_type(r, "delivery-status") || is_report_type(r, "feedback-report");
    if (says && r->ret->kind == INBOUND_OTHER)
        return "it says that it is a report, and the report could not be read";
    return NULL;
}

void inbound_parse(struct strview message, const struct inbound_wanted *w, struct arena *a,
                   struct inbound_report *ret)
{
    struct reading r = {
        .wanted = w, .arena = a, .ret = ret, .budget = {.until_ms = clock_mono_ms() + w->time_ms}};

    *ret = (struct inbound_report){.kind = INBOUND_OTHER, .format = ""};
    r.mime = arena_alloc(a, sizeof(*r.mime));
    mime_parse(message, a, &r.budget, r.mime);
    r.header = r.mime->parts[0].header;
    ret->from = mime_words(mime_get(r.header, "From", a), a);
    ret->subject = mime_words(mime_get(r.header, "Subject", a), a);
    read_kind(&r);
    find_original(&r);
    if (ret->kind == INBOUND_COMPLAINT && !ret->rcpt_count)
        feedback_guess_recipient(ret, a);
    find_clues(&r);
    ret->trouble = trouble_of(&r);
}
