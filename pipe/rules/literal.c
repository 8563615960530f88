/*
 * Literals of a regular expression; see literal.h. A recursive descent over alternatives, sequences
 * and atoms. A sequence must match all its parts, so the best set of any one part stands for it; of
 * alternatives one must match, so their sets are put together. Parts that may be absent (?, *, {0,
 * look-arounds) say nothing. Whatever could change how the rest is read (inline options other than
 * case, verbs, quoting, escapes with arguments) makes the whole expression unknown.
 */
#include "rules/literal.h"

enum { MAX_DEPTH = 30 };

struct reader {
    const char *at, *end;
    unsigned depth;
    bool unsure;
};

/* Part of a sequence that is being read. */
struct sequence {
    struct literals best;
    struct literals run; /* at most one item: the literal that grows */
};

static void read_alternatives(struct reader *r, struct literals *ret);

unsigned literals_shortest(const struct literals *l)
{
    unsigned least = l->count ? LITERAL_BYTES : 0;

    for (unsigned i = 0; i < l->count; i++)
        least = MIN_OF(least, l->items[i].len);
    return least;
}

static void consider(struct literals *best, const struct literals *l)
{
    unsigned old = literals_shortest(best), new = literals_shortest(l);

    if (new > old || (new == old && l->count < best->count))
        *best = *l;
}

static void end_run(struct sequence *s)
{
    if (s->run.count)
        consider(&s->best, &s->run);
    s->run.count = 0;
}

static void grow_run(struct sequence *s, char c)
{
    struct literal *l = &s->run.items[0];

    if (s->run.count && l->len == LITERAL_BYTES)
        end_run(s);
    if (!s->run.count)
        l->len = 0;
    s->run.count = 1;
    l->text[l->len++] = ascii_lower(c);
}

static bool more(const struct reader *r)
{
    return !r->unsure && r->at < r->end;
}

static bool next_is(const struct reader *r, char c)
{
    return more(r) && *r->at == c;
}

static bool take(struct reader *r, char c)
{
    bool is = next_is(r, c);
    r->at += is;
    return is;
}

/* {n}, {n,}, {n,m}; anything else between braces is left to PCRE2. Returns n > 0. */
static bool read_braces(struct reader *r)
{
    bool positive = false;
    const char *start = ++r->at;

    for (; more(r) && ascii_is_digit(*r->at); r->at++)
        positive |= *r->at != '0';
    r->unsure |= r->at == start;
    if (take(r, ','))
        while (more(r) && ascii_is_digit(*r->at))
            r->at++;
    if (!take(r, '}'))
        r->unsure = true;
    return positive;
}

enum repeat { ONCE, AT_LEAST_ONCE, MAYBE };

static enum repeat read_repeat(struct reader *r)
{
    enum repeat ret;

    if (!more(r))
        return ONCE;
    if (take(r, '*') || take(r, '?'))
        ret = MAYBE;
    else if (take(r, '+'))
        ret = AT_LEAST_ONCE;
    else if (*r->at == '{')
        ret = read_braces(r) ? AT_LEAST_ONCE : MAYBE;
    else
        return ONCE;
    if (!take(r, '?'))
        take(r, '+');
    return ret;
}

static void read_char(struct reader *r, struct sequence *s, char c)
{
    enum repeat repeat = read_repeat(r);

    if (repeat != MAYBE)
        grow_run(s, c);
    if (repeat != ONCE)
        end_run(s);
}

/* Something that is no certain character. */
static void read_other(struct reader *r, struct sequence *s)
{
    end_run(s);
    read_repeat(r);
}

static void read_escape(struct reader *r, struct sequence *s)
{
    r->at++;
    if (!more(r)) {
        r->unsure = true;
        return;
    }
    char c = *r->at++;
    bool word = ascii_is_alpha(c) || ascii_is_digit(c) || (unsigned char)c >= 0x80;
    if (!word)
        read_char(r, s, c);
    else if (memchr("dDwWsSbBhHvVRAZznrtf", c, 20))
        read_other(r, s);
    else
        r->unsure = true;
}

static void read_class(struct reader *r, struct sequence *s)
{
    r->at++;
    take(r, '^');
    take(r, ']');
    while (more(r) && *r->at != ']') {
        if (*r->at == '\\') {
            r->at++;
            r->unsure |= r->at < r->end && (*r->at == 'Q' || *r->at == 'E');
        } else if (*r->at == '[') {
            /* [:alpha:] and its like hold a bracket of their own */
            r->unsure |= r->end - r->at > 1 && memchr(":.=", r->at[1], 3);
        }
        r->at += r->at < r->end;
    }
    if (!take(r, ']'))
        r->unsure = true;
    read_other(r, s);
}

/* After "(?": what kind of group; *ret_says: its content must match where it stands. */
static void read_group_kind(struct reader *r, bool *ret_says, bool *ret_options)
{
    *ret_says = false;
    *ret_options = false;
    if (take(r, ':') || take(r, '>')) {
        *ret_says = true;
    } else if (take(r, '=') || take(r, '!')) {
        return;
    } else if (take(r, '<')) {
        if (!take(r, '=') && !take(r, '!'))
            r->unsure = true;
    } else {
        take(r, '-');
        *ret_options = take(r, 'i') && next_is(r, ')');
        r->unsure |= !*ret_options;
    }
}

static void read_group(struct reader *r, struct sequence *s)
{
    struct literals inner = {0};
    bool says = true, options = false;

    r->at++;
    end_run(s);
    if (next_is(r, '*'))
        r->unsure = true;
    if (take(r, '?'))
        read_group_kind(r, &says, &options);
    if (!options && !r->unsure)
        read_alternatives(r, &inner);
    if (!take(r, ')'))
        r->unsure = true;
    if (!options && read_repeat(r) != MAYBE && says)
        consider(&s->best, &inner);
}

static void read_sequence(struct reader *r, struct literals *ret)
{
    struct sequence s = {0};

    while (more(r) && *r->at != '|' && *r->at != ')') {
        char c = *r->at;
        if (c == '\\') {
            read_escape(r, &s);
        } else if (c == '(') {
            read_group(r, &s);
        } else if (c == '[') {
            read_class(r, &s);
        } else if (c == '.' || c == '^' || c == '$') {
            r->at++;
            read_other(r, &s);
        } else if (memchr("*+?{", c, 4)) {
            r->unsure = true; /* nothing before it, or a brace that is none */
        } else {
            r->at++;
            read_char(r, &s, c);
        }
    }
    end_run(&s);
    *ret = s.best;
}

static void read_alternatives(struct reader *r, struct literals *ret)
{
    struct literals one;
    bool known = true;

    ret->count = 0;
    if (++r->depth > MAX_DEPTH)
        r->unsure = true;
    do {
        read_sequence(r, &one);
        known = known && one.count && ret->count + one.count <= LITERAL_COUNT;
        if (known) {
            memcpy(ret->items + ret->count, one.items, one.count * sizeof(one.items[0]));
            ret->count += one.count;
        }
    } while (take(r, '|'));
    if (!known)
        ret->count = 0;
    r->depth--;
}

void literals_of_regex(struct strview regex, struct literals *ret)
{
    struct reader r = {.at = regex.ptr, .end = regex.ptr + regex.len};

    read_alternatives(&r, ret);
    if (r.unsure || r.at < r.end)
        ret->count = 0;
}
