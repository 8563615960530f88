/*
 * Header scan; see header_scan.h. The receiver calls header_scan_feed after each piece it appended
 * to the content. Lines that stay are moved down over those that were taken out only when something
 * was taken out, so that a message without our header fields is not touched. While feed runs there
 * is a hole between `out` and `at`; nothing outside sees it, because it is closed before feed
 * returns.
 */
#include "mail/header_scan.h"

static const char *const field_names[] = {
#define FIELD_NAME(id, name) name,
    HEADER_FIELDS(FIELD_NAME)
#undef FIELD_NAME
};

void header_scan_reset(struct header_scan *h, size_t start, size_t max_bytes)
{
    h->start = h->at = h->end = start;
    h->max_bytes = max_bytes;
    h->status = HEADER_MORE;
    h->received_count = h->dots_removed = 0;
    h->field = -1;
    h->taken_any = h->take_bimi = h->take_list = h->in_tls = false;
    h->tls_count = 0;
    h->tls_required[0] = '\0';
    for (int i = 0; i < HEADER_FIELD_COUNT; i++) {
        h->seen[i] = false;
        buf_reset(&h->values[i]);
    }
}

void header_scan_free(struct header_scan *h)
{
    for (int i = 0; i < HEADER_FIELD_COUNT; i++)
        buf_free(&h->values[i]);
}

struct strview header_scan_value(const struct header_scan *h, enum header_field f)
{
    return sv_trim(buf_view(&h->values[f]));
}

/* Name of the field that begins in this line: printable bytes before the colon, blanks before it
 * allowed (RFC 5322 section 4.5.8). False when the line begins no field. */
static bool field_name(struct strview line, struct strview *ret_name, struct strview *ret_value)
{
    size_t n = 0;

    while (n < line.len && line.ptr[n] > 0x20 && line.ptr[n] != 0x7f && line.ptr[n] != ':')
        n++;
    size_t colon = n;
    while (colon < line.len && (line.ptr[colon] == ' ' || line.ptr[colon] == '\t'))
        colon++;
    if (n == 0 || colon >= line.len || line.ptr[colon] != ':')
        return false;
    *ret_name = sv(line.ptr, n);
    *ret_value = sv(line.ptr + colon + 1, line.len - colon - 1);
    return true;
}

static void remember(struct header_scan *h, struct strview value)
{
    if (h->field_first)
        buf_append_sv(&h->values[h->field], value);
}

/* One character more than "No" is kept, so that "None" is not taken for it. */
static void remember_tls(struct header_scan *h, struct strview value)
{
    size_t n = strlen(h->tls_required);

    for (size_t i = 0; i < value.len && n + 1 < sizeof(h->tls_required); i++)
        if (value.ptr[i] != ' ' && value.ptr[i] != '\t')
            h->tls_required[n++] = value.ptr[i];
    h->tls_required[n] = '\0';
}

bool header_scan_tls_optional(const struct header_scan *h)
{
    return h->tls_count == 1 && sv_eq_nocase(sv_of(h->tls_required), SV("no"));
}

static void begin_field(struct header_scan *h, struct strview name, struct strview value)
{
    h->field = -1;
    h->in_tls = (name.ptr[0] | 0x20) == 't' && sv_eq_nocase(name, SV("TLS-Required"));
    if (h->in_tls && h->tls_count++ == 0)
        remember_tls(h, value);
    if ((name.ptr[0] | 0x20) == 'r' && sv_eq_nocase(name, SV("Received")))
        h->received_count++;
    char first = (char)(name.ptr[0] | 0x20);
    if (first != 'x' && !(h->take_bimi && first == 'b') && !(h->take_list && first == 'l'))
        return;
    for (int i = 0; i < HEADER_FIELD_COUNT; i++) {
        if (!sv_eq_nocase(name, sv_of(field_names[i])))
            continue;
        h->field = i;
        h->field_first = !h->seen[i];
        h->seen[i] = true;
        remember(h, value);
    }
}

enum line_kind { LINE_FIELD, LINE_MORE_OF_IT, LINE_BLANK, LINE_NO_FIELD };

/* `line` has neither CRLF nor stuffed dot. */
static enum line_kind take_line(struct header_scan *h, struct strview line, bool first)
{
    struct strview name, value;

    if (line.len == 0)
        return LINE_BLANK;
    if (line.ptr[0] == ' ' || line.ptr[0] == '\t') {
        if (first)
            return LINE_NO_FIELD;
        if (h->field >= 0)
            remember(h, line);
        if (h->in_tls && h->tls_count == 1)
            remember_tls(h, line);
        return LINE_MORE_OF_IT;
    }
    if (!field_name(line, &name, &value))
        return LINE_NO_FIELD;
    begin_field(h, name, value);
    return LINE_FIELD;
}

/* Takes content[from, to) out. */
static void cut(struct buf *content, size_t from, size_t to)
{
    char *data = buf_data(content);
    memmove(data + from, data + to, buf_len(content) - to);
    content->end -= to - from;
    content->mem[content->end] = '\0';
}

static void insert_blank_line(struct buf *content, size_t at)
{
    buf_reserve(content, 2);
    buf_advance(content, 2);
    char *data = buf_data(content);
    memmove(data + at + 2, data + at, buf_len(content) - at - 2);
    memcpy(data + at, "\r\n", 2);
}

static enum header_status done(struct header_scan *h, struct buf *content, bool blank_missing)
{
    if (blank_missing) {
        insert_blank_line(content, h->at);
        h->at += 2;
    }
    h->end = h->at;
    h->status = h->end - h->start > h->max_bytes ? HEADER_TOO_LARGE : HEADER_DONE;
    return h->status;
}

enum header_status header_scan_feed(struct header_scan *h, struct buf *content)
{
    size_t out = h->at; /* lines that stay go here; at - out is the hole */

    if (h->status != HEADER_MORE)
        return h->status;
    for (bool ended = false, blank_missing = false;;) {
        char *data = buf_data(content);
        size_t len = buf_len(content);
        char *lf = ended ? NULL : memchr(data + h->at, '\n', len - h->at);
        if (!lf) {
            if (out < h->at) {
                cut(content, out, h->at);
                h->at = out;
            }
            if (ended)
                return done(h, content, blank_missing);
            if (buf_len(content) - h->start > h->max_bytes)
                h->status = HEADER_TOO_LARGE;
            return h->status;
        }
        size_t next = (size_t)(lf - data) + 1;
        bool stuffed = data[h->at] == '.';
        struct strview line = sv(data + h->at + stuffed, next - h->at - stuffed - 2);
        enum line_kind kind = take_line(h, line, h->at == h->start && !h->taken_any);
        if (kind == LINE_NO_FIELD) {
            ended = blank_missing = true;
            continue;
        }
        ended = kind == LINE_BLANK;
        if (!ended && h->field >= 0) {
            h->taken_any = true;
            h->dots_removed += stuffed;
        } else {
            if (out < h->at)
                memmove(data + out, data + h->at, next - h->at);
            out += next - h->at;
        }
        h->at = next;
    }
}

enum header_status header_scan_finish(struct header_scan *h, struct buf *content)
{
    if (header_scan_feed(h, content) != HEADER_MORE)
        return h->status;
    return done(h, content, true);
}
