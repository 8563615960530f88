/*
 * CSV rows; see csv.h.
 */
#include "report/csv.h"

#include "base/swar.h"

static bool is_odd(unsigned char c)
{
    return c < 0x20 || c == '"' || c == ',';
}

/* Every byte of every record comes by here. */
static bool needs_quotes(struct strview v)
{
    size_t i = 0;

    for (; v.len - i >= 8; i += 8) {
        uint64_t x = swar_load(v.ptr + i);
        if (swar_below(x, 0x20) | swar_equal(x, '"') | swar_equal(x, ','))
            return true;
    }
    for (; i < v.len; i++)
        if (is_odd((unsigned char)v.ptr[i]))
            return true;
    return v.ptr[0] == ' ' || v.ptr[v.len - 1] == ' ';
}

static char *put_quoted(char *at, struct strview v)
{
    *at++ = '"';
    for (size_t i = 0; i < v.len; i++) {
        char c = v.ptr[i];
        if (c == '"')
            *at++ = '"';
        *at++ = (unsigned char)c < 0x20 ? ' ' : c;
    }
    *at++ = '"';
    return at;
}

static char *put_commas(struct csv *row, char *at)
{
    for (; row->commas; row->commas--)
        *at++ = ',';
    return at;
}

void csv_field(struct csv *row, struct strview value)
{
    csv_empty(row, 1);
    if (!value.len)
        return;
    char *to = buf_reserve(row->out, row->commas + 2 * value.len + 2), *at = put_commas(row, to);
    if (needs_quotes(value))
        at = put_quoted(at, value);
    else
        at = (char *)memcpy(at, value.ptr, value.len) + value.len;
    buf_advance(row->out, (size_t)(at - to));
}

void csv_end(struct csv *row)
{
    char *to = buf_reserve(row->out, row->commas + 2), *at = put_commas(row, to);

    *at++ = '\r';
    *at++ = '\n';
    buf_advance(row->out, (size_t)(at - to));
}
