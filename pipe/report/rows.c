/*
 * Rows of accounting files; see rows.h. acct_file.c owns them. For each record type there is a list
 * of the columns that it has and of how many it lacks before each: a row is made by one walk along
 * it, into the caller's buffer.
 */
#include "report/rows.h"

#include "base/log_form.h"
#include "report/csv.h"

struct column {
    enum acct_field field;
    struct strview name, header; /* as in the header line; behind "header_" */
    unsigned records;            /* types that have it: their own list names it */
    struct strview key;          /* JSON: a comma, "name" with its quotes, a colon */
    bool is_text;                /* JSON: in quotes */
};

/* One value of a row: small, because all of them are walked for each record. */
struct cell {
    uint8_t field;
    uint8_t lacking; /* columns before it, and behind the cell before, that the type does not have */
    uint8_t column;
};
_Static_assert(ACCT_FIELD_HEADER <= UINT8_MAX && ACCT_COLUMNS_MAX <= UINT8_MAX, "in a byte each");

struct row {
    struct cell *cells;
    size_t count;
    uint8_t lacking; /* behind the last cell */
};

struct acct_rows {
    struct column *columns;
    size_t count;
    struct row rows[ACCT_RECORD_COUNT];
    struct cell *cells; /* of all of them */
    char *header_line;
    char *keys;  /* what the columns' keys point into */
    char *texts; /* what their names point into */
    struct strview user_string;
    bool json, iso_times;
};

static struct column *find_column(struct acct_rows *r, struct strview name)
{
    for (size_t i = 0; i < r->count; i++)
        if (sv_eq_nocase(r->columns[i].name, name))
            return &r->columns[i];
    return NULL;
}

static void add_column(struct acct_rows *r, const struct acct_column *c, unsigned record)
{
    struct column *have = find_column(r, c->name);

    if (!have && r->count < ACCT_COLUMNS_MAX) {
        have = &r->columns[r->count++];
        *have = (struct column){.field = c->field, .name = c->name};
        if (c->field == ACCT_FIELD_HEADER)
            have->header = sv(c->name.ptr + strlen("header_"), c->name.len - strlen("header_"));
    }
    if (have)
        have->records |= record;
}

/* The union over the record types, in order of first appearance; `type` comes first where no
 * list names it. lists[i] is the list of that type. */
static void make_columns(struct acct_rows *r, unsigned records, const struct strview *lists)
{
    static const struct acct_column type = {ACCT_FIELD_TYPE, {"type", 4}};
    struct acct_columns columns;
    unsigned seen = 0;

    r->columns = xcalloc(ACCT_COLUMNS_MAX, sizeof(*r->columns));
    for (unsigned t = 0; t < ACCT_RECORD_COUNT; t++) {
        unsigned alike = 0; /* types with this list: one pass, so that * keeps the table's order */
        for (unsigned i = t; i < ACCT_RECORD_COUNT; i++)
            alike |= sv_eq(lists[i], lists[t]) && !(seen & 1u << i) ? 1u << i : 0;
        seen |= alike;
        alike &= records;
        if (!alike || acct_columns_parse(lists[t], alike, &columns, NULL) < 0)
            continue;
        for (size_t i = 0; i < columns.count; i++)
            add_column(r, &columns.items[i], alike);
    }
    if (!find_column(r, type.name)) {
        r->count = MIN_OF(r->count, (size_t)ACCT_COLUMNS_MAX - 1);
        memmove(r->columns + 1, r->columns, r->count++ * sizeof(*r->columns));
        r->columns[0] =
            (struct column){.field = type.field, .name = type.name, .records = ACCT_ALL};
    }
    /* with one list for all types, a field that a type does not have is an empty column of it */
    for (size_t i = 0; i < r->count; i++)
        if (r->columns[i].field != ACCT_FIELD_HEADER)
            r->columns[i].records &= acct_field_info(r->columns[i].field)->records;
        else
            r->columns[i].records &= ~ACCT_BIT(TQ);
}

static void make_rows(struct acct_rows *r)
{
    struct cell *next = r->cells = xcalloc(r->count * ACCT_RECORD_COUNT, sizeof(*r->cells));

    for (unsigned t = 0; t < ACCT_RECORD_COUNT; t++) {
        struct row *row = &r->rows[t];
        row->cells = next;
        for (size_t i = 0; i < r->count; i++) {
            if (!(r->columns[i].records & 1u << t)) {
                row->lacking++;
                continue;
            }
            *next++ = (struct cell){(uint8_t)r->columns[i].field, row->lacking, (uint8_t)i};
            row->lacking = 0;
        }
        row->count = (size_t)(next - row->cells);
    }
}

static void make_header_line(struct acct_rows *r)
{
    struct buf b = {0};

    if (!r->json) {
        struct csv csv = csv_row(&b);
        for (size_t i = 0; i < r->count; i++)
            csv_field(&csv, r->columns[i].name);
        csv_end(&csv);
    }
    r->header_line = buf_take(&b);
}

/* What a record does not change. */
static void make_keys(struct acct_rows *r)
{
    struct buf b = {0};
    size_t at = 0;

    for (size_t i = 0; i < r->count; i++) {
        struct column *c = &r->columns[i];
        enum acct_kind kind =
            c->field == ACCT_FIELD_HEADER ? ACCT_TEXT : acct_field_info(c->field)->kind;
        c->is_text = kind != ACCT_NUMBER && (kind != ACCT_TIME || r->iso_times);
        size_t before = buf_len(&b);
        buf_append_char(&b, ',');
        log_form_json_text(c->name, &b);
        buf_append_char(&b, ':');
        c->key.len = buf_len(&b) - before;
    }
    r->keys = buf_take(&b);
    for (size_t i = 0; i < r->count; at += r->columns[i++].key.len)
        r->columns[i].key.ptr = r->keys + at;
}

static struct strview keep(char **at, const char *text)
{
    struct strview kept = sv(*at, strlen(text ? text : ""));

    memcpy(*at, text ? text : "", kept.len + 1);
    *at += kept.len + 1;
    return kept;
}

struct acct_rows *acct_rows_new(const struct acct_rows_settings *s)
{
    struct acct_rows *r = xcalloc(1, sizeof(*r));
    struct strview lists[ACCT_RECORD_COUNT];
    size_t bytes = s->user_string ? strlen(s->user_string) + 1 : 1;

    r->json = s->json;
    r->iso_times = s->iso_times;
    for (unsigned t = 0; t < ACCT_RECORD_COUNT; t++)
        bytes += strlen(s->lists[t]) + 1;
    char *at = r->texts = xmalloc(bytes);
    for (unsigned t = 0; t < ACCT_RECORD_COUNT; t++)
        lists[t] = keep(&at, s->lists[t]);
    r->user_string = keep(&at, s->user_string);
    make_columns(r, s->records, lists);
    make_rows(r);
    make_header_line(r);
    make_keys(r);
    return r;
}

void acct_rows_free(struct acct_rows *r)
{
    if (!r)
        return;
    free(r->columns);
    free(r->cells);
    free(r->header_line);
    free(r->keys);
    free(r->texts);
    free(r);
}

const char *acct_rows_header_line(const struct acct_rows *r)
{
    return r->header_line;
}

void acct_rows_headers(const struct acct_rows *r, void (*fn)(void *arg, struct strview name),
                       void *arg)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->columns[i].field == ACCT_FIELD_HEADER)
            fn(arg, r->columns[i].header);
}

static struct strview value_of(const struct acct_rows *r, const struct acct_event *e,
                               const struct cell *c, char *scratch)
{
    return acct_event_text(e, (enum acct_field)c->field, r->columns[c->column].header,
                           r->user_string, r->iso_times, scratch);
}

/* Each member begins with a comma; that of the first becomes the brace. */
static void put_json(const struct acct_rows *r, const struct acct_event *e, struct buf *out)
{
    const struct row *row = &r->rows[e->record];
    size_t begin = buf_len(out);
    char scratch[ACCT_SCRATCH];

    for (size_t i = 0; i < row->count; i++) {
        const struct column *c = &r->columns[row->cells[i].column];
        struct strview v = value_of(r, e, &row->cells[i], scratch);
        if (!v.len)
            continue;
        buf_append_sv(out, c->key);
        if (c->is_text)
            log_form_json_text(v, out);
        else
            buf_append_sv(out, v);
    }
    if (buf_len(out) == begin)
        buf_append_char(out, '{');
    buf_data(out)[begin] = '{';
    buf_append(out, "}\n", 2);
}

void acct_rows_put(const struct acct_rows *r, const struct acct_event *e, struct buf *out)
{
    const struct row *row = &r->rows[e->record];
    struct csv csv = csv_row(out);
    char scratch[ACCT_SCRATCH];

    if (r->json) {
        put_json(r, e, out);
        return;
    }
    for (size_t i = 0; i < row->count; i++) {
        if (row->cells[i].lacking)
            csv_empty(&csv, row->cells[i].lacking);
        csv_field(&csv, value_of(r, e, &row->cells[i], scratch));
    }
    if (row->lacking)
        csv_empty(&csv, row->lacking);
    csv_end(&csv);
}
