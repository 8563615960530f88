/*
 * Small macros that every module may use. Lowest floor: includes nothing of ours.
 */
#ifndef PMTA_BASE_UTIL_H
#define PMTA_BASE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* The structure of type `type` whose member `member` is at `ptr`. */
#define container_of(ptr, type, member) \
    ((type *)(void *)((char *)(uintptr_t)(ptr)-offsetof(type, member)))

#define PRINTF_LIKE(fmt_arg, first_arg) __attribute__((format(printf, fmt_arg, first_arg)))
#define MUST_CHECK                      __attribute__((warn_unused_result))
#define NORETURN                        __attribute__((noreturn))

#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))

/* Allocation that cannot fail: out of memory ends the process (root restarts it), which is why
 * everything that a peer can grow has a limit. The result of xcalloc is zeroed. */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *ptr, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t len);

/* Prints one line to stderr and aborts, so that a core is left. For our own bugs only. */
NORETURN void die_bug(const char *file, int line, const char *what);

/* Checked in every build: a broken invariant of ours, never of a peer's bytes. */
#define BUG_ON(cond)                            \
    do {                                        \
        if (cond)                               \
            die_bug(__FILE__, __LINE__, #cond); \
    } while (0)

#endif
