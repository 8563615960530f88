/*
 * page: what pmtactl prints, gathered and written once. Knows whether it is for a terminal (width,
 * colour) and how quantities are written for people. Tables drop columns that no row has a value
 * for, so that an older or younger pmtad still gives a good page.
 */
#ifndef PMTA_CTL_PAGE_H
#define PMTA_CTL_PAGE_H

#include "base/buf.h"

#include <jansson.h>

enum colour {
    COLOUR_NONE,
    COLOUR_GOOD,
    COLOUR_WARN,
    COLOUR_BAD,
    COLOUR_STRONG,
    COLOUR_DIM,
};

struct page {
    struct buf out;
    bool colour;
    size_t width;   /* of the terminal; 0: no terminal, nothing is cut */
    int64_t now_ms; /* wall */
};

/* For standard output; colour only on a terminal, without NO_COLOR, and not when TERM is dumb. */
void page_init(struct page *p);

void page_text(struct page *p, enum colour c, const char *text);
void page_printf(struct page *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A bold heading line, with an empty line before it when it is not the first. */
void page_heading(struct page *p, const char *text);
/* Text that a peer or file wrote: control and direction characters become '?', newlines blanks. */
void page_clean(struct buf *out, const char *text);
/* Words wrapped at the terminal's width (or 100), each line indented. */
void page_paragraph(struct page *p, size_t indent, const char *text);

/* Columns that a text takes (code points). */
size_t text_width(const char *text);

/* 1234567 -> "1,234,567" */
#define HUMAN_SIZE 40
char *human_count(int64_t n, char *out);
/* 1536 -> "1.5 KiB" */
char *human_bytes(int64_t n, char *out);
/* Two units at most: "12s", "4m 10s", "3h 5m", "2d 4h" */
char *human_duration(int64_t ms, char *out);
/* Local time: "14:05:06" today, else "2026-11-21 14:05:06" */
char *human_time(int64_t wall_ms, int64_t now_ms, char *out);

/* Good, warning, bad by the word for a state. */
enum colour state_colour(const char *state);

/* --- fields of an object --- */

/* NULL when it is absent or no text. */
const char *field_text(const json_t *o, const char *name);
/* "10-limits.conf:12" of the members file and line on a terminal, the whole path elsewhere; false:
 * there is none. */
bool field_place(const struct page *p, const json_t *o, struct buf *ret);
/* False when it is absent or no number. */
bool field_number(const json_t *o, const char *name, int64_t *ret);

/* --- tables --- */

enum column_kind {
    COLUMN_LEFT,
    COLUMN_RIGHT,
    COLUMN_CUT,  /* left, and cut to 40 on a terminal */
    COLUMN_REST, /* the last one: cut at the edge of a terminal; a line of its own when the edge
                    is too near */
};

enum { TABLE_COLUMNS = 16 };

struct table {
    struct page *page;
    size_t columns;
    const char *titles[TABLE_COLUMNS];
    enum column_kind kinds[TABLE_COLUMNS];
    struct cell *cells;
    size_t cell_count, cell_room;
};

void table_init(struct table *t, struct page *p);
void table_column(struct table *t, const char *title, enum column_kind kind);
/* Cells from left to right, row after row; NULL: there is no value. The text is copied, cleaned. */
void table_cell(struct table *t, enum colour c, const char *text);
void table_text(struct table *t, const json_t *o, const char *name);
void table_state(struct table *t, const json_t *o, const char *name);
void table_count(struct table *t, const json_t *o, const char *name);
void table_bytes(struct table *t, const json_t *o, const char *name);
/* "3/20", or "3" when there is no maximum */
void table_of(struct table *t, const json_t *o, const char *name, const char *max_name);
/* Time since a wall time; "-" when that is 0. */
void table_age(struct table *t, const json_t *o, const char *name);
/* "in 4m 10s", "now"; "-" when it is 0. */
void table_next(struct table *t, const json_t *o, const char *name);
void table_seconds(struct table *t, const json_t *o, const char *name);

/* Writes the table onto the page and frees it. */
void table_print(struct table *t);

#endif
