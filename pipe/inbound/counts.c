/*
 * Counters of inbound mail as text; see counts.h. Called by inbound.c when it opens and saves its file.
 * Pure functions.
 */
#include "inbound/counts.h"

#define COUNTS(COUNT) \
    COUNT(reports)    \
    COUNT(unmatched)  \
    COUNT(errors)     \
    COUNT(records)    \
    COUNT(suppressed) \
    COUNT(forwarded)  \
    COUNT(unsubscriptions)

static const struct {
    const char *name;
    size_t at;
} counts[] = {
#define COUNT_ROW(name) {#name, offsetof(struct inbound_stats, name)},
    COUNTS(COUNT_ROW)
#undef COUNT_ROW
};

static uint64_t *count_at(struct inbound_stats *s, size_t i)
{
    return (uint64_t *)(void *)((char *)s + counts[i].at);
}

void inbound_counts_write(const struct inbound_stats *s, struct buf *out)
{
    struct inbound_stats copy = *s;

    buf_printf(out, "since %lld\n", (long long)s->since_ms);
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        buf_printf(out, "%s %llu\n", counts[i].name, (unsigned long long)*count_at(&copy, i));
    for (size_t i = 0; inbound_kind_counter(i); i++)
        buf_printf(out, "%s %llu\n", inbound_kind_counter(i), (unsigned long long)s->kinds[i]);
}

static void take(struct inbound_stats *s, struct strview name, uint64_t n)
{
    if (sv_eq(name, SV("since")) && n <= INT64_MAX)
        s->since_ms = (int64_t)n;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        if (sv_eq(name, sv_of(counts[i].name)))
            *count_at(s, i) = n;
    for (size_t i = 0; inbound_kind_counter(i); i++)
        if (sv_eq(name, sv_of(inbound_kind_counter(i))))
            s->kinds[i] = n;
}

void inbound_counts_read(struct inbound_stats *s, struct strview text)
{
    struct strview line, name;
    uint64_t n;

    while (sv_split(&text, '\n', &line))
        if (sv_split(&line, ' ', &name) && sv_to_u64(line, &n))
            take(s, name, n);
}
