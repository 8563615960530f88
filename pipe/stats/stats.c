/*
 * Rolling counters; see stats.h. stats_count finds the key of each dimension (mostly the one of
 * the event before) and adds to its minute. The first event of another minute ends the one before:
 * minutes are added to the hour and the day, and each span that is over becomes a slot of its ring,
 * encoded, with its busiest keys by name. Then the table of keys is thinned out. There is no timer:
 * who asks or saves lets the time pass too (stats_advance). Everything is the caller's loop's.
 */
#include "stats/stats_int.h"

#include "base/util.h"

#include <stdlib.h>

enum { NAME_MAX_BYTES = 255 };

const struct stats_span_info stats_spans[SPAN_COUNT] = {
#define SPAN_ROW(id, ms, kept, keys) {ms, kept, keys},
    STATS_SPANS(SPAN_ROW)
#undef SPAN_ROW
};

static const struct {
    const char *name;
    size_t keys;
} dimensions[] = {
#define DIMENSION_ROW(id, name, keys) {name, keys},
    STATS_DIMENSIONS(DIMENSION_ROW)
#undef DIMENSION_ROW
};

const char *stats_dimension_name(unsigned by)
{
    return by < STATS_DIMENSION_COUNT ? dimensions[by].name : "time";
}

/* --- keys --- */

static bool match(const struct hash_node *n, const void *key)
{
    const struct stats_key *k = container_of(n, const struct stats_key, node);
    return sv_eq(sv(k->name, k->name_len), *(const struct strview *)key);
}

static bool match_nocase(const struct hash_node *n, const void *key)
{
    const struct stats_key *k = container_of(n, const struct stats_key, node);
    return sv_eq_nocase(sv(k->name, k->name_len), *(const struct strview *)key);
}

static struct stats_key *new_key(struct stats *s, unsigned dimension, struct strview name)
{
    struct stats_key *k = xcalloc(1, sizeof(*k) + name.len + 1);

    k->dimension = (uint8_t)dimension;
    k->name_len = name.len;
    if (name.len)
        memcpy(k->name, name.ptr, name.len);
    if (dimension == STATS_BY_DOMAIN)
        str_lower(k->name, name.len);
    list_push_back(&s->all, &k->link);
    return k;
}

struct stats *stats_new(void)
{
    struct stats *s = xcalloc(1, sizeof(*s));

    list_init(&s->all);
    for (unsigned d = 0; d < STATS_DIMENSION_COUNT; d++) {
        hash_init(&s->keys[d], d == STATS_BY_DOMAIN ? match_nocase : match);
        s->rest[d] = new_key(s, d, sv("", 0));
    }
    return s;
}

void stats_free(struct stats *s)
{
    if (!s)
        return;
    for (unsigned d = 0; d < STATS_DIMENSION_COUNT; d++)
        hash_fini(&s->keys[d]);
    for (struct list *l; (l = list_pop_front(&s->all));)
        free(list_entry(l, struct stats_key, link));
    for (unsigned p = 0; p < SPAN_COUNT; p++)
        for (size_t i = 0; i < ARRAY_LEN(s->rings[p].slots); i++)
            buf_free(&s->rings[p].slots[i].keys);
    for (unsigned i = 0; i < s->category_count; i++)
        free(s->categories[i]);
    free(s->touched);
    free(s);
}

void stats_on_change(struct stats *s, void (*changed)(void *arg, bool past), void *arg)
{
    s->changed = changed;
    s->changed_arg = arg;
}

const uint64_t *stats_totals(const struct stats *s)
{
    return s->totals;
}

/* The key's own, or that of the rest when the table is full. */
struct stats_key *stats_key_of(struct stats *s, unsigned d, struct strview name)
{
    if (d == STATS_BY_PIPE || !name.len)
        return s->rest[d];
    name.len = MIN_OF(name.len, (size_t)NAME_MAX_BYTES);
    uint64_t h = d == STATS_BY_DOMAIN ? hash_bytes_nocase(name.ptr, name.len)
                                      : hash_bytes(name.ptr, name.len);
    struct hash_node *n = hash_find(&s->keys[d], h, &name);
    if (n)
        return container_of(n, struct stats_key, node);
    if (s->key_count[d] >= dimensions[d].keys)
        return s->rest[d];
    struct stats_key *k = new_key(s, d, name);
    hash_insert(&s->keys[d], &k->node, h);
    s->key_count[d]++;
    return k;
}

static void drop_key(struct stats *s, struct stats_key *k)
{
    unsigned d = k->dimension;

    if (s->last[d] == k)
        s->last[d] = NULL;
    hash_remove(&s->keys[d], &k->node);
    list_remove(&k->link);
    s->key_count[d]--;
    free(k);
}

unsigned stats_category_of(struct stats *s, const char *name)
{
    unsigned i = 0;

    while (i < s->category_count && strcmp(s->categories[i], name) != 0)
        i++;
    if (i < s->category_count)
        return i;
    if (s->category_count >= STATS_CATEGORIES - 1)
        return STATS_CATEGORIES - 1;
    s->categories[s->category_count++] = xstrdup(name);
    return i;
}

const char *stats_category_name(const struct stats *s, unsigned i)
{
    return i < s->category_count ? s->categories[i] : i == STATS_CATEGORIES - 1 ? "(others)" : NULL;
}

/* --- spans --- */

struct stats_slot *stats_ring_push(struct stats *s, enum stats_span span, int64_t number)
{
    struct stats_ring *r = &s->rings[span];
    size_t room = stats_spans[span].kept;

    if (r->count == room) {
        r->first = (r->first + 1) % room;
        r->count--;
    }
    struct stats_slot *slot = &r->slots[(r->first + r->count++) % room];
    slot->number = number;
    buf_reset(&slot->keys);
    return slot;
}

const struct stats_slot *stats_ring_at(const struct stats *s, enum stats_span span, size_t i)
{
    const struct stats_ring *r = &s->rings[span];
    return &r->slots[(r->first + i) % stats_spans[span].kept];
}

struct ranked {
    struct stats_key *key;
    uint64_t weight;
};

static int by_dimension_and_weight(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->key->dimension != y->key->dimension)
        return x->key->dimension < y->key->dimension ? -1 : 1;
    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    return strcmp(x->key->name, y->key->name);
}

static void put_key(struct buf *out, const struct stats_key *k, const struct stats_cell *c)
{
    buf_append_char(out, (char)k->dimension);
    buf_append_char(out, (char)k->name_len);
    buf_append(out, k->name, k->name_len);
    stats_cell_encode(c, out);
}

/* The busiest of each dimension by name, the others in the row for the rest. */
static void put_slot(struct stats *s, enum stats_span span, struct ranked *list, size_t count,
                     struct buf *out)
{
    struct stats_cell rest[STATS_DIMENSION_COUNT] = {0};
    size_t named = 0;

    for (size_t i = 0; i < count; i++) {
        struct stats_key *k = list[i].key;
        unsigned d = k->dimension;
        named = i && list[i - 1].key->dimension == d ? named : 0;
        if (k == s->rest[d] || named == stats_spans[span].keys) {
            stats_cell_add(&rest[d], &k->cells[span]);
            continue;
        }
        put_key(out, k, &k->cells[span]);
        named++;
    }
    for (unsigned d = 0; d < STATS_DIMENSION_COUNT; d++)
        if (!stats_cell_is_empty(&rest[d]))
            put_key(out, s->rest[d], &rest[d]);
}

bool stats_slot_next(struct strview *keys, unsigned *dimension, struct strview *name,
                     struct stats_cell *add_to)
{
    if (keys->len < 2)
        return false;
    size_t len = (unsigned char)keys->ptr[1];
    *dimension = (unsigned char)keys->ptr[0];
    if (keys->len < 2 + len || *dimension >= STATS_DIMENSION_COUNT)
        return false;
    *name = sv(keys->ptr + 2, len);
    *keys = sv(keys->ptr + 2 + len, keys->len - 2 - len);
    return stats_cell_decode(keys, add_to);
}

static void end_span(struct stats *s, enum stats_span span, struct ranked *list, size_t count)
{
    if (!count)
        return;
    for (size_t i = 0; i < count; i++)
        list[i].weight = stats_cell_weight(&list[i].key->cells[span]);
    qsort(list, count, sizeof(*list), by_dimension_and_weight);
    struct stats_slot *slot = stats_ring_push(s, span, s->now[span]);
    put_slot(s, span, list, count, &slot->keys);
}

static void end_minute(struct stats *s)
{
    struct ranked *list = xcalloc(s->touched_count + 1, sizeof(*list));

    for (size_t i = 0; i < s->touched_count; i++)
        list[i].key = s->touched[i];
    end_span(s, SPAN_MINUTE, list, s->touched_count);
    free(list);
    for (size_t i = 0; i < s->touched_count; i++) {
        struct stats_key *k = s->touched[i];
        stats_cell_add(&k->cells[SPAN_HOUR], &k->cells[SPAN_MINUTE]);
        stats_cell_add(&k->cells[SPAN_DAY], &k->cells[SPAN_MINUTE]);
        k->cells[SPAN_MINUTE] = (struct stats_cell){0};
        k->touched = false;
    }
    s->touched_count = 0;
}

static void end_longer(struct stats *s, enum stats_span span)
{
    size_t count = 0, room = 0;
    struct ranked *list = NULL;

    list_for_each (n, &s->all) {
        struct stats_key *k = list_entry(n, struct stats_key, link);
        if (stats_cell_is_empty(&k->cells[span]))
            continue;
        if (count == room) {
            room = room ? 2 * room : 64;
            list = xrealloc(list, room * sizeof(*list));
        }
        list[count++] = (struct ranked){k, 0};
    }
    end_span(s, span, list, count);
    for (size_t i = 0; i < count; i++)
        list[i].key->cells[span] = (struct stats_cell){0};
    free(list);
}

/* Makes room where a dimension is nearly full: the least busy keys go into the rest. */
static void thin_out(struct stats *s, unsigned d)
{
    size_t count = 0, keep = dimensions[d].keys / 2;

    if (s->key_count[d] < dimensions[d].keys / 4 * 3)
        return;
    struct ranked *list = xcalloc(s->key_count[d], sizeof(*list));
    for (struct hash_node *n = NULL; (n = hash_next(&s->keys[d], n));) {
        struct stats_key *k = container_of(n, struct stats_key, node);
        list[count++] = (struct ranked){k, stats_cell_weight(&k->cells[SPAN_HOUR]) * 24 +
                                               stats_cell_weight(&k->cells[SPAN_DAY])};
    }
    qsort(list, count, sizeof(*list), by_dimension_and_weight);
    for (size_t i = keep; i < count; i++) {
        for (unsigned p = SPAN_HOUR; p < SPAN_COUNT; p++)
            stats_cell_add(&s->rest[d]->cells[p], &list[i].key->cells[p]);
        drop_key(s, list[i].key);
    }
    free(list);
}

static void drop_empty(struct stats *s)
{
    list_for_each_safe (n, &s->all) {
        struct stats_key *k = list_entry(n, struct stats_key, link);
        if (k != s->rest[k->dimension] && stats_cell_is_empty(&k->cells[SPAN_DAY]) &&
            stats_cell_is_empty(&k->cells[SPAN_HOUR]))
            drop_key(s, k);
    }
}

void stats_advance(struct stats *s, int64_t wall_ms)
{
    bool had = s->now[SPAN_MINUTE] != 0, past = false;

    if (wall_ms / stats_spans[SPAN_MINUTE].ms <= s->now[SPAN_MINUTE])
        return; /* also when the clock was put back: then a minute is a long one */
    if (had)
        end_minute(s);
    for (unsigned p = SPAN_HOUR; had && p < SPAN_COUNT; p++)
        if (wall_ms / stats_spans[p].ms != s->now[p]) {
            end_longer(s, (enum stats_span)p);
            past = true;
        }
    for (unsigned p = 0; p < SPAN_COUNT; p++)
        s->now[p] = wall_ms / stats_spans[p].ms;
    if (past)
        drop_empty(s);
    for (unsigned d = STATS_BY_DOMAIN; d < STATS_DIMENSION_COUNT; d++)
        thin_out(s, d);
    if (past && s->changed)
        s->changed(s->changed_arg, true);
}

/* --- counting --- */

static struct stats_key *find(struct stats *s, unsigned d, struct strview name)
{
    struct stats_key *last = s->last[d];

    if (!name.len)
        name = SV("(none)");
    if (last && last->name_len == name.len && memcmp(last->name, name.ptr, name.len) == 0)
        return last;
    struct stats_key *k = stats_key_of(s, d, name);
    if (k != s->rest[d])
        s->last[d] = k;
    return k;
}

static void touch(struct stats *s, struct stats_key *k)
{
    if (s->touched_count == s->touched_room) {
        s->touched_room = s->touched_room ? 2 * s->touched_room : 256;
        s->touched = xrealloc(s->touched, s->touched_room * sizeof(struct stats_key *));
    }
    s->touched[s->touched_count++] = k;
    k->touched = true;
}

static void add(struct stats *s, struct stats_key *k, const struct stats_event *e, int category,
                int delay)
{
    struct stats_cell *c = &k->cells[SPAN_MINUTE];

    if (!k->touched)
        touch(s, k);
    c->counts[e->what]++;
    if (category >= 0)
        c->categories[category]++;
    if (delay >= 0) {
        c->delays[delay]++;
        c->counts[STATS_BYTES] += e->bytes;
    }
}

/* Names come from one configuration: the same pointer is the same name. */
static unsigned category_number(struct stats *s, const char *name)
{
    unsigned i = s->last_category_number;

    if (name != s->last_category || i >= s->category_count || strcmp(s->categories[i], name) != 0) {
        s->last_category_number = stats_category_of(s, name);
        s->last_category = name;
    }
    return s->last_category_number;
}

void stats_count(struct stats *s, const struct stats_event *e)
{
    bool bounce =
        e->what == STATS_BOUNCED || e->what == STATS_EXPIRED || e->what == STATS_REMOTE_BOUNCES;
    bool named = e->category && *e->category;
    int category = bounce && named ? (int)category_number(s, e->category) : -1;
    int delay =
        e->what == STATS_DELIVERED && e->delay_ms >= 0 ? (int)stats_delay_bucket(e->delay_ms) : -1;

    stats_advance(s, e->wall_ms);
    s->totals[e->what]++;
    if (delay >= 0)
        s->totals[STATS_BYTES] += e->bytes;
    add(s, s->rest[STATS_BY_PIPE], e, category, delay);
    add(s, find(s, STATS_BY_DOMAIN, e->domain), e, category, delay);
    add(s, find(s, STATS_BY_VMTA, e->vmta), e, category, delay);
    add(s, find(s, STATS_BY_JOB, e->job), e, category, delay);
    add(s, find(s, STATS_BY_QUEUE, e->queue), e, category, delay);
    if (named)
        add(s, find(s, STATS_BY_CATEGORY, sv_of(e->category)), e, category, delay);
    if (s->changed)
        s->changed(s->changed_arg, false);
}
