/*
 * Codes in running text; see reply_text.h. A number is a reply code only where a reply can begin, so
 * that years, ports and sizes are none.
 */
#include "inbound/reply_text.h"

#include "inbound/phrases.h"

#include <stdio.h>

static size_t digits(struct strview s, size_t at, size_t most)
{
    size_t n = 0;
    while (n <= most && at + n < s.len && ascii_is_digit(s.ptr[at + n]))
        n++;
    return n && n <= most ? n : 0;
}

bool status_at(struct strview text, char *out)
{
    size_t a, b;

    if (text.len < 5 || !strchr("245", text.ptr[0]) || text.ptr[1] != '.')
        return false;
    a = digits(text, 2, 3);
    if (!a || 2 + a >= text.len || text.ptr[2 + a] != '.')
        return false;
    b = digits(text, 3 + a, 3);
    if (!b || (3 + a + b + 1 < text.len && text.ptr[3 + a + b] == '.' &&
               ascii_is_digit(text.ptr[3 + a + b + 1])))
        return false; /* 5.1.1.7: an address */
    snprintf(out, STATUS_SIZE, "%.*s", (int)(3 + a + b), text.ptr);
    return true;
}

static bool is_word(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '.' || c == '-' || c == '_';
}

bool reply_status(struct strview text, char *out)
{
    for (size_t i = 0; i + 5 <= text.len; i++) {
        if (text.ptr[i] != '4' && text.ptr[i] != '5')
            continue;
        bool after_code = i >= 4 && text.ptr[i - 1] == '-' && ascii_is_digit(text.ptr[i - 2]);
        if (i && is_word(text.ptr[i - 1]) && !after_code)
            continue;
        if (status_at(sv(text.ptr + i, text.len - i), out))
            return true;
    }
    return false;
}

/* A reply begins behind these, and at the start of a line. */
static bool may_begin(struct strview text, size_t at)
{
    size_t i = at;

    if (!i || text.ptr[i - 1] == '\n' || strchr("'\"(<>:[;", text.ptr[i - 1]))
        return true;
    if (text.ptr[i - 1] != ' ' && text.ptr[i - 1] != '\t')
        return false;
    while (i && (text.ptr[i - 1] == ' ' || text.ptr[i - 1] == '\t'))
        i--;
    if (!i || strchr("\n'\"(<>:;", text.ptr[i - 1]))
        return true;
    /* "error 550", "code 550", "said 550" */
    struct strview before = sv(text.ptr, i);
    return sv_ends_nocase(before, SV("error")) || sv_ends_nocase(before, SV("code")) ||
           sv_ends_nocase(before, SV("said")) || sv_ends_nocase(before, SV("smtp")) ||
           sv_ends_nocase(before, SV("response")) || sv_ends_nocase(before, SV("reply"));
}

ptrdiff_t reply_find(struct strview text, unsigned *ret_code)
{
    for (size_t i = 0; i + 3 <= text.len; i++) {
        const char *p = text.ptr + i;
        if ((p[0] != '4' && p[0] != '5') || p[1] < '0' || p[1] > '7' || !ascii_is_digit(p[2]))
            continue;
        char after = i + 3 < text.len ? p[3] : '\n';
        if (!strchr(" -\n)'\"#,:;", after) || !after || !may_begin(text, i))
            continue;
        *ret_code = (unsigned)(p[0] - '0') * 100 + (unsigned)(p[1] - '0') * 10 + (unsigned)(p[2] - '0');
        return (ptrdiff_t)i;
    }
    return -1;
}

const char *reply_words_status(struct strview text)
{
    const struct phrase *p = phrase_find(phrases_status, text, NULL);
    return p ? p->means : NULL;
}
