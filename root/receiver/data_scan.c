/*
 * Message bytes in, wire form out; see data_scan.h. Called by smtp_server_data.c for each piece of
 * input. The common path is find_special (16 bytes a step) once or twice a line, and one append per
 * piece: `run` is the first byte that was not appended yet, and is flushed only where the output
 * differs from the input.
 */
#include "data_scan.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

void data_scan_reset(struct data_scan *d, bool bdat, bool fix_lf, size_t line_max)
{
    *d = (struct data_scan){.bdat = bdat, .fix_lf = fix_lf, .line_max = line_max};
}

/* First CR, LF or NUL in [p, end), or end. Notes bytes with the high bit on the way. */
static const char *find_special(const char *p, const char *end, bool *eight_bit)
{
#ifdef __SSE2__
    const __m128i cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n'), nul = _mm_setzero_si128();

    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, lf)),
                                   _mm_cmpeq_epi8(v, nul));
        unsigned high = (unsigned)_mm_movemask_epi8(v), hits = (unsigned)_mm_movemask_epi8(hit);
        if (hits) {
            unsigned at = (unsigned)__builtin_ctz(hits);
            if (high & ((1u << at) - 1))
                *eight_bit = true;
            return p + at;
        }
        if (high)
            *eight_bit = true;
    }
#endif
    for (; p < end; p++) {
        if (*p == '\r' || *p == '\n' || *p == '\0')
            return p;
        if ((unsigned char)*p >= 0x80)
            *eight_bit = true;
    }
    return end;
}

struct pass {
    struct data_scan *d;
    struct buf *out;
    const char *run; /* first byte of the input that is not in out yet */
};

static void flush_run(struct pass *s, const char *to)
{
    if (s->out && s->d->fault == DATA_OK && to > s->run)
        buf_append(s->out, s->run, (size_t)(to - s->run));
    s->run = to;
}

static void put(struct pass *s, const char *text, size_t len)
{
    if (s->out && s->d->fault == DATA_OK)
        buf_append(s->out, text, len);
}

static void fault(struct pass *s, enum data_fault f)
{
    if (s->d->fault == DATA_OK)
        s->d->fault = f;
}

/* A bare LF at p, in a line or at its start. */
static void bare_lf(struct pass *s, const char *p)
{
    if (!s->d->fix_lf)
        fault(s, DATA_BARE_LF);
    flush_run(s, p);
    put(s, "\r\n", 2);
    s->run = p + 1;
    s->d->place = DATA_LF_LINE_START;
}

/* First byte of a line. Moves p past a dot; anything else is left for in_line. */
static const char *line_start(struct pass *s, const char *p)
{
    struct data_scan *d = s->d;
    bool after_crlf = d->place == DATA_LINE_START;

    d->line_bytes = 0;
    d->place = DATA_IN_LINE;
    if (*p != '.')
        return p;
    if (after_crlf && !d->bdat) {
        flush_run(s, p);
        s->run = p + 1;
        d->place = DATA_DOT;
        return p + 1;
    }
    flush_run(s, p);
    put(s, ".", 1);
    d->stuffed_dots++;
    return p;
}

/* After a dot that was held back. Moves p past a CR only. */
static const char *after_dot(struct pass *s, const char *p)
{
    struct data_scan *d = s->d;

    if (*p == '\r') {
        s->run = p + 1;
        d->place = DATA_DOT_CR;
        return p + 1;
    }
    d->place = DATA_IN_LINE;
    d->line_bytes = 1;
    d->stuffed_dots++;
    /* ".LF": the line would become the end of data when the LF is made a CRLF */
    put(s, *p == '\n' ? ".." : ".", *p == '\n' ? 2 : 1);
    s->run = p;
    return p;
}

static const char *in_line(struct pass *s, const char *p, const char *end)
{
    struct data_scan *d = s->d;
    const char *q = find_special(p, end, &d->eight_bit);

    d->line_bytes += (size_t)(q - p);
    if (d->line_bytes + 2 > d->line_max)
        fault(s, DATA_LONG_LINE);
    if (q == end)
        return q;
    if (*q == '\n') {
        bare_lf(s, q);
    } else if (*q == '\0') {
        fault(s, DATA_NUL);
        d->line_bytes++;
    } else if (q + 1 < end && q[1] == '\n') {
        d->place = DATA_LINE_START;
        return q + 2;
    } else {
        d->place = DATA_AFTER_CR;
    }
    return q + 1;
}

static const char *after_cr(struct pass *s, const char *p)
{
    struct data_scan *d = s->d;

    if (*p == '\n') {
        d->place = DATA_LINE_START;
        return p + 1;
    }
    fault(s, DATA_BARE_CR);
    d->line_bytes++;
    d->place = DATA_IN_LINE;
    return p;
}

size_t data_scan(struct data_scan *d, const char *in, size_t len, struct buf *out, bool *ret_ended)
{
    struct pass s = {.d = d, .out = out, .run = in};
    const char *p = in, *end = in + len;

    *ret_ended = false;
    while (p < end) {
        switch (d->place) {
        case DATA_LINE_START:
        case DATA_LF_LINE_START:
            p = line_start(&s, p);
            break;
        case DATA_IN_LINE:
            p = in_line(&s, p, end);
            break;
        case DATA_AFTER_CR:
            p = after_cr(&s, p);
            break;
        case DATA_DOT:
            p = after_dot(&s, p);
            break;
        case DATA_DOT_CR:
            if (*p == '\n') {
                *ret_ended = true;
                return (size_t)(p + 1 - in);
            }
            fault(&s, DATA_BARE_CR);
            d->place = DATA_IN_LINE;
            break;
        }
    }
    flush_run(&s, end);
    return len;
}

void data_scan_finish(struct data_scan *d, struct buf *out)
{
    struct pass s = {.d = d, .out = out};

    if (d->place == DATA_AFTER_CR)
        fault(&s, DATA_BARE_CR);
    else if (d->place == DATA_IN_LINE)
        put(&s, "\r\n", 2);
}
