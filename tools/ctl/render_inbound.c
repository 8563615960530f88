/*
 * show inbound: what came of the mail to our own addresses, then of which kinds it was, then a line
 * for each pipe that waits for the suppression list.
 */
#include "render.h"

struct count_column {
    const char *field, *title;
    enum colour colour; /* of what is not zero */
};

static const struct count_column results[] = {
    {"reports", "reports", COLOUR_NONE},       {"unmatched", "unmatched", COLOUR_NONE},
    {"errors", "unreadable", COLOUR_WARN},     {"records", "records", COLOUR_NONE},
    {"suppressed", "suppressed", COLOUR_NONE}, {"forwarded", "forwarded", COLOUR_NONE},
    {"queued", "queued", COLOUR_NONE},         {"waiting", "waiting", COLOUR_WARN},
};

static const struct count_column kinds[] = {
    {"bounces", "bounces", COLOUR_NONE},           {"statuses", "delays", COLOUR_NONE},
    {"complaints", "complaints", COLOUR_NONE},     {"unsubscriptions", "unsubscribed", COLOUR_NONE},
    {"auto_replies", "auto-replies", COLOUR_NONE}, {"challenges", "challenges", COLOUR_NONE},
    {"read_notices", "read notices", COLOUR_NONE}, {"others", "other mail", COLOUR_NONE},
};

static void count_cell(struct table *t, const json_t *o, const struct count_column *c)
{
    char text[HUMAN_SIZE];
    int64_t n = 0;

    if (field_number(o, c->field, &n))
        table_cell(t, n ? c->colour : COLOUR_NONE, human_count(n, text));
    else
        table_cell(t, COLOUR_NONE, NULL);
}

static void counts_table(const struct answer *a, struct page *page, const struct count_column *c,
                         size_t count)
{
    struct table t;
    json_t *o;
    size_t i;

    table_init(&t, page);
    table_column(&t, "pipe", COLUMN_LEFT);
    for (size_t k = 0; k < count; k++)
        table_column(&t, c[k].title, COLUMN_RIGHT);
    json_array_foreach(a->objects, i, o)
    {
        table_text(&t, o, "pipe");
        for (size_t k = 0; k < count; k++)
            count_cell(&t, o, &c[k]);
    }
    table_print(&t);
}

static void waiting_line(struct page *page, const json_t *o)
{
    const char *pipe = field_text(o, "pipe");
    char text[HUMAN_SIZE];
    struct buf b = {0};
    int64_t n = 0;

    if (!field_number(o, "waiting", &n) || !n)
        return;
    buf_printf(&b, "pipe %s: %s message%s for the suppression list", pipe ? pipe : "?",
               human_count(n, text), n == 1 ? " waits" : "s wait");
    page_printf(page, "\n");
    page_text(page, COLOUR_WARN, buf_data(&b));
    page_printf(page, "\n");
    buf_free(&b);
}

void render_inbound(const struct answer *a, struct page *page)
{
    json_t *o;
    size_t i;

    if (!json_array_size(a->objects))
        return;
    counts_table(a, page, results, ARRAY_LEN(results));
    page_printf(page, "\n");
    counts_table(a, page, kinds, ARRAY_LEN(kinds));
    json_array_foreach(a->objects, i, o) waiting_line(page, o);
}
