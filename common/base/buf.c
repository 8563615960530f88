/*
 * Growable bytes; see buf.h. Room at the front (consumed bytes) is reused before the memory grows.
 */
#include "base/buf.h"

#include <stdio.h>

void buf_free(struct buf *b)
{
    if (!b)
        return;
    free(b->mem);
    *b = (struct buf){0};
}

char *buf_grow(struct buf *b, size_t more)
{
    size_t len = buf_len(b);

    if (b->start && b->cap - len > more) {
        memmove(b->mem, b->mem + b->start, len);
    } else {
        size_t cap = b->cap ? b->cap : 64;
        while (cap - len <= more)
            cap *= 2;
        if (b->start) {
            char *mem = xmalloc(cap);
            memcpy(mem, b->mem + b->start, len);
            free(b->mem);
            b->mem = mem;
        } else {
            b->mem = xrealloc(b->mem, cap);
        }
        b->cap = cap;
    }
    b->start = 0;
    b->end = len;
    b->mem[len] = '\0';
    return b->mem + b->end;
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    char *to = buf_reserve(b, 128);
    int n = vsnprintf(to, buf_room(b) + 1, fmt, ap);
    BUG_ON(n < 0);
    if ((size_t)n > buf_room(b)) {
        to = buf_reserve(b, (size_t)n);
        vsnprintf(to, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    buf_advance(b, (size_t)n);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_consume(struct buf *b, size_t len)
{
    BUG_ON(len > buf_len(b));
    b->start += len;
    if (b->start == b->end)
        buf_reset(b);
}

char *buf_take(struct buf *b)
{
    buf_reserve(b, 0);
    if (b->start)
        memmove(b->mem, b->mem + b->start, buf_len(b) + 1);
    char *s = b->mem;
    *b = (struct buf){0};
    return s;
}
