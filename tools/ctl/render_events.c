/*
 * `show events`: the event sinks, what is wrong with them, and their pipes; and their line in
 * `status`.
 */
#include "render.h"

#include <stdio.h>

static bool is_failing(const json_t *o)
{
    const char *state = field_text(o, "state");
    return state && strcmp(state, "failing") == 0;
}

static void rate_cell(struct table *t, const json_t *o)
{
    const json_t *rate = json_object_get(o, "rate");
    char text[HUMAN_SIZE];

    snprintf(text, sizeof(text), "%.*f/s", json_number_value(rate) < 10 ? 1 : 0,
             json_number_value(rate));
    table_cell(t, COLOUR_NONE, json_is_number(rate) ? text : NULL);
}

/* A column for what should be nothing. */
static void bad_count(struct table *t, const json_t *o, const char *name)
{
    char text[HUMAN_SIZE];
    int64_t n = 0;

    table_cell(t, COLOUR_BAD, field_number(o, name, &n) && n > 0 ? human_count(n, text) : NULL);
}

static void sinks(const struct answer *a, struct page *page)
{
    struct table t;
    json_t *o;
    size_t i;

    table_init(&t, page);
    table_column(&t, "sink", COLUMN_LEFT);
    table_column(&t, "state", COLUMN_LEFT);
    table_column(&t, "behind", COLUMN_RIGHT);
    table_column(&t, "bytes", COLUMN_RIGHT);
    table_column(&t, "oldest", COLUMN_RIGHT);
    table_column(&t, "sent", COLUMN_RIGHT);
    table_column(&t, "rate", COLUMN_RIGHT);
    table_column(&t, "retried", COLUMN_RIGHT);
    table_column(&t, "dead", COLUMN_RIGHT);
    table_column(&t, "broken", COLUMN_RIGHT);
    table_column(&t, "gaps", COLUMN_RIGHT);
    table_column(&t, "to", COLUMN_REST);
    json_array_foreach(a->objects, i, o)
    {
        table_text(&t, o, "sink");
        table_state(&t, o, "state");
        table_count(&t, o, "records_behind");
        table_bytes(&t, o, "bytes_behind");
        table_age(&t, o, "oldest_ms");
        table_count(&t, o, "sent");
        rate_cell(&t, o);
        table_count(&t, o, "retried");
        bad_count(&t, o, "dead_letters");
        bad_count(&t, o, "broken");
        bad_count(&t, o, "gaps");
        table_text(&t, o, "url");
    }
    table_print(&t);
}

static void trouble(const json_t *o, struct page *page)
{
    const char *sink = field_text(o, "sink"), *why = field_text(o, "why");
    char text[HUMAN_SIZE];
    int64_t since = 0;

    if (!sink || !why)
        return;
    page_text(page, is_failing(o) ? COLOUR_BAD : COLOUR_WARN, sink);
    if (field_number(o, "failing_since_ms", &since) && since > 0)
        page_printf(page, " since %s", human_time(since, page->now_ms, text));
    page_printf(page, ": ");
    page_clean(&page->out, why);
    buf_append_char(&page->out, '\n');
}

static void pipe_row(struct table *t, const json_t *sink, const json_t *o)
{
    table_text(t, sink, "sink");
    table_text(t, o, "pipe");
    table_state(t, o, "state");
    table_count(t, o, "records_behind");
    table_age(t, o, "oldest_ms");
    table_next(t, o, "next_ms");
    table_text(t, o, "file");
    table_count(t, o, "offset");
}

static void pipes(const struct answer *a, struct page *page)
{
    struct table t;
    json_t *o, *one;
    size_t i, k;
    bool first = true;

    table_init(&t, page);
    table_column(&t, "sink", COLUMN_LEFT);
    table_column(&t, "pipe", COLUMN_LEFT);
    table_column(&t, "state", COLUMN_LEFT);
    table_column(&t, "behind", COLUMN_RIGHT);
    table_column(&t, "oldest", COLUMN_RIGHT);
    table_column(&t, "next try", COLUMN_RIGHT);
    table_column(&t, "file", COLUMN_LEFT);
    table_column(&t, "offset", COLUMN_RIGHT);
    json_array_foreach(a->objects, i, o)
    {
        json_array_foreach(json_object_get(o, "pipes"), k, one)
        {
            if (first)
                buf_append_char(&page->out, '\n');
            first = false;
            pipe_row(&t, o, one);
        }
    }
    table_print(&t);
}

void render_events(const struct answer *a, struct page *page)
{
    json_t *o;
    size_t i;

    if (!json_array_size(a->objects)) {
        page_printf(page, "no event sink is configured ([event-sink NAME])\n");
        return;
    }
    sinks(a, page);
    json_array_foreach(a->objects, i, o) trouble(o, page);
    pipes(a, page);
}

void render_events_short(const struct answer *a, struct page *page)
{
    char text[HUMAN_SIZE];
    json_t *o;
    size_t i;

    json_array_foreach(a->objects, i, o)
    {
        const char *state = field_text(o, "state"), *sink = field_text(o, "sink"),
                   *why = field_text(o, "why");
        int64_t behind = 0, sent = 0;
        if (!sink || !state)
            continue;
        page_text(page, COLOUR_DIM, "event sink ");
        page_clean(&page->out, sink);
        buf_append_char(&page->out, ' ');
        page_text(page, state_colour(state), state);
        if (field_number(o, "sent", &sent))
            page_printf(page, ", %s sent", human_count(sent, text));
        if (field_number(o, "records_behind", &behind))
            page_printf(page, ", %s behind", human_count(behind, text));
        if (why && is_failing(o)) {
            page_printf(page, ": ");
            page_clean(&page->out, why);
        }
        buf_append_char(&page->out, '\n');
    }
}
