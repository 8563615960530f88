/*
 * Templates of delivery notices; see dsn_template.h. The loader checks them and reads their files,
 * the pipe fills them in. A $ that no { follows is itself.
 */
#include "mail/dsn_template.h"

static const struct {
    const char *name, *help;
} variables[] = {
#define DSN_ROW(id, name, help) {name, help},
    DSN_VARIABLES(DSN_ROW)
#undef DSN_ROW
};

const char *dsn_variable_name(enum dsn_variable v)
{
    return variables[v].name;
}

const char *dsn_variable_help(enum dsn_variable v)
{
    return variables[v].help;
}

static bool find(struct strview name, enum dsn_variable *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        if (sv_eq(name, sv_of(variables[i].name))) {
            *ret = (enum dsn_variable)i;
            return true;
        }
    return false;
}

/* text begins with "${": its length with the brace, and the name; 0: it is not closed. */
static size_t variable_at(struct strview text, struct strview *ret_name)
{
    ptrdiff_t end = sv_find(text, '}');

    if (end < 0)
        return 0;
    *ret_name = sv(text.ptr + 2, (size_t)end - 2);
    return (size_t)end + 1;
}

static bool is_variable(struct strview text)
{
    return text.len >= 2 && text.ptr[0] == '$' && text.ptr[1] == '{';
}

static int unknown(struct strview name, struct err *e)
{
    struct buf all = {0};

    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        buf_printf(&all, "%s%s", i ? ", " : "", variables[i].name);
    int status = err_set(e, ERR_SYNTAX, "'${%.*s}' is no variable (expected one of %s)",
                         (int)MIN_OF(name.len, (size_t)40), name.ptr, buf_data(&all));
    buf_free(&all);
    return status;
}

int dsn_template_check(struct strview text, struct err *e)
{
    struct strview name;
    enum dsn_variable v;

    if (text.len > DSN_TEMPLATE_MAX)
        return err_set(e, ERR_SYNTAX, "the template is too long (expected at most %d bytes)",
                       DSN_TEMPLATE_MAX);
    for (size_t i = 0; i < text.len; i++) {
        struct strview rest = sv(text.ptr + i, text.len - i);
        if (!is_variable(rest))
            continue;
        size_t n = variable_at(rest, &name);
        if (!n)
            return err_set(e, ERR_SYNTAX, "'${' without '}'");
        if (!find(name, &v))
            return unknown(name, e);
        i += n - 1;
    }
    return 0;
}

/* What \n, \t and \\ stand for; 0: nothing. */
static char escaped(struct strview text)
{
    if (text.len < 2 || text.ptr[0] != '\\')
        return 0;
    switch (text.ptr[1]) {
    case 'n':
        return '\n';
    case 't':
        return '\t';
    case '\\':
        return '\\';
    }
    return 0;
}

void dsn_template_expand(struct strview text, bool is_body,
                         const struct strview values[DSN_VARIABLE_COUNT], struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        struct strview rest = sv(text.ptr + i, text.len - i), name;
        enum dsn_variable v;
        char c = is_body ? escaped(rest) : 0;
        size_t n = is_variable(rest) ? variable_at(rest, &name) : 0;
        if (c) {
            buf_append_char(out, c);
            i++;
        } else if (n && find(name, &v)) {
            buf_append_sv(out, values[v]);
            i += n - 1;
        } else {
            buf_append_char(out, text.ptr[i]);
        }
    }
}

void dsn_template_escape(struct strview file, struct buf *out)
{
    for (size_t i = 0; i < file.len; i++) {
        char c = file.ptr[i];
        if (c == '\n')
            buf_append_str(out, "\\n");
        else if (c == '\\')
            buf_append_str(out, "\\\\");
        else if (c != '\r')
            buf_append_char(out, c);
    }
}
