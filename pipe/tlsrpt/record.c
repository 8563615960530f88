/*
 * TLSRPT records; see record.h. Called when a domain is first met on a day, and before its report.
 */
#include "tlsrpt/record.h"

static bool is_version(struct strview record)
{
    struct strview first;
    return sv_split(&record, ';', &first) && sv_eq(sv_trim(first), SV("v=TLSRPTv1"));
}

static void take_rua(struct strview list, struct tlsrpt_record *ret)
{
    struct strview one;

    while (ret->count < TLSRPT_MAX_RUA && sv_split(&list, ',', &one)) {
        one = sv_trim(one);
        if (sv_starts_nocase(one, SV("mailto:")) || sv_starts_nocase(one, SV("https://")))
            ret->rua[ret->count++] = one;
    }
}

bool tlsrpt_record_find(const struct strview *records, size_t count, struct tlsrpt_record *ret)
{
    const struct strview *found = NULL;
    struct strview rest, field;

    *ret = (struct tlsrpt_record){.count = 0};
    for (size_t i = 0; i < count; i++) {
        if (!is_version(records[i]))
            continue;
        if (found) /* several: as if there were none */
            return false;
        found = &records[i];
    }
    if (!found)
        return false;
    rest = *found;
    while (sv_split(&rest, ';', &field)) {
        field = sv_trim(field);
        ptrdiff_t at = sv_find(field, '=');
        if (at > 0 && sv_eq(sv_trim(sv(field.ptr, (size_t)at)), SV("rua")))
            take_rua(sv(field.ptr + at + 1, field.len - (size_t)at - 1), ret);
    }
    return ret->count > 0;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool tlsrpt_mailto(struct strview uri, char *out, size_t size)
{
    size_t n = 0;

    if (!sv_starts_nocase(uri, SV("mailto:")))
        return false;
    struct strview s = sv(uri.ptr + 7, uri.len - 7);
    ptrdiff_t query = sv_find(s, '?');
    if (query >= 0)
        s.len = (size_t)query;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '%') {
            int high = i + 2 < s.len ? hex(s.ptr[i + 1]) : -1;
            int low = i + 2 < s.len ? hex(s.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if ((unsigned char)c <= 0x20 || c == 0x7f || strchr(",;<>\"\\()", c) || n + 1 >= size)
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    return n > 0;
}
