/*
 * DKIM header fields; see dkim.h. Called by the signer for each message and key. Nothing here can
 * fail: a field that is not there is not signed, a header that is not well formed is taken line by
 * line.
 */
#include "mail/dkim.h"

enum { FOLD_AT = 76 };

static bool is_wsp(char c)
{
    return c == ' ' || c == '\t';
}

/* --- fields --- */

/* Length of the field at p: its line and the folded ones that follow. */
static size_t field_length(struct strview block)
{
    size_t at = 0;

    do {
        const char *lf = memchr(block.ptr + at, '\n', block.len - at);
        at = lf ? (size_t)(lf - block.ptr) + 1 : block.len;
    } while (at < block.len && is_wsp(block.ptr[at]));
    return at;
}

static size_t count_lines(struct strview block)
{
    size_t n = 1;
    for (size_t i = 0; i < block.len; i++)
        n += block.ptr[i] == '\n';
    return n;
}

size_t dkim_fields(struct strview block, struct arena *a, struct dkim_field **ret)
{
    struct dkim_field *fields = arena_alloc(a, count_lines(block) * sizeof(fields[0]));
    size_t count = 0;

    while (block.len && block.ptr[0] != '\r' && block.ptr[0] != '\n') {
        struct strview whole = sv(block.ptr, field_length(block));
        const char *colon = memchr(whole.ptr, ':', whole.len);
        if (colon) {
            struct strview name = sv(whole.ptr, (size_t)(colon - whole.ptr));
            fields[count++] = (struct dkim_field){.name = sv_trim(name), .whole = whole};
        }
        block = sv(block.ptr + whole.len, block.len - whole.len);
    }
    *ret = fields;
    return count;
}

void dkim_canon_field(struct buf *out, enum dkim_canon canon, struct strview whole)
{
    const char *colon = memchr(whole.ptr, ':', whole.len);
    const char *end = whole.ptr + whole.len;
    bool wsp = false, any = false;

    if (canon == DKIM_SIMPLE || !colon) {
        buf_append_sv(out, whole);
        return;
    }
    const char *name_end = colon;
    while (name_end > whole.ptr && is_wsp(name_end[-1]))
        name_end--;
    char *to = buf_reserve(out, whole.len + 4), *begin = to;
    for (const char *p = whole.ptr; p < name_end; p++)
        *to++ = ascii_lower(*p);
    *to++ = ':';
    for (const char *p = colon + 1; p < end; p++) {
        if (*p == '\r' || *p == '\n')
            continue;
        if (is_wsp(*p)) {
            wsp = any;
            continue;
        }
        if (wsp)
            *to++ = ' ';
        wsp = false;
        any = true;
        *to++ = *p;
    }
    *to++ = '\r';
    *to++ = '\n';
    buf_advance(out, (size_t)(to - begin));
}

struct strview dkim_field_value(const struct dkim_field *fields, size_t count, struct strview name,
                                struct arena *a)
{
    for (size_t i = count; i-- > 0;) {
        if (!sv_eq_nocase(fields[i].name, name))
            continue;
        struct strview w = fields[i].whole;
        const char *p = memchr(w.ptr, ':', w.len);
        char *out = arena_alloc(a, w.len + 1);
        size_t n = 0;
        for (p++; p < w.ptr + w.len; p++)
            if (*p != '\r' && *p != '\n')
                out[n++] = *p;
        return sv_trim(sv(out, n));
    }
    return sv(NULL, 0);
}

/* One past a quoted string or comment that begins at i. */
static size_t skip_quoted(struct strview s, size_t i)
{
    char open = s.ptr[i], close = open == '(' ? ')' : '"';
    unsigned depth = 1;

    for (i++; i < s.len && depth; i++) {
        if (s.ptr[i] == '\\')
            i++;
        else if (s.ptr[i] == close)
            depth--;
        else if (open == '(' && s.ptr[i] == '(')
            depth++;
    }
    return MIN_OF(i, s.len);
}

struct strview dkim_address_domain(struct strview value)
{
    size_t begin = 0, end = value.len;
    ptrdiff_t at = -1;

    for (size_t i = 0; i < value.len;) {
        char c = value.ptr[i];
        if (c == '"' || c == '(') {
            i = skip_quoted(value, i);
            continue;
        }
        if (c == '<') {
            begin = i + 1;
            at = -1;
        } else if (c == '@') {
            at = (ptrdiff_t)i;
        } else if ((c == '>' && begin) || c == ',' || c == ';') {
            end = i;
            break;
        }
        i++;
    }
    if (at < 0)
        return sv(NULL, 0);
    struct strview d = sv_trim(sv(value.ptr + at + 1, end - (size_t)at - 1));
    for (size_t i = 0; i < d.len; i++)
        if (is_wsp(d.ptr[i]) || d.ptr[i] == '(' || d.ptr[i] == '>')
            d.len = i;
    return d;
}

static struct strview domain_of(struct strview whole, struct arena *a)
{
    struct dkim_field field = {.whole = whole};
    struct strview d = dkim_address_domain(dkim_field_value(&field, 1, field.name, a));
    if (!d.len || d.len > 253)
        return sv(NULL, 0);
    char *text = arena_strndup(a, d.ptr, d.len);
    str_lower(text, d.len);
    return sv(text, d.len);
}

static bool has_name(struct strview whole, struct strview name)
{
    size_t n = name.len;
    if (!sv_starts_nocase(whole, name))
        return false;
    while (n < whole.len && is_wsp(whole.ptr[n]))
        n++;
    return n < whole.len && whole.ptr[n] == ':';
}

void dkim_sender_domains(struct strview block, struct arena *a, struct strview *ret_from,
                         struct strview *ret_sender)
{
    struct strview from = {NULL, 0}, sender = {NULL, 0};

    while (block.len && block.ptr[0] != '\r' && block.ptr[0] != '\n') {
        struct strview whole = sv(block.ptr, field_length(block));
        char first = ascii_lower(whole.ptr[0]);
        if (first == 'f' && has_name(whole, SV("From")))
            from = whole;
        else if (first == 's' && has_name(whole, SV("Sender")))
            sender = whole;
        block = sv(block.ptr + whole.len, block.len - whole.len);
    }
    *ret_from = from.len ? domain_of(from, a) : from;
    *ret_sender = sender.len ? domain_of(sender, a) : sender;
}

/* --- signature --- */

/* A word of the field, on a new line when it does not fit into this one. */
struct folder {
    struct buf *out;
    size_t column;
    bool h_empty; /* no name stands behind h= yet */
};

static void fold_begin(struct folder *f, size_t width, bool blank)
{
    if (f->column + width + 1 > FOLD_AT) {
        buf_append(f->out, "\r\n\t", 3);
        f->column = 1;
    } else if (blank) {
        buf_append_char(f->out, ' ');
        f->column++;
    }
    f->column += width;
}

static void fold_append(struct folder *f, struct strview word)
{
    fold_begin(f, word.len, false);
    buf_append_sv(f->out, word);
}

/* "name=value;" */
static void fold_tag(struct folder *f, const char *name, struct strview value)
{
    struct strview n = sv_of(name);

    fold_begin(f, n.len + value.len + 1, true);
    buf_append_sv(f->out, n);
    buf_append_sv(f->out, value);
    buf_append_char(f->out, ';');
}

static void fold_number(struct folder *f, const char *name, int64_t n)
{
    char digits[24];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    fold_tag(f, name, sv(digits + at, sizeof(digits) - at));
}

static void base64_group(const uint8_t *bytes, size_t left, char four[4])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t v = (uint32_t)bytes[0] << 16 | (left > 1 ? (uint32_t)bytes[1] << 8 : 0) |
                 (left > 2 ? bytes[2] : 0);

    four[0] = digits[v >> 18];
    four[1] = digits[v >> 12 & 63];
    four[2] = left > 1 ? digits[v >> 6 & 63] : '=';
    four[3] = left > 2 ? digits[v & 63] : '=';
}

static void fold_base64(struct folder *f, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i += 3) {
        fold_begin(f, 4, false);
        base64_group(bytes + i, n - i, buf_reserve(f->out, 4));
        buf_advance(f->out, 4);
    }
}

static bool next_name(struct strview *rest, struct strview *ret)
{
    while (rest->len && (is_wsp(rest->ptr[0]) || rest->ptr[0] == ':' || rest->ptr[0] == ','))
        *rest = sv(rest->ptr + 1, rest->len - 1);
    size_t n = 0;
    while (n < rest->len && !is_wsp(rest->ptr[n]) && rest->ptr[n] != ':' && rest->ptr[n] != ',')
        n++;
    *ret = sv(rest->ptr, n);
    *rest = sv(rest->ptr + n, rest->len - n);
    return n != 0;
}

static bool lists(struct strview names, struct strview name)
{
    struct strview one;
    while (next_name(&names, &one))
        if (sv_eq_nocase(one, name))
            return true;
    return false;
}

static void add_name(struct dkim_names *to, struct strview name, bool oversign)
{
    for (size_t i = 0; i < to->count; i++)
        if (sv_eq_nocase(to->items[i].name, name))
            return;
    to->items[to->count++] = (struct dkim_name){name, oversign};
}

void dkim_names_parse(struct strview names, struct strview oversign, struct arena *a,
                      struct dkim_names *ret)
{
    struct strview name, rest;

    /* a name has at least one byte and one separator */
    ret->items = arena_alloc(a, (names.len / 2 + oversign.len / 2 + 3) * sizeof(ret->items[0]));
    ret->count = 0;
    if (!lists(names, SV("From")) && !lists(oversign, SV("From")))
        add_name(ret, SV("From"), false);
    for (rest = names; next_name(&rest, &name);)
        add_name(ret, name, lists(oversign, name));
    for (rest = oversign; next_name(&rest, &name);)
        add_name(ret, name, true);
}

static bool is_named(const struct dkim_field *field, struct strview name)
{
    return field->name.len == name.len &&
           ascii_lower(field->name.ptr[0]) == ascii_lower(name.ptr[0]) &&
           sv_eq_nocase(field->name, name);
}

/* One name of h=: each field that has it, from the last to the first, and when oversigned once more
 * than there are. */
static void sign_name(const struct dkim_signature *s, const struct dkim_field *fields, size_t count,
                      const struct dkim_name *name, struct folder *f, struct buf *input)
{
    size_t n = name->oversign;

    for (size_t i = count; i-- > 0;)
        if (is_named(&fields[i], name->name)) {
            dkim_canon_field(input, s->header_canon, fields[i].whole);
            n++;
        }
    for (; n; n--) {
        bool first = f->h_empty;
        fold_begin(f, name->name.len + !first, false);
        if (!first)
            buf_append_char(f->out, ':');
        buf_append_sv(f->out, name->name);
        f->h_empty = false;
    }
}

static void sign_names(const struct dkim_signature *s, const struct dkim_field *fields,
                       size_t count, struct folder *f, struct buf *input)
{
    fold_begin(f, 2, true);
    buf_append(f->out, "h=", 2);
    f->h_empty = true;
    for (size_t i = 0; i < s->names->count; i++)
        sign_name(s, fields, count, &s->names->items[i], f, input);
    fold_append(f, SV(";"));
}

void dkim_signature_prepare(const struct dkim_signature *s, const struct dkim_field *fields,
                            size_t count, struct buf *field, struct buf *ret_input)
{
    static const char *const canon[2][2] = {
        [DKIM_SIMPLE] = {[DKIM_SIMPLE] = "simple/simple", [DKIM_RELAXED] = "simple/relaxed"},
        [DKIM_RELAXED] = {[DKIM_SIMPLE] = "relaxed/simple", [DKIM_RELAXED] = "relaxed/relaxed"},
    };
    static const char start[] = "DKIM-Signature: v=1;";
    struct folder f = {field, sizeof(start) - 1, false};
    size_t begin = buf_len(field);

    buf_append(field, start, sizeof(start) - 1);
    fold_tag(&f, "a=", sv_of(s->algorithm));
    fold_tag(&f, "c=", sv_of(canon[s->header_canon][s->body_canon]));
    fold_tag(&f, "d=", s->domain);
    fold_tag(&f, "s=", s->selector);
    if (s->identity.len)
        fold_tag(&f, "i=", s->identity);
    if (s->time_s > 0)
        fold_number(&f, "t=", s->time_s);
    if (s->expires_s > 0)
        fold_number(&f, "x=", s->expires_s);
    sign_names(s, fields, count, &f, ret_input);
    fold_begin(&f, 3, true);
    buf_append(field, "bh=", 3);
    fold_base64(&f, (const uint8_t *)s->body_hash.ptr, s->body_hash.len);
    fold_append(&f, SV(";"));
    fold_begin(&f, 2, true);
    buf_append(field, "b=", 2);
    /* without the CRLF that ends it */
    struct strview own = sv(buf_data(field) + begin, buf_len(field) - begin);
    size_t at = buf_len(ret_input);
    dkim_canon_field(ret_input, s->header_canon, own);
    if (s->header_canon == DKIM_RELAXED)
        buf_truncate(ret_input, MAX_OF(at, buf_len(ret_input) - 2));
}

void dkim_signature_finish(struct buf *field, const uint8_t *signature, size_t n)
{
    const char *bytes = buf_data(field);
    size_t column = 0;

    for (size_t i = buf_len(field); i > 0 && bytes[i - 1] != '\n'; i--)
        column++;
    struct folder f = {field, column, false};
    fold_base64(&f, signature, n);
    buf_append(field, "\r\n", 2);
}
