/*
 * buf: growable bytes, always NUL-terminated one past the end so that text can be handed to C
 * functions. Zero-initialised is valid and empty. Data before `start` has been consumed.
 */
#ifndef PMTA_BASE_BUF_H
#define PMTA_BASE_BUF_H

#include "base/str.h"

#include <stdarg.h>
#include <string.h>

struct buf {
    char *mem;    /* allocation, or NULL */
    size_t start; /* first live byte */
    size_t end;   /* one past the last live byte; start <= end < cap, when mem is set */
    size_t cap;
};

static inline size_t buf_len(const struct buf *b)
{
    return b->end - b->start;
}

/* First live byte; never NULL. Valid until the next call that grows, and NUL-terminated. */
static inline char *buf_data(const struct buf *b)
{
    static char empty[1];
    return b->mem ? b->mem + b->start : empty;
}

static inline struct strview buf_view(const struct buf *b)
{
    return sv(buf_data(b), buf_len(b));
}

/* Frees the memory; the buf is then empty and usable. NULL is fine. */
void buf_free(struct buf *b);

/* Empties, keeping the memory. */
static inline void buf_reset(struct buf *b)
{
    b->start = b->end = 0;
    if (b->mem)
        b->mem[0] = '\0';
}

/* What buf_reserve does when there is no room. */
char *buf_grow(struct buf *b, size_t more);

/* Makes room for `more` bytes after the live ones and returns where they go; tell how many were
 * written with buf_advance. */
static inline char *buf_reserve(struct buf *b, size_t more)
{
    return b->cap - b->end > more ? b->mem + b->end : buf_grow(b, more);
}

static inline size_t buf_room(const struct buf *b)
{
    return b->cap ? b->cap - b->end - 1 : 0;
}

static inline void buf_advance(struct buf *b, size_t written)
{
    BUG_ON(written > buf_room(b));
    b->end += written;
    if (b->mem)
        b->mem[b->end] = '\0';
}

static inline void buf_append(struct buf *b, const void *data, size_t len)
{
    char *to = buf_reserve(b, len);
    if (len)
        memcpy(to, data, len);
    b->end += len;
    b->mem[b->end] = '\0';
}

static inline void buf_append_sv(struct buf *b, struct strview s)
{
    buf_append(b, s.ptr, s.len);
}

static inline void buf_append_str(struct buf *b, const char *cstr)
{
    buf_append(b, cstr, strlen(cstr));
}

static inline void buf_append_char(struct buf *b, char c)
{
    buf_append(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);

/* Keeps the first `len` bytes; len <= buf_len(b). */
static inline void buf_truncate(struct buf *b, size_t len)
{
    BUG_ON(len > buf_len(b));
    b->end = b->start + len;
    if (b->mem)
        b->mem[b->end] = '\0';
}

/* Drops `len` bytes from the front; len <= buf_len(b). */
void buf_consume(struct buf *b, size_t len);

/* Hands the bytes to the caller as a malloc'd NUL-terminated string; the buf is then empty. */
char *buf_take(struct buf *b);

#endif
