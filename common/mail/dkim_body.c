/*
 * Canonical bodies (RFC 6376 sections 3.4.3 and 3.4.4). Called by the receiver for each piece of a
 * message as it arrives. One pass over the bytes; what comes out is gathered in a small stage so
 * that the hash is fed in large pieces.
 */
#include "mail/dkim.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

/* --- what goes through as it is ---
 *
 * In the middle of a line nearly everything does: also a blank between two words, and a line end
 * with the first byte of the next line. What does not is found 16 bytes a step; the steps read up to
 * two bytes further. */

enum { LOOK_AHEAD = 2 };

static inline bool is_special(enum dkim_canon canon, char c)
{
    return c == '\r' || (canon == DKIM_RELAXED && (c == ' ' || c == '\t'));
}

static inline bool passes(enum dkim_canon canon, const char *p)
{
    if (*p == '\r')
        return p[1] == '\n' && p[2] != '.' && !is_special(canon, p[2]);
    if (canon == DKIM_SIMPLE)
        return true;
    return *p == ' ' ? !is_special(canon, p[1]) : *p != '\t';
}

#ifdef __SSE2__
static inline unsigned mask_of(__m128i v, char c)
{
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(c)));
}

static inline __m128i load(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* Bit i: the byte p[i] does not pass. */
static inline unsigned stops(enum dkim_canon canon, const char *p)
{
    bool relaxed = canon == DKIM_RELAXED;
    __m128i v = load(p);
    unsigned cr = mask_of(v, '\r'), blank = relaxed ? mask_of(v, ' ') : 0;
    unsigned stop = relaxed ? mask_of(v, '\t') : 0;

    if (blank) {
        __m128i next = load(p + 1);
        stop |= blank & (mask_of(next, ' ') | mask_of(next, '\t') | mask_of(next, '\r'));
    }
    if (cr) {
        __m128i after = load(p + 2);
        unsigned bad = mask_of(after, '.') | mask_of(after, '\r');
        if (relaxed)
            bad |= mask_of(after, ' ') | mask_of(after, '\t');
        stop |= cr & ~(mask_of(load(p + 1), '\n') & ~bad);
    }
    return stop;
}
#endif

/* The first byte from p on that does not pass, or that cannot be told before more has come. */
static const char *skip_passing(enum dkim_canon canon, const char *p, const char *end)
{
#ifdef __SSE2__
    for (; end - p >= 16 + LOOK_AHEAD; p += 16) {
        unsigned stop = stops(canon, p);
        if (stop)
            return p + __builtin_ctz(stop);
    }
#endif
    while (end - p > LOOK_AHEAD && passes(canon, p))
        p++;
    return p;
}

static void put_run(struct dkim_body *b, const char *bytes, size_t n)
{
    if (n > DKIM_STAGE - b->staged)
        flush(b);
    if (n > DKIM_STAGE / 2) {
        flush(b);
        b->out(b->owner, bytes, n);
        b->any = true;
        return;
    }
    memcpy(b->stage + b->staged, bytes, n);
    b->staged += (uint32_t)n;
}

void dkim_body_feed(struct dkim_body *b, const char *bytes, size_t n)
{
    const char *end = bytes + n;

    while (bytes < end) {
        if (!b->cr && !b->at_line_start && !b->wsp && b->line_has_bytes) {
            const char *to = skip_passing(b->canon, bytes, end);
            put_run(b, bytes, (size_t)(to - bytes));
            bytes = to;
            if (bytes == end)
                return;
        }
        feed_byte(b, *bytes++);
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
