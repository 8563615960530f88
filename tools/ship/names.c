/*
 * Names of accounting files; see names.h. follow.c asks for every name of a directory.
 */
#include "names.h"

enum { DATE_LEN = 10, NUMBER_DIGITS = 4, NUMBER_DIGITS_MAX = 9 };

int file_key_cmp(struct file_key a, struct file_key b)
{
    if (a.date != b.date)
        return a.date < b.date ? -1 : 1;
    return (a.number > b.number) - (a.number < b.number);
}

static bool date_at(const char *p, uint32_t *ret)
{
    static const char form[] = "dddd-dd-dd";

    *ret = 0;
    for (size_t i = 0; i < DATE_LEN; i++) {
        if (form[i] == 'd' ? !ascii_is_digit(p[i]) : p[i] != form[i])
            return false;
        if (form[i] == 'd')
            *ret = *ret * 10 + (uint32_t)(p[i] - '0');
    }
    return true;
}

static enum file_form form_of(struct strview name)
{
    if (sv_ends_nocase(name, SV(".zst")))
        return FORM_ZSTD;
    return sv_ends_nocase(name, SV(".gz")) ? FORM_GZIP : FORM_PLAIN;
}

/* "PIPE-YYYY-MM-DD-NNNN" from the right. */
static bool split_stem(struct strview rest, struct file_name *ret)
{
    size_t digits = 0;

    while (digits < rest.len && ascii_is_digit(rest.ptr[rest.len - 1 - digits]))
        digits++;
    if (digits < NUMBER_DIGITS || digits > NUMBER_DIGITS_MAX ||
        rest.len < digits + DATE_LEN + 3) /* a pipe, and three dashes less one */
        return false;
    const char *number = rest.ptr + rest.len - digits, *date = number - 1 - DATE_LEN;
    if (number[-1] != '-' || date[-1] != '-' || date - 1 == rest.ptr ||
        !date_at(date, &ret->key.date))
        return false;
    ret->key.number = 0;
    for (size_t i = 0; i < digits; i++)
        ret->key.number = ret->key.number * 10 + (uint32_t)(number[i] - '0');
    ret->pipe = sv(rest.ptr, (size_t)(date - 1 - rest.ptr));
    return true;
}

bool file_name_parse(struct strview name, struct strview base, struct file_name *ret)
{
    if (name.len <= base.len + 1 || name.len >= NAME_SIZE ||
        memcmp(name.ptr, base.ptr, base.len) != 0 || name.ptr[base.len] != '-' ||
        sv_ends_nocase(name, SV(".tmp")))
        return false;
    /* what stands behind the first dot is how it is written */
    struct strview rest = sv(name.ptr + base.len + 1, name.len - base.len - 1);
    ptrdiff_t dot = sv_find(rest, '.');
    if (dot <= 0)
        return false;
    rest.len = (size_t)dot;
    if (!split_stem(rest, ret))
        return false;
    ret->stem = sv(name.ptr, base.len + 1 + rest.len);
    ret->form = form_of(name);
    return true;
}

bool file_name_parse_fixed(struct strview name, struct strview base, struct file_name *ret)
{
    struct strview ending = SV(".csv");
    struct file_name dated;

    if (name.len <= base.len + 1 + ending.len || name.len >= NAME_SIZE ||
        memcmp(name.ptr, base.ptr, base.len) != 0 || name.ptr[base.len] != '-' ||
        !sv_ends_nocase(name, ending) || file_name_parse(name, base, &dated))
        return false;
    *ret = (struct file_name){
        .pipe = sv(name.ptr + base.len + 1, name.len - base.len - 1 - ending.len), .stem = name};
    return sv_find(ret->pipe, '.') < 0;
}
