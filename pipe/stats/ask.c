/*
 * Questions to the counters; see stats.h. The slots of the finest ring that reaches back far enough
 * are decoded and added up by name, and what runs on top of them. It costs a few milliseconds at
 * most: there are at most 120 slots, and each has a bounded number of keys.
 */
#include "stats/stats_int.h"

#include <stdlib.h>

struct named {
    struct hash_node node;
    struct named *next;
    struct stats_cell cell;
    uint64_t weight;
    size_t len;
    char name[];
};

struct gather {
    unsigned by;
    struct hash rows;
    struct named *all;
    size_t count;
    struct stats_cell rest, total, scratch;
};

static bool match(const struct hash_node *n, const void *key)
{
    const struct named *x = container_of(n, const struct named, node);
    return sv_eq(sv(x->name, x->len), *(const struct strview *)key);
}

static struct stats_cell *row_of(struct gather *g, struct strview name)
{
    uint64_t h = hash_bytes(name.ptr, name.len);
    struct hash_node *n = hash_find(&g->rows, h, &name);

    if (n)
        return &container_of(n, struct named, node)->cell;
    struct named *x = xcalloc(1, sizeof(*x) + name.len + 1);
    x->len = name.len;
    memcpy(x->name, name.ptr, name.len);
    x->next = g->all;
    g->all = x;
    g->count++;
    hash_insert(&g->rows, &x->node, h);
    return &x->cell;
}

static void take(struct gather *g, unsigned dimension, struct strview name,
                 const struct stats_cell *c)
{
    if (dimension == STATS_BY_PIPE)
        stats_cell_add(&g->total, c);
    if (dimension == g->by)
        stats_cell_add(name.len ? row_of(g, name) : &g->rest, c);
}

static void take_slot(struct gather *g, const struct stats_slot *slot)
{
    struct strview keys = buf_view(&slot->keys), name;
    unsigned dimension;

    for (;;) {
        g->scratch = (struct stats_cell){0};
        if (!stats_slot_next(&keys, &dimension, &name, &g->scratch))
            return;
        take(g, dimension, name, &g->scratch);
    }
}

/* The span that runs: its own cell, and the minute that is not in it yet. */
static void take_live(struct gather *g, const struct stats *s, enum stats_span span)
{
    list_for_each (n, &s->all) {
        const struct stats_key *k = list_entry(n, struct stats_key, link);
        g->scratch = k->cells[span];
        if (span != SPAN_MINUTE)
            stats_cell_add(&g->scratch, &k->cells[SPAN_MINUTE]);
        if (!stats_cell_is_empty(&g->scratch))
            take(g, k->dimension, sv(k->name, k->name_len), &g->scratch);
    }
}

static enum stats_span span_for(int64_t since_ms)
{
    unsigned p = SPAN_MINUTE;

    while (p + 1 < SPAN_COUNT && since_ms > stats_spans[p].ms * stats_spans[p].kept)
        p++;
    return (enum stats_span)p;
}

static int busiest_first(const void *a, const void *b)
{
    const struct named *x = *(struct named *const *)a, *y = *(struct named *const *)b;

    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void put_rows(struct gather *g, size_t limit, struct stats_answer *ret)
{
    struct named **list = xcalloc(g->count + 1, sizeof(struct named *));
    size_t n = 0;

    for (struct named *x = g->all; x; x = x->next) {
        x->weight = stats_cell_weight(&x->cell);
        list[n++] = x;
    }
    qsort(list, n, sizeof(struct named *), busiest_first);
    size_t shown = limit && limit < n ? limit : n;
    ret->rows = xcalloc(shown + 1, sizeof(*ret->rows));
    for (size_t i = 0; i < n; i++) {
        if (i < shown)
            ret->rows[ret->count++] =
                (struct stats_row){.name = xstrdup(list[i]->name), .cell = list[i]->cell};
        else
            stats_cell_add(&g->rest, &list[i]->cell);
        free(list[i]);
    }
    ret->folded = n - shown;
    if (!stats_cell_is_empty(&g->rest))
        ret->rows[ret->count++] = (struct stats_row){.name = xstrdup(""), .cell = g->rest};
    free(list);
}

static void ask_keys(const struct stats *s, unsigned by, enum stats_span span, size_t limit,
                     struct stats_answer *ret)
{
    struct gather g = {.by = by};

    hash_init(&g.rows, match);
    for (size_t i = 0; i < s->rings[span].count; i++) {
        const struct stats_slot *slot = stats_ring_at(s, span, i);
        if (slot->number * stats_spans[span].ms >= ret->from_ms)
            take_slot(&g, slot);
    }
    take_live(&g, s, span);
    ret->all = g.total;
    if (by == STATS_BY_PIPE) {
        ret->rows = xcalloc(1, sizeof(*ret->rows));
        ret->rows[ret->count++] = (struct stats_row){.name = xstrdup("pipe"), .cell = g.total};
    } else {
        put_rows(&g, limit, ret);
    }
    hash_fini(&g.rows);
}

/* One row per span, also for those in which nothing happened. */
static void ask_time(const struct stats *s, enum stats_span span, int64_t now_ms,
                     struct stats_answer *ret)
{
    int64_t first = ret->from_ms / ret->step_ms, last = now_ms / ret->step_ms;
    struct gather g = {.by = STATS_DIMENSION_COUNT};

    ret->count = (size_t)(last - first + 1);
    ret->rows = xcalloc(ret->count, sizeof(*ret->rows));
    for (size_t i = 0; i < ret->count; i++)
        ret->rows[i].start_ms = (first + (int64_t)i) * ret->step_ms;
    for (size_t i = 0; i < s->rings[span].count; i++) {
        const struct stats_slot *slot = stats_ring_at(s, span, i);
        if (slot->number < first || slot->number > last)
            continue;
        g.total = (struct stats_cell){0};
        take_slot(&g, slot);
        stats_cell_add(&ret->rows[slot->number - first].cell, &g.total);
        stats_cell_add(&ret->all, &g.total);
    }
    g.total = (struct stats_cell){0};
    take_live(&g, s, span);
    stats_cell_add(&ret->rows[ret->count - 1].cell, &g.total);
    stats_cell_add(&ret->all, &g.total);
}

void stats_ask(struct stats *s, unsigned by, int64_t now_ms, int64_t since_ms, size_t limit,
               struct stats_answer *ret)
{
    enum stats_span span = span_for(since_ms);
    int64_t step = stats_spans[span].ms;

    stats_advance(s, now_ms);
    since_ms = MIN_OF(MAX_OF(since_ms, step), step * stats_spans[span].kept);
    *ret = (struct stats_answer){.step_ms = step, .from_ms = (now_ms - since_ms) / step * step};
    if (by == STATS_BY_TIME)
        ask_time(s, span, now_ms, ret);
    else
        ask_keys(s, by, span, limit, ret);
}

void stats_answer_free(struct stats_answer *a)
{
    for (size_t i = 0; i < a->count; i++)
        free(a->rows[i].name);
    free(a->rows);
    *a = (struct stats_answer){0};
}
