/*
 * MX roll-up; see rollup.h. Called by routing once per answer of the resolver, so patterns are read
 * as they stand in the configuration: root has checked them. Nothing here keeps memory.
 */
#include "rollup/rollup.h"

#include "mail/host_list.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_BEST = ROUTE_MAX_ADDRESSES };

/* The names of the best MX hosts, each once; an address more of the same host is no other host. */
struct best {
    struct strview hosts[MAX_BEST];
    size_t count;
};

static bool best_has(const struct best *b, struct strview host)
{
    for (size_t i = 0; i < b->count; i++)
        if (sv_eq_nocase(b->hosts[i], host))
            return true;
    return false;
}

static struct strview without_dot(struct strview host)
{
    if (host.len && host.ptr[host.len - 1] == '.')
        host.len--;
    return host;
}

static bool find_best(const struct route *mx, struct best *ret)
{
    uint16_t lowest = UINT16_MAX;

    ret->count = 0;
    if (!mx || mx->kind != ROUTE_MX || mx->status != ROUTE_OK)
        return false;
    for (size_t i = 0; i < mx->address_count; i++)
        lowest = MIN_OF(lowest, mx->addresses[i].preference);
    for (size_t i = 0; i < mx->address_count && ret->count < MAX_BEST; i++) {
        struct strview host = without_dot(mx->addresses[i].host);
        if (mx->addresses[i].preference == lowest && host.len && !best_has(ret, host))
            ret->hosts[ret->count++] = host;
    }
    return ret->count != 0;
}

/* --- the patterns of a group, in all its mx lines --- */

struct patterns {
    const struct config_value *value;
    struct strview rest;
};

static struct patterns patterns_of(const struct config *cfg, struct strview rollup)
{
    const struct config_value *v = config_section_get(cfg, KIND_MX_ROLLUP, rollup, DIR_MX);
    return (struct patterns){v, sv_of(v ? v->text : NULL)};
}

static bool next_pattern(struct patterns *p, struct strview *ret)
{
    while (p->value) {
        while (sv_split(&p->rest, ',', ret)) {
            *ret = without_dot(sv_trim(*ret));
            if (ret->len)
                return true;
        }
        p->value = p->value->next;
        p->rest = sv_of(p->value ? p->value->text : NULL);
    }
    return false;
}

bool rollup_is_explicit(const struct config *cfg, struct strview rollup)
{
    struct patterns all = patterns_of(cfg, rollup);
    struct strview one;
    size_t count = 0;

    for (; next_pattern(&all, &one); count++)
        if (sv_find(one, '*') >= 0)
            return false;
    return count != 0;
}

bool rollup_has_host(const struct config *cfg, struct strview rollup, struct strview host)
{
    struct patterns all = patterns_of(cfg, rollup);

    host = without_dot(host);
    for (struct strview one; next_pattern(&all, &one);)
        if (mx_pattern_matches(one, host))
            return true;
    return false;
}

static bool holds(const struct config *cfg, struct strview rollup, const struct best *b)
{
    if (rollup_is_explicit(cfg, rollup)) {
        struct patterns all = patterns_of(cfg, rollup);
        for (struct strview one; next_pattern(&all, &one);)
            if (!best_has(b, one))
                return false;
        return true;
    }
    for (size_t i = 0; i < b->count; i++)
        if (!rollup_has_host(cfg, rollup, b->hosts[i]))
            return false;
    return true;
}

struct strview rollup_group(const struct config *cfg, const struct route *mx, char *ret_name)
{
    struct best best;
    const char *name;

    if (!find_best(mx, &best))
        return sv(NULL, 0);
    for (size_t i = 0; (name = config_section_name(cfg, KIND_MX_ROLLUP, i)); i++) {
        if (!holds(cfg, sv_of(name), &best))
            continue;
        int len = snprintf(ret_name, ROLLUP_NAME_SIZE, "%s.rollup", name);
        if (len >= ROLLUP_NAME_SIZE)
            continue;
        str_lower(ret_name, (size_t)len);
        return sv(ret_name, (size_t)len);
    }
    return sv(NULL, 0);
}

/* --- sites --- */

/* FNV-1a: the same in every process and after a restart, as names that are kept must be. */
static uint64_t text_fingerprint(struct strview s)
{
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (unsigned char)s.ptr[i]) * 0x100000001b3;
    return h;
}

static int by_name(const void *a, const void *b)
{
    const struct strview *x = a, *y = b;
    size_t n = MIN_OF(x->len, y->len);

    for (size_t i = 0; i < n; i++) {
        int d = (unsigned char)ascii_lower(x->ptr[i]) - (unsigned char)ascii_lower(y->ptr[i]);
        if (d)
            return d;
    }
    return x->len < y->len ? -1 : x->len > y->len;
}

/* How many bytes at the end, from a dot on, all of them share; each keeps one label at least. */
static size_t common_ending(const struct best *b)
{
    struct strview end = b->hosts[0];

    for (ptrdiff_t dot; (dot = sv_find(end, '.')) >= 0;) {
        end = sv(end.ptr + dot, end.len - (size_t)dot);
        size_t i = 0;
        while (i < b->count && b->hosts[i].len > end.len && sv_ends_nocase(b->hosts[i], end))
            i++;
        if (i == b->count)
            return end.len;
        end = sv(end.ptr + 1, end.len - 1);
    }
    return 0;
}

struct strview rollup_site(const struct route *mx, char *ret_name)
{
    struct best best;
    struct buf name = {0};

    if (!find_best(mx, &best))
        return sv(NULL, 0);
    qsort(best.hosts, best.count, sizeof(best.hosts[0]), by_name);
    size_t end = best.count > 1 ? common_ending(&best) : 0;
    for (size_t i = 0; i < best.count; i++) {
        if (best.count > 1)
            buf_append_char(&name, i ? '|' : '(');
        buf_append(&name, best.hosts[i].ptr, best.hosts[i].len - end);
    }
    if (best.count > 1)
        buf_append_char(&name, ')');
    buf_append(&name, best.hosts[0].ptr + best.hosts[0].len - end, end);
    str_lower(buf_data(&name), buf_len(&name));

    struct strview all = buf_view(&name);
    enum { HASHED_PART = 200 };
    int len = all.len < ROLLUP_NAME_SIZE
                  ? snprintf(ret_name, ROLLUP_NAME_SIZE, "%.*s", SV_ARG(all))
                  : snprintf(ret_name, ROLLUP_NAME_SIZE, "%.*s~%016llx", HASHED_PART, all.ptr,
                             (unsigned long long)text_fingerprint(all));
    buf_free(&name);
    return sv(ret_name, (size_t)len);
}
