/*
 * content: see content.h. Called by the session for each read while a message is under way; works
 * line by line with memchr, across reads. Only CRLF.CRLF ends the data: a dot on a line that ends
 * or begins after a bare LF is counted as an odd end and taken as content, so that a sender that
 * could be tricked into smuggling is seen. A header line is gathered up to the length limit only.
 */
#include "sink/content.h"

void content_reset(struct content *c, bool dots)
{
    c->dots = dots;
    c->done = c->cr_pending = c->starts_with_dot = false;
    c->in_header = c->line_was_crlf = true;
    c->line_len = c->size = 0;
    c->bare_lf = c->bare_cr = c->long_lines = c->odd_ends = 0;
    c->open = NULL;
    buf_reset(&c->line);
    buf_reset(&c->id.value);
    buf_reset(&c->sent.value);
    if (c->save)
        buf_reset(c->save);
}

void content_fini(struct content *c)
{
    buf_free(&c->line);
    buf_free(&c->id.value);
    buf_free(&c->sent.value);
}

/* Keeps the first value of a wanted field. */
static void take_value(struct content *c, struct content_field *f, struct strview value)
{
    value = sv_trim(value);
    c->open = value.len == 0 ? f : NULL;
    value.len = MIN_OF(value.len, CONTENT_VALUE_MAX);
    buf_append_sv(&f->value, value);
}

static void header_line(struct content *c, struct strview line)
{
    struct content_field *fields[] = {&c->id, &c->sent};
    struct content_field *open = c->open;
    c->open = NULL;
    line = line.len && line.ptr[line.len - 1] == '\n' ? sv(line.ptr, line.len - 1) : line;
    if (line.len == 0 || (line.len == 1 && line.ptr[0] == '\r')) {
        c->in_header = false;
        return;
    }
    if (line.ptr[0] == ' ' || line.ptr[0] == '\t') {
        if (open)
            take_value(c, open, line);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        struct strview name = fields[i]->name;
        if (name.len && line.len > name.len && line.ptr[name.len] == ':' &&
            buf_len(&fields[i]->value) == 0 && sv_starts_nocase(line, name))
            take_value(c, fields[i], sv(line.ptr + name.len + 1, line.len - name.len - 1));
    }
}

static void gather_header(struct content *c, const char *p, size_t n, bool complete)
{
    if (complete && c->line_len == 0) {
        header_line(c, sv(p, n));
        return;
    }
    size_t have = buf_len(&c->line);
    buf_append(&c->line, p, MIN_OF(n, CONTENT_LINE_MAX + 64 - MIN_OF(have, CONTENT_LINE_MAX + 64)));
    if (complete) {
        header_line(c, buf_view(&c->line));
        buf_reset(&c->line);
    }
}

/* CRs in p[0..n) that are not followed by a LF; the last byte may still be. */
static void count_bare_cr(struct content *c, const char *p, size_t n, bool crlf)
{
    if (c->cr_pending && p[0] != '\n')
        c->bare_cr++;
    size_t limit = n - (n >= 2 && crlf ? 2 : n && p[n - 1] == '\r' ? 1 : 0);
    const char *end = p + limit;
    while (p < end && (p = memchr(p, '\r', (size_t)(end - p)))) {
        c->bare_cr++;
        p++;
    }
}

/* The end of a line: whether it ends the data, and what is wrong with it. */
static bool line_ends(struct content *c, uint64_t total, bool crlf)
{
    uint64_t text = total - (crlf ? 2 : 1);
    bool lone_dot = c->dots && c->starts_with_dot && text == 1;
    if (lone_dot && crlf && c->line_was_crlf)
        return true;
    if (lone_dot)
        c->odd_ends++;
    if (!crlf)
        c->bare_lf++;
    if (text - (c->starts_with_dot ? 1 : 0) > CONTENT_LINE_MAX)
        c->long_lines++;
    return false;
}

/* Forgets what was kept of the final dot's line, in case it came in pieces. */
static void drop_last_line(struct content *c)
{
    uint64_t kept = c->line_len ? c->line_len - 1 : 0;
    c->size -= kept;
    if (c->save)
        c->save->end -= (size_t)kept;
    c->done = true;
}

/* One line, or the part of one that is here; p[n - 1] is its LF when complete. */
static void segment(struct content *c, const char *p, size_t n, bool complete)
{
    bool crlf = complete && (n >= 2 ? p[n - 2] == '\r' : c->cr_pending);
    if (c->line_len == 0)
        c->starts_with_dot = c->dots && p[0] == '.';
    if (complete && line_ends(c, c->line_len + n, crlf)) {
        drop_last_line(c);
        return;
    }
    count_bare_cr(c, p, n, crlf);
    size_t skip = c->line_len == 0 && c->starts_with_dot ? 1 : 0;
    if (c->in_header)
        gather_header(c, p, n, complete);
    if (c->save)
        buf_append(c->save, p + skip, n - skip);
    c->size += n - skip;
    c->cr_pending = p[n - 1] == '\r';
    c->line_len = complete ? 0 : c->line_len + n;
    if (complete)
        c->line_was_crlf = crlf;
}

size_t content_feed(struct content *c, const char *data, size_t len)
{
    const char *p = data, *end = data + len;
    while (p < end && !c->done) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((lf ? lf + 1 : end) - p);
        segment(c, p, n, lf != NULL);
        p += n;
    }
    return (size_t)(p - data);
}
