/*
 * Allocation that cannot fail, and the end of a process that found a bug of its own.
 */
#include "base/util.h"

#include <stdio.h>

NORETURN static void out_of_memory(size_t size)
{
    fprintf(stderr, "out of memory: could not get %zu bytes, giving up\n", size);
    abort();
}

void *xmalloc(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        out_of_memory(size);
    return p;
}

void *xcalloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p)
        out_of_memory(count * size);
    return p;
}

void *xrealloc(void *ptr, size_t size)
{
    void *p = realloc(ptr, size ? size : 1);
    if (!p)
        out_of_memory(size);
    return p;
}

char *xstrndup(const char *s, size_t len)
{
    char *p = xmalloc(len + 1);
    if (len) /* an empty view may have no memory */
        memcpy(p, s, len);
    p[len] = '\0';
    return p;
}

char *xstrdup(const char *s)
{
    return xstrndup(s, strlen(s));
}

NORETURN void die_bug(const char *file, int line, const char *what)
{
    fprintf(stderr, "bug: %s:%d: '%s' holds but must not\n", file, line, what);
    abort();
}
