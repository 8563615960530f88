/*
 * MIME parts; see mime.h. Called by parse.c in the thread pool. A part is a range of the message; a
 * multipart is cut into the ranges between its boundary lines, a message in a message is one more
 * range. Each level looks at its bytes once, so the cost is size times depth at most. An encoded
 * message (against RFC 2046, seen in the field) is decoded first.
 */
#include "inbound/mime.h"

#include "inbound/mime_text.h"

bool mime_line(struct strview *rest, struct strview *ret)
{
    if (!rest->ptr || !rest->len)
        return false;
    const char *end = memchr(rest->ptr, '\n', rest->len);
    size_t n = end ? (size_t)(end - rest->ptr) : rest->len;

    *ret = sv(rest->ptr, n && rest->ptr[n - 1] == '\r' ? n - 1 : n);
    n += end != NULL;
    *rest = sv(rest->ptr + n, rest->len - n);
    return true;
}

static bool is_folded(struct strview rest)
{
    return rest.len && (rest.ptr[0] == ' ' || rest.ptr[0] == '\t');
}

/* The value of a field whose first line is `line` from `at` on; folded lines are taken from *rest. */
static struct strview unfold(struct strview line, size_t at, struct strview *rest, struct arena *a)
{
    struct strview first = sv_trim(sv(line.ptr + at, line.len - at)), more;
    const char *start = rest->ptr;

    if (!is_folded(*rest))
        return first;
    struct strview probe = *rest;
    while (is_folded(probe) && mime_line(&probe, &more))
        ;
    size_t room = first.len + (size_t)(probe.ptr - start) + 1, n = first.len;
    char *out = arena_alloc(a, room + 1);
    if (n)
        memcpy(out, first.ptr, n);
    while (is_folded(*rest) && mime_line(rest, &more)) {
        more = sv_trim(more);
        if (!more.len)
            continue;
        if (n)
            out[n++] = ' ';
        memcpy(out + n, more.ptr, more.len);
        n += more.len;
    }
    return sv(out, n);
}

bool mime_field(struct strview header, const char *name, unsigned nth, struct arena *a,
                struct strview *ret)
{
    struct strview rest = header, line;
    size_t len = strlen(name);

    while (mime_line(&rest, &line)) {
        size_t at = len;
        if (line.len <= len || !sv_eq_nocase(sv(line.ptr, len), sv(name, len)))
            continue;
        while (at < line.len && (line.ptr[at] == ' ' || line.ptr[at] == '\t'))
            at++;
        if (at == line.len || line.ptr[at] != ':' || nth--)
            continue;
        *ret = unfold(line, at + 1, &rest, a);
        return true;
    }
    return false;
}

struct strview mime_get(struct strview header, const char *name, struct arena *a)
{
    struct strview v;
    return mime_field(header, name, 0, a, &v) ? v : sv("", 0);
}

static struct strview quoted(struct strview text, struct arena *a)
{
    char *out = arena_alloc(a, text.len + 1);
    size_t n = 0;

    for (size_t i = 0; i < text.len && text.ptr[i] != '"'; i++) {
        if (text.ptr[i] == '\\' && i + 1 < text.len)
            i++;
        out[n++] = text.ptr[i];
    }
    return sv(out, n);
}

/* Index of the semicolon that ends the parameter at the start of text, or its length. */
static size_t parameter_end(struct strview text)
{
    bool inside = false;

    for (size_t i = 0; i < text.len; i++) {
        if (inside && text.ptr[i] == '\\')
            i++;
        else if (text.ptr[i] == '"')
            inside = !inside;
        else if (text.ptr[i] == ';' && !inside)
            return i;
    }
    return text.len;
}

struct strview mime_parameter(struct strview field, const char *name, struct arena *a)
{
    size_t end = parameter_end(field);

    while (end < field.len) {
        field = sv(field.ptr + end + 1, field.len - end - 1);
        end = parameter_end(field);
        struct strview item = sv_trim(sv(field.ptr, end));
        ptrdiff_t eq = sv_find(item, '=');
        if (eq < 0 || !sv_eq_nocase(sv_trim(sv(item.ptr, (size_t)eq)), sv_of(name)))
            continue;
        item = sv_trim(sv(item.ptr + eq + 1, item.len - (size_t)eq - 1));
        if (item.len && item.ptr[0] == '"')
            return quoted(sv(item.ptr + 1, item.len - 1), a);
        return item;
    }
    return sv("", 0);
}

int mime_find(const struct mime *m, const char *type, size_t from)
{
    for (size_t i = from; i < m->count; i++)
        if (sv_eq(m->parts[i].type, sv_of(type)))
            return (int)i;
    return -1;
}

/* --- parts --- */

static void split_header(struct strview text, struct mime_part *p)
{
    struct strview rest = text, line;
    size_t used = 0;

    while (mime_line(&rest, &line)) {
        if (!line.len)
            break;
        used = (size_t)(rest.ptr - text.ptr);
        if (used > MIME_HEADER_MAX)
            break;
    }
    p->header = sv(text.ptr, used);
    p->body = rest;
}

static void describe(struct mime_part *p, struct arena *a, const char *usual)
{
    p->content_type = mime_get(p->header, "Content-Type", a);
    struct strview type =
        sv_trim(sv(p->content_type.ptr, parameter_end(p->content_type)));
    struct strview encoding = mime_get(p->header, "Content-Transfer-Encoding", a);

    if (sv_find(type, '/') < 0)
        type = sv_of(usual);
    char *lower = arena_strndup(a, type.ptr, type.len);
    str_lower(lower, type.len);
    p->type = sv(lower, type.len);
    p->encoding = sv_starts_nocase(encoding, SV("base64"))             ? MIME_BASE64
                  : sv_starts_nocase(encoding, SV("quoted-printable")) ? MIME_QUOTED_PRINTABLE
                                                                       : MIME_IDENTITY;
}

struct walk {
    struct mime *m;
    struct arena *arena;
    struct budget *budget;
};

static void add_part(struct walk *w, struct strview text, int parent, unsigned depth,
                     const char *usual);

static struct strview without_end(struct strview text)
{
    if (text.len && text.ptr[text.len - 1] == '\n')
        text.len--;
    if (text.len && text.ptr[text.len - 1] == '\r')
        text.len--;
    return text;
}

/* 1: begins a part, 2: ends the last one. */
static int boundary_at(struct strview line, struct strview boundary)
{
    if (line.len < boundary.len + 2 || line.ptr[0] != '-' || line.ptr[1] != '-' ||
        memcmp(line.ptr + 2, boundary.ptr, boundary.len) != 0)
        return 0;
    struct strview rest = sv_trim(sv(line.ptr + 2 + boundary.len, line.len - 2 - boundary.len));
    return !rest.len ? 1 : sv_eq(rest, SV("--")) ? 2 : 0;
}

/* The field lost its parameter: the first line that can be one. */
static struct strview guess_boundary(struct strview body)
{
    struct strview line;

    for (int i = 0; i < 50 && mime_line(&body, &line); i++)
        if (line.len > 4 && line.len < 76 && memcmp(line.ptr, "--", 2) == 0 &&
            !memchr(line.ptr, ' ', line.len))
            return sv(line.ptr + 2, line.len - 2);
    return sv("", 0);
}

static void add_children(struct walk *w, int self)
{
    const struct mime_part *p = &w->m->parts[self];
    struct strview boundary = mime_parameter(p->content_type, "boundary", w->arena);
    const char *usual =
        sv_eq(p->type, SV("multipart/digest")) ? "message/rfc822" : "text/plain";
    struct strview rest = p->body, line;
    const char *start = NULL;
    unsigned depth = p->depth + 1;
    size_t before = w->m->count;

    if (!boundary.len)
        boundary = guess_boundary(rest);
    while (boundary.len && !budget_over(w->budget) && mime_line(&rest, &line)) {
        int kind = boundary_at(line, boundary);
        if (!kind)
            continue;
        if (start)
            add_part(w, without_end(sv(start, (size_t)(line.ptr - start))), self, depth, usual);
        start = kind == 1 ? rest.ptr : NULL;
        if (kind == 2)
            break;
    }
    if (start && !rest.len && !budget_over(w->budget)) /* the end is missing */
        add_part(w, sv(start, (size_t)(rest.ptr - start)), self, depth, usual);
    if (w->m->count == before)
        w->m->unreadable = true;
}

static bool is_message(const struct mime_part *p)
{
    return sv_eq(p->type, SV("message/rfc822")) || sv_eq(p->type, SV("message/global"));
}

static void add_part(struct walk *w, struct strview text, int parent, unsigned depth,
                     const char *usual)
{
    struct mime *m = w->m;

    if (m->count == MIME_PARTS_MAX || depth > MIME_DEPTH_MAX || budget_over(w->budget)) {
        m->cut = true;
        return;
    }
    int self = (int)m->count++;
    struct mime_part *p = &m->parts[self];
    *p = (struct mime_part){.parent = parent, .depth = depth};
    split_header(text, p);
    describe(p, w->arena, usual);
    if (sv_starts_nocase(p->type, SV("multipart/")))
        add_children(w, self);
    else if (is_message(p))
        add_part(w, p->encoding == MIME_IDENTITY ? p->body : mime_decode(p, w->arena, w->budget),
                 self, depth + 1, "text/plain");
}

void mime_parse(struct strview message, struct arena *a, struct budget *b, struct mime *ret)
{
    struct walk w = {ret, a, b};

    ret->count = 0;
    ret->cut = ret->unreadable = false;
    add_part(&w, message, -1, 0, "text/plain");
}
