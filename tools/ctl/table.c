/*
 * Aligned tables; see page.h. Cells are gathered first because a column is as wide as its widest
 * cell. Two blanks between columns, headings in capitals; no lines, so that awk can read it too. On
 * a terminal that is too narrow for it, the last column goes below its row.
 */
#include "page.h"

#include <stdio.h>

enum { CUT_WIDTH = 40, REST_LEAST = 40, BELOW_INDENT = 6 };

struct cell {
    char *text; /* NULL: no value */
    enum colour colour;
};

void table_init(struct table *t, struct page *p)
{
    *t = (struct table){.page = p};
}

void table_column(struct table *t, const char *title, enum column_kind kind)
{
    BUG_ON(t->columns == TABLE_COLUMNS || t->cell_count);
    t->titles[t->columns] = title;
    t->kinds[t->columns++] = kind;
}

void table_cell(struct table *t, enum colour c, const char *text)
{
    struct buf clean = {0};

    if (t->cell_count == t->cell_room) {
        t->cell_room = t->cell_room ? 2 * t->cell_room : 256;
        t->cells = xrealloc(t->cells, t->cell_room * sizeof(*t->cells));
    }
    if (text)
        page_clean(&clean, text);
    t->cells[t->cell_count++] = (struct cell){text ? buf_take(&clean) : NULL, c};
}

/* --- cells from fields --- */

void table_text(struct table *t, const json_t *o, const char *name)
{
    const char *text = field_text(o, name);
    table_cell(t, COLOUR_NONE, text && *text ? text : NULL);
}

void table_state(struct table *t, const json_t *o, const char *name)
{
    const char *state = field_text(o, name);
    table_cell(t, state ? state_colour(state) : COLOUR_NONE, state);
}

static void table_human(struct table *t, const json_t *o, const char *name,
                        char *(*format)(int64_t n, char *out), int64_t factor)
{
    char text[HUMAN_SIZE];
    int64_t n;

    bool there = field_number(o, name, &n) && n < INT64_MAX / factor && n > INT64_MIN / factor;
    table_cell(t, COLOUR_NONE, there ? format(n * factor, text) : NULL);
}

void table_count(struct table *t, const json_t *o, const char *name)
{
    table_human(t, o, name, human_count, 1);
}

void table_bytes(struct table *t, const json_t *o, const char *name)
{
    table_human(t, o, name, human_bytes, 1);
}

void table_seconds(struct table *t, const json_t *o, const char *name)
{
    table_human(t, o, name, human_duration, 1000);
}

void table_of(struct table *t, const json_t *o, const char *name, const char *max_name)
{
    char text[2 * HUMAN_SIZE], a[HUMAN_SIZE], b[HUMAN_SIZE];
    int64_t n, max;

    if (!field_number(o, name, &n)) {
        table_cell(t, COLOUR_NONE, NULL);
        return;
    }
    if (!field_number(o, max_name, &max) || max <= 0)
        snprintf(text, sizeof(text), "%s", human_count(n, a));
    else
        snprintf(text, sizeof(text), "%s/%s", human_count(n, a), human_count(max, b));
    table_cell(t, max > 0 && n >= max ? COLOUR_WARN : COLOUR_NONE, text);
}

void table_age(struct table *t, const json_t *o, const char *name)
{
    char text[HUMAN_SIZE];
    int64_t at;

    bool there = field_number(o, name, &at) && at > 0;
    table_cell(t, COLOUR_NONE, there ? human_duration(t->page->now_ms - at, text) : NULL);
}

void table_next(struct table *t, const json_t *o, const char *name)
{
    char text[HUMAN_SIZE + 8], duration[HUMAN_SIZE];
    int64_t at;

    if (!field_number(o, name, &at) || at <= 0) {
        table_cell(t, COLOUR_NONE, NULL);
        return;
    }
    if (at <= t->page->now_ms)
        snprintf(text, sizeof(text), "now");
    else
        snprintf(text, sizeof(text), "in %s", human_duration(at - t->page->now_ms + 999, duration));
    table_cell(t, COLOUR_NONE, text);
}

/* --- printing --- */

static const struct cell *cell_at(const struct table *t, size_t row, size_t column)
{
    return &t->cells[row * t->columns + column];
}

/* Widths of the columns; 0: nobody has a value there. */
static void measure(const struct table *t, size_t rows, size_t *widths)
{
    for (size_t c = 0; c < t->columns; c++) {
        widths[c] = 0;
        for (size_t r = 0; r < rows; r++)
            if (cell_at(t, r, c)->text)
                widths[c] = MAX_OF(MAX_OF(widths[c], text_width(cell_at(t, r, c)->text)),
                                   strlen(t->titles[c]));
        if (t->kinds[c] == COLUMN_CUT && t->page->width)
            widths[c] = MIN_OF(widths[c], (size_t)CUT_WIDTH);
    }
}

/* Cuts text to `room` columns, the last of them an ellipsis. */
static void append_cut(struct buf *out, const char *text, size_t room)
{
    bool whole = text_width(text) <= room;
    size_t left = whole ? SIZE_MAX : room - 1;

    for (; *text && (left || ((unsigned char)*text & 0xc0) == 0x80); text++) {
        buf_append_char(out, *text);
        left -= (((unsigned char)text[1] & 0xc0) != 0x80);
    }
    if (!whole)
        buf_append_str(out, "…");
}

/* The last column has no room beside the others. */
static bool too_narrow(const struct table *t, const size_t *widths)
{
    size_t used = 0, rest = t->columns - 1, width = t->page->width;

    if (!t->columns || t->kinds[rest] != COLUMN_REST || !width || !widths[rest])
        return false;
    for (size_t c = 0; c < rest; c++)
        used += widths[c] ? widths[c] + 2 : 0;
    return used && used + MIN_OF(widths[rest], (size_t)REST_LEAST) > width;
}

/* "why: max-smtp-out of …" */
static void print_below(const struct table *t, const struct cell *cell)
{
    const char *title = t->titles[t->columns - 1];
    struct page *p = t->page;
    struct buf text = {0};

    if (!cell->text)
        return;
    size_t before = BELOW_INDENT + strlen(title) + 2;
    append_cut(&text, cell->text, p->width > before + 10 ? p->width - before : 10);
    buf_printf(&p->out, "%*s%s: ", BELOW_INDENT, "", title);
    page_text(p, cell->colour == COLOUR_NONE ? COLOUR_DIM : cell->colour, buf_data(&text));
    buf_append_char(&p->out, '\n');
    buf_free(&text);
}

static size_t last_column(const struct table *t, const size_t *widths)
{
    size_t last = 0;
    for (size_t c = 0; c < t->columns; c++)
        last = widths[c] ? c : last;
    return last;
}

static void print_row(const struct table *t, const size_t *widths, const struct cell *row)
{
    struct page *p = t->page;
    size_t column = 0, last = last_column(t, widths);

    for (size_t c = 0; c < t->columns; c++) {
        if (!widths[c])
            continue;
        struct buf text = {0};
        const char *value = row[c].text ? row[c].text : "-";
        size_t width = text_width(value), pad = widths[c] > width ? widths[c] - width : 0;
        if (column)
            buf_append_str(&p->out, "  ");
        column += column ? 2 : 0;
        if (t->kinds[c] == COLUMN_REST && p->width)
            append_cut(&text, value, p->width > column + 10 ? p->width - column : 10);
        else if (t->kinds[c] == COLUMN_CUT && p->width)
            append_cut(&text, value, widths[c]);
        else
            buf_append_str(&text, value);
        if (t->kinds[c] == COLUMN_RIGHT)
            buf_printf(&p->out, "%*s", (int)pad, "");
        page_text(p, row[c].colour, buf_data(&text));
        if (t->kinds[c] != COLUMN_RIGHT && c != last)
            buf_printf(&p->out, "%*s", (int)pad, "");
        column += widths[c];
        buf_free(&text);
    }
    buf_append_char(&p->out, '\n');
}

static void print_titles(const struct table *t, const size_t *widths)
{
    struct cell row[TABLE_COLUMNS];

    for (size_t c = 0; c < t->columns; c++) {
        row[c] = (struct cell){xstrdup(t->titles[c]), COLOUR_DIM};
        for (char *s = row[c].text; *s; s++)
            *s = *s >= 'a' && *s <= 'z' ? (char)(*s - 32) : *s;
    }
    print_row(t, widths, row);
    for (size_t c = 0; c < t->columns; c++)
        free(row[c].text);
}

void table_print(struct table *t)
{
    size_t widths[TABLE_COLUMNS] = {0}, rows = t->columns ? t->cell_count / t->columns : 0;

    BUG_ON(t->columns && t->cell_count % t->columns);
    measure(t, rows, widths);
    bool below = too_narrow(t, widths);
    if (below)
        widths[t->columns - 1] = 0;
    if (rows)
        print_titles(t, widths);
    for (size_t r = 0; r < rows; r++) {
        print_row(t, widths, cell_at(t, r, 0));
        if (below)
            print_below(t, cell_at(t, r, t->columns - 1));
    }
    for (size_t i = 0; i < t->cell_count; i++)
        free(t->cells[i].text);
    free(t->cells);
    *t = (struct table){.page = t->page};
}
