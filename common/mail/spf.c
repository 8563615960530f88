/*
 * check_host() of RFC 7208 section 4 as a state machine; see spf.h. Called by whoever can ask the
 * DNS. A stack of records stands for include; redirect replaces the record at the top. The happy
 * path: TXT, then term by term, each that needs the DNS asks once or, for mx and ptr, once per name.
 * Everything a record can make us do is counted and limited.
 */
#include "mail/spf_int.h"

#include <arpa/inet.h>
#include <stdio.h>

enum state {
    NEED_RECORD,
    WAIT_RECORD,
    NEXT_TERM,
    WAIT_ADDRESS, /* of an `a`, or of an MX host */
    WAIT_EXISTS,
    WAIT_MX,
    NEXT_MX_HOST,
    WAIT_PTR,
    NEXT_PTR_NAME,
    WAIT_PTR_ADDRESS,
    WAIT_EXPLANATION,
    DONE,
};

struct frame {
    struct strview domain;
    struct spf_record record;
    size_t next;              /* term */
    bool redirected;          /* by redirect=: it has to have a record */
    enum spf_result included; /* of the include term below that opened it */
};

struct names {
    struct strview items[SPF_MAX_NAMES];
    size_t count, next;
};

struct spf {
    struct arena arena;
    struct spf_macros macros;
    struct frame frames[SPF_MAX_TERMS_ASKING + 2];
    size_t depth;
    enum state state;
    struct spf_term *term; /* being evaluated */
    struct names mx, ptr;
    bool validated_known;
    struct strview validated[SPF_MAX_NAMES];
    size_t validated_count;
    struct spf_question question;
    bool has_question;
    unsigned asking, voids;
    bool term_was_void; /* of the term at hand a void look-up is counted */
    struct spf_visit trail[SPF_MAX_TERMS_ASKING + 2];
    size_t trail_count;
    struct strview match_term, match_domain;
    enum spf_result result;
    char reason[300];
    struct strview explanation;
};

static const char *const result_texts[] = {
#define SPF_TEXT(id, text) text,
    SPF_RESULTS(SPF_TEXT)
#undef SPF_TEXT
};

const char *spf_result_text(enum spf_result r)
{
    return result_texts[r];
}

static struct frame *top(struct spf *s)
{
    return &s->frames[s->depth - 1];
}

static void end(struct spf *s, enum spf_result result, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void end(struct spf *s, enum spf_result result, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(s->reason, sizeof(s->reason), fmt, ap);
    va_end(ap);
    s->result = result;
    s->state = DONE;
}

/* --- names --- */

/* A name that can be asked for: labels of 1 to 63 bytes, at least two of them, no zero byte. */
static bool is_askable(struct strview d)
{
    size_t label = 0, labels = 0;

    if (d.len && d.ptr[d.len - 1] == '.')
        d.len--;
    if (!d.len || d.len > 253 || memchr(d.ptr, '\0', d.len))
        return false;
    for (size_t i = 0; i < d.len; i++) {
        if (d.ptr[i] != '.') {
            label++;
            continue;
        }
        if (!label || label > 63)
            return false;
        label = 0;
        labels++;
    }
    return label && label <= 63 && labels;
}

/* Domain-spec of a term, or the current domain; too long ones lose labels on the left. */
static int target_name(struct spf *s, struct strview spec, struct strview *ret)
{
    struct buf out = {0};

    s->macros.domain = top(s)->domain;
    if (!spec.len) {
        *ret = top(s)->domain;
        return 0;
    }
    if (spf_macro_expand(&out, spec, &s->macros, false) < 0) {
        buf_free(&out);
        return ERR_SYNTAX;
    }
    struct strview v = buf_view(&out);
    ptrdiff_t dot;
    while (v.len > 253 && (dot = sv_find(v, '.')) >= 0)
        v = sv(v.ptr + dot + 1, v.len - (size_t)dot - 1);
    if (v.len && v.ptr[v.len - 1] == '.')
        v.len--;
    *ret = arena_sv(&s->arena, v);
    buf_free(&out);
    return 0;
}

static void ask(struct spf *s, enum lookup_kind kind, struct strview name, enum state wait)
{
    s->question.kind = kind;
    snprintf(s->question.name, sizeof(s->question.name), "%.*s", SV_ARG(name));
    s->has_question = true;
    s->state = wait;
}

static enum lookup_kind address_kind(const struct spf *s)
{
    return s->macros.is_v6 ? LOOKUP_AAAA : LOOKUP_A;
}

/* One more term that asks. False: one too many, and the end. */
static bool count_asking(struct spf *s)
{
    if (++s->asking <= SPF_MAX_TERMS_ASKING)
        return true;
    end(s, SPF_PERMERROR, "more than %d terms ask the DNS", SPF_MAX_TERMS_ASKING);
    return false;
}

/* An answer without records; section 4.6.4 counts the terms that have one. False: one too many, and
 * the end. */
static bool count_void(struct spf *s, const struct lookup_result *r)
{
    if ((r->status != LOOKUP_NO_DATA && r->status != LOOKUP_NO_DOMAIN &&
         !(r->status == LOOKUP_OK && !r->count)) ||
        s->term_was_void)
        return true;
    s->term_was_void = true;
    if (++s->voids <= SPF_MAX_VOID)
        return true;
    end(s, SPF_PERMERROR, "more than %d questions to the DNS had no answer ('%s')", SPF_MAX_VOID,
        s->question.name);
    return false;
}

/* --- addresses --- */

static bool same_network(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned bytes = bits / 8, rest = bits % 8;
    if (memcmp(a, b, bytes) != 0)
        return false;
    return !rest || ((a[bytes] ^ b[bytes]) & (0xff00 >> rest)) == 0;
}

static bool any_matches(const struct spf *s, const struct lookup_result *r,
                        const struct spf_term *t)
{
    size_t size = s->macros.is_v6 ? 16 : 4;
    unsigned bits = !t ? (unsigned)size * 8 : s->macros.is_v6 ? t->prefix6 : t->prefix4;

    for (size_t i = 0; r->status == LOOKUP_OK && i < r->count; i++)
        if (r->records[i].len == size &&
            same_network((const uint8_t *)r->records[i].ptr, s->macros.address, bits))
            return true;
    return false;
}

/* --- results --- */

static void begin_explanation(struct spf *s)
{
    struct frame *f = &s->frames[0];
    struct strview name;

    s->depth = 1;
    if (f->record.exp.len && target_name(s, f->record.exp, &name) == 0 && is_askable(name))
        ask(s, LOOKUP_TXT, name, WAIT_EXPLANATION);
}

/* The record at the top has a result. */
static void record_ended(struct spf *s, enum spf_result result, const char *why)
{
    if (s->depth == 1) {
        end(s, result, "%s", why);
        if (result == SPF_FAIL)
            begin_explanation(s);
        return;
    }
    enum spf_result included = top(s)->included;
    struct strview domain = top(s)->domain;
    s->depth--;
    switch (result) { /* section 5.2 */
    case SPF_PASS: {
        char text[sizeof(s->reason)];
        snprintf(text, sizeof(text), "include:%.*s (%.*s)", SV_ARG(domain), 200, why);
        record_ended(s, included, text);
        return;
    }
    case SPF_TEMPERROR:
    case SPF_PERMERROR:
        end(s, result, "%s", why);
        return;
    case SPF_NONE:
        end(s, SPF_PERMERROR, "include:%.*s has no SPF record", SV_ARG(domain));
        return;
    default:
        s->state = NEXT_TERM;
    }
}

static void matched(struct spf *s)
{
    char text[sizeof(s->reason)];
    snprintf(text, sizeof(text), "%.*s of %.*s", (int)MIN_OF(s->term->text.len, (size_t)120),
             s->term->text.ptr, SV_ARG(top(s)->domain));
    s->match_term = s->term->text;
    s->match_domain = top(s)->domain;
    record_ended(s, s->term->result, text);
}

static void temporary(struct spf *s, const struct lookup_result *r)
{
    end(s, SPF_TEMPERROR, "%s of '%s': %.*s", lookup_kind_name(s->question.kind), s->question.name,
        SV_ARG(r->text.len ? r->text : SV("the DNS failed")));
}

/* --- the record --- */

static void remember_record(struct spf *s, struct strview record)
{
    const struct frame *f = top(s);

    if (s->trail_count == ARRAY_LEN(s->trail))
        return;
    s->trail[s->trail_count++] = (struct spf_visit){
        .depth = (unsigned)s->depth - 1,
        .is_redirect = f->redirected,
        .domain = f->domain,
        .record = record,
    };
}

static void take_record(struct spf *s, const struct lookup_result *r)
{
    struct frame *f = top(s);
    struct strview found = {NULL, 0};
    struct err e = {0};

    if (r->status == LOOKUP_TEMPORARY) {
        temporary(s, r);
        return;
    }
    for (size_t i = 0; r->status == LOOKUP_OK && i < r->count; i++) {
        if (!spf_is_record(r->records[i]))
            continue;
        if (found.ptr) {
            record_ended(s, SPF_PERMERROR, "more than one SPF record");
            return;
        }
        found = r->records[i];
    }
    if (!found.ptr && f->redirected) { /* section 6.1 */
        end(s, SPF_PERMERROR, "redirect=%.*s has no SPF record", SV_ARG(f->domain));
        return;
    }
    if (!found.ptr) {
        record_ended(s, SPF_NONE, "no SPF record");
        return;
    }
    found = arena_sv(&s->arena, found);
    remember_record(s, found);
    if (spf_record_parse(found, &s->arena, &f->record, &e) < 0) {
        end(s, SPF_PERMERROR, "%.*s: %s", SV_ARG(f->domain), e.text);
        return;
    }
    f->next = 0;
    s->state = NEXT_TERM;
}

static void no_term_left(struct spf *s)
{
    struct frame *f = top(s);
    struct strview name;

    if (!f->record.redirect.len) {
        s->match_term = s->match_domain = sv(NULL, 0);
        record_ended(s, SPF_NEUTRAL, "no mechanism matches");
        return;
    }
    if (!count_asking(s))
        return;
    if (target_name(s, f->record.redirect, &name) < 0 || !is_askable(name)) {
        end(s, SPF_PERMERROR, "redirect of %.*s is no domain", SV_ARG(f->domain));
        return;
    }
    f->domain = name;
    f->record = (struct spf_record){0};
    f->redirected = true;
    s->state = NEED_RECORD;
}

static void include(struct spf *s, struct strview name)
{
    if (s->depth == ARRAY_LEN(s->frames)) {
        end(s, SPF_PERMERROR, "includes are nested too deep");
        return;
    }
    if (!is_askable(name)) {
        end(s, SPF_PERMERROR, "'%.*s' is no domain", SV_ARG(s->term->text));
        return;
    }
    s->frames[s->depth++] = (struct frame){.domain = name, .included = s->term->result};
    s->state = NEED_RECORD;
}

static bool begin_ptr(struct spf *s)
{
    struct spf_macros *m = &s->macros;
    char name[128];
    size_t n = 0;

    if (s->validated_known)
        return false;
    if (m->is_v6) {
        for (int i = 31; i >= 0; i--)
            n += (size_t)snprintf(name + n, sizeof(name) - n, "%x.",
                                  m->address[i / 2] >> (i % 2 ? 0 : 4) & 15u);
        snprintf(name + n, sizeof(name) - n, "ip6.arpa");
    } else {
        snprintf(name, sizeof(name), "%u.%u.%u.%u.in-addr.arpa", m->address[3], m->address[2],
                 m->address[1], m->address[0]);
    }
    ask(s, LOOKUP_PTR, sv_of(name), WAIT_PTR);
    return true;
}

static bool is_under(struct strview name, struct strview domain)
{
    return sv_eq_nocase(name, domain) ||
           (name.len > domain.len && name.ptr[name.len - domain.len - 1] == '.' &&
            sv_ends_nocase(name, domain));
}

/* The name that %{p} stands for, section 7.3. */
static struct strview choose_validated(const struct spf *s, struct strview domain)
{
    for (size_t i = 0; i < s->validated_count; i++)
        if (sv_eq_nocase(s->validated[i], domain))
            return s->validated[i];
    for (size_t i = 0; i < s->validated_count; i++)
        if (is_under(s->validated[i], domain))
            return s->validated[i];
    return s->validated_count ? s->validated[0] : sv(NULL, 0);
}

static void evaluate_ptr(struct spf *s, struct strview name)
{
    for (size_t i = 0; i < s->validated_count; i++)
        if (is_under(s->validated[i], name)) {
            matched(s);
            return;
        }
    s->state = NEXT_TERM;
}

/* The term at hand, whose names are known. */
static void evaluate(struct spf *s)
{
    struct spf_term *t = s->term;
    struct strview name;

    s->macros.validated = choose_validated(s, top(s)->domain);
    if (target_name(s, t->domain, &name) < 0) {
        end(s, SPF_PERMERROR, "'%.*s' does not expand", SV_ARG(t->text));
        return;
    }
    switch (t->mechanism) {
    case SPF_MECH_INCLUDE:
        include(s, name);
        return;
    case SPF_MECH_PTR:
        evaluate_ptr(s, name);
        return;
    case SPF_MECH_A:
        ask(s, address_kind(s), name, WAIT_ADDRESS);
        break;
    case SPF_MECH_MX:
        ask(s, LOOKUP_MX, name, WAIT_MX);
        break;
    default:
        ask(s, LOOKUP_A, name, WAIT_EXISTS);
    }
    if (!is_askable(name)) { /* cannot exist: no match */
        s->has_question = false;
        s->state = NEXT_TERM;
    }
}

static void next_term(struct spf *s)
{
    struct frame *f = top(s);

    if (f->next == f->record.count) {
        no_term_left(s);
        return;
    }
    struct spf_term *t = s->term = &f->record.terms[f->next++];
    s->term_was_void = false;
    switch (t->mechanism) {
    case SPF_MECH_ALL:
        matched(s);
        return;
    case SPF_MECH_IP4:
    case SPF_MECH_IP6:
        if (s->macros.is_v6 == (t->mechanism == SPF_MECH_IP6) &&
            same_network(t->address, s->macros.address, s->macros.is_v6 ? t->prefix6 : t->prefix4))
            matched(s);
        return;
    default:
        break;
    }
    if (!count_asking(s))
        return;
    bool names = t->mechanism == SPF_MECH_PTR || spf_macro_uses_p(t->domain);
    s->state = NEXT_TERM;
    if (!names || !begin_ptr(s))
        evaluate(s);
}

/* --- mx and ptr: several names --- */

static void take_mx(struct spf *s, const struct lookup_result *r)
{
    s->mx = (struct names){0};
    for (size_t i = 0; r->status == LOOKUP_OK && i < r->count; i++) {
        if (r->records[i].len <= 2)
            continue;
        if (s->mx.count == SPF_MAX_NAMES) {
            end(s, SPF_PERMERROR, "more than %d MX hosts of '%s'", SPF_MAX_NAMES, s->question.name);
            return;
        }
        s->mx.items[s->mx.count++] =
            arena_sv(&s->arena, sv(r->records[i].ptr + 2, r->records[i].len - 2));
    }
    s->state = NEXT_MX_HOST;
}

static void take_ptr(struct spf *s, const struct lookup_result *r)
{
    s->validated_known = true; /* a failure of the DNS means no names (section 5.5) */
    s->ptr = (struct names){0};
    for (size_t i = 0; r->status == LOOKUP_OK && i < r->count && s->ptr.count < SPF_MAX_NAMES;
         i++) {
        struct strview name = r->records[i];
        if (name.len && name.ptr[name.len - 1] == '.')
            name.len--;
        s->ptr.items[s->ptr.count++] = arena_sv(&s->arena, name);
    }
    s->state = NEXT_PTR_NAME;
}

static void next_mx_host(struct spf *s)
{
    while (s->mx.next < s->mx.count && !is_askable(s->mx.items[s->mx.next]))
        s->mx.next++; /* a null MX, for one */
    if (s->mx.next == s->mx.count)
        s->state = NEXT_TERM;
    else
        ask(s, address_kind(s), s->mx.items[s->mx.next++], WAIT_ADDRESS);
}

static void next_ptr_name(struct spf *s)
{
    while (s->ptr.next < s->ptr.count && !is_askable(s->ptr.items[s->ptr.next]))
        s->ptr.next++;
    if (s->ptr.next == s->ptr.count)
        evaluate(s);
    else
        ask(s, address_kind(s), s->ptr.items[s->ptr.next++], WAIT_PTR_ADDRESS);
}

static void take_explanation(struct spf *s, const struct lookup_result *r)
{
    struct buf out = {0};

    s->state = DONE;
    if (r->status != LOOKUP_OK || r->count != 1 || r->records[0].len > SPF_MAX_RECORD ||
        spf_macro_check(r->records[0], true) < 0)
        return;
    if (spf_macro_expand(&out, r->records[0], &s->macros, true) == 0)
        s->explanation = arena_sv(&s->arena, buf_view(&out));
    buf_free(&out);
}

/* --- outside --- */

static void set_sender(struct spf *s, struct strview helo, struct strview mail_from)
{
    struct spf_macros *m = &s->macros;
    struct buf b = {0};
    ptrdiff_t at = -1;

    for (size_t i = 0; i < mail_from.len; i++)
        if (mail_from.ptr[i] == '@')
            at = (ptrdiff_t)i;
    struct strview local = at > 0 ? sv(mail_from.ptr, (size_t)at) : SV("postmaster");
    struct strview domain = !mail_from.len ? helo
                            : at < 0       ? mail_from
                                     : sv(mail_from.ptr + at + 1, mail_from.len - (size_t)at - 1);
    buf_append_sv(&b, local);
    buf_append_char(&b, '@');
    buf_append_sv(&b, domain);
    m->helo = arena_sv(&s->arena, helo);
    m->sender = arena_sv(&s->arena, buf_view(&b));
    m->local = sv(m->sender.ptr, local.len);
    m->sender_domain = sv(m->sender.ptr + local.len + 1, domain.len);
    buf_free(&b);
}

static void set_address(struct spf_macros *m, const struct sockaddr *ip)
{
    if (ip->sa_family == AF_INET) {
        memcpy(m->address, &((const struct sockaddr_in *)(const void *)ip)->sin_addr, 4);
        return;
    }
    const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)ip)->sin6_addr;
    m->is_v6 = !IN6_IS_ADDR_V4MAPPED(a);
    memcpy(m->address, m->is_v6 ? a->s6_addr : a->s6_addr + 12, m->is_v6 ? 16 : 4);
}

struct spf *spf_new(const struct sockaddr *ip, struct strview helo, struct strview mail_from)
{
    struct spf *s = xcalloc(1, sizeof(*s));

    set_address(&s->macros, ip);
    set_sender(s, helo, mail_from);
    s->frames[0].domain = s->macros.sender_domain;
    s->depth = 1;
    if (is_askable(s->macros.sender_domain))
        s->state = NEED_RECORD;
    else
        end(s, SPF_NONE, "'%.*s' is no domain", SV_ARG(s->macros.sender_domain));
    return s;
}

void spf_free(struct spf *s)
{
    if (!s)
        return;
    arena_free(&s->arena);
    free(s);
}

enum spf_step spf_step(struct spf *s, struct spf_question *ret)
{
    while (!s->has_question && s->state != DONE) {
        switch (s->state) {
        case NEED_RECORD:
            ask(s, LOOKUP_TXT, top(s)->domain, WAIT_RECORD);
            break;
        case NEXT_TERM:
            next_term(s);
            break;
        case NEXT_MX_HOST:
            next_mx_host(s);
            break;
        case NEXT_PTR_NAME:
            next_ptr_name(s);
            break;
        default:
            BUG_ON(true); /* waiting without a question */
        }
    }
    if (!s->has_question)
        return SPF_DONE;
    *ret = s->question;
    return SPF_ASK;
}

void spf_answer(struct spf *s, const struct lookup_result *r)
{
    enum state was = s->state;
    bool fails = was == WAIT_ADDRESS || was == WAIT_EXISTS || was == WAIT_MX;

    BUG_ON(!s->has_question);
    s->has_question = false;
    if (fails && r->status == LOOKUP_TEMPORARY) {
        temporary(s, r);
        return;
    }
    if ((fails || was == WAIT_PTR) && !count_void(s, r))
        return;
    s->state = NEXT_TERM;
    switch (was) {
    case WAIT_RECORD:
        take_record(s, r);
        break;
    case WAIT_ADDRESS:
        s->state = s->term->mechanism == SPF_MECH_MX ? NEXT_MX_HOST : NEXT_TERM;
        if (any_matches(s, r, s->term))
            matched(s);
        break;
    case WAIT_EXISTS:
        if (r->status == LOOKUP_OK && r->count)
            matched(s);
        break;
    case WAIT_MX:
        take_mx(s, r);
        break;
    case WAIT_PTR:
        take_ptr(s, r);
        break;
    case WAIT_PTR_ADDRESS:
        if (any_matches(s, r, NULL))
            s->validated[s->validated_count++] = s->ptr.items[s->ptr.next - 1];
        s->state = NEXT_PTR_NAME;
        break;
    default:
        take_explanation(s, r);
    }
}

enum spf_result spf_result(const struct spf *s)
{
    return s->result;
}

const char *spf_reason(const struct spf *s)
{
    return s->reason;
}

struct strview spf_explanation(const struct spf *s)
{
    return s->explanation;
}

unsigned spf_lookups(const struct spf *s)
{
    return s->asking;
}

const struct spf_visit *spf_trail(const struct spf *s, size_t *ret_count)
{
    *ret_count = s->trail_count;
    return s->trail;
}

struct strview spf_match(const struct spf *s, struct strview *ret_domain)
{
    *ret_domain = s->match_domain;
    return s->match_term;
}
