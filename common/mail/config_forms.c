/*
 * Value types that are lists or grow: retry times (10m,10m,1h or 5m x2 max 4h), messages per day
 * (50/d, 100/d or 50/d +10%/d), mail addresses, patterns of MX hosts. Called by config_value.c for
 * every value, and again by who decodes a snapshot. Arrays live in the configuration's arena.
 */
#include "mail/address.h"
#include "mail/config_internal.h"
#include "mail/host_list.h"

#include <stdio.h>

enum { LIST_MAX = 30, RAMP_MAX = 400, GROWTH_MAX_PERCENT = 1000, FACTOR_MAX_PERCENT = 1000 };

#define DAY_MS INT64_C(86400000)

static size_t count_items(struct strview text)
{
    size_t n = 1;
    for (size_t i = 0; i < text.len; i++)
        n += text.ptr[i] == ',';
    return n;
}

/* Takes the last word off s when it is not the only one of its list item. */
static struct strview take_last_word(struct strview *s)
{
    size_t at = s->len;

    while (at > 0 && !memchr(" \t,", s->ptr[at - 1], 3))
        at--;
    struct strview word = sv(s->ptr + at, s->len - at);
    struct strview before = sv_trim(sv(s->ptr, at));
    if (!before.len || before.ptr[before.len - 1] == ',')
        return sv(NULL, 0);
    *s = before;
    return word;
}

/* "x2", "x1.5", "x1.25" */
static bool parse_factor(struct strview s, uint32_t *ret_percent)
{
    uint64_t whole, part = 0;

    if (s.len < 2 || ascii_lower(s.ptr[0]) != 'x')
        return false;
    s = sv(s.ptr + 1, s.len - 1);
    ptrdiff_t dot = sv_find(s, '.');
    struct strview fraction = dot < 0 ? sv("0", 1) : sv(s.ptr + dot + 1, s.len - (size_t)dot - 1);
    if (!sv_to_u64(dot < 0 ? s : sv(s.ptr, (size_t)dot), &whole) || fraction.len > 2 ||
        !sv_to_u64(fraction, &part) || whole > FACTOR_MAX_PERCENT / 100)
        return false;
    *ret_percent = (uint32_t)(whole * 100 + (fraction.len == 1 ? part * 10 : part));
    return *ret_percent >= 100 && *ret_percent <= FACTOR_MAX_PERCENT;
}

static const char retry_forms[] = "intervals such as 10m,10m,1h,4h, or growing: 5m x2 max 4h";

/* Takes "xF" or "xF max T" off the end of *text. */
static int take_growth(struct config_value *v, struct strview *text, struct err *e)
{
    const struct directive_info *info = directive_info(v->directive);
    struct strview before = *text, last = take_last_word(&before), limit = sv(NULL, 0);

    if (!last.len)
        return 0;
    if (ascii_lower(last.ptr[0]) != 'x') {
        struct strview word = take_last_word(&before);
        limit = last;
        if (!sv_eq_nocase(word, SV("max")))
            return config_wrong(e, v, retry_forms);
        last = take_last_word(&before);
    }
    if (!parse_factor(last, &v->retry.factor_percent))
        return config_wrong(e, v, "a factor of x1 to x10, as in 5m x2 max 4h");
    v->retry.max_ms = info->max;
    *text = before;
    if (!limit.len)
        return 0;
    if (units_parse_interval(limit, &v->retry.max_ms) < 0)
        return config_wrong(e, v, retry_forms);
    return config_check_bounds(info, v->retry.max_ms, e);
}

int config_parse_retry(struct config_value *v, struct arena *a, struct err *e)
{
    struct strview rest = sv_trim(sv_of(v->text)), item;
    size_t count = 0;

    v->retry = (struct retry_form){.factor_percent = 100};
    int r = take_growth(v, &rest, e);
    if (r == 0 && count_items(rest) > LIST_MAX)
        r = config_wrong(e, v, "at most 30 intervals");
    if (r < 0)
        return r;
    int64_t *items = arena_alloc(a, count_items(rest) * sizeof(*items));
    while (r == 0 && sv_split(&rest, ',', &item)) {
        if (units_parse_interval(sv_trim(item), &items[count]) < 0)
            return config_wrong(e, v, retry_forms);
        r = config_check_bounds(directive_info(v->directive), items[count++], e);
    }
    if (r == 0 && v->retry.max_ms && items[count - 1] > v->retry.max_ms)
        return config_wrong(e, v, "a max that is not below the time before it");
    v->retry.items = items;
    v->retry.count = count;
    return r;
}

/* "+10%/d" */
static bool parse_growth(struct strview s, uint32_t *ret_percent)
{
    uint64_t n;
    ptrdiff_t percent = sv_find(s, '%');

    if (s.len < 2 || s.ptr[0] != '+' || percent < 2)
        return false;
    struct strview unit = sv(s.ptr + percent + 1, s.len - (size_t)percent - 1);
    if (!sv_to_u64(sv(s.ptr + 1, (size_t)percent - 1), &n) || !n || n > GROWTH_MAX_PERCENT ||
        (!sv_eq_nocase(unit, SV("/d")) && !sv_eq_nocase(unit, SV("/day"))))
        return false;
    *ret_percent = (uint32_t)n;
    return true;
}

int config_parse_rates(struct config_value *v, struct arena *a, struct err *e)
{
    const bool ramp = directive_info(v->directive)->type == TYPE_RAMP;
    const char *expected = ramp ? "messages per day such as 50/d, 100/d, 200/d, or 50/d +10%/d"
                                : "messages per day such as 50/d,100/d,200/d";
    struct strview rest = sv_trim(sv_of(v->text)), item;
    uint32_t growth = 0;
    size_t count = 0;

    if (ramp && sv_find(rest, '+') >= 0 && !parse_growth(take_last_word(&rest), &growth))
        return config_wrong(e, v, "a growth of +1%/d to +1000%/d, as in 50/d +10%/d");
    if (count_items(rest) > RAMP_MAX)
        return config_wrong(e, v, "at most 400 days");
    struct rate *items = arena_alloc(a, count_items(rest) * sizeof(*items));
    while (sv_split(&rest, ',', &item)) {
        struct rate *day = &items[count++];
        item = sv_trim(item);
        if (units_parse_rate(item, day) < 0 || sv_find(item, '/') < 0 || day->period_ms != DAY_MS ||
            (ramp && !day->count))
            return config_wrong(e, v, expected);
    }
    v->rates = (struct rate_form){items, count, growth};
    return 0;
}

int config_check_emails(const struct config_value *v, struct err *e)
{
    struct strview rest = sv_of(v->text), item;

    if (count_items(rest) > LIST_MAX)
        return config_wrong(e, v, "at most 30 mail addresses");
    while (sv_split(&rest, ',', &item))
        if (!address_is_mailbox(sv_trim(item), ADDRESS_UTF8))
            return config_wrong(e, v, "mail addresses separated by commas");
    return 0;
}

int config_check_mx(const struct config_value *v, struct err *e)
{
    struct strview rest = sv_of(v->text), item;

    while (sv_split(&rest, ',', &item))
        if (!mx_pattern_is_valid(sv_trim(item)))
            return config_wrong(e, v, "host names or *.DOMAIN, separated by commas");
    return 0;
}
