/*
 * strview: borrowed bytes with a length, not NUL-terminated. Comparison without case is ASCII only,
 * independent of the locale, as SMTP and DNS want it.
 */
#ifndef PMTA_BASE_STR_H
#define PMTA_BASE_STR_H

#include "base/util.h"

struct strview {
    const char *ptr;
    size_t len;
};

/* For printf("%.*s", SV_ARG(v)). */
#define SV_ARG(v) (int)(v).len, (v).ptr
#define SV(lit)   ((struct strview){(lit), sizeof(lit) - 1})

static inline struct strview sv(const char *ptr, size_t len)
{
    return (struct strview){ptr, len};
}

static inline struct strview sv_of(const char *cstr)
{
    return (struct strview){cstr, cstr ? strlen(cstr) : 0};
}

static inline bool sv_eq(struct strview a, struct strview b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static inline bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool ascii_is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool sv_eq_nocase(struct strview a, struct strview b);
bool sv_starts_nocase(struct strview s, struct strview prefix);
bool sv_ends_nocase(struct strview s, struct strview suffix);

/* Without leading and trailing blanks, tabs, CR and LF. */
struct strview sv_trim(struct strview s);

/* Takes the part of *rest before the next `sep` and moves *rest past it. Returns false when *rest
 * was exhausted already; an empty last part after a separator counts as a part. A view whose ptr is
 * NULL is exhausted. */
bool sv_split(struct strview *rest, char sep, struct strview *ret_part);

/* Index of the first c, or -1. */
ptrdiff_t sv_find(struct strview s, char c);

/* Whole view is a decimal number that fits; false otherwise. */
bool sv_to_u64(struct strview s, uint64_t *ret);

/* Lower-cases in place. */
void str_lower(char *s, size_t len);

/* Edit distance (insert, delete, replace, swap of neighbours), for "did you mean". Both at most 64
 * bytes, else a large number. */
unsigned str_distance(struct strview a, struct strview b);

#endif
