/*
 * Tables of pipes, queues, connections, and the ledger.
 */
#include "render.h"

#include <stdio.h>

void render_pipes(const struct answer *a, struct page *page)
{
    struct table t;
    size_t i;
    json_t *o;

    table_init(&t, page);
    table_column(&t, "pipe", COLUMN_LEFT);
    table_column(&t, "state", COLUMN_LEFT);
    table_column(&t, "queued", COLUMN_RIGHT);
    table_column(&t, "queues", COLUMN_RIGHT);
    table_column(&t, "oldest", COLUMN_RIGHT);
    table_column(&t, "conns", COLUMN_RIGHT);
    table_column(&t, "in/min", COLUMN_RIGHT);
    table_column(&t, "out/min", COLUMN_RIGHT);
    table_column(&t, "delivered", COLUMN_RIGHT);
    table_column(&t, "deferred", COLUMN_RIGHT);
    table_column(&t, "bounced", COLUMN_RIGHT);
    table_column(&t, "spool", COLUMN_RIGHT);
    json_array_foreach(a->objects, i, o)
    {
        table_text(&t, o, "pipe");
        table_state(&t, o, "state");
        table_count(&t, o, "queued");
        table_count(&t, o, "queues");
        table_age(&t, o, "oldest_ms");
        table_of(&t, o, "connections", "max_connections");
        table_count(&t, o, "rate_in_1m");
        table_count(&t, o, "rate_out_1m");
        table_count(&t, o, "delivered");
        table_count(&t, o, "deferred");
        table_count(&t, o, "bounced");
        table_bytes(&t, o, "spool_bytes");
    }
    table_print(&t);
    json_array_foreach(a->objects, i, o)
    {
        int64_t n;
        const char *pipe = field_text(o, "pipe"), *trouble = field_text(o, "spool_trouble");
        if (json_is_false(json_object_get(o, "spool_writable")) || trouble) {
            page_text(page, COLOUR_BAD, "spool of ");
            page_clean(&page->out, pipe ? pipe : "?");
            page_printf(page, " cannot be written, mail is refused for now");
            page_printf(page, "%s", trouble ? ": " : "");
            page_clean(&page->out, trouble ? trouble : "");
            buf_append_char(&page->out, '\n');
        }
        if (field_number(o, "quarantined", &n) && n > 0) {
            page_text(page, COLOUR_WARN, "spool of ");
            page_clean(&page->out, pipe ? pipe : "?");
            page_printf(page, " has %lld damaged records in quarantine\n", (long long)n);
        }
    }
}

/* --- queues --- */

static int by_queued(const void *a, const void *b)
{
    int64_t x = 0, y = 0;

    field_number(*(json_t *const *)a, "queued", &x);
    field_number(*(json_t *const *)b, "queued", &y);
    return x < y ? 1 : x > y ? -1 : 0;
}

/* What holds it; else, or besides, the last answer of the other side. */
static void waits_cell(struct table *t, const json_t *o)
{
    const char *held = field_text(o, "held_by"), *answer = field_text(o, "last_text");
    struct buf text = {0};

    buf_printf(&text, "%s%s%s", held ? held : "", held && answer ? "; " : "", answer ? answer : "");
    table_cell(t, COLOUR_NONE, buf_len(&text) ? buf_data(&text) : NULL);
    buf_free(&text);
}

static void queue_row(struct table *t, const json_t *o)
{
    table_text(t, o, "pipe");
    table_text(t, o, "queue");
    table_state(t, o, "state");
    table_count(t, o, "queued");
    table_count(t, o, "ready");
    table_count(t, o, "deferred");
    table_of(t, o, "connections", "max_connections");
    table_text(t, o, "mode");
    table_text(t, o, "limits");
    table_age(t, o, "oldest_ms");
    table_next(t, o, "next_ms");
    table_text(t, o, "group");
    waits_cell(t, o);
}

/* Most mail first; an array to be freed. */
static json_t **sorted_queues(const struct answer *a, size_t *count)
{
    json_t **sorted, *o;
    size_t i;

    *count = json_array_size(a->objects);
    sorted = xmalloc((*count + 1) * sizeof(json_t *));
    json_array_foreach(a->objects, i, o) sorted[i] = o;
    qsort(sorted, *count, sizeof(json_t *), by_queued);
    return sorted;
}

static void group_row(struct table *t, const json_t *o)
{
    struct buf names = {0};
    size_t i;
    json_t *name;

    json_array_foreach(json_object_get(o, "domains"), i, name)
        buf_printf(&names, "%s%s", i ? ", " : "", json_string_value(name));
    table_text(t, o, "pipe");
    table_text(t, o, "group");
    table_text(t, o, "kind");
    table_count(t, o, "queued");
    table_count(t, o, "ready");
    table_count(t, o, "deferred");
    table_of(t, o, "connections", "max_connections");
    table_text(t, o, "mode");
    table_text(t, o, "limits");
    table_count(t, o, "members");
    table_cell(t, COLOUR_NONE, buf_data(&names));
    buf_free(&names);
}

static void render_groups(const struct answer *a, struct page *page)
{
    size_t count;
    json_t **sorted = sorted_queues(a, &count);
    struct table t;

    table_init(&t, page);
    table_column(&t, "pipe", COLUMN_LEFT);
    table_column(&t, "group", COLUMN_LEFT);
    table_column(&t, "kind", COLUMN_LEFT);
    table_column(&t, "queued", COLUMN_RIGHT);
    table_column(&t, "ready", COLUMN_RIGHT);
    table_column(&t, "deferred", COLUMN_RIGHT);
    table_column(&t, "conns", COLUMN_RIGHT);
    table_column(&t, "mode", COLUMN_LEFT);
    table_column(&t, "limits", COLUMN_LEFT);
    table_column(&t, "queues", COLUMN_RIGHT);
    table_column(&t, "domains", COLUMN_REST);
    for (size_t i = 0; i < count; i++)
        group_row(&t, sorted[i]);
    table_print(&t);
    if (!count && !json_array_size(a->errors))
        page_printf(page, "no queues are counted together\n");
    free(sorted);
}

void render_queues(const struct answer *a, struct page *page)
{
    size_t count, i;
    const char *limit = a->parsed->options[OPT_LIMIT];
    uint64_t most = 100;
    struct table t;

    if (limit)
        sv_to_u64(sv_of(limit), &most);
    if (parsed_has(a->parsed, OPT_GROUPS)) {
        render_groups(a, page);
        return;
    }
    json_t **sorted = sorted_queues(a, &count);
    table_init(&t, page);
    table_column(&t, "pipe", COLUMN_LEFT);
    table_column(&t, "queue", COLUMN_LEFT);
    table_column(&t, "state", COLUMN_LEFT);
    table_column(&t, "queued", COLUMN_RIGHT);
    table_column(&t, "ready", COLUMN_RIGHT);
    table_column(&t, "deferred", COLUMN_RIGHT);
    table_column(&t, "conns", COLUMN_RIGHT);
    table_column(&t, "mode", COLUMN_LEFT);
    table_column(&t, "limits", COLUMN_LEFT);
    table_column(&t, "oldest", COLUMN_RIGHT);
    table_column(&t, "next", COLUMN_RIGHT);
    table_column(&t, "counted as", COLUMN_LEFT);
    table_column(&t, "why", COLUMN_REST);
    for (i = 0; i < count && i < most; i++)
        queue_row(&t, sorted[i]);
    table_print(&t);
    if (!count && !json_array_size(a->errors))
        page_printf(page, "no queue%s holds mail\n",
                    a->parsed->operand_count ? " of this name" : "");
    free(sorted);
}

/* --- jobs --- */

static void job_row(struct table *t, const json_t *o)
{
    table_text(t, o, "pipe");
    table_text(t, o, "job");
    table_state(t, o, "state");
    table_count(t, o, "queued");
    table_count(t, o, "delivered");
    table_count(t, o, "deferred");
    table_count(t, o, "bounced");
    table_text(t, o, "max_msg_rate");
    table_age(t, o, "paused_since_ms");
}

void render_jobs(const struct answer *a, struct page *page)
{
    struct table t;
    size_t i;
    json_t *o;

    if (!json_array_size(a->objects)) {
        page_printf(page, "no jobs\n");
        return;
    }
    table_init(&t, page);
    table_column(&t, "pipe", COLUMN_LEFT);
    table_column(&t, "job", COLUMN_LEFT);
    table_column(&t, "state", COLUMN_LEFT);
    table_column(&t, "queued", COLUMN_RIGHT);
    table_column(&t, "delivered", COLUMN_RIGHT);
    table_column(&t, "deferred", COLUMN_RIGHT);
    table_column(&t, "bounced", COLUMN_RIGHT);
    table_column(&t, "rate", COLUMN_RIGHT);
    table_column(&t, "paused for", COLUMN_RIGHT);
    json_array_foreach(a->objects, i, o) job_row(&t, o);
    table_print(&t);
}

/* --- connections --- */

static bool goes(const json_t *o, const char *direction)
{
    const char *d = field_text(o, "direction");
    return d && strcmp(d, direction) == 0;
}

static void pipe_cell(struct table *t, const json_t *o)
{
    const char *process = field_text(o, "process");
    const char *slash = process ? strchr(process, '/') : NULL;
    table_cell(t, COLOUR_NONE, slash ? slash + 1 : process);
}

static void connections_out(const struct answer *a, struct page *p)
{
    struct table t;
    size_t i;
    json_t *o;

    table_init(&t, p);
    table_column(&t, "pipe", COLUMN_LEFT);
    table_column(&t, "queue", COLUMN_LEFT);
    table_column(&t, "host", COLUMN_LEFT);
    table_column(&t, "peer", COLUMN_LEFT);
    table_column(&t, "source", COLUMN_LEFT);
    table_column(&t, "phase", COLUMN_LEFT);
    table_column(&t, "messages", COLUMN_RIGHT);
    table_column(&t, "open for", COLUMN_RIGHT);
    table_column(&t, "tls", COLUMN_REST);
    json_array_foreach(a->objects, i, o)
    {
        if (!goes(o, "out"))
            continue;
        pipe_cell(&t, o);
        table_text(&t, o, "queue");
        table_text(&t, o, "host");
        table_text(&t, o, "peer");
        table_text(&t, o, "source");
        table_text(&t, o, "phase");
        table_count(&t, o, "messages");
        table_age(&t, o, "opened_ms");
        table_text(&t, o, "tls");
    }
    char title[64];
    snprintf(title, sizeof(title), "out: %zu", t.cell_count / t.columns);
    page_heading(p, title);
    table_print(&t);
}

static void connections_in(const struct answer *a, struct page *p)
{
    struct table t;
    size_t i;
    json_t *o;

    table_init(&t, p);
    table_column(&t, "session", COLUMN_LEFT);
    table_column(&t, "client", COLUMN_LEFT);
    table_column(&t, "listener", COLUMN_LEFT);
    table_column(&t, "source", COLUMN_LEFT);
    table_column(&t, "user", COLUMN_LEFT);
    table_column(&t, "state", COLUMN_LEFT);
    table_column(&t, "messages", COLUMN_RIGHT);
    table_column(&t, "open for", COLUMN_RIGHT);
    table_column(&t, "tls", COLUMN_LEFT);
    json_array_foreach(a->objects, i, o)
    {
        if (!goes(o, "in"))
            continue;
        table_text(&t, o, "session");
        table_text(&t, o, "client");
        table_text(&t, o, "listener");
        table_text(&t, o, "source");
        table_text(&t, o, "user");
        table_state(&t, o, "state");
        table_count(&t, o, "messages");
        table_seconds(&t, o, "age_s");
        table_cell(&t, COLOUR_NONE, json_is_true(json_object_get(o, "tls")) ? "yes" : "no");
    }
    char title[64];
    snprintf(title, sizeof(title), "in: %zu", t.cell_count / t.columns);
    page_heading(p, title);
    table_print(&t);
}

void render_connections(const struct answer *a, struct page *page)
{
    connections_out(a, page);
    if (!parsed_has(a->parsed, OPT_PIPE))
        connections_in(a, page);
}

/* --- ledger --- */

void render_ledger(const struct answer *a, struct page *page)
{
    static const char *const counts[] = {"received", "delivered", "bounced", "expired",
                                         "deleted",  "corrupt",   "queued"};
    struct table t;
    size_t i;
    json_t *o;

    table_init(&t, page);
    table_column(&t, "pipe", COLUMN_LEFT);
    for (size_t c = 0; c < ARRAY_LEN(counts); c++)
        table_column(&t, counts[c], COLUMN_RIGHT);
    table_column(&t, "books", COLUMN_LEFT);
    json_array_foreach(a->objects, i, o)
    {
        table_text(&t, o, "pipe");
        for (size_t c = 0; c < ARRAY_LEN(counts); c++)
            table_count(&t, o, counts[c]);
        bool balanced = json_is_true(json_object_get(o, "balanced"));
        table_cell(&t, balanced ? COLOUR_GOOD : COLOUR_BAD,
                   balanced ? "balance" : "DO NOT BALANCE");
    }
    table_print(&t);
}
