/*
 * The limits of a queue (show limits): what each allows, how far it is used up, where it stands in
 * the configuration, who waits.
 */
#include "render.h"

#include <stdio.h>

static void level_cell(struct table *t, const struct page *page, const json_t *o)
{
    char text[HUMAN_SIZE + 64], when[HUMAN_SIZE];
    int64_t used, max, here, free_now = 0, next = 0;

    if (field_number(o, "used", &used) && field_number(o, "max", &max)) {
        bool elsewhere = field_number(o, "used_here", &here) && here != used;
        if (elsewhere)
            snprintf(text, sizeof(text), "%lld of %lld (%lld in this pipe)", (long long)used,
                     (long long)max, (long long)here);
        else
            snprintf(text, sizeof(text), "%lld of %lld", (long long)used, (long long)max);
        table_cell(t, max && used >= max ? COLOUR_WARN : COLOUR_NONE, text);
        return;
    }
    field_number(o, "free_now", &free_now);
    field_number(o, "next_ms", &next);
    if (free_now)
        snprintf(text, sizeof(text), "%lld may go now", (long long)free_now);
    else if (next >= page->now_ms + 1000)
        snprintf(text, sizeof(text), "next in %s", human_duration(next - page->now_ms, when));
    else
        snprintf(text, sizeof(text), "next within 1s");
    table_cell(t, free_now ? COLOUR_NONE : COLOUR_WARN, text);
}

static void where_cell(struct table *t, const json_t *o)
{
    const char *file = field_text(o, "file");
    char text[600];
    int64_t line = 0;

    field_number(o, "line", &line);
    if (file && *file)
        snprintf(text, sizeof(text), "%.500s:%lld", file, (long long)line);
    else
        snprintf(text, sizeof(text), "default");
    table_cell(t, COLOUR_DIM, text);
}

static void waiting_cell(struct table *t, const json_t *o)
{
    char text[64];
    int64_t n = 0;

    field_number(o, "waiting", &n);
    snprintf(text, sizeof(text), "%lld queue%s", (long long)n, n == 1 ? "" : "s");
    table_cell(t, COLOUR_NONE, n ? text : NULL);
}

static void limits_of(const struct answer *a, struct page *page, const char *pipe)
{
    struct table t;
    const char *queue = NULL;
    char title[400];
    size_t i;
    json_t *o;

    table_init(&t, page);
    table_column(&t, "limit", COLUMN_LEFT);
    table_column(&t, "directive", COLUMN_LEFT);
    table_column(&t, "allows", COLUMN_RIGHT);
    table_column(&t, "level", COLUMN_LEFT);
    table_column(&t, "waiting", COLUMN_LEFT);
    table_column(&t, "stands in", COLUMN_REST);
    json_array_foreach(a->objects, i, o)
    {
        const char *p = field_text(o, "pipe");
        if (strcmp(p ? p : "", pipe) != 0)
            continue;
        queue = field_text(o, "queue");
        table_text(&t, o, "limit");
        table_text(&t, o, "directive");
        table_text(&t, o, "allows");
        level_cell(&t, page, o);
        waiting_cell(&t, o);
        where_cell(&t, o);
    }
    snprintf(title, sizeof(title), "%.250s in pipe %.100s", queue ? queue : "", pipe);
    page_heading(page, title);
    table_print(&t);
}

/* One table per pipe, in the order in which they answered. */
void render_limits(const struct answer *a, struct page *page)
{
    const char *last = NULL;
    size_t i;
    json_t *o;

    json_array_foreach(a->objects, i, o)
    {
        const char *pipe = field_text(o, "pipe");
        bool seen = false;
        for (size_t k = 0; pipe && k < i && !seen; k++) {
            const char *p = field_text(json_array_get(a->objects, k), "pipe");
            seen = p && strcmp(p, pipe) == 0;
        }
        if (!pipe || seen)
            continue;
        if (last)
            buf_append_char(&page->out, '\n');
        limits_of(a, page, pipe);
        last = pipe;
    }
}
