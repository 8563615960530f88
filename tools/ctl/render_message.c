/*
 * One message: its envelope and recipients (show message), and what it waits for (why).
 */
#include "render.h"

#include <stdio.h>

static void line(struct page *p, const char *label, const char *value)
{
    if (!value || !*value)
        return;
    page_text(p, COLOUR_DIM, "  ");
    page_printf(p, "%-10s", label);
    page_clean(&p->out, value);
    buf_append_char(&p->out, '\n');
}

static void title(struct page *p, const json_t *o)
{
    struct buf text = {0};

    buf_append_str(&text, "message ");
    page_clean(&text, field_text(o, "id") ? field_text(o, "id") : "?");
    if (field_text(o, "pipe")) {
        buf_append_str(&text, " in pipe ");
        page_clean(&text, field_text(o, "pipe"));
    }
    page_heading(p, buf_data(&text));
    buf_free(&text);
}

static void reply_cell(struct table *t, const json_t *o)
{
    const char *text = field_text(o, "text");
    char with_code[1024];
    int64_t code;

    /* the text of a reply begins with its code already, our own sentences have none */
    if (text && field_number(o, "code", &code) && code > 0 && !ascii_is_digit(text[0])) {
        snprintf(with_code, sizeof(with_code), "%lld %.1000s", (long long)code, text);
        text = with_code;
    }
    table_cell(t, COLOUR_NONE, text && *text ? text : NULL);
}

static void recipients(struct page *p, const json_t *rcpts)
{
    struct table t;
    size_t i;
    json_t *o;

    table_init(&t, p);
    table_column(&t, "rcpt", COLUMN_RIGHT);
    table_column(&t, "address", COLUMN_LEFT);
    table_column(&t, "state", COLUMN_LEFT);
    table_column(&t, "queue", COLUMN_LEFT);
    table_column(&t, "attempts", COLUMN_RIGHT);
    table_column(&t, "next", COLUMN_RIGHT);
    table_column(&t, "last answer", COLUMN_REST);
    json_array_foreach(rcpts, i, o)
    {
        table_count(&t, o, "rcpt");
        table_text(&t, o, "address");
        table_state(&t, o, "state");
        table_text(&t, o, "queue");
        table_count(&t, o, "attempts");
        table_next(&t, o, "next_ms");
        reply_cell(&t, o);
    }
    if (t.cell_count)
        buf_append_char(&p->out, '\n');
    table_print(&t);
}

void render_message(const struct answer *a, struct page *page)
{
    char text[2 * HUMAN_SIZE + 16], one[HUMAN_SIZE], two[HUMAN_SIZE];
    int64_t n;
    size_t i;
    json_t *o;

    json_array_foreach(a->objects, i, o)
    {
        const char *sender = field_text(o, "sender");
        title(page, o);
        line(page, "sender", sender && !*sender ? "<>" : sender);
        if (field_number(o, "received_ms", &n) && n > 0) {
            snprintf(text, sizeof(text), "%s (%s ago)", human_time(n, page->now_ms, one),
                     human_duration(page->now_ms - n, two));
            line(page, "received", text);
        }
        if (field_number(o, "bytes", &n))
            line(page, "size", human_bytes(n, one));
        line(page, "job", field_text(o, "job"));
        line(page, "envid", field_text(o, "envid"));
        line(page, "from", field_text(o, "peer"));
        line(page, "user", field_text(o, "user"));
        recipients(page, json_object_get(o, "rcpts"));
    }
}

/* --- why --- */

static bool same_text(const json_t *a, const json_t *b, const char *name)
{
    const char *x = field_text(a, name), *y = field_text(b, name);
    return strcmp(x ? x : "", y ? y : "") == 0;
}

/* Whether two recipients wait for the same thing. */
static bool same_reason(const json_t *a, const json_t *b)
{
    return same_text(a, b, "queue") && same_text(a, b, "waits_for") && same_text(a, b, "because") &&
           same_text(a, b, "where") && same_text(a, b, "next");
}

/* "a@x", "a@x, b@x and 12 others" */
static void who(struct page *p, const json_t *rcpts, size_t first, size_t count)
{
    enum { NAMED = 3 };
    size_t named = count <= NAMED + 1 ? count : NAMED;
    struct buf text = {0};

    for (size_t i = 0; i < named; i++) {
        const char *address = field_text(json_array_get(rcpts, first + i), "address");
        buf_append_str(&text, i == 0 ? "" : i + 1 == count ? " and " : ", ");
        page_clean(&text, address ? address : "?");
    }
    if (named < count)
        buf_printf(&text, " and %zu others", count - named);
    page_text(p, COLOUR_STRONG, buf_data(&text));
    buf_append_char(&p->out, '\n');
    buf_free(&text);
}

static void append_next(struct buf *out, const json_t *o, int64_t now_ms)
{
    const char *next = field_text(o, "next");
    char at[HUMAN_SIZE];
    int64_t ms;

    if (!next || !*next)
        return;
    buf_printf(out, "%c%s", next[0] >= 'a' && next[0] <= 'z' ? next[0] - 32 : next[0], next + 1);
    if (field_number(o, "next_ms", &ms) && ms > 0)
        buf_printf(out, ", at %s", human_time(ms, now_ms, at));
    buf_append_str(out, ". ");
}

static void paragraph(struct page *p, const json_t *o, size_t count)
{
    const char *waits_for = field_text(o, "waits_for"), *because = field_text(o, "because"),
               *where = field_text(o, "where"), *queue = field_text(o, "queue");
    struct buf text = {0};

    buf_append_str(&text, count > 1 ? "Each waits" : "Waits");
    if (queue && *queue)
        buf_printf(&text, " in queue %s", queue);
    buf_printf(&text, " for %s. ", waits_for && *waits_for ? waits_for : "something unknown");
    if (because && *because) {
        size_t len = strlen(because);
        buf_printf(&text, "%c%s%s ",
                   because[0] >= 'a' && because[0] <= 'z' && strncmp(because, "max-", 4) != 0
                       ? because[0] - 32
                       : because[0],
                   because + 1, because[len - 1] == '.' ? "" : ".");
    }
    append_next(&text, o, p->now_ms);
    if (where && strcmp(where, "default") == 0)
        buf_append_str(&text, "That is the default, written nowhere.");
    else if (where && *where)
        buf_printf(&text, "See %s.", where);
    page_paragraph(p, 2, buf_data(&text));
    buf_free(&text);
}

void render_why(const struct answer *a, struct page *page)
{
    size_t i;
    json_t *o;

    json_array_foreach(a->objects, i, o)
    {
        const json_t *rcpts = json_object_get(o, "rcpts");
        size_t total = json_array_size(rcpts), count;
        title(page, o);
        for (size_t first = 0; first < total; first += count) {
            const json_t *one = json_array_get(rcpts, first);
            for (count = 1; first + count < total; count++)
                if (!same_reason(one, json_array_get(rcpts, first + count)))
                    break;
            buf_append_str(&page->out, first ? "\n" : "");
            who(page, rcpts, first, count);
            paragraph(page, one, count);
        }
        if (!total)
            page_printf(page, "  nothing of it waits\n");
    }
}
