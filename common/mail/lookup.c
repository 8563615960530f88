/*
 * Wire form of the answers to questions; see lookup.h. The resolver encodes, the pipe decodes.
 */
#include "mail/lookup.h"

const char *lookup_kind_name(enum lookup_kind k)
{
    switch (k) {
#define LOOKUP_CASE(name, number, text, form) \
    case LOOKUP_##name:                       \
        return text;
        LOOKUP_KINDS(LOOKUP_CASE)
#undef LOOKUP_CASE
    }
    return "?";
}

void lookup_records_append(struct buf *out, struct strview record)
{
    size_t len = MIN_OF(record.len, (size_t)UINT16_MAX);
    char head[2] = {(char)(len & 0xff), (char)(len >> 8)};

    buf_append(out, head, 2);
    buf_append(out, record.ptr, len);
}

int lookup_records_decode(struct strview in, struct arena *arena, struct strview **ret,
                          size_t *ret_count)
{
    struct strview *records = arena_alloc(arena, LOOKUP_MAX_RECORDS * sizeof(records[0]));
    size_t count = 0;

    while (in.len) {
        const unsigned char *p = (const unsigned char *)in.ptr;
        size_t len = in.len < 2 ? 0 : (size_t)p[0] | (size_t)p[1] << 8;
        if (in.len < 2 || len > in.len - 2 || count == LOOKUP_MAX_RECORDS)
            return ERR_PROTOCOL;
        records[count++] = sv(in.ptr + 2, len);
        in = sv(in.ptr + 2 + len, in.len - 2 - len);
    }
    *ret = records;
    *ret_count = count;
    return 0;
}
