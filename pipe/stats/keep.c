/*
 * The counters as bytes, over a restart; see stats.h. Two files, because what runs is written every
 * minute and the past changes once an hour:
 *
 *   now    magic, categories, minute hour day that run; per key: u8 dimension, u8 length, name, the
 *          cells of hour and day with the minute added; the ring of minutes, the running one last
 *   past   magic, categories, the rings of hours and days
 *
 * Categories only ever grow at the end, so that the numbers of an older file stay right.
 */
#include "stats/stats_int.h"

static const char magic_now[8] = "PMTAst1n", magic_past[8] = "PMTAst1p";

static void put_text(struct buf *out, const char *text, size_t len)
{
    stats_put_number(out, len);
    buf_append(out, text, len);
}

static bool get_text(struct strview *in, struct strview *ret)
{
    uint64_t len;

    if (!stats_get_number(in, &len) || len > in->len)
        return false;
    *ret = sv(in->ptr, (size_t)len);
    *in = sv(in->ptr + len, in->len - (size_t)len);
    return true;
}

static void put_head(const struct stats *s, const char *magic, struct buf *out)
{
    buf_append(out, magic, sizeof(magic_now));
    stats_put_number(out, s->category_count);
    for (unsigned i = 0; i < s->category_count; i++)
        put_text(out, s->categories[i], strlen(s->categories[i]));
}

static bool get_head(struct stats *s, const char *magic, struct strview *in)
{
    struct strview name;
    uint64_t count;

    if (in->len < sizeof(magic_now) || memcmp(in->ptr, magic, sizeof(magic_now)) != 0)
        return false;
    *in = sv(in->ptr + sizeof(magic_now), in->len - sizeof(magic_now));
    if (!stats_get_number(in, &count) || count >= STATS_CATEGORIES)
        return false;
    for (unsigned i = 0; i < count; i++) {
        if (!get_text(in, &name) || !name.len)
            return false;
        char *copy = xstrndup(name.ptr, name.len);
        bool same = stats_category_of(s, copy) == i;
        free(copy);
        if (!same)
            return false;
    }
    return true;
}

/* --- rings --- */

static void put_slot(struct buf *out, int64_t number, struct strview keys)
{
    stats_put_number(out, (uint64_t)number);
    put_text(out, keys.ptr, keys.len);
}

static void put_ring(const struct stats *s, enum stats_span span, struct buf *out)
{
    for (size_t i = 0; i < s->rings[span].count; i++) {
        const struct stats_slot *slot = stats_ring_at(s, span, i);
        put_slot(out, slot->number, buf_view(&slot->keys));
    }
}

static bool get_ring(struct stats *s, enum stats_span span, uint64_t count, struct strview *in)
{
    struct strview keys;
    uint64_t number;

    for (; count; count--) {
        if (!stats_get_number(in, &number) || !get_text(in, &keys) || number > INT32_MAX)
            return false;
        buf_append_sv(&stats_ring_push(s, span, (int64_t)number)->keys, keys);
    }
    return true;
}

void stats_write_past(const struct stats *s, struct buf *out)
{
    put_head(s, magic_past, out);
    for (unsigned p = SPAN_HOUR; p < SPAN_COUNT; p++) {
        stats_put_number(out, s->rings[p].count);
        put_ring(s, (enum stats_span)p, out);
    }
}

bool stats_read_past(struct stats *s, struct strview text)
{
    uint64_t count;

    if (!get_head(s, magic_past, &text))
        return false;
    for (unsigned p = SPAN_HOUR; p < SPAN_COUNT; p++)
        if (!stats_get_number(&text, &count) || !get_ring(s, (enum stats_span)p, count, &text))
            return false;
    return text.len == 0;
}

/* --- what runs --- */

static void put_name(struct buf *out, const struct stats_key *k)
{
    buf_append_char(out, (char)k->dimension);
    buf_append_char(out, (char)k->name_len);
    buf_append(out, k->name, k->name_len);
}

static size_t put_live(const struct stats *s, struct buf *out)
{
    size_t count = 0;

    list_for_each (n, &s->all) {
        const struct stats_key *k = list_entry(n, struct stats_key, link);
        struct stats_cell hour = k->cells[SPAN_HOUR], day = k->cells[SPAN_DAY];
        stats_cell_add(&hour, &k->cells[SPAN_MINUTE]);
        stats_cell_add(&day, &k->cells[SPAN_MINUTE]);
        if (stats_cell_is_empty(&day))
            continue;
        put_name(out, k);
        stats_cell_encode(&hour, out);
        stats_cell_encode(&day, out);
        count++;
    }
    return count;
}

static void put_running_minute(const struct stats *s, struct buf *out)
{
    struct buf keys = {0};

    for (size_t i = 0; i < s->touched_count; i++) {
        put_name(&keys, s->touched[i]);
        stats_cell_encode(&s->touched[i]->cells[SPAN_MINUTE], &keys);
    }
    put_slot(out, s->now[SPAN_MINUTE], buf_view(&keys));
    buf_free(&keys);
}

void stats_write(struct stats *s, struct buf *out)
{
    struct buf live = {0};

    put_head(s, magic_now, out);
    for (unsigned p = 0; p < SPAN_COUNT; p++)
        stats_put_number(out, (uint64_t)s->now[p]);
    stats_put_number(out, put_live(s, &live));
    buf_append_sv(out, buf_view(&live));
    buf_free(&live);
    stats_put_number(out, s->rings[SPAN_MINUTE].count + (s->touched_count > 0));
    put_ring(s, SPAN_MINUTE, out);
    if (s->touched_count)
        put_running_minute(s, out);
}

static bool get_live(struct stats *s, struct strview *in)
{
    struct stats_cell hour = {0}, day = {0};
    struct strview name;
    unsigned dimension;

    if (!stats_slot_next(in, &dimension, &name, &hour) || !stats_cell_decode(in, &day))
        return false;
    struct stats_key *k = stats_key_of(s, dimension, name);
    stats_cell_add(&k->cells[SPAN_HOUR], &hour);
    stats_cell_add(&k->cells[SPAN_DAY], &day);
    return true;
}

bool stats_read(struct stats *s, struct strview text)
{
    int64_t now[SPAN_COUNT];
    uint64_t n, count;

    if (!get_head(s, magic_now, &text))
        return false;
    for (unsigned p = 0; p < SPAN_COUNT; p++) {
        if (!stats_get_number(&text, &n) || n > INT32_MAX)
            return false;
        now[p] = (int64_t)n;
    }
    if (!stats_get_number(&text, &count))
        return false;
    memcpy(s->now, now, sizeof(now));
    for (; count; count--)
        if (!get_live(s, &text))
            return false;
    return stats_get_number(&text, &count) && get_ring(s, SPAN_MINUTE, count, &text) &&
           text.len == 0;
}
