/*
 * Cells; see cell.h. The encoded form numbers all fields of a cell through: counters, categories,
 * delays. It is a count of pairs, and for each the distance from the field before and the value.
 */
#include "stats/cell.h"

enum { CATEGORY_AT = STATS_COUNTER_COUNT, DELAY_AT = CATEGORY_AT + STATS_CATEGORIES };
enum { FIELD_COUNT = DELAY_AT + STATS_DELAYS };

static const struct {
    const char *name, *help;
    bool busy;
} counters[] = {
#define COUNTER_ROW(id, name, busy, help) {name, help, busy},
    STATS_COUNTERS(COUNTER_ROW)
#undef COUNTER_ROW
};

const char *stats_counter_name(enum stats_counter c)
{
    return counters[c].name;
}

const char *stats_counter_help(enum stats_counter c)
{
    return counters[c].help;
}

/* --- delays --- */

/* 0: up to 1 ms; then (1, 1.5], (1.5, 2], (2, 3], (3, 4], (4, 6] ... */
unsigned stats_delay_bucket(int64_t ms)
{
    if (ms <= 1)
        return 0;
    uint64_t v = (uint64_t)ms - 1;
    unsigned octave = 63u - (unsigned)__builtin_clzll(v);
    unsigned half = octave ? (unsigned)(v >> (octave - 1)) & 1 : 1;
    return MIN_OF(2 * octave + half + 1, (unsigned)STATS_DELAYS - 1);
}

int64_t stats_delay_to_ms(unsigned bucket)
{
    if (bucket == 0)
        return 1;
    unsigned octave = (bucket - 1) / 2;
    int64_t base = (int64_t)1 << octave;
    return (bucket - 1) % 2 ? 2 * base : base + base / 2;
}

int64_t stats_delay_percentile(const uint32_t *delays, double percent)
{
    uint64_t all = 0, seen = 0;

    for (unsigned i = 0; i < STATS_DELAYS; i++)
        all += delays[i];
    double wanted = (double)all * percent / 100;
    for (unsigned i = 0; i < STATS_DELAYS; i++) {
        if (!delays[i] || (double)(seen + delays[i]) < wanted) {
            seen += delays[i];
            continue;
        }
        int64_t from = i ? stats_delay_to_ms(i - 1) : 0, to = stats_delay_to_ms(i);
        double part = (wanted - (double)seen) / delays[i];
        return from + (int64_t)((double)(to - from) * part + 0.5);
    }
    return 0;
}

/* --- cells --- */

static uint64_t field(const struct stats_cell *c, unsigned i)
{
    return i < CATEGORY_AT ? c->counts[i]
           : i < DELAY_AT  ? c->categories[i - CATEGORY_AT]
                           : c->delays[i - DELAY_AT];
}

bool stats_cell_is_empty(const struct stats_cell *c)
{
    uint64_t any = 0;

    for (unsigned i = 0; i < STATS_COUNTER_COUNT; i++)
        any |= c->counts[i];
    return !any;
}

void stats_cell_add(struct stats_cell *to, const struct stats_cell *from)
{
    for (unsigned i = 0; i < STATS_COUNTER_COUNT; i++)
        to->counts[i] += from->counts[i];
    for (unsigned i = 0; i < STATS_CATEGORIES; i++)
        to->categories[i] += from->categories[i];
    for (unsigned i = 0; i < STATS_DELAYS; i++)
        to->delays[i] += from->delays[i];
}

uint64_t stats_cell_weight(const struct stats_cell *c)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < STATS_COUNTER_COUNT; i++)
        if (counters[i].busy)
            sum += c->counts[i];
    return sum;
}

void stats_put_number(struct buf *out, uint64_t n)
{
    char bytes[10];
    size_t len = 0;

    for (; n >= 0x80; n >>= 7)
        bytes[len++] = (char)(n | 0x80);
    bytes[len++] = (char)n;
    buf_append(out, bytes, len);
}

bool stats_get_number(struct strview *in, uint64_t *ret)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < 10 && i < in->len; i++) {
        unsigned char c = (unsigned char)in->ptr[i];
        n |= (uint64_t)(c & 0x7f) << (7 * i);
        if (c & 0x80)
            continue;
        *in = sv(in->ptr + i + 1, in->len - i - 1);
        *ret = n;
        return true;
    }
    return false;
}

void stats_cell_encode(const struct stats_cell *c, struct buf *out)
{
    unsigned count = 0, last = 0;

    for (unsigned i = 0; i < FIELD_COUNT; i++)
        count += field(c, i) != 0;
    stats_put_number(out, count);
    for (unsigned i = 0; count && i < FIELD_COUNT; i++) {
        uint64_t n = field(c, i);
        if (!n)
            continue;
        stats_put_number(out, i - last);
        stats_put_number(out, n);
        last = i;
    }
}

bool stats_cell_decode(struct strview *in, struct stats_cell *to)
{
    uint64_t count, distance, n, i = 0;

    if (!stats_get_number(in, &count) || count > FIELD_COUNT)
        return false;
    while (count--) {
        if (!stats_get_number(in, &distance) || !stats_get_number(in, &n) ||
            distance >= FIELD_COUNT - i)
            return false;
        i += distance;
        if (i < CATEGORY_AT)
            to->counts[i] += n;
        else if (i < DELAY_AT)
            to->categories[i - CATEGORY_AT] += (uint32_t)n;
        else
            to->delays[i - DELAY_AT] += (uint32_t)n;
    }
    return true;
}
