/*
 * Header values; see headers.h. intake.c calls, once per message; what is picked travels in the
 * envelope, so that records of later attempts and after a restart have it without reading the body.
 */
#include "report/headers.h"

/* The name stands in the list. */
static bool wanted(struct strview names, struct strview name)
{
    char key[80];

    if (!name.len || name.len > sizeof(key) - 2)
        return false;
    key[0] = '\n';
    for (size_t i = 0; i < name.len; i++)
        key[i + 1] = ascii_lower(name.ptr[i]);
    key[name.len + 1] = '\n';
    return memmem(names.ptr, names.len, key, name.len + 2) != NULL;
}

static bool has_already(const struct buf *out, size_t from, struct strview name)
{
    struct strview rest = sv(buf_data(out) + from, buf_len(out) - from), line;

    while (rest.len && sv_split(&rest, '\n', &line))
        if (line.len > name.len && line.ptr[name.len] == ':' &&
            sv_eq_nocase(sv(line.ptr, name.len), name))
            return true;
    return false;
}

/* One past the CRLF that ends the field: the next line begins with no blank. */
static size_t field_end(struct strview block, size_t at)
{
    for (;;) {
        const char *lf = memchr(block.ptr + at, '\n', block.len - at);
        if (!lf)
            return block.len;
        at = (size_t)(lf - block.ptr) + 1;
        if (at == block.len || (block.ptr[at] != ' ' && block.ptr[at] != '\t'))
            return at;
    }
}

static void append_value(struct buf *out, struct strview v)
{
    size_t n = 0;
    bool blank = false;

    v = sv_trim(v);
    while (v.len && (unsigned char)v.ptr[v.len - 1] <= 0x20)
        v.len--;
    for (size_t i = 0; i < v.len && n < HEADER_VALUE_MAX; i++) {
        char c = v.ptr[i];
        bool control = (unsigned char)c < 0x20 || c == 0x7f;
        if (control && blank)
            continue; /* CRLF and the blanks of a fold are one blank */
        if (blank && c == ' ')
            continue;
        blank = control;
        buf_append_char(out, control ? ' ' : c);
        n++;
    }
}

void headers_pick(struct strview names, struct strview block, struct buf *out)
{
    size_t from = buf_len(out);

    for (size_t at = 0; names.len && at < block.len;) {
        size_t end = field_end(block, at);
        struct strview field = sv(block.ptr + at, end - at);
        ptrdiff_t colon = sv_find(field, ':');
        at = end;
        if (field.len && field.ptr[0] == '.')
            continue; /* a stuffed dot: no name begins so */
        struct strview name = colon > 0 ? sv_trim(sv(field.ptr, (size_t)colon)) : sv(NULL, 0);
        if (!wanted(names, name) || has_already(out, from, name) ||
            buf_len(out) - from + name.len + HEADER_VALUE_MAX > HEADER_VALUES_MAX)
            continue;
        buf_append_sv(out, name);
        buf_append_str(out, ": ");
        append_value(out, sv(field.ptr + colon + 1, field.len - (size_t)colon - 1));
        buf_append_char(out, '\n');
    }
}
