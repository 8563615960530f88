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
    struct buf text = {0};

    if (!field_place(t->page, o, &text))
        buf_append_str(&text, "default");
    table_cell(t, COLOUR_DIM, buf_data(&text));
    buf_free(&text);
}

static void waiting_cell(struct table *t, const json_t *o)
{
    char text[64];
    int64_t n = 0;

    field_number(o, "waiting", &n);
    snprintf(text, sizeof(text), "%lld queue%s", (long long)n, n == 1 ? "" : "s");
    table_cell(t, COLOUR_NONE, n ? text : NULL);
}

/* "counted as google.rollup/mta1: its best MX hosts, …" */
static void group_line(struct page *page, const char *queue, const char *counted,
                       const char *because)
{
    struct buf text = {0};

    if (counted && queue && strcmp(counted, queue) != 0)
        buf_printf(&text, "counted as %s%s", counted, because ? ": " : "");
    buf_append_str(&text, because ? because : "");
    if (buf_len(&text))
        page_paragraph(page, 0, buf_data(&text));
    buf_free(&text);
}

static void limits_of(const struct answer *a, struct page *page, const char *pipe)
{
    struct table t;
    const char *queue = NULL, *because = NULL, *counted = NULL;
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
        if (!field_text(o, "limit")) {
            because = field_text(o, "because");
            counted = field_text(o, "counted_as");
            continue;
        }
        table_text(&t, o, "limit");
        table_text(&t, o, "directive");
        table_text(&t, o, "allows");
        level_cell(&t, page, o);
        waiting_cell(&t, o);
        where_cell(&t, o);
    }
    snprintf(title, sizeof(title), "%.250s in pipe %.100s", queue ? queue : "", pipe);
    page_heading(page, title);
    group_line(page, queue, counted, because);
    table_print(&t);
}

/* One table per pipe, in the order in which they answered. */
void render_limits(const struct answer *a, struct page *page)
{
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
        limits_of(a, page, pipe);
    }
}
