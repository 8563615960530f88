/*
 * `classify` and `show unclassified`.
 */
#include "render.h"

static void line_of(struct page *p, const char *name, const char *value)
{
    struct buf b = {0};

    page_clean(&b, value);
    page_printf(p, "%-10s %s\n", name, buf_data(&b));
    buf_free(&b);
}

static void rule_line(struct page *p, const json_t *o)
{
    const char *file = field_text(o, "file"), *rule = field_text(o, "rule");
    const char *by = field_text(o, "by");
    struct buf b = {0};
    int64_t line = 0;

    if (file && field_number(o, "line", &line)) {
        buf_printf(&b, "%s:%lld%s", file, (long long)line,
                   json_is_true(json_object_get(o, "own")) ? "" : " (shipped)");
        line_of(p, "rule", buf_data(&b));
        line_of(p, "", rule ? rule : "");
    } else {
        line_of(p, "rule", json_is_true(json_object_get(o, "caught"))
                               ? "none matches; what the code stands for"
                               : "none matches, and the codes say nothing");
    }
    line_of(p, "went by", by ? by : "");
    buf_free(&b);
}

void render_classify(const struct answer *a, struct page *page)
{
    const json_t *o = json_array_get(a->objects, 0); /* every pipe says the same */
    const char *category = field_text(o, "category");

    if (!o)
        return;
    page_printf(page, "%-10s ", "category");
    page_text(page, json_is_true(json_object_get(o, "caught")) ? COLOUR_GOOD : COLOUR_WARN,
              category ? category : "?");
    page_printf(page, "\n");
    rule_line(page, o);
}

void render_unclassified(const struct answer *a, struct page *page)
{
    struct table t;
    size_t i;
    json_t *o;

    table_init(&t, page);
    table_column(&t, "pipe", COLUMN_LEFT);
    table_column(&t, "replies", COLUMN_RIGHT);
    table_column(&t, "phase", COLUMN_LEFT);
    table_column(&t, "last", COLUMN_RIGHT);
    table_column(&t, "host", COLUMN_LEFT);
    table_column(&t, "text", COLUMN_REST);
    json_array_foreach(a->objects, i, o)
    {
        table_text(&t, o, "pipe");
        table_count(&t, o, "count");
        table_text(&t, o, "phase");
        table_age(&t, o, "last_ms");
        table_text(&t, o, "host");
        table_text(&t, o, "text");
    }
    table_print(&t);
    if (!json_array_size(a->objects) && !json_array_size(a->errors))
        page_printf(page, "every reply that was no success belongs to a category\n");
}
