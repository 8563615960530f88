/*
 * CSV rows; see csv.h.
 */
#include "report/csv.h"

#include "base/swar.h"

/* Bytes that need quotes. */
static inline uint64_t odd(uint64_t x)
{
    return swar_below(x, 0x20) | swar_equal(x, '"') | swar_equal(x, ',');
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
    bool blank = value.ptr[0] == ' ' || value.ptr[value.len - 1] == ' ';
    if (!blank && swar_copy(at, value.ptr, value.len, odd))
        at += value.len;
    else
        at = put_quoted(at, value);
    buf_advance(row->out, (size_t)(at - to));
}

void csv_end(struct csv *row)
{
    char *to = buf_reserve(row->out, row->commas + 2), *at = put_commas(row, to);

    *at++ = '\r';
    *at++ = '\n';
    buf_advance(row->out, (size_t)(at - to));
}
