/*
 * CSV rows; see csv.h.
 */
#include "report/csv.h"

/* One bit for each byte value: every byte of every record comes by here. */
static const uint64_t odd[4] = {UINT32_MAX | 1ull << '"' | 1ull << ','};

static bool is_odd(unsigned char c)
{
    return odd[c >> 6] >> (c & 63) & 1;
}

static bool needs_quotes(struct strview v)
{
    for (size_t i = 0; i < v.len; i++)
        if (is_odd((unsigned char)v.ptr[i]))
            return true;
    return v.len && (v.ptr[0] == ' ' || v.ptr[v.len - 1] == ' ');
}

void csv_field(struct csv *row, struct strview value)
{
    if (row->begun)
        buf_append_char(row->out, ',');
    row->begun = true;
    if (!needs_quotes(value)) {
        buf_append_sv(row->out, value);
        return;
    }
    char *to = buf_reserve(row->out, 2 * value.len + 2), *at = to;
    *at++ = '"';
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c == '"')
            *at++ = '"';
        *at++ = (unsigned char)c < 0x20 ? ' ' : c;
    }
    *at++ = '"';
    buf_advance(row->out, (size_t)(at - to));
}

void csv_end(struct csv *row)
{
    buf_append(row->out, "\r\n", 2);
}
