/*
 * The table of virtual MTAs, and below it the addresses that the machine does not have.
 */
#include "render.h"

#include <stdio.h>

enum { NAMES_SHOWN = 2 };

/* "192.0.2.1, 192.0.2.2 +10": the first ones of a list of objects. */
static void list_cell(struct table *t, const json_t *o, const char *list, const char *name,
                      const char *number)
{
    const json_t *items = json_object_get(o, list);
    struct buf text = {0};
    json_t *one;
    size_t i;

    json_array_foreach(items, i, one)
    {
        const char *word = field_text(one, name);
        int64_t n;
        if (i == NAMES_SHOWN)
            break;
        buf_printf(&text, "%s%s", i ? ", " : "", word && *word ? word : "any");
        if (number && field_number(one, number, &n))
            buf_printf(&text, ":%lld", (long long)n);
    }
    if (json_array_size(items) > NAMES_SHOWN)
        buf_printf(&text, " +%zu", json_array_size(items) - NAMES_SHOWN);
    buf_append_char(&text, '\0');
    table_cell(t, COLOUR_NONE, buf_len(&text) > 1 ? buf_data(&text) : NULL);
    buf_free(&text);
}

static void state_cell(struct table *t, const json_t *o)
{
    const char *state = field_text(o, "state");
    bool bad = state && (strcmp(state, "no-address") == 0 || strcmp(state, "removed") == 0);
    table_cell(t, bad ? COLOUR_BAD : state ? state_colour(state) : COLOUR_NONE, state);
}

static void missing_lines(const json_t *o, struct page *page)
{
    json_t *s;
    size_t i;

    json_array_foreach(json_object_get(o, "sources"), i, s)
    {
        const char *ip = field_text(s, "ip"), *file = field_text(s, "file");
        const char *vmta = field_text(o, "vmta");
        int64_t line = 0;
        if (!json_is_true(json_object_get(s, "missing")))
            continue;
        page_text(page, COLOUR_WARN, "missing ");
        page_clean(&page->out, ip && *ip ? ip : "every address of the network");
        page_printf(page, " of ");
        page_clean(&page->out, vmta ? vmta : "?");
        page_printf(page, ": this machine does not have it, it is skipped");
        if (file && field_number(s, "line", &line)) {
            page_printf(page, " (");
            page_clean(&page->out, file);
            page_printf(page, ":%lld)", (long long)line);
        }
        buf_append_char(&page->out, '\n');
    }
}

void render_vmtas(const struct answer *a, struct page *page)
{
    struct table t;
    json_t *o;
    size_t i;

    table_init(&t, page);
    table_column(&t, "pipe", COLUMN_LEFT);
    table_column(&t, "vmta", COLUMN_LEFT);
    table_column(&t, "state", COLUMN_LEFT);
    table_column(&t, "queued", COLUMN_RIGHT);
    table_column(&t, "queues", COLUMN_RIGHT);
    table_column(&t, "backoff", COLUMN_RIGHT);
    table_column(&t, "conns", COLUMN_RIGHT);
    table_column(&t, "ips", COLUMN_RIGHT);
    table_column(&t, "missing", COLUMN_RIGHT);
    table_column(&t, "pools", COLUMN_LEFT);
    table_column(&t, "cold today", COLUMN_LEFT);
    table_column(&t, "sources", COLUMN_LEFT);
    table_column(&t, "host names", COLUMN_REST);
    json_array_foreach(a->objects, i, o)
    {
        table_text(&t, o, "pipe");
        table_text(&t, o, "vmta");
        state_cell(&t, o);
        table_count(&t, o, "queued");
        table_count(&t, o, "queues");
        table_count(&t, o, "queues_backoff");
        table_of(&t, o, "connections", "max_connections");
        table_count(&t, o, "addresses");
        table_count(&t, o, "missing");
        list_cell(&t, o, "pools", "pool", "weight");
        list_cell(&t, o, "cold", "vmta", "today");
        list_cell(&t, o, "sources", "ip", NULL);
        list_cell(&t, o, "sources", "host", NULL);
    }
    table_print(&t);
    json_array_foreach(a->objects, i, o) missing_lines(o, page);
}
