/*
 * Intervals, sizes and rates; see units.h.
 */
#include "base/units.h"

#include "base/err.h"

#include <stdio.h>

static const struct {
    const char *name;
    int64_t ms;
} interval_units[] = {
    {"w", 7 * 86400000LL}, {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};

static const struct {
    const char *name;
    int64_t ms;
} rate_units[] = {
    {"d", 86400000}, {"day", 86400000}, {"h", 3600000}, {"hr", 3600000}, {"hour", 3600000},
    {"m", 60000},    {"min", 60000},    {"s", 1000},    {"sec", 1000},
};

/* Takes leading digits off s. */
static bool take_number(struct strview *s, uint64_t *ret)
{
    size_t n = 0;
    while (n < s->len && ascii_is_digit(s->ptr[n]))
        n++;
    if (!sv_to_u64(sv(s->ptr, n), ret))
        return false;
    *s = sv(s->ptr + n, s->len - n);
    return true;
}

static struct strview take_letters(struct strview *s)
{
    size_t n = 0;
    while (n < s->len && ascii_is_alpha(s->ptr[n]))
        n++;
    struct strview word = sv(s->ptr, n);
    *s = sv(s->ptr + n, s->len - n);
    return word;
}

static int64_t interval_unit_ms(struct strview word)
{
    for (size_t i = 0; i < ARRAY_LEN(interval_units); i++)
        if (sv_eq_nocase(word, sv_of(interval_units[i].name)))
            return interval_units[i].ms;
    return 0;
}

int units_parse_interval(struct strview s, int64_t *ret_ms)
{
    int64_t total = 0;

    if (sv_eq(s, SV("0"))) {
        *ret_ms = 0;
        return 0;
    }
    if (!s.len)
        return ERR_SYNTAX;
    while (s.len) {
        uint64_t n;
        if (!take_number(&s, &n))
            return ERR_SYNTAX;
        int64_t unit = interval_unit_ms(take_letters(&s));
        if (!unit || n > (uint64_t)((INT64_MAX - total) / unit))
            return ERR_SYNTAX;
        total += (int64_t)n * unit;
    }
    *ret_ms = total;
    return 0;
}

int units_parse_size(struct strview s, uint64_t *ret_bytes)
{
    static const char units[] = "bkmgt";
    uint64_t n;

    if (!take_number(&s, &n) || s.len > 1)
        return ERR_SYNTAX;
    if (s.len) {
        const char *at = strchr(units, ascii_lower(s.ptr[0]));
        if (!at || !*at)
            return ERR_SYNTAX;
        unsigned shift = 10 * (unsigned)(at - units);
        if (n > UINT64_MAX >> shift)
            return ERR_SYNTAX;
        n <<= shift;
    }
    *ret_bytes = n;
    return 0;
}

/* [M]unit, all of s. */
static int parse_period(struct strview s, int64_t *ret_ms)
{
    uint64_t times = 1;

    if (!s.len ||
        (ascii_is_digit(s.ptr[0]) && (!take_number(&s, &times) || !times || times > 1000000)))
        return ERR_SYNTAX;
    for (size_t i = 0; i < ARRAY_LEN(rate_units); i++) {
        if (sv_eq_nocase(s, sv_of(rate_units[i].name))) {
            *ret_ms = (int64_t)times * rate_units[i].ms;
            return 0;
        }
    }
    return ERR_SYNTAX;
}

static bool parse_no_limit(struct strview s, struct rate *ret)
{
    if (!sv_eq_nocase(s, SV("unlimited")) && !sv_eq(s, SV("0")))
        return false;
    *ret = (struct rate){0, 0};
    return true;
}

int units_parse_rate(struct strview s, struct rate *ret)
{
    uint64_t count;

    if (parse_no_limit(s, ret))
        return 0;
    if (!take_number(&s, &count) || !s.len || s.ptr[0] != '/')
        return ERR_SYNTAX;
    ret->count = count;
    return parse_period(sv(s.ptr + 1, s.len - 1), &ret->period_ms);
}

int units_parse_data_rate(struct strview s, struct rate *ret)
{
    if (parse_no_limit(s, ret))
        return 0;
    const char *stroke = memchr(s.ptr, '/', s.len);
    if (!stroke)
        return ERR_SYNTAX;
    size_t at = (size_t)(stroke - s.ptr);
    if (units_parse_size(sv(s.ptr, at), &ret->count))
        return ERR_SYNTAX;
    return parse_period(sv(stroke + 1, s.len - at - 1), &ret->period_ms);
}

char *units_format_interval(int64_t ms, char *out)
{
    size_t n = 0;

    if (ms <= 0)
        return strcpy(out, "0");
    for (size_t i = 0; i < ARRAY_LEN(interval_units) && n < UNITS_SIZE; i++) {
        int64_t count = ms / interval_units[i].ms;
        if (!count)
            continue;
        n += (size_t)snprintf(out + n, UNITS_SIZE - n, "%lld%s", (long long)count,
                              interval_units[i].name);
        ms -= count * interval_units[i].ms;
    }
    return out;
}

char *units_format_size(uint64_t bytes, char *out)
{
    static const char units[] = "bkmgt";
    size_t i = 0;

    while (bytes && bytes % 1024 == 0 && i + 2 < sizeof(units)) {
        bytes /= 1024;
        i++;
    }
    if (i)
        snprintf(out, UNITS_SIZE, "%llu%c", (unsigned long long)bytes, units[i]);
    else
        snprintf(out, UNITS_SIZE, "%llu", (unsigned long long)bytes);
    return out;
}

/* "/[M]unit" after the count that out holds. */
static char *format_period(int64_t period_ms, char *out)
{
    static const struct {
        char name;
        int64_t ms;
    } named[] = {{'d', 86400000}, {'h', 3600000}, {'m', 60000}, {'s', 1000}};
    size_t len = strlen(out);

    for (size_t i = 0; i < ARRAY_LEN(named); i++) {
        if (period_ms % named[i].ms)
            continue;
        long long times = period_ms / named[i].ms;
        if (times == 1)
            snprintf(out + len, UNITS_SIZE - len, "/%c", named[i].name);
        else
            snprintf(out + len, UNITS_SIZE - len, "/%lld%c", times, named[i].name);
        break;
    }
    return out;
}

char *units_format_rate(const struct rate *r, char *out)
{
    if (!r->count)
        return strcpy(out, "unlimited");
    snprintf(out, UNITS_SIZE, "%llu", (unsigned long long)r->count);
    return format_period(r->period_ms, out);
}

char *units_format_data_rate(const struct rate *r, char *out)
{
    if (!r->count)
        return strcpy(out, "unlimited");
    return format_period(r->period_ms, units_format_size(r->count, out));
}
