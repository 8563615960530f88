/*
 * Accounting fields; see acct_fields.h. The configuration asks whether a list is right, the pipe
 * what its columns are. Nothing is allocated.
 */
#include "mail/acct_fields.h"

#include "mail/config_internal.h"

/* clang-format off: keeps the rows of the tables */
static const struct acct_field_info fields[] = {
#define FIELD_ROW(id, name, records, kind, star, help) {name, records, kind, star, help},
    ACCT_FIELDS(FIELD_ROW)
#undef FIELD_ROW
};

static const struct {
    const char *code, *name, *help;
} records_[] = {
#define RECORD_ROW(id, code, name, help) {code, name, help},
    ACCT_RECORDS(RECORD_ROW)
#undef RECORD_ROW
};
/* clang-format on */

const struct acct_field_info *acct_field_info(enum acct_field f)
{
    return &fields[f];
}

const char *acct_record_code(enum acct_record r)
{
    return records_[r].code;
}

const char *acct_record_name(enum acct_record r)
{
    return records_[r].name;
}

const char *acct_record_help(enum acct_record r)
{
    return records_[r].help;
}

int acct_records_parse(struct strview text, unsigned *ret, struct err *e)
{
    struct strview word;
    unsigned bits = 0;

    while (sv_split(&text, ',', &word)) {
        unsigned r = 0;
        word = sv_trim(word);
        while (r < ACCT_RECORD_COUNT && !sv_eq_nocase(word, sv_of(records_[r].code)) &&
               !sv_eq_nocase(word, sv_of(records_[r].name)))
            r++;
        if (r == ACCT_RECORD_COUNT)
            return err_set(e, ERR_SYNTAX,
                           "'%.*s' is no record type (expected d, b, t, tq, r, rb, rs or f)",
                           (int)MIN_OF(word.len, (size_t)40), word.ptr ? word.ptr : "");
        bits |= 1u << r;
    }
    *ret = bits;
    return bits ? 0 : err_set(e, ERR_SYNTAX, "no record type is given");
}

static bool find_field(struct strview name, enum acct_field *ret)
{
    for (unsigned f = 0; f < ACCT_FIELD_COUNT; f++)
        if (sv_eq_nocase(name, sv_of(fields[f].name))) {
            *ret = (enum acct_field)f;
            return true;
        }
    return false;
}

static int unknown(struct strview word, struct err *e)
{
    const char *names[ACCT_FIELD_COUNT + 1] = {NULL};
    char hint[128];

    for (unsigned f = 0; f < ACCT_FIELD_COUNT; f++)
        names[f] = fields[f].name;
    return err_set(e, ERR_SYNTAX,
                   "'%.*s' is no field (expected a field, header_NAME, * or !FIELD)%s",
                   (int)MIN_OF(word.len, (size_t)60), word.ptr ? word.ptr : "",
                   config_suggest(word, names, hint));
}

static ptrdiff_t find_column(const struct acct_columns *c, struct strview name)
{
    for (size_t i = 0; i < c->count; i++)
        if (sv_eq_nocase(c->items[i].name, name))
            return (ptrdiff_t)i;
    return -1;
}

static int add(struct acct_columns *c, enum acct_field f, struct strview name, struct err *e)
{
    if (find_column(c, name) >= 0)
        return 0;
    if (c->count == ACCT_COLUMNS_MAX)
        return err_set(e, ERR_SYNTAX, "more than %d fields", ACCT_COLUMNS_MAX);
    c->items[c->count++] = (struct acct_column){f, name};
    return 0;
}

static int add_star(struct acct_columns *c, unsigned records, struct err *e)
{
    int r = 0;

    for (unsigned f = 0; r == 0 && f < ACCT_FIELD_COUNT; f++)
        if (fields[f].star && fields[f].records & records)
            r = add(c, (enum acct_field)f, sv_of(fields[f].name), e);
    return r;
}

static int take_out(struct acct_columns *c, struct strview name, struct err *e)
{
    ptrdiff_t i = find_column(c, name);

    if (i < 0)
        return err_set(e, ERR_SYNTAX, "'!%.*s' takes out what is not there (write * before it)",
                       (int)MIN_OF(name.len, (size_t)60), name.ptr ? name.ptr : "");
    memmove(&c->items[i], &c->items[i + 1], (c->count - (size_t)i - 1) * sizeof(c->items[0]));
    c->count--;
    return 0;
}

static bool is_header(struct strview word)
{
    size_t prefix = strlen("header_");

    if (!sv_starts_nocase(word, SV("header_")) || word.len == prefix ||
        word.len - prefix > ACCT_HEADER_NAME_MAX)
        return false;
    for (size_t i = prefix; i < word.len; i++)
        if (word.ptr[i] <= ' ' || word.ptr[i] > '~' || word.ptr[i] == ':' || word.ptr[i] == '"')
            return false;
    return true;
}

int acct_columns_parse(struct strview text, unsigned records, struct acct_columns *ret,
                       struct err *e)
{
    struct strview word;
    enum acct_field f;
    int r = 0;

    ret->count = 0;
    while (r == 0 && sv_split(&text, ',', &word)) {
        word = sv_trim(word);
        if (sv_eq(word, SV("*")))
            r = add_star(ret, records, e);
        else if (word.len && word.ptr[0] == '!')
            r = take_out(ret, sv(word.ptr + 1, word.len - 1), e);
        else if (is_header(word))
            r = add(ret, ACCT_FIELD_HEADER, word, e);
        else if (find_field(word, &f))
            r = add(ret, f, sv_of(fields[f].name), e);
        else
            r = unknown(word, e);
    }
    return r;
}
