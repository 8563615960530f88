/*
 * Reads the lines of one configuration file. inih as shipped cuts lines at 199 bytes and section
 * names at 49, takes ':' for '=', joins indented lines and cuts values at " ;". So it never sees a
 * header or a value: load_line reads whole lines (up to 64 KiB), takes comments off, and hands inih
 * "[@]" or "name=@", while the real text waits in the load_file; the handler runs before the next
 * line is asked for, so the line number is right too. Comments: a line that begins with ';' or '#';
 * " ;" and " #" after a header; " #" outside double quotes, and outside the regular expression of a
 * reply rule, after a value. Every problem is one line
 * in the report, and reading goes on.
 */
#include "mail/config_internal.h"
#include "mail/config_load.h"
#include "mail/reply_rule.h"

#include <ini.h>
#include <stdio.h>

enum { MAX_LINE = 65536 };

#define line_error(f, ...) load_error((f)->loader, (f)->path, (f)->line, __VA_ARGS__)

/* Cuts a comment: `marks` after white space, outside double quotes. */
static struct strview cut_comment(struct strview s, const char *marks)
{
    bool quoted = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\\' && quoted)
            i++;
        else if (s.ptr[i] == '"')
            quoted = !quoted;
        else if (!quoted && i && strchr(marks, s.ptr[i]) &&
                 (s.ptr[i - 1] == ' ' || s.ptr[i - 1] == '\t'))
            return sv_trim(sv(s.ptr, i));
    }
    return sv_trim(s);
}

static bool is_rule(enum directive_type type)
{
    return type == TYPE_REPLY_RULE || type == TYPE_BOUNCE_RULE;
}

/* The same for a value. In `/regex/ action` the marks and quotes of the regular expression mean
 * nothing to us. */
static struct strview cut_value(struct strview name, struct strview raw)
{
    enum directive d = config_directive_find(name, NULL);
    struct strview s = sv_trim(raw);
    size_t end = 0;

    if (s.len && s.ptr[0] == '#')
        return sv("", 0);
    if (d < DIRECTIVE_COUNT && is_rule(directive_info(d)->type))
        end = reply_rule_regex_end(s);
    struct strview rest = cut_comment(sv(s.ptr + end, s.len - end), "#");
    return sv_trim(sv(s.ptr, end + rest.len));
}

/* Takes the quotes off a value that is quoted as a whole; others stay as they are. */
static void unquote(struct strview s, struct buf *out)
{
    size_t i = 1;

    if (s.len >= 2 && s.ptr[0] == '"') {
        for (; i < s.len && s.ptr[i] != '"'; i++) {
            if (s.ptr[i] == '\\' && i + 1 < s.len)
                i++;
            buf_append_char(out, s.ptr[i]);
        }
        if (i + 1 == s.len)
            return;
        buf_reset(out);
    }
    buf_append_sv(out, s);
}

static int on_value(void *arg, const char *section, const char *name, const char *value)
{
    struct load_file *f = arg;
    struct buf text = {0};

    (void)section, (void)value;
    unquote(f->value, &text);
    if (!f->value.len)
        line_error(f, "'%.60s' has no value (\"\" is empty)", name);
    else if (strcasecmp(name, "include") == 0)
        load_include(f, buf_view(&text));
    else if (f->loader->section)
        load_set_value(f->loader, name, buf_view(&text), f->path, f->line);
    else if (!f->loader->skip)
        line_error(f, "'%.60s' stands before the first section (expected [pmta] or another)", name);
    buf_free(&text);
    return 1;
}

static void translate_header(struct load_file *f, struct strview line)
{
    line = cut_comment(line, ";#");
    if (line.ptr[line.len - 1] != ']') {
        line_error(f, "section header does not end (expected ']')");
        f->loader->section = NULL;
        f->loader->skip = true;
        return;
    }
    load_set_section(f->loader, sv_trim(sv(line.ptr + 1, line.len - 2)), f->path, f->line);
}

/* What inih gets for this line; "" for nothing. */
static void translate(struct load_file *f, struct strview line, char *out, size_t size)
{
    line = sv_trim(line);
    if (!line.len || line.ptr[0] == ';' || line.ptr[0] == '#')
        return;
    if (line.ptr[0] == '[') {
        translate_header(f, line);
        snprintf(out, size, "[@]\n");
        return;
    }
    ptrdiff_t at = sv_find(line, '=');
    struct strview name = sv_trim(sv(line.ptr, at < 0 ? line.len : (size_t)at));
    if (at < 0 || name.len > 60 || !config_is_name(name) || sv_find(name, ':') >= 0) {
        line_error(f, "'%.*s' is not a setting (expected NAME = VALUE)",
                   (int)MIN_OF(line.len, (size_t)60), line.ptr);
        return;
    }
    struct strview raw = sv(line.ptr + at + 1, line.len - (size_t)at - 1);
    f->value = cut_value(name, raw);
    snprintf(out, size, "%.*s=@\n", SV_ARG(name));
}

/* NULL, or why the line cannot be taken. */
static const char *refuse(struct strview line)
{
    if (line.len > MAX_LINE)
        return "line is too long (at most 65536 bytes)";
    if (line.len && memchr(line.ptr, 0, line.len))
        return "line has a NUL byte";
    for (size_t i = 0; i < line.len; i++) {
        unsigned char c = (unsigned char)line.ptr[i];
        if ((c < 0x20 && c != '\t' && (c != '\r' || i + 1 < line.len)) || c == 0x7f)
            return "line has a control character";
    }
    return NULL;
}

static char *load_line(char *out, int size, void *arg)
{
    struct load_file *f = arg;
    struct strview line;

    BUG_ON(size < 100);
    if (!f->rest.len || !sv_split(&f->rest, '\n', &line))
        return NULL;
    f->line++;
    if (f->line == 1 && sv_starts_nocase(line, SV("\xef\xbb\xbf")))
        line = sv(line.ptr + 3, line.len - 3);
    strcpy(out, "\n");
    const char *why = refuse(line);
    if (why)
        line_error(f, "%s", why);
    else
        translate(f, line, out, (size_t)size);
    return out;
}

void load_read_lines(struct load_file *f)
{
    ini_parse_stream(load_line, f, on_value, f);
}
