/*
 * Rules of bounce categories; see bounce_rule.h. The configuration calls the parser to check a line,
 * the pipe to use it. Views point into the text; nothing is allocated. File and line are put before
 * an error by the loader.
 */
#include "mail/bounce_rule.h"

#include "mail/reply_rule.h"

/* clang-format off: keeps the rows of the table */
static const struct {
    const char *name, *help;
} categories[] = {
#define CATEGORY_ROW(id, name, help) {name, help},
    BOUNCE_CATEGORIES(CATEGORY_ROW)
#undef CATEGORY_ROW
};
/* clang-format on */

const char *bounce_category_name(enum bounce_category c)
{
    return categories[c].name;
}

const char *bounce_category_help(enum bounce_category c)
{
    return categories[c].help;
}

bool bounce_category_find(struct strview name, enum bounce_category *ret)
{
    for (unsigned c = 0; c < BOUNCE_CATEGORY_COUNT; c++)
        if (sv_eq_nocase(name, sv_of(categories[c].name))) {
            *ret = (enum bounce_category)c;
            return true;
        }
    return false;
}

static int wrong(struct err *e, const char *what, struct strview word, const char *expected)
{
    return err_set(e, ERR_SYNTAX, "%s'%.*s' is not valid (expected %s)", what,
                   (int)MIN_OF(word.len, (size_t)60), word.ptr ? word.ptr : "", expected);
}

/* "x" is -1. */
static bool part(struct strview text, unsigned most, int16_t *ret)
{
    uint64_t n;

    *ret = -1;
    if (sv_eq_nocase(text, SV("x")))
        return true;
    if (!sv_to_u64(text, &n) || n > most)
        return false;
    *ret = (int16_t)n;
    return true;
}

static bool parse_status(struct strview word, struct bounce_status *ret)
{
    struct strview class_, subject, rest = word;

    if (sv_eq_nocase(word, SV("none"))) {
        *ret = (struct bounce_status){0};
        return true;
    }
    return sv_split(&rest, '.', &class_) && sv_split(&rest, '.', &subject) && rest.ptr &&
           part(class_, 5, &ret->class_digit) && part(subject, 999, &ret->subject) &&
           part(rest, 999, &ret->detail) && ret->class_digit != 0;
}

/* "550", "55x", "5xx" */
static bool parse_code(struct strview word, uint16_t *from, uint16_t *to)
{
    bool open = false;

    *from = *to = 0;
    if (word.len != 3)
        return false;
    for (size_t i = 0; i < 3; i++) {
        char c = ascii_lower(word.ptr[i]);
        bool digit = c >= '0' && c <= '9';
        if (!digit && (c != 'x' || i == 0))
            return false;
        if (open && digit)
            return false;
        open = !digit;
        *from = (uint16_t)(*from * 10 + (digit ? c - '0' : 0));
        *to = (uint16_t)(*to * 10 + (digit ? c - '0' : 9));
    }
    return *from >= 200 && *to <= 599;
}

static int take_status(struct strview value, struct bounce_rule *r, struct err *e)
{
    struct strview word;

    while (sv_split(&value, '|', &word)) {
        if (r->status_count == BOUNCE_ALTERNATIVES ||
            !parse_status(word, &r->status[r->status_count++]))
            return wrong(e, "status: ", word, "5.1.1, x.1.1, 5.7.x or none, at most 12 with |");
    }
    return 0;
}

static int take_codes(struct strview value, struct bounce_rule *r, struct err *e)
{
    struct strview word;

    while (sv_split(&value, '|', &word)) {
        uint16_t from, to;
        if (r->code_count == BOUNCE_ALTERNATIVES || !parse_code(word, &from, &to))
            return wrong(e, "code: ", word, "550, 55x or 5xx, at most 12 with |");
        r->codes[r->code_count].from = from;
        r->codes[r->code_count++].to = to;
    }
    return 0;
}

static int take_condition(struct strview word, struct bounce_rule *r, struct err *e)
{
    ptrdiff_t eq = sv_find(word, '=');
    struct strview key = sv(word.ptr, (size_t)eq);
    struct strview value = sv(word.ptr + eq + 1, word.len - (size_t)eq - 1);
    bool status = sv_eq_nocase(key, SV("status")), code = sv_eq_nocase(key, SV("code"));

    if (!status && !code && !sv_eq_nocase(key, SV("phase")))
        return wrong(e, "", word, "status=, code= or phase= before the category");
    if (status ? r->status_count : code ? r->code_count : r->phases)
        return err_set(e, ERR_SYNTAX, "'%.*s' stands twice", SV_ARG(key));
    if (!value.len)
        return err_set(e, ERR_SYNTAX, "'%.*s=' needs a value", SV_ARG(key));
    return status ? take_status(value, r, e)
           : code ? take_codes(value, r, e)
                  : reply_rule_phases(value, &r->phases, e);
}

static bool is_category(struct strview s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = ascii_lower(s.ptr[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return false;
    }
    return s.len > 0 && s.len <= BOUNCE_CATEGORY_BYTES;
}

static struct strview next_word(struct strview *rest)
{
    size_t n = 0;

    *rest = sv_trim(*rest);
    while (n < rest->len && rest->ptr[n] != ' ' && rest->ptr[n] != '\t')
        n++;
    struct strview word = sv(rest->ptr, n);
    *rest = sv_trim(sv(rest->ptr + n, rest->len - n));
    return word;
}

static int parse_rest(struct strview rest, struct bounce_rule *r, struct err *e)
{
    struct strview word = next_word(&rest);

    while (word.len && sv_find(word, '=') >= 0) {
        int status = take_condition(word, r, e);
        if (status < 0)
            return status;
        word = next_word(&rest);
    }
    if (!word.len)
        return err_set(e, ERR_SYNTAX, "a category is missing (expected /REGEX/ CATEGORY)");
    if (!is_category(word))
        return wrong(e, "category: ", word, "a name: letters, digits, - and _, at most 40");
    if (rest.len)
        return err_set(e, ERR_SYNTAX, "'%.*s' stands after the category",
                       (int)MIN_OF(rest.len, (size_t)60), rest.ptr);
    r->category = word;
    return 0;
}

int bounce_rule_parse(struct strview text, struct bounce_rule *ret, struct err *e)
{
    struct bounce_rule r = {0};

    text = sv_trim(text);
    if (text.len > BOUNCE_RULE_MAX)
        return err_set(e, ERR_SYNTAX, "rule is too long (at most %d bytes)", BOUNCE_RULE_MAX);
    size_t end = reply_rule_regex_end(text);
    if (!end)
        return err_set(e, ERR_SYNTAX,
                       "'%.*s' has no regular expression (expected /REGEX/ CATEGORY; write / "
                       "inside it as \\/)",
                       (int)MIN_OF(text.len, (size_t)60), text.ptr ? text.ptr : "");
    r.regex = sv(text.ptr + 1, end - 1);
    struct strview rest = sv(text.ptr + end + 1, text.len - end - 1);
    if (rest.len && rest.ptr[0] != ' ' && rest.ptr[0] != '\t')
        return err_set(e, ERR_SYNTAX,
                       "a blank is missing after /REGEX/ (write / inside it as \\/)");
    int status = parse_rest(rest, &r, e);
    if (status == 0)
        *ret = r;
    return status;
}

static bool status_applies(const struct bounce_status *s, const struct enhanced_code *e)
{
    if (s->class_digit == 0)
        return e->class_digit == 0;
    return e->class_digit && (s->class_digit < 0 || s->class_digit == e->class_digit) &&
           (s->subject < 0 || s->subject == e->subject) &&
           (s->detail < 0 || s->detail == e->detail);
}

bool bounce_rule_applies(const struct bounce_rule *r, const struct outcome *o)
{
    bool status = !r->status_count, code = !r->code_count;

    if (r->phases && !(r->phases & 1u << o->phase))
        return false;
    for (unsigned i = 0; i < r->status_count && !status; i++)
        status = status_applies(&r->status[i], &o->enhanced);
    for (unsigned i = 0; i < r->code_count && !code; i++)
        code = o->code >= r->codes[i].from && o->code <= r->codes[i].to;
    return status && code;
}
