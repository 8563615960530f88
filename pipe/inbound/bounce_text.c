/*
 * Bounces written for people; see bounce_text.h. Called by parse.c.
 *
 * First it is weighed whether this is a bounce at all: the null sender, who writes, subject, text and
 * X-Failed-Recipients each speak for it, and no single one of the weak ones is enough. Then the text
 * is cut where the returned message begins, and each address in it gets points for the place where it
 * stands. What follows a recipient, up to the next one, is its diagnostic.
 */
#include "inbound/bounce_text.h"

#include "inbound/address_scan.h"
#include "inbound/mime_text.h"
#include "inbound/phrases.h"
#include "inbound/reply_text.h"

#include <stdio.h>

enum {
    ENOUGH = 4,       /* points for being a bounce */
    RECIPIENT = 3,    /* points for being a recipient */
    LINES_MAX = 2000, /* looked at */
    LINE_MAX_BYTES = 2000,
    FOUND_MAX = 200,
};

struct found {
    struct strview address;
    size_t start, end; /* in the text */
    int points;
};

struct scan {
    const struct bounce_text *t;
    struct arena *arena;
    struct budget *budget;
    struct strview text, lower; /* up to where the returned message begins */
    struct strview flat;        /* lower without line ends */
    struct found found[FOUND_MAX];
    size_t count;
};

bool bounce_text_is_daemon(struct strview from, struct arena *a)
{
    return phrase_find(phrases_bounce_from, phrase_lower(from, a), NULL) != NULL;
}

/* --- the message that came back --- */

static size_t original_at(struct strview lower)
{
    size_t first = lower.len, at;

    for (const struct phrase *p = phrases_original; p->text; p++) {
        struct phrase one[2] = {*p, {NULL, NULL}};
        if (phrase_find(one, lower, &at) && at < first && at > 20)
            first = at;
    }
    return first;
}

static bool is_field(struct strview line)
{
    ptrdiff_t colon = sv_find(line, ':');

    if (colon < 2 || colon > 60)
        return false;
    for (ptrdiff_t i = 0; i < colon; i++)
        if (!ascii_is_alpha(line.ptr[i]) && !ascii_is_digit(line.ptr[i]) && line.ptr[i] != '-')
            return false;
    return true;
}

static struct strview header_in(struct strview text)
{
    struct strview rest = text, line;
    const char *start = NULL, *end = NULL;

    while (mime_line(&rest, &line)) {
        bool folded = line.len && (line.ptr[0] == ' ' || line.ptr[0] == '\t');
        if (is_field(line) || (start && folded)) {
            start = start ? start : line.ptr;
            end = rest.ptr;
        } else if (start) {
            break;
        }
    }
    return start ? sv(start, (size_t)(end - start)) : sv("", 0);
}

/* --- addresses --- */

static struct strview line_of(struct strview text, size_t at)
{
    size_t start = at, end = at;

    while (start && text.ptr[start - 1] != '\n' && at - start < LINE_MAX_BYTES)
        start--;
    while (end < text.len && text.ptr[end] != '\n' && end - at < LINE_MAX_BYTES)
        end++;
    return sv(text.ptr + start, end - start);
}

static bool is_decoration(char c)
{
    return c && strchr(" \t\r<>\"'`:;,.*-()[]|>", c);
}

static bool is_blank(struct strview s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_decoration(s.ptr[i]))
            return false;
    return true;
}

/* The last line above `at` that says something. */
static struct strview line_above(struct strview text, size_t at)
{
    struct strview line = line_of(text, at);
    size_t start = (size_t)(line.ptr - text.ptr);

    for (int i = 0; i < 4 && start; i++) {
        line = line_of(text, start - 1);
        if (!is_blank(line))
            return line;
        start = (size_t)(line.ptr - text.ptr);
    }
    return sv("", 0);
}

static int points_of(const struct scan *s, const struct found *f)
{
    struct strview line = line_of(s->lower, f->start);
    size_t from = f->start - (size_t)(line.ptr - s->lower.ptr);
    size_t to = MIN_OF(from + f->address.len, line.len);
    struct strview before = sv(line.ptr, from), after = sv(line.ptr + to, line.len - to);
    struct strview above = line_above(s->lower, f->start);
    struct strview tail = sv_trim(above);
    int points = 0;

    if (phrase_find(phrases_no_recipient, before, NULL))
        return -1;
    if (is_blank(before)) {
        points += 2;
        points += is_blank(after) || (after.len && strchr(">:\"'", after.ptr[0])) ? 2 : 0;
    }
    if (phrase_find(phrases_recipient, before, NULL))
        points += 3;
    else if (phrase_find(phrases_recipient, after, NULL))
        points += 2;
    if (phrase_find(phrases_recipient, above, NULL))
        points += 2;
    if (tail.len && tail.ptr[tail.len - 1] == ':')
        points += 1;
    return points;
}

static bool is_nobody(const struct scan *s, struct strview address)
{
    static const char *const names[] = {"mailer-daemon", "postmaster", "abuse",   "noreply",
                                        "no-reply",      "support",    "helpdesk"};
    ptrdiff_t at = sv_find(address, '@');

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (sv_eq_nocase(sv(address.ptr, (size_t)at), sv_of(names[i])))
            return true;
    return sv_eq_nocase(address, s->t->own) || sv_eq_nocase(address, address_first(s->t->from));
}

static void find_addresses(struct scan *s)
{
    struct found f = {{NULL, 0}, 0, 0, 0};

    while (s->count < FOUND_MAX && !budget_over(s->budget) &&
           address_next(s->text, &f.end, &f.address)) {
        f.start = (size_t)(f.address.ptr - s->text.ptr);
        if (is_nobody(s, f.address))
            continue;
        f.points = points_of(s, &f);
        s->found[s->count++] = f;
    }
}

static bool is_listed(const struct inbound_report *r, struct strview address)
{
    for (size_t i = 0; i < r->rcpt_count; i++)
        if (sv_eq_nocase(r->rcpts[i].final, address))
            return true;
    return false;
}

static struct inbound_rcpt *add(struct inbound_report *r, struct strview address)
{
    if (r->rcpt_count == INBOUND_RCPTS_MAX || is_listed(r, address))
        return NULL;
    struct inbound_rcpt *rcpt = &r->rcpts[r->rcpt_count++];
    *rcpt = (struct inbound_rcpt){.final = address};
    return rcpt;
}

static void add_failed_recipients(struct strview header, struct arena *a, struct inbound_report *r)
{
    struct strview value, one;

    for (unsigned n = 0; n < 20 && mime_field(header, "X-Failed-Recipients", n, a, &value); n++)
        for (size_t at = 0; address_next(value, &at, &one);)
            add(r, one);
}

static void choose_recipients(const struct scan *s, struct inbound_report *r)
{
    int best = 0;

    for (size_t i = 0; i < s->count; i++)
        best = MAX_OF(best, s->found[i].points);
    int least = best >= RECIPIENT ? RECIPIENT : best;
    for (size_t i = 0; i < s->count && least > 0; i++)
        if (s->found[i].points >= least && (best >= RECIPIENT || !r->rcpt_count))
            add(r, s->found[i].address);
}

/* --- diagnostics --- */

/* Words with single blanks, at most INBOUND_DIAGNOSTIC_MAX bytes. */
static struct strview squeeze(struct strview in, struct arena *a)
{
    struct buf out = {0};
    bool blank = false;

    for (size_t i = 0; i < in.len && buf_len(&out) < INBOUND_DIAGNOSTIC_MAX; i++) {
        char c = in.ptr[i];
        if ((unsigned char)c <= ' ') {
            blank = buf_len(&out) > 0;
            continue;
        }
        if (blank)
            buf_append_char(&out, ' ');
        blank = false;
        buf_append_char(&out, c);
    }
    struct strview ret = arena_sv(a, buf_view(&out));
    buf_free(&out);
    return ret;
}

/* "552-5.2.2 one / 552 5.2.2 two": codes of the later lines are left out. */
static struct strview join_reply(struct strview in, struct arena *a)
{
    struct strview rest = in, line;
    struct buf out = {0};
    bool first = true;

    while (mime_line(&rest, &line)) {
        line = sv_trim(line);
        if (!line.len)
            break;
        bool again = !first && line.len > 4 && in.len > 3 && memcmp(line.ptr, in.ptr, 3) == 0 &&
                     (line.ptr[3] == '-' || line.ptr[3] == ' ');
        if (again)
            line = sv(line.ptr + 4, line.len - 4);
        if (first && line.len > 3 && line.ptr[3] == '-') {
            buf_append(&out, line.ptr, 3);
            line = sv(line.ptr + 4, line.len - 4);
            buf_append_char(&out, ' ');
        } else if (!first) {
            buf_append_char(&out, ' ');
        }
        buf_append_sv(&out, line);
        first = false;
    }
    struct strview ret = squeeze(buf_view(&out), a);
    buf_free(&out);
    return ret;
}

static struct strview named(const char *type, struct strview text, struct arena *a)
{
    struct buf out = {0};

    buf_printf(&out, "%s;%.*s", type, SV_ARG(text));
    struct strview ret = arena_sv(a, buf_view(&out));
    buf_free(&out);
    return ret;
}

/* What a stretch of text says: the reply in it, else its first paragraph. */
static struct strview diagnostic_of(struct strview text, const char *format, struct arena *a,
                                    unsigned *ret_code)
{
    char type[40];
    ptrdiff_t at = reply_find(text, ret_code);

    if (at >= 0)
        return named("smtp", join_reply(sv(text.ptr + at, text.len - (size_t)at), a), a);
    *ret_code = 0;
    while (text.len && (is_decoration(text.ptr[0]) || text.ptr[0] == '\n'))
        text = sv(text.ptr + 1, text.len - 1);
    const char *end = text.len ? memmem(text.ptr, text.len, "\n\n", 2) : NULL;
    struct strview said = squeeze(sv(text.ptr, end ? (size_t)(end - text.ptr) : text.len), a);
    snprintf(type, sizeof(type), "x-%s", format);
    return said.len ? named(type, said, a) : sv("", 0);
}

static void make_status(struct inbound_rcpt *r, unsigned code, struct strview stretch,
                        struct arena *a)
{
    char status[STATUS_SIZE];
    const char *words;
    unsigned class_ = code ? code / 100 : r->action_ == REPORTED_DELAYED ? 4 : 5;

    if (!reply_status(stretch, status)) {
        words = reply_words_status(phrase_lower(stretch, a));
        snprintf(status, sizeof(status), "%u.%s", class_, words ? words : "0.0");
    }
    r->status = arena_sv(a, sv_of(status));
}

/* From the recipient to the next one. */
static struct strview stretch_of(const struct scan *s, struct strview address)
{
    size_t from = s->text.len, to = s->text.len;

    for (size_t i = 0; i < s->count; i++) {
        bool same = sv_eq_nocase(s->found[i].address, address);
        if (same && from == s->text.len)
            from = s->found[i].end;
        else if (!same && from < s->text.len && s->found[i].points >= RECIPIENT) {
            to = line_of(s->text, s->found[i].start).ptr - s->text.ptr > (ptrdiff_t)from
                     ? (size_t)(line_of(s->text, s->found[i].start).ptr - s->text.ptr)
                     : s->found[i].start;
            break;
        }
    }
    return sv(s->text.ptr + from, to - from);
}

static void describe(const struct scan *s, struct inbound_report *r, bool delayed)
{
    unsigned code, whole_code = 0;
    bool alone = r->rcpt_count == 1;

    for (size_t i = 0; i < r->rcpt_count; i++) {
        struct inbound_rcpt *rcpt = &r->rcpts[i];
        struct strview stretch = stretch_of(s, rcpt->final);
        rcpt->action_ = delayed ? REPORTED_DELAYED : REPORTED_FAILED;
        rcpt->diagnostic = diagnostic_of(stretch, r->format, s->arena, &code);
        if (!code && alone) { /* it may stand before, or far behind */
            struct strview all = diagnostic_of(s->text, r->format, s->arena, &whole_code);
            if (whole_code) {
                rcpt->diagnostic = all;
                code = whole_code;
            }
            char status[STATUS_SIZE];
            if (!reply_status(stretch, status))
                stretch = reply_words_status(phrase_lower(stretch, s->arena)) && !whole_code
                              ? stretch
                              : s->text;
        }
        make_status(rcpt, code, stretch, s->arena);
    }
}

struct strview bounce_text_diagnostic(struct strview text, struct strview rcpt, struct arena *a)
{
    unsigned code = 0;
    size_t cut = original_at(phrase_lower(text, a));
    struct strview head = sv(text.ptr, cut), one, said = {NULL, 0};

    for (size_t at = 0; rcpt.len && address_next(head, &at, &one);) {
        if (!sv_eq_nocase(one, rcpt))
            continue;
        struct strview d = diagnostic_of(sv(head.ptr + at, head.len - at), "text", a, &code);
        if (code)
            return d;
        said = said.len ? said : d;
    }
    struct strview d = diagnostic_of(head, "text", a, &code);
    return code ? d : said;
}

/* --- is it one? --- */

struct verdict {
    const char *format;
    bool delayed;
};

static bool weigh(const struct scan *s, struct verdict *v)
{
    struct arena *a = s->arena;
    struct strview subject = phrase_lower(s->t->subject, a), failed;
    const struct phrase *body = phrase_find(phrases_bounce_body, s->lower, NULL);
    if (!body || strcmp(body->means, "text") == 0) { /* a particular one may go over lines */
        const struct phrase *flat = phrase_find(phrases_bounce_body, s->flat, NULL);
        body = flat ? flat : body;
    }
    bool has_failed = mime_field(s->t->header, "X-Failed-Recipients", 0, a, &failed);
    bool has_subject = phrase_find(phrases_bounce_subject, subject, NULL) != NULL;
    bool daemon = bounce_text_is_daemon(s->t->from, a);
    int points = (daemon ? 2 : 0) + (s->t->null_sender ? 1 : 0) + (has_subject ? 2 : 0) +
                 (body ? 3 : 0) + (has_failed ? 4 : 0);

    *v = (struct verdict){
        .format = body ? body->means : "text",
        .delayed = (phrase_find(phrases_delay, s->flat, NULL) ||
                    phrase_find(phrases_delay, subject, NULL) ||
                    sv_starts_nocase(subject, SV("warning: "))) &&
                   !phrase_find(phrases_final, s->flat, NULL),
    };
    bool gmail = sv_ends_nocase(address_first(s->t->from), SV("@googlemail.com")) ||
                 sv_ends_nocase(address_first(s->t->from), SV("@google.com"));
    if (gmail)
        v->format = "gmail";
    /* people write about bounces, too: somebody who speaks for a mail system must have written it */
    bool machine = daemon || s->t->null_sender || has_failed;
    return s->t->is_report || (points >= ENOUGH && machine && (body || has_subject || has_failed));
}

bool bounce_text_read(const struct bounce_text *t, struct arena *a, struct budget *b,
                      struct inbound_report *ret)
{
    struct scan *s = arena_alloc(a, sizeof(*s));
    struct strview lower = phrase_lower(t->text, a);
    size_t cut = original_at(lower);
    struct verdict v;

    *s = (struct scan){.t = t, .arena = a, .budget = b};
    s->text = sv(t->text.ptr, cut);
    s->lower = sv(lower.ptr, cut);
    s->flat = phrase_flat(s->lower, a);
    if (!weigh(s, &v))
        return false;
    ret->format = v.format;
    ret->kind = v.delayed ? INBOUND_STATUS : INBOUND_BOUNCE;
    if (!ret->original_header.len)
        ret->original_header = header_in(sv(t->text.ptr + cut, t->text.len - cut));
    find_addresses(s);
    add_failed_recipients(t->header, a, ret);
    if (!ret->rcpt_count)
        choose_recipients(s, ret);
    if (!ret->rcpt_count && ret->original_header.len) { /* nobody named: who it was for */
        struct strview to = address_first(mime_get(ret->original_header, "To", a));
        if (to.len)
            add(ret, to);
    }
    if (!ret->rcpt_count) { /* the address that it came to may say whom it is about */
        ret->rcpts[0] = (struct inbound_rcpt){.final = sv("", 0)};
        ret->rcpt_count = 1;
    }
    describe(s, ret, v.delayed);
    return true;
}
