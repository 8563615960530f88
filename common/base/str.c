/*
 * Operations on borrowed strings; see str.h.
 */
#include "base/str.h"

bool sv_eq_nocase(struct strview a, struct strview b)
{
    return a.len == b.len && sv_starts_nocase(a, b);
}

bool sv_starts_nocase(struct strview s, struct strview prefix)
{
    if (s.len < prefix.len)
        return false;
    for (size_t i = 0; i < prefix.len; i++)
        if (ascii_lower(s.ptr[i]) != ascii_lower(prefix.ptr[i]))
            return false;
    return true;
}

bool sv_ends_nocase(struct strview s, struct strview suffix)
{
    if (s.len < suffix.len)
        return false;
    return sv_starts_nocase(sv(s.ptr + s.len - suffix.len, suffix.len), suffix);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct strview sv_trim(struct strview s)
{
    while (s.len && is_space(s.ptr[0]))
        s.ptr++, s.len--;
    while (s.len && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

ptrdiff_t sv_find(struct strview s, char c)
{
    const char *p = s.len ? memchr(s.ptr, c, s.len) : NULL;
    return p ? p - s.ptr : -1;
}

bool sv_split(struct strview *rest, char sep, struct strview *ret_part)
{
    if (!rest->ptr)
        return false;
    ptrdiff_t at = sv_find(*rest, sep);
    if (at < 0) {
        *ret_part = *rest;
        *rest = sv(NULL, 0);
        return true;
    }
    *ret_part = sv(rest->ptr, (size_t)at);
    *rest = sv(rest->ptr + at + 1, rest->len - (size_t)at - 1);
    return true;
}

bool sv_to_u64(struct strview s, uint64_t *ret)
{
    uint64_t n = 0;
    if (!s.len)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!ascii_is_digit(s.ptr[i]))
            return false;
        uint64_t digit = (uint64_t)(s.ptr[i] - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *ret = n;
    return true;
}

void str_lower(char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        s[i] = ascii_lower(s[i]);
}

unsigned str_distance(struct strview a, struct strview b)
{
    enum { MAX = 64 };
    unsigned row[3][MAX + 1];

    if (a.len > MAX || b.len > MAX)
        return 2 * MAX;
    for (size_t j = 0; j <= b.len; j++)
        row[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a.len; i++) {
        unsigned *cur = row[i % 3], *up = row[(i + 2) % 3], *upup = row[(i + 1) % 3];
        cur[0] = (unsigned)i;
        for (size_t j = 1; j <= b.len; j++) {
            bool same = ascii_lower(a.ptr[i - 1]) == ascii_lower(b.ptr[j - 1]);
            unsigned best = up[j - 1] + (same ? 0 : 1);
            best = MIN_OF(best, up[j] + 1);
            best = MIN_OF(best, cur[j - 1] + 1);
            if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1])
                best = MIN_OF(best, upup[j - 2] + 1);
            cur[j] = best;
        }
    }
    return row[a.len % 3][b.len];
}
