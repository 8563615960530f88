/*
 * What holds or slows queues (show actions), and the end of one (cancel).
 */
#include "render.h"

#include <stdio.h>
#include <stdlib.h>

static void until_cell(struct table *t, const json_t *o)
{
    int64_t until = 0;

    if (field_number(o, "until_ms", &until) && until)
        table_next(t, o, "until_ms");
    else
        table_cell(t, COLOUR_WARN, "until cancelled");
}

/* "rate 50%", "disable-source-ip 192.0.2.1" */
static void what_cell(struct table *t, const json_t *o)
{
    const char *kind = field_text(o, "kind"), *subject = field_text(o, "subject");
    char text[400];
    int64_t percent;
    int n = snprintf(text, sizeof(text), "%s%s%.300s", kind ? kind : "?", subject ? " " : "",
                     subject ? subject : "");

    if (field_number(o, "percent", &percent) && n > 0 && (size_t)n < sizeof(text))
        snprintf(text + n, sizeof(text) - (size_t)n, " %lld%%", (long long)percent);
    table_cell(t, COLOUR_WARN, text);
}

static void cause_cell(struct table *t, const json_t *o)
{
    const char *by = field_text(o, "by"), *file = field_text(o, "file");
    struct buf text = {0};

    if (by && (strcmp(by, "reply") != 0 || !file))
        buf_printf(&text, "%s%s", by, file ? ", " : "");
    field_place(t->page, o, &text);
    table_cell(t, COLOUR_DIM, buf_data(&text));
    buf_free(&text);
}

static void action_row(struct table *t, const json_t *o)
{
    const char *queue = field_text(o, "queue");

    table_text(t, o, "id");
    table_cell(t, COLOUR_NONE, queue && *queue ? queue : "the whole pipe");
    what_cell(t, o);
    table_age(t, o, "since_ms");
    until_cell(t, o);
    table_count(t, o, "times");
    cause_cell(t, o);
    table_text(t, o, "reply");
}

static void changes(struct page *page, const json_t *o)
{
    struct table t;
    size_t i;
    json_t *c;
    struct buf title = {0};

    buf_append_str(&title, "modes of ");
    page_clean(&title, field_text(o, "queue"));
    page_heading(page, buf_data(&title));
    buf_free(&title);
    table_init(&t, page);
    table_column(&t, "at", COLUMN_LEFT);
    table_column(&t, "mode", COLUMN_LEFT);
    table_column(&t, "because of", COLUMN_REST);
    json_array_foreach(json_object_get(o, "mode_changes"), i, c)
    {
        char at[HUMAN_SIZE];
        int64_t ms = 0;
        field_number(c, "at_ms", &ms);
        table_cell(&t, COLOUR_NONE, human_time(ms, page->now_ms, at));
        table_state(&t, c, "mode");
        table_text(&t, c, "reason");
    }
    table_print(&t);
}

/* By pipe, in the order in which they began. */
static int by_id(const void *a, const void *b)
{
    const char *x = field_text(*(json_t *const *)a, "id"),
               *y = field_text(*(json_t *const *)b, "id");
    const char *x_dot = strrchr(x, '.'), *y_dot = strrchr(y, '.');
    size_t x_len = x_dot ? (size_t)(x_dot - x) : 0, y_len = y_dot ? (size_t)(y_dot - y) : 0;
    int d = strncmp(x, y, MIN_OF(x_len, y_len));

    if (d || x_len != y_len)
        return d ? d : x_len < y_len ? -1 : 1;
    long long m = x_dot ? atoll(x_dot + 1) : 0, n = y_dot ? atoll(y_dot + 1) : 0;
    return m < n ? -1 : m > n;
}

void render_actions(const struct answer *a, struct page *page)
{
    struct table t;
    json_t **sorted = xmalloc((json_array_size(a->objects) + 1) * sizeof(json_t *)), *o;
    size_t i, rows = 0;

    json_array_foreach(a->objects, i, o) if (field_text(o, "id")) sorted[rows++] = o;
    qsort(sorted, rows, sizeof(json_t *), by_id);
    table_init(&t, page);
    table_column(&t, "id", COLUMN_LEFT);
    table_column(&t, "queue", COLUMN_LEFT);
    table_column(&t, "action", COLUMN_LEFT);
    table_column(&t, "since", COLUMN_RIGHT);
    table_column(&t, "ends", COLUMN_RIGHT);
    table_column(&t, "times", COLUMN_RIGHT);
    table_column(&t, "cause", COLUMN_LEFT);
    table_column(&t, "reply", COLUMN_REST);
    for (i = 0; i < rows; i++)
        action_row(&t, sorted[i]);
    free(sorted);
    if (rows)
        table_print(&t);
    else if (a->ok && !json_array_size(a->errors))
        page_printf(page, "nothing is held or slowed\n");
    json_array_foreach(a->objects, i, o) if (json_object_get(o, "mode_changes")) changes(page, o);
}

void render_cancel(const struct answer *a, struct page *page)
{
    size_t i;
    json_t *o;

    json_array_foreach(a->objects, i, o)
    {
        const char *id = field_text(o, "id"), *kind = field_text(o, "kind"),
                   *queue = field_text(o, "queue");
        if (!id)
            continue;
        page_clean(&page->out, id);
        page_printf(page, " ");
        page_text(page, COLOUR_STRONG, "cancelled");
        page_printf(page, ": ");
        page_clean(&page->out, kind ? kind : "?");
        page_printf(page, " of ");
        page_clean(&page->out, queue && *queue ? queue : "the whole pipe");
        buf_append_char(&page->out, '\n');
    }
}
