/*
 * See tags.h. Called by the checks on what the DNS says: any bytes are fine.
 */
#include "check/tags.h"

static bool next_tag(struct strview *rest, struct strview *name, struct strview *value)
{
    struct strview part;

    while (sv_split(rest, ';', &part)) {
        ptrdiff_t equals = sv_find(part, '=');
        if (equals < 0)
            continue;
        *name = sv_trim(sv(part.ptr, (size_t)equals));
        *value = sv_trim(sv(part.ptr + equals + 1, part.len - (size_t)equals - 1));
        return true;
    }
    return false;
}

struct strview tags_value(struct strview record, const char *name)
{
    struct strview n, value;

    while (next_tag(&record, &n, &value))
        if (sv_eq_nocase(n, sv_of(name)))
            return value.ptr ? value : SV("");
    return sv(NULL, 0);
}

bool tags_is_version(struct strview record, const char *version)
{
    struct strview first, name, value;

    if (!sv_split(&record, ';', &first) || !next_tag(&first, &name, &value))
        return false;
    return sv_eq_nocase(name, SV("v")) && sv_eq_nocase(value, sv_of(version));
}

static bool next_byte(struct strview *s, char *ret)
{
    while (s->len) {
        char c = s->ptr[0];
        *s = sv(s->ptr + 1, s->len - 1);
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '=')
            continue;
        *ret = c;
        return true;
    }
    return false;
}

bool tags_same_base64(struct strview a, struct strview b)
{
    for (;;) {
        char x = 0, y = 0;
        bool more = next_byte(&a, &x);
        if (more != next_byte(&b, &y) || x != y)
            return false;
        if (!more)
            return true;
    }
}
