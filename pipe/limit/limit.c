/*
 * The limits of a pipe: the registry, and what a limit allows. See limit.h; sets of limits are in
 * limit_set.c, waiting in limit_wait.c, levels over a restart in limit_keep.c.
 *
 * A limit is found by measure and name. Its cell in the table that all pipes share has a name made
 * of both, so pipes that use the same name share the level. When the table is full, the limit gets
 * a cell in a table of this process: it then holds within this pipe, which is the best that can be
 * done.
 *
 * A limit without references is freed, unless its level lies far ahead (a queue with a daily budget
 * that went idle): then it stays, without anybody who uses it, until the level is past, so that
 * limits_write still knows it.
 */
#include "limit/limit_int.h"

#include "base/clock.h"

enum {
    BURST_US = 50 * 1000,
    SET_BACK_US = 1000 * 1000,
    DEBT_BYTES = 64 << 20, /* what is left of a longer debt when a rate of bytes is widened */
};

#define DAY_US        INT64_C(86400000000)
#define MOST_AHEAD_US (DAY_US * 3650)

struct key {
    enum limit_measure measure;
    struct strview name;
};

static bool matches(const struct hash_node *node, const void *arg)
{
    const struct limit *l = container_of(node, struct limit, node);
    const struct key *key = arg;
    return l->measure == key->measure && sv_eq(sv_of(l->name), key->name);
}

struct limits *limits_new(struct limit_table *table)
{
    struct limits *s = xcalloc(1, sizeof(*s));

    s->table = table;
    hash_init(&s->by_name, matches);
    list_init(&s->far);
    list_init(&s->todo);
    return s;
}

struct limit_table *limits_table(const struct limits *s)
{
    return s->table;
}

static void limit_free(struct limit *l)
{
    struct limits *s = l->owner;

    BUG_ON(l->waiting);
    heap_remove(&s->wakes, &l->wake);
    list_remove(&l->far);
    hash_remove(&s->by_name, &l->node);
    limit_cell_put(l->table, l->cell);
    free(l->name);
    free(l);
}

void limits_free(struct limits *s)
{
    if (!s)
        return;
    for (struct hash_node *n = hash_next(&s->by_name, NULL), *next; n; n = next) {
        struct limit *l = container_of(n, struct limit, node);
        BUG_ON(l->refs);
        next = hash_next(&s->by_name, n);
        limit_free(l);
    }
    hash_fini(&s->by_name);
    heap_fini(&s->wakes);
    for (size_t i = 0; i < s->spare_count; i++)
        limit_table_free(s->spares[i]);
    free(s->spares);
    limit_table_free(s->table);
    free(s);
}

void limits_on_earlier(struct limits *s, void (*fn)(void *arg), void *arg)
{
    s->earlier = fn;
    s->earlier_arg = arg;
}

/* A cell of this process alone. */
static struct limit_cell *get_spare(struct limits *s, struct strview name,
                                    struct limit_table **ret_table)
{
    struct limit_cell *c = NULL;

    if (s->spare_count)
        c = limit_cell_get(s->spares[s->spare_count - 1], name);
    if (!c) {
        s->spares = xrealloc(s->spares, (s->spare_count + 1) * sizeof(struct limit_table *));
        s->spares[s->spare_count++] = limit_table_new_private();
        c = limit_cell_get(s->spares[s->spare_count - 1], name);
    }
    BUG_ON(!c);
    *ret_table = s->spares[s->spare_count - 1];
    return c;
}

static struct limit *limit_new(struct limits *s, const struct key *key)
{
    struct limit *l = xcalloc(1, sizeof(*l));
    struct buf cell_name = {0};

    l->owner = s;
    l->measure = key->measure;
    l->name = xstrndup(key->name.ptr, key->name.len);
    list_init(&l->waiters);
    list_init(&l->far);
    heap_node_init(&l->wake);
    buf_append_char(&cell_name, (char)('0' + key->measure));
    buf_append_sv(&cell_name, key->name);
    l->table = s->table;
    l->cell = limit_cell_get(s->table, buf_view(&cell_name));
    if (!l->cell) {
        l->is_private = true;
        l->cell = get_spare(s, buf_view(&cell_name), &l->table);
    }
    buf_free(&cell_name);
    return l;
}

struct limit *limit_get(struct limits *s, enum limit_measure measure, struct strview name)
{
    struct key key = {measure, name};
    uint64_t hash = hash_bytes(name.ptr, name.len) + measure;
    struct hash_node *node = hash_find(&s->by_name, hash, &key);

    if (!node) {
        struct limit *l = limit_new(s, &key);
        hash_insert(&s->by_name, &l->node, hash);
        l->refs = 1;
        return l;
    }
    struct limit *l = container_of(node, struct limit, node);
    if (l->refs++ == 0)
        heap_remove(&s->wakes, &l->wake);
    return l;
}

void limit_dispose(struct limit *l, int64_t now_us)
{
    int64_t level_us = limit_cell_level_us(l->cell);

    if (l->measure == LIMIT_CONNECTIONS || level_us <= now_us + LIMITS_KEEP_US) {
        limit_free(l);
        return;
    }
    limit_wake_at(l, level_us - LIMITS_KEEP_US);
}

void limit_unref(struct limit *l)
{
    if (!l)
        return;
    BUG_ON(!l->refs);
    if (--l->refs == 0)
        limit_dispose(l, l->is_kept ? limits_now(l->owner) : INT64_MAX - LIMITS_KEEP_US);
}

/* --- what it allows --- */

void limit_set_max(struct limit *l, uint32_t max)
{
    bool wider = l->max && (max > l->max || !max);

    l->max = max;
    if (wider)
        limit_has_room(l);
}

static int64_t interval_us(const struct limit_rate *r)
{
    return r->period_us / (int64_t)MIN_OF(r->count, (uint64_t)INT64_MAX);
}

static double per_us(const struct limit_rate *r)
{
    return (double)r->count / (double)r->period_us;
}

/* What was taken at a lower rate is not paid for longer than one event at the new rate takes, or
 * one large message. */
static void cut_level(struct limit *l)
{
    double most_us = (l->measure == LIMIT_BYTES ? DEBT_BYTES : 1) / per_us(&l->rate);

    if (most_us < (double)MOST_AHEAD_US)
        limit_cell_lower(l->cell, limits_now(l->owner) + l->rate.burst_us + (int64_t)most_us + 1);
}

void limit_set_rate(struct limit *l, const struct rate *r)
{
    struct limit_rate old = l->rate, new = {0};

    if (r->count && r->period_ms > 0) {
        new.count = r->count;
        new.period_us = MIN_OF(r->period_ms, INT64_MAX / 1000) * 1000;
        new.burst_us = interval_us(&new) <= BURST_US ? BURST_US : 0;
    }
    if (old.count == new.count && old.period_us == new.period_us && !old.until_us)
        return;
    l->rate = new;
    /* a debt of bytes can become long at any rate */
    l->is_kept = new.count && (l->measure == LIMIT_BYTES || interval_us(&new) > LIMITS_KEEP_US);
    bool wider = old.count && (!new.count || per_us(&new) > per_us(&old));
    if (wider && new.count)
        cut_level(l);
    limit_has_room(l); /* or none for longer: the next tick finds out */
}

void limit_set_quota(struct limit *l, uint64_t count, int64_t until_us)
{
    BUG_ON(l->measure != LIMIT_MESSAGES || !count || count > LIMIT_QUOTA_MAX);
    if (l->rate.until_us == until_us && l->rate.count == count)
        return;
    if (l->rate.until_us != until_us)
        l->epoch = ++l->owner->epoch;
    l->rate = (struct limit_rate){.count = count, .period_us = DAY_US, .until_us = until_us};
    l->is_kept = true;
    limit_has_room(l);
}

uint64_t limit_quota_used(const struct limit *l)
{
    return limit_cell_quota_used(l->cell, l->rate.until_us);
}

/* --- to look at --- */

int64_t limits_now(struct limits *s)
{
    int64_t now_us = clock_wall_us();

    if (now_us + SET_BACK_US < s->seen_us) {
        s->seen_us = now_us;
        for (struct hash_node *n = hash_next(&s->by_name, NULL); n; n = hash_next(&s->by_name, n)) {
            struct limit *l = container_of(n, struct limit, node);
            if (heap_contains(&l->wake))
                limit_wake_at(l, now_us);
        }
    }
    if (now_us > s->seen_us)
        s->seen_us = now_us;
    return now_us;
}

void limit_level(const struct limit *l, int64_t now_us, struct limit_level *ret)
{
    *ret = (struct limit_level){.name = l->name,
                                .measure = l->measure,
                                .rate = {l->rate.count, l->rate.period_us / 1000},
                                .waiting = l->waiting};
    if (l->measure == LIMIT_CONNECTIONS) {
        ret->max = l->max;
        ret->used = limit_cell_connections(l->cell);
        ret->used_here = limit_cell_own_connections(l->table, l->cell);
    }
    ret->free_now = limit_room(l, UINT32_MAX, now_us, &ret->next_us);
    if (l->measure == LIMIT_CONNECTIONS)
        ret->next_us = 0;
}
