/*
 * Settings that contradict each other, or that cannot mean what was written: each section is looked
 * at with what it sets itself and what holds there otherwise. Errors for what has no meaning,
 * warnings for what is likely a mistake. Called by config_check.c.
 */
#include "mail/config_check.h"

#include <stdio.h>
#include <strings.h>

#define error_at(c, v, ...) load_error((c)->loader, (v)->origin.file, (v)->origin.line, __VA_ARGS__)
#define warn_at(c, v, ...)  load_warn((c)->loader, (v)->origin.file, (v)->origin.line, __VA_ARGS__)

/* What the section itself says, or NULL. */
static const struct config_value *own(const struct config_section *s, enum directive d)
{
    struct value_node *n = config_section_value(s, d);
    return n && n->value.text ? &n->value : NULL;
}

/* Where a value stands, for "set at": the table's defaults stand nowhere. */
static const char *where(const struct config_value *v, char *out, size_t size)
{
    if (v->origin.file)
        snprintf(out, size, "at %.200s:%u", v->origin.file, v->origin.line);
    else
        snprintf(out, size, "by default");
    return out;
}

/* --- rates and limits --- */

/* a lets more through than b; 0 is no limit. */
static bool wider_rate(const struct rate *a, const struct rate *b)
{
    if (!b->count || !a->count)
        return b->count && !a->count;
    return (long double)a->count * (long double)b->period_ms >
           (long double)b->count * (long double)a->period_ms;
}

static bool wider(const struct config_value *a, const struct config_value *b)
{
    if (directive_info(a->directive)->type != TYPE_INT)
        return wider_rate(&a->rate, &b->rate);
    return b->number && (!a->number || a->number > b->number);
}

/* backoff-X = 50 where X = 20 */
static void check_backoff(struct check *c, const struct config_section *s,
                          const struct config_query *q)
{
    const struct strview prefix = SV("backoff-");
    char at[240];

    for (const struct config_value *v = s->values; v;
         v = (const struct config_value *)((const struct value_node *)v)->sibling) {
        struct strview name = sv_of(directive_info(v->directive)->name);
        if (!v->text || !sv_starts_nocase(name, prefix))
            continue;
        enum directive d =
            config_directive_find(sv(name.ptr + prefix.len, name.len - prefix.len), NULL);
        if (d == DIRECTIVE_COUNT || directive_info(d)->type == TYPE_RETRY ||
            directive_info(d)->type != directive_info(v->directive)->type)
            continue;
        const struct config_value *normal = config_get(c->loader->cfg, q, d);
        if (normal->text && wider(v, normal))
            warn_at(c, v, "%s = %.60s is wider than %s = %.60s, set %s", name.ptr, v->text,
                    directive_info(d)->name, normal->text, where(normal, at, sizeof(at)));
    }
}

static void check_adaptive(struct check *c, const struct config_section *s,
                           const struct config_query *q)
{
    const struct config *cfg = c->loader->cfg;
    const struct config_value *least = config_get(cfg, q, DIR_ADAPTIVE_MIN_RATE);
    const struct config_value *most = config_get(cfg, q, DIR_MAX_MSG_RATE);
    const struct config_value *at = own(s, DIR_ADAPTIVE_MIN_RATE);
    char text[240];

    if (!at)
        at = own(s, DIR_MAX_MSG_RATE);
    if (!at || !least->origin.file || !most->rate.count || !wider_rate(&least->rate, &most->rate))
        return;
    error_at(c, at, "adaptive-min-rate = %.60s is above max-msg-rate = %.60s, set %s", least->text,
             most->text, where(at == least ? most : least, text, sizeof(text)));
}

/* --- time --- */

static void check_warmup(struct check *c, const struct config_section *s,
                         const struct config_query *q)
{
    const struct config *cfg = c->loader->cfg;
    const struct config_value *time = config_get(cfg, q, DIR_WARMUP);
    const struct config_value *schedule = config_get(cfg, q, DIR_WARMUP_SCHEDULE);
    const struct config_value *at = own(s, DIR_WARMUP_SCHEDULE);
    char text[240];

    if (!at)
        at = own(s, DIR_WARMUP);
    if (!at || !time->number || !schedule->text)
        return;
    error_at(c, at,
             "warmup and warmup-schedule, set %s, exclude each other (expected warmup = 0, or "
             "warmup-schedule = \"\", here)",
             where(at == time ? schedule : time, text, sizeof(text)));
}

static void check_retry(struct check *c, const struct config_section *s,
                        const struct config_query *q)
{
    static const enum directive retries[] = {DIR_RETRY_AFTER, DIR_RETRY_RECIPIENTS_AFTER};
    const struct config_value *end = config_get(c->loader->cfg, q, DIR_BOUNCE_AFTER);
    char text[240];

    for (size_t i = 0; i < ARRAY_LEN(retries); i++) {
        const struct config_value *v = config_get(c->loader->cfg, q, retries[i]);
        const struct config_value *at = own(s, retries[i]);
        if (!at)
            at = own(s, DIR_BOUNCE_AFTER);
        if (!at || !v->text || v->retry.items[0] <= end->number)
            continue;
        warn_at(
            c, at,
            "%s = %.60s is longer than bounce-after = %.60s, set %s: there is no second attempt",
            directive_info(retries[i])->name, v->text, end->text,
            where(at == v ? end : v, text, sizeof(text)));
    }
}

/* --- virtual MTAs --- */

static void check_sources(struct check *c, const struct config_section *s)
{
    const struct config_value *pair = own(s, DIR_SMTP_SOURCE_HOST),
                              *ip = own(s, DIR_SMTP_SOURCE_IP);

    if (pair && ip)
        error_at(c, ip,
                 "smtp-source-ip and smtp-source-host, set at %s:%u, exclude each other (expected "
                 "one of the two forms in a section)",
                 pair->origin.file, pair->origin.line);
}

/* A cold virtual MTA takes a share of others' mail and gives none away. */
static void check_cold(struct check *c, const struct config_section *s)
{
    const char *vmta = s->name[config_kind_index(KIND_VIRTUAL_MTA)];

    for (const struct config_value *v = own(s, DIR_COLD_VIRTUAL_MTA); v && v->text; v = v->next) {
        struct strview cold = sv_of(v->text);
        const struct config_query q = {.vmta = cold, .pool = sv_of(check_pool_of(c, cold))};
        const struct config_value *further = config_get(c->loader->cfg, &q, DIR_COLD_VIRTUAL_MTA);
        if (vmta && sv_eq_nocase(sv_of(vmta), cold))
            error_at(c, v, "cold-virtual-mta: '%.60s' cannot be its own", vmta);
        else if (further->text)
            error_at(c, v,
                     "cold-virtual-mta: '%.60s' has a cold-virtual-mta itself, set at %s:%u "
                     "(expected a virtual MTA without)",
                     v->text, further->origin.file, further->origin.line);
    }
}

/* --- groups --- */

static void check_shared(struct check *c, const struct config_section *macro)
{
    const unsigned domain = config_kind_index(KIND_DOMAIN);
    const struct config_value *v = own(macro, DIR_SHARED);
    const char *name = macro->name[config_kind_index(KIND_DOMAIN_MACRO)];

    if (!v || !v->yes)
        return;
    for (const struct config_section *s = c->loader->cfg->first; s; s = s->next) {
        const char *p = s->name[domain];
        if (p && p[0] == '$' && strcmp(p + 1, name) == 0)
            return;
    }
    warn_at(c, v, "shared = yes has no effect: no section [domain $%.60s] sets a limit to share",
            name);
}

/* Everybody gets in when all groups use what is reserved for them. */
static void check_reserved(struct check *c)
{
    const struct config *cfg = c->loader->cfg;
    int64_t total = config_number(cfg, NULL, DIR_TOTAL_MAX_SMTP_IN), sum = 0;

    for (const struct config_section *s = cfg->first; s; s = s->next) {
        const struct config_value *v = own(s, DIR_RESERVED_SMTP_IN),
                                  *most = own(s, DIR_MAX_SMTP_IN);
        if (!v)
            continue;
        if (most && v->number > most->number)
            error_at(c, v, "reserved-smtp-in = %.20s is above max-smtp-in = %.20s, set at %s:%u",
                     v->text, most->text, most->origin.file, most->origin.line);
        sum += v->number;
        if (sum >= total && sum - v->number < total)
            error_at(c, v,
                     "reserved-smtp-in of all groups up to here is %lld, which leaves nothing of "
                     "total-max-smtp-in = %lld",
                     (long long)sum, (long long)total);
    }
}

struct mx_use {
    struct strview pattern;
    const struct config_value *value;
    size_t order; /* in the files */
};

static int by_pattern(const void *a, const void *b)
{
    const struct mx_use *x = a, *y = b;
    size_t n = MIN_OF(x->pattern.len, y->pattern.len);
    int d = strncasecmp(x->pattern.ptr, y->pattern.ptr, n);

    if (d || x->pattern.len != y->pattern.len)
        return d ? d : x->pattern.len < y->pattern.len ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void list_mx(struct check *c, struct mx_use **ret, size_t *count)
{
    size_t cap = 0;

    for (const struct config_section *s = c->loader->cfg->first; s; s = s->next)
        for (const struct config_value *v = own(s, DIR_MX); v && v->text; v = v->next) {
            struct strview rest = sv_of(v->text), item;
            while (sv_split(&rest, ',', &item)) {
                if (*count == cap) {
                    cap = cap ? cap * 2 : 64;
                    *ret = xrealloc(*ret, cap * sizeof(**ret));
                }
                (*ret)[*count] = (struct mx_use){sv_trim(item), v, *count};
                ++*count;
            }
        }
}

static void check_mx(struct check *c)
{
    struct mx_use *uses = NULL;
    size_t count = 0;

    list_mx(c, &uses, &count);
    if (count)
        qsort(uses, count, sizeof(*uses), by_pattern);
    for (size_t i = 1; i < count; i++) {
        const struct mx_use *a = &uses[i - 1], *b = &uses[i];
        if (!sv_eq_nocase(a->pattern, b->pattern))
            continue;
        warn_at(c, b->value,
                "mx: '%.*s' stands at %s:%u already; the first group that matches counts",
                (int)MIN_OF(b->pattern.len, (size_t)100), b->pattern.ptr, a->value->origin.file,
                a->value->origin.line);
    }
    free(uses);
}

static void check_section(struct check *c, const struct config_section *s)
{
    check_sources(c, s);
    check_cold(c, s);
    if (s->kinds & KIND_DOMAIN_MACRO)
        check_shared(c, s);
    if (s->kinds == KIND_MX_ROLLUP && !own(s, DIR_MX))
        load_error(c->loader, s->file, s->line, "mx-rollup without mx");
}

void check_limits(struct check *c)
{
    const struct config_section *last = NULL;
    struct checked_pattern p;

    for (const struct config_section *s = c->loader->cfg->first; s; s = s->next)
        check_section(c, s);
    check_mx(c);
    check_reserved(c);
    for (size_t i = 0; i < c->pattern_count; i++) {
        if (c->patterns[i]->section == last || !(c->patterns[i]->section->kinds & KINDS_QUEUE))
            continue;
        check_pattern(c, i, &p);
        last = p.section;
        struct config_query q = check_query(c, &p);
        check_backoff(c, p.section, &q);
        check_adaptive(c, p.section, &q);
        check_warmup(c, p.section, &q);
        check_retry(c, p.section, &q);
    }
}
