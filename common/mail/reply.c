/*
 * Reply parser; see reply.h. Used by delivery, the load generator and tests.
 *
 * A line goes through CODE (three digits), SEPARATOR and TEXT. Lenient where real servers need it:
 * a bare LF ends a line, a code without text is a line, lines of one reply may differ in the last
 * two digits (the last line's code counts). Strict where leniency would make two ends disagree: a
 * line that does not begin with a code, or a class that changes within a reply, is an error.
 */
#include "mail/reply.h"

enum { STATE_CODE, STATE_CODE_2, STATE_CODE_3, STATE_SEPARATOR, STATE_TEXT, STATE_DONE };

static const struct reply_limits default_limits = {1024, 65536, 200};

void reply_parser_init(struct reply_parser *p, const struct reply_limits *limits)
{
    *p = (struct reply_parser){.limits = limits ? *limits : default_limits};
}

void reply_parser_fini(struct reply_parser *p)
{
    buf_free(&p->text);
}

/* Before the first line of a reply. */
static void begin(struct reply_parser *p)
{
    buf_reset(&p->text);
    p->reply = (struct reply){0};
    p->line_start = 0;
    p->total_bytes = 0;
    p->line_count = 0;
    p->state = STATE_CODE;
    p->last = false;
}

void reply_parser_reset(struct reply_parser *p)
{
    begin(p);
    p->error = 0;
}

bool reply_parser_busy(const struct reply_parser *p)
{
    return p->state != STATE_DONE && p->total_bytes > 0;
}

/* Takes up to three digits of a number off *s. */
static bool take_number(struct strview *s, uint16_t *ret)
{
    size_t n = 0;
    uint16_t value = 0;

    while (n < s->len && n < 3 && ascii_is_digit(s->ptr[n]))
        value = (uint16_t)(value * 10 + (s->ptr[n++] - '0'));
    *s = sv(s->ptr + n, s->len - n);
    *ret = value;
    return n > 0;
}

static bool take_dot(struct strview *s)
{
    if (s->len == 0 || s->ptr[0] != '.')
        return false;
    *s = sv(s->ptr + 1, s->len - 1);
    return true;
}

size_t reply_enhanced(struct strview text, uint16_t code, struct enhanced_code *ret)
{
    struct strview s = text;
    uint16_t class_digit, subject, detail;

    *ret = (struct enhanced_code){0};
    if (!take_number(&s, &class_digit) || !take_dot(&s) || !take_number(&s, &subject) ||
        !take_dot(&s) || !take_number(&s, &detail))
        return 0;
    if (class_digit != code / 100 || class_digit == 3 || (s.len && s.ptr[0] != ' '))
        return 0;
    *ret = (struct enhanced_code){(uint8_t)class_digit, subject, detail};
    return text.len - s.len;
}

/* Makes the text of the current line fit to be logged and compared. */
static void clean_line(struct reply_parser *p)
{
    char *line = buf_data(&p->text) + p->line_start;
    size_t len = buf_len(&p->text) - p->line_start;

    if (len && line[len - 1] == '\r') {
        len--;
        p->text.end--;
        line[len] = '\0';
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)line[i];
        if (c == '\t')
            line[i] = ' ';
        else if (c < 0x20 || c == 0x7f)
            line[i] = '?';
    }
}

/* A line has ended: 1 when the reply has, 0 or an error otherwise. */
static int end_line(struct reply_parser *p)
{
    clean_line(p);
    if (p->line_count == 0)
        reply_enhanced(buf_view(&p->text), p->code, &p->reply.enhanced);
    else if (p->code / 100 != p->reply.code / 100)
        return ERR_PROTOCOL;
    p->reply.code = p->code;
    p->line_count++;
    if (p->last) {
        p->reply.lines = buf_view(&p->text);
        p->state = STATE_DONE;
        return 1;
    }
    if (p->line_count >= p->limits.lines)
        return ERR_LIMIT;
    buf_append_char(&p->text, '\n');
    p->line_start = buf_len(&p->text);
    p->state = STATE_CODE;
    return 0;
}

static int take_digit(struct reply_parser *p, char c)
{
    if (!ascii_is_digit(c))
        return ERR_PROTOCOL;
    if (p->state == STATE_CODE) {
        if (c < '2' || c > '5')
            return ERR_PROTOCOL;
        p->code = 0;
    }
    p->code = (uint16_t)(p->code * 10 + (c - '0'));
    p->state++;
    return 0;
}

static int take_separator(struct reply_parser *p, char c)
{
    if (c != ' ' && c != '-' && c != '\r' && c != '\n')
        return ERR_PROTOCOL;
    p->last = c != '-';
    p->state = STATE_TEXT;
    if (c == '\r')
        buf_append_char(&p->text, c);
    return c == '\n' ? end_line(p) : 0;
}

/* Text up to the end of the line or of the data. */
static int take_text(struct reply_parser *p, const char *data, size_t len, size_t *used)
{
    const char *lf = memchr(data, '\n', len);
    size_t n = lf ? (size_t)(lf - data) : len;
    size_t have = buf_len(&p->text) - p->line_start;
    size_t room = p->limits.line_bytes > have ? p->limits.line_bytes - have : 0;

    if (n > room) {
        p->reply.cut = true;
        buf_append(&p->text, data, room);
    } else {
        buf_append(&p->text, data, n);
    }
    *used += n;
    if (!lf)
        return 0;
    *used += 1;
    return end_line(p);
}

int reply_parse(struct reply_parser *p, const char *data, size_t len, size_t *used)
{
    size_t pos = 0;
    int r = p->error;

    if (p->state == STATE_DONE)
        begin(p);
    while (r == 0 && pos < len) {
        size_t before = pos;
        /* one byte over the limit is looked at, never more */
        size_t most = MIN_OF(len - pos, p->limits.total_bytes - p->total_bytes + 1);
        if (p->state == STATE_TEXT)
            r = take_text(p, data + pos, most, &pos);
        else if (p->state == STATE_SEPARATOR)
            r = take_separator(p, data[pos++]);
        else
            r = take_digit(p, data[pos++]);
        p->total_bytes += pos - before;
        if (r >= 0 && p->total_bytes > p->limits.total_bytes)
            r = ERR_LIMIT;
    }
    *used = pos;
    if (r < 0)
        p->error = r;
    return r;
}

void reply_text(const struct reply *r, struct buf *out)
{
    struct strview rest = r->lines, line;
    bool first = true;

    buf_printf(out, "%u", r->code);
    while (sv_split(&rest, '\n', &line)) {
        struct enhanced_code again;
        if (!first && r->enhanced.class_digit) {
            size_t n = reply_enhanced(line, r->code, &again);
            if (n && again.subject == r->enhanced.subject && again.detail == r->enhanced.detail)
                line = sv(line.ptr + n, line.len - n);
        }
        first = false;
        line = sv_trim(line);
        if (line.len) {
            buf_append_char(out, ' ');
            buf_append_sv(out, line);
        }
    }
}
