/*
 * The table of TLS sessions that are reported, and below it what went wrong.
 */
#include "render.h"

#include <stdio.h>
#include <time.h>

static void day_cell(struct table *t, const json_t *o)
{
    int64_t ms = 0;
    char text[16] = "";
    struct tm tm;

    if (field_number(o, "day_ms", &ms)) {
        time_t s = (time_t)(ms / 1000);
        gmtime_r(&s, &tm);
        strftime(text, sizeof(text), "%Y-%m-%d", &tm);
    }
    table_cell(t, COLOUR_NONE, text);
}

static void detail_lines(const json_t *o, struct page *page)
{
    const char *domain = field_text(o, "domain");
    json_t *d;
    size_t i;

    json_array_foreach(json_object_get(o, "details"), i, d)
    {
        const char *type = field_text(d, "result-type"),
                   *host = field_text(d, "receiving-mx-hostname");
        const char *why = field_text(d, "failure-reason-code");
        int64_t n = 0;
        field_number(d, "failed-session-count", &n);
        page_text(page, COLOUR_WARN, type ? type : "?");
        page_printf(page, " %lld x ", (long long)n);
        page_clean(&page->out, domain ? domain : "?");
        page_printf(page, " host ");
        page_clean(&page->out, host ? host : "?");
        if (why && *why) {
            page_printf(page, ": ");
            page_clean(&page->out, why);
        }
        buf_append_char(&page->out, '\n');
    }
}

void render_tls_report(const struct answer *a, struct page *page)
{
    struct table t;
    json_t *o;
    size_t i;

    table_init(&t, page);
    table_column(&t, "pipe", COLUMN_LEFT);
    table_column(&t, "domain", COLUMN_LEFT);
    table_column(&t, "day", COLUMN_LEFT);
    table_column(&t, "wanted", COLUMN_LEFT);
    table_column(&t, "policy", COLUMN_LEFT);
    table_column(&t, "ok", COLUMN_RIGHT);
    table_column(&t, "failed", COLUMN_RIGHT);
    json_array_foreach(a->objects, i, o)
    {
        table_text(&t, o, "pipe");
        table_text(&t, o, "domain");
        day_cell(&t, o);
        table_text(&t, o, "wanted");
        table_text(&t, o, "policy");
        table_count(&t, o, "ok");
        table_count(&t, o, "failed");
    }
    table_print(&t);
    json_array_foreach(a->objects, i, o) detail_lines(o, page);
}
