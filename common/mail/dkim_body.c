/*
 * Canonical bodies (RFC 6376 sections 3.4.3 and 3.4.4). Called by the receiver for each piece of a
 * message as it arrives. One pass over the bytes; what comes out is gathered in a small stage so
 * that the hash is fed in large pieces.
 */
#include "mail/dkim.h"

void dkim_body_init(struct dkim_body *b, enum dkim_canon canon,
                    void (*out)(void *owner, const char *bytes, size_t n), void *owner)
{
    b->canon = canon;
    b->out = out;
    b->owner = owner;
    b->empty_lines = 0;
    b->line_has_bytes = b->cr = b->wsp = b->any = false;
    b->at_line_start = true;
    b->staged = 0;
}

static void flush(struct dkim_body *b)
{
    if (b->staged)
        b->out(b->owner, b->stage, b->staged);
    b->any |= b->staged != 0;
    b->staged = 0;
}

static inline void put(struct dkim_body *b, char c)
{
    if (b->staged == DKIM_STAGE)
        flush(b);
    b->stage[b->staged++] = c;
}

/* Bytes of a line follow: what was held back before them counts after all. */
static void begin_bytes(struct dkim_body *b)
{
    for (; b->empty_lines; b->empty_lines--) {
        put(b, '\r');
        put(b, '\n');
    }
    b->line_has_bytes = true;
}

static inline void put_byte(struct dkim_body *b, char c)
{
    if (!b->line_has_bytes)
        begin_bytes(b);
    if (b->wsp) {
        put(b, ' ');
        b->wsp = false;
    }
    put(b, c);
}

static void end_line(struct dkim_body *b)
{
    if (b->line_has_bytes) {
        put(b, '\r');
        put(b, '\n');
    } else {
        b->empty_lines++;
    }
    b->line_has_bytes = b->wsp = false;
    b->at_line_start = true;
}

static void feed_byte(struct dkim_body *b, char c)
{
    if (b->cr) {
        b->cr = false;
        if (c == '\n') {
            end_line(b);
            return;
        }
        put_byte(b, '\r'); /* a CR alone is a byte like any other */
    }
    if (c == '\r') {
        b->cr = true;
        b->at_line_start = false;
        return;
    }
    if (b->at_line_start) {
        b->at_line_start = false;
        if (c == '.')
            return; /* put there by dot-stuffing */
    }
    if (b->canon == DKIM_RELAXED && (c == ' ' || c == '\t'))
        b->wsp = true;
    else
        put_byte(b, c);
}

static inline bool is_plain(char c)
{
    return c != '\r' && c != ' ' && c != '\t';
}

void dkim_body_feed(struct dkim_body *b, const char *bytes, size_t n)
{
    const char *end = bytes + n;

    while (bytes < end) {
        if (b->cr || b->at_line_start || b->wsp || !b->line_has_bytes || !is_plain(*bytes)) {
            feed_byte(b, *bytes++);
            continue;
        }
        /* in the middle of a line: take what goes through as it is */
        const char *run = bytes,
                   *stop = bytes + MIN_OF((size_t)(end - bytes), (size_t)(DKIM_STAGE - b->staged));
        if (b->canon == DKIM_RELAXED)
            while (run < stop && is_plain(*run))
                run++;
        else
            run = run < stop ? memchr(run, '\r', (size_t)(stop - run)) : run;
        if (!run)
            run = stop;
        memcpy(b->stage + b->staged, bytes, (size_t)(run - bytes));
        b->staged += (uint32_t)(run - bytes);
        bytes = run;
        if (b->staged == DKIM_STAGE)
            flush(b);
    }
}

void dkim_body_end(struct dkim_body *b)
{
    if (b->cr)
        put_byte(b, '\r');
    b->cr = false;
    if (b->line_has_bytes)
        end_line(b);
    flush(b);
    /* an empty body is a CRLF in the simple form and nothing in the relaxed one */
    if (!b->any && b->canon == DKIM_SIMPLE)
        b->out(b->owner, "\r\n", 2);
}
