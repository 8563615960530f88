/*
 * One line of a list to be imported: an address alone, or CSV (RFC 4180, one record a line). Pure
 * functions; docs/suppression.md is the operator's side.
 */
#ifndef PMTA_SUPPRESS_LINE_H
#define PMTA_SUPPRESS_LINE_H

#include "base/err.h"
#include "suppress/suppress.h"

/* COLUMN(ID, "name"): as export writes them, in this order */
#define LINE_COLUMNS(COLUMN)   \
    COLUMN(ADDRESS, "address") \
    COLUMN(SCOPE, "scope")     \
    COLUMN(REASON, "reason")   \
    COLUMN(EXPIRES, "expires") \
    COLUMN(ADDED, "added")     \
    COLUMN(NOTE, "note")

enum line_column {
#define COLUMN_ENUM(id, name) LINE_##id,
    LINE_COLUMNS(COLUMN_ENUM)
#undef COLUMN_ENUM
        LINE_COLUMN_COUNT
};

const char *line_column_name(enum line_column c);

enum { LINE_FIELDS_MAX = 32, LINE_MAX_BYTES = 4096 };

/* Which field of a line is which column; -1: there is none. */
struct line_form {
    int8_t field[LINE_COLUMN_COUNT];
};

/* The order of LINE_COLUMNS: for a file without a header line. */
void line_form_default(struct line_form *ret);
/* A header line; names in any order, unknown ones passed over. ERR_SYNTAX: it has no address. */
int line_form_parse(struct strview header, struct line_form *ret, struct err *e);

/* "global", "pipe:NAME", "domain:NAME", "job:NAME"; "pipe NAME" and the like, too. */
int line_scope(struct strview text, enum suppress_scope *ret, struct strview *ret_name,
               struct err *e);
/* "", "never", "90d", "2026-12-31", "2026-12-31T12:00:00Z": wall clock in ms, 0: never. */
int line_expires(struct strview text, int64_t now_ms, int64_t *ret, struct err *e);

/* Fills what the line says into *ret, which has the defaults already. Views point into line or
 * scratch (LINE_MAX_BYTES). 0; 1: nothing (an empty line, a comment with #); ERR_SYNTAX. The address is not
 * looked at. */
int line_parse(struct strview line, const struct line_form *form, int64_t now_ms, char *scratch,
               struct suppress_entry *ret, struct err *e);

/* Appends a field as CSV. */
struct buf;
void line_put(struct buf *out, struct strview field);

#endif
