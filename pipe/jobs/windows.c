/*
 * Shared delivery windows; see windows.h. Owner: the engine's table; each message holds a
 * reference.
 */
#include "jobs/windows.h"

static bool match_text(const struct hash_node *n, const void *key)
{
    const struct windows *w = container_of(n, const struct windows, node);
    return sv_eq(sv(w->text, w->text_len), *(const struct strview *)key);
}

void windows_table_init(struct hash *table)
{
    hash_init(table, match_text);
}

struct windows *windows_get(struct hash *table, struct strview text)
{
    struct schedule parsed;

    if (!text.len || text.len > SCHEDULE_MAX_TEXT)
        return NULL;
    uint64_t hash = hash_bytes(text.ptr, text.len);
    struct hash_node *n = hash_find(table, hash, &text);
    if (n) {
        struct windows *found = container_of(n, struct windows, node);
        found->refs++;
        return found;
    }
    if (schedule_parse(text, &parsed, NULL) < 0)
        return NULL;
    struct windows *w = xmalloc(sizeof(*w) + text.len);
    *w = (struct windows){
        .table = table, .refs = 1, .text_len = (uint16_t)text.len, .schedule = parsed};
    memcpy(w->text, text.ptr, text.len);
    hash_insert(table, &w->node, hash);
    return w;
}

void windows_unref(struct windows *w)
{
    if (!w || --w->refs)
        return;
    hash_remove(w->table, &w->node);
    free(w);
}

bool windows_open(const struct windows *w, int64_t now_ms)
{
    return schedule_next(&w->schedule, now_ms) == now_ms;
}

bool windows_over(const struct windows *w, int64_t now_ms)
{
    return now_ms >= schedule_end(&w->schedule);
}

int64_t windows_change(const struct windows *w, int64_t now_ms)
{
    for (size_t i = 0; i < w->schedule.count; i++) {
        const struct schedule_window *one = &w->schedule.windows[i];
        if (now_ms < one->start_ms)
            return one->start_ms;
        if (now_ms < one->end_ms)
            return one->end_ms;
    }
    return SCHEDULE_OVER;
}

int64_t windows_fit(const struct windows *w, int64_t at_ms)
{
    if (!w)
        return at_ms;
    int64_t next = schedule_next(&w->schedule, at_ms);
    return next == SCHEDULE_OVER ? schedule_end(&w->schedule) : next;
}

int64_t windows_end(const struct windows *w, int64_t bounce_ms)
{
    return w ? schedule_end(&w->schedule) : bounce_ms;
}
