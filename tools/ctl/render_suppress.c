/*
 * `suppress add`, `del`, `find` and `show`.
 */
#include "render.h"

#include <stdio.h>

static void say(struct page *p, enum colour c, const char *word, const char *address)
{
    page_text(p, c, word);
    page_printf(p, " ");
    page_clean(&p->out, address);
    page_printf(p, "\n");
}

void render_suppress_change(const struct answer *a, struct page *page)
{
    const json_t *o = json_array_get(a->objects, 0);
    const char *address = a->parsed->operands[0];
    bool del = a->parsed->command->verb == VERB_SUPPRESS_DEL;
    int64_t n = 0;

    if (!o)
        return;
    if (field_number(o, "added", &n) && n)
        say(page, COLOUR_GOOD, "suppressed", address);
    else if (field_number(o, "changed", &n) && n)
        say(page, COLOUR_GOOD, "changed", address);
    else if (field_number(o, "removed", &n) && n)
        say(page, COLOUR_GOOD, "taken off the list:", address);
    else
        say(page, COLOUR_WARN,
            del ? "not on the list in this scope:" : "on the list already:", address);
}

static void scope_text(const json_t *o, struct buf *out)
{
    const char *scope = field_text(o, "scope"), *name = field_text(o, "name");
    buf_append_str(out, scope ? scope : "?");
    if (name && *name)
        buf_printf(out, ":%s", name);
}

static void time_cell(struct table *t, const json_t *o, const char *name, const char *none)
{
    char text[HUMAN_SIZE];
    int64_t ms = 0;

    field_number(o, name, &ms);
    table_cell(t, COLOUR_NONE, ms ? human_time(ms, t->page->now_ms, text) : none);
}

void render_suppress_find(const struct answer *a, struct page *page)
{
    struct table t;
    size_t i;
    json_t *o;

    table_init(&t, page);
    table_column(&t, "address", COLUMN_LEFT);
    table_column(&t, "scope", COLUMN_LEFT);
    table_column(&t, "reason", COLUMN_LEFT);
    table_column(&t, "added", COLUMN_LEFT);
    table_column(&t, "expires", COLUMN_LEFT);
    table_column(&t, "note", COLUMN_REST);
    json_array_foreach(a->objects, i, o)
    {
        struct buf scope = {0};
        scope_text(o, &scope);
        table_text(&t, o, "address");
        table_cell(&t, COLOUR_STRONG, buf_data(&scope));
        table_text(&t, o, "reason");
        time_cell(&t, o, "added_ms", NULL);
        time_cell(&t, o, "expires_ms", "never");
        table_text(&t, o, "note");
        buf_free(&scope);
    }
    table_print(&t);
    if (!json_array_size(a->objects) && !json_array_size(a->errors) && a->ok)
        page_printf(page, "not on the suppression list\n");
}

static void count_line(struct page *p, const char *what, const json_t *o, const char *name,
                       bool bytes)
{
    char text[HUMAN_SIZE];
    int64_t n = 0;

    if (field_number(o, name, &n))
        page_printf(p, "%-18s %s\n", what, bytes ? human_bytes(n, text) : human_count(n, text));
}

void render_suppress_show(const struct answer *a, struct page *page)
{
    const json_t *o = json_array_get(a->objects, 0), *scopes = json_object_get(o, "by_scope");
    const char *store = field_text(o, "store"), *trouble = field_text(o, "trouble");
    int64_t damaged = 0;

    if (!o)
        return;
    count_line(page, "entries", o, "entries", false);
    count_line(page, "  global", scopes, "global", false);
    count_line(page, "  of pipes", scopes, "pipe", false);
    count_line(page, "  of domains", scopes, "domain", false);
    count_line(page, "  of jobs", scopes, "job", false);
    count_line(page, "that expire", o, "expiring", false);
    page_printf(page, "%-18s %s\n", "addresses kept as",
                store && strcmp(store, "hash") == 0 ? "hashes" : "they are");
    count_line(page, "memory", o, "table_bytes", true);
    count_line(page, "disk", o, "log_bytes", true);
    if (field_number(o, "damaged_bytes", &damaged) && damaged)
        count_line(page, "damaged, set aside", o, "damaged_bytes", true);
    if (trouble && *trouble) {
        page_text(page, COLOUR_BAD, "cannot be written: ");
        page_clean(&page->out, trouble);
        page_printf(page, "\n");
    }
}
