/*
 * The TXT record of MTA-STS (RFC 8461 section 3.1). Called by sts.c for each record at
 * _mta-sts.DOMAIN. Total on any bytes, nothing is kept.
 */
#include "sts.h"

static bool is_wsp(char c)
{
    return c == ' ' || c == '\t';
}

static struct strview trim_wsp(struct strview s)
{
    while (s.len && is_wsp(s.ptr[0]))
        s = sv(s.ptr + 1, s.len - 1);
    while (s.len && is_wsp(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static bool is_alnum(struct strview s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_is_alpha(s.ptr[i]) && !ascii_is_digit(s.ptr[i]))
            return false;
    return true;
}

static bool take_id(struct strview value, struct strview *ret_id)
{
    if (!value.len || value.len >= STS_ID_SIZE || !is_alnum(value) || ret_id->len)
        return false;
    *ret_id = value;
    return true;
}

int sts_record_parse(struct strview txt, struct strview *ret_id)
{
    struct strview field;

    *ret_id = sv(NULL, 0);
    if (sv_find(txt, ';') < 0 || !sv_split(&txt, ';', &field) || !field.len ||
        is_wsp(field.ptr[0]) || !sv_eq(trim_wsp(field), SV("v=STSv1")))
        return 0;
    while (sv_split(&txt, ';', &field)) {
        field = trim_wsp(field);
        ptrdiff_t equals = sv_find(field, '=');
        if (!field.len)
            continue;
        if (equals <= 0)
            return ERR_SYNTAX;
        struct strview value = sv(field.ptr + equals + 1, field.len - (size_t)equals - 1);
        if (sv_eq(sv(field.ptr, (size_t)equals), SV("id")) && !take_id(value, ret_id))
            return ERR_SYNTAX;
    }
    return ret_id->len ? 1 : ERR_SYNTAX;
}
