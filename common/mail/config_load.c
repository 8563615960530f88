/*
 * Reads the *.conf files of a directory in name order into a configuration; root, --check and tools only. inih as shipped
 * cuts lines at 199 bytes and section names at 49, takes ':' for '=', joins indented lines and cuts
 * values at " ;". So it never sees a header or a value: load_line reads whole lines (up to 64 KiB),
 * takes comments off, and hands inih "[@]" or "name=@", while the real text waits in the loader; the
 * handler runs before the next line is asked for, so the line number is right too.
 * Comments: a line that begins with ';' or '#'; " ;" and " #" after a header; " #" outside double
 * quotes after a value. Every problem is one line in the report, and reading goes on.
 */
#include "mail/config_internal.h"

#include "mail/host_list.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <ini.h>
#include <stdio.h>

enum { MAX_LINE = 65536, MAX_FILE = 64 << 20, MAX_ERRORS = 50, MAX_INCLUDES = 16 };

struct loader {
    struct config *cfg;
    struct config_report *report;
    const char *dir;
    struct config_section *section; /* NULL: none yet, or the header was wrong */
    bool skip;                      /* header was wrong: its values are not reported as well */
    unsigned depth;
};

/* One file being read. */
struct load_file {
    struct loader *loader;
    const char *path;
    struct strview rest;
    unsigned line;
    struct strview value; /* what "@" stands for */
};

static void report_line(struct config_report *r, bool error, const char *file, unsigned line,
                        const char *fmt, ...) PRINTF_LIKE(5, 6);

static void report_line(struct config_report *r, bool error, const char *file, unsigned line,
                        const char *fmt, ...)
{
    va_list ap;
    unsigned *count = error ? &r->errors : &r->warnings;

    if (++*count > MAX_ERRORS)
        return;
    buf_printf(&r->text, "%s:%u: %s", file, line, error ? "" : "warning: ");
    va_start(ap, fmt);
    buf_vprintf(&r->text, fmt, ap);
    va_end(ap);
    buf_append_char(&r->text, '\n');
}

#define load_error(f, ...) report_line((f)->loader->report, true, (f)->path, (f)->line, __VA_ARGS__)

static void set_value(struct loader *l, const char *name, struct strview text, const char *path,
                      unsigned line)
{
    static const char *names[DIRECTIVE_COUNT + 1];
    char hint[128];
    struct config_origin old;
    struct err e = {0};
    struct buf joined = {0};
    enum directive d = config_directive_find(sv_of(name));

    for (unsigned i = 0; i < DIRECTIVE_COUNT; i++)
        names[i] = directive_info((enum directive)i)->name;
    if (d == DIRECTIVE_COUNT) {
        report_line(l->report, true, path, line, "unknown directive '%.60s'%s", name,
                    config_suggest(sv_of(name), names, hint));
        return;
    }
    if (directive_info(d)->type == TYPE_PATH && text.len && text.ptr[0] != '/') {
        buf_printf(&joined, "%s/%.*s", l->dir, SV_ARG(text));
        text = buf_view(&joined);
    }
    if (config_add_value(l->cfg, l->section, d, text, path, line, &old, &e) < 0)
        report_line(l->report, true, path, line, "%s", e.text);
    else if (old.file)
        report_line(l->report, false, path, line, "'%s' was set at %s:%u already; this one counts",
                    name, old.file, old.line);
    buf_free(&joined);
}

static void set_section(struct loader *l, struct strview title, const char *path, unsigned line)
{
    struct err e = {0};
    l->skip = config_add_section(l->cfg, title, path, line, &l->section, &e) < 0;
    if (l->skip) {
        l->section = NULL;
        report_line(l->report, true, path, line, "%s", e.text);
    }
}

/* Cuts a comment: `marks` after white space, outside double quotes. */
static struct strview cut_comment(struct strview s, const char *marks)
{
    bool quoted = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\\' && quoted)
            i++;
        else if (s.ptr[i] == '"')
            quoted = !quoted;
        else if (!quoted && i && strchr(marks, s.ptr[i]) && s.ptr[i] &&
                 (s.ptr[i - 1] == ' ' || s.ptr[i - 1] == '\t'))
            return sv_trim(sv(s.ptr, i));
    }
    return sv_trim(s);
}

/* Takes the quotes off a value that is quoted as a whole. */
static void unquote(struct strview s, struct buf *out)
{
    if (s.len < 2 || s.ptr[0] != '"' || s.ptr[s.len - 1] != '"') {
        buf_append_sv(out, s);
        return;
    }
    for (size_t i = 1; i + 1 < s.len; i++) {
        if (s.ptr[i] == '\\' && i + 2 < s.len)
            i++;
        buf_append_char(out, s.ptr[i]);
    }
}

static void load_file(struct loader *l, const char *path);

static void include(struct load_file *f, struct strview pattern)
{
    struct loader *l = f->loader;
    struct buf full = {0};
    const char *slash = strrchr(f->path, '/');
    glob_t found = {0};

    if (pattern.ptr[0] != '/' && slash)
        buf_append(&full, f->path, (size_t)(slash - f->path) + 1);
    buf_append_sv(&full, pattern);
    if (l->depth >= MAX_INCLUDES)
        load_error(f, "include is nested more than %d deep (does a file include itself?)",
                   MAX_INCLUDES);
    else if (glob(buf_data(&full), GLOB_ERR, NULL, &found) != 0)
        load_error(f, "include: no file matches '%s'", buf_data(&full));
    else
        for (size_t i = 0; i < found.gl_pathc && l->report->errors <= MAX_ERRORS; i++)
            load_file(l, found.gl_pathv[i]);
    globfree(&found);
    buf_free(&full);
}

static int on_value(void *arg, const char *section, const char *name, const char *value)
{
    struct load_file *f = arg;
    struct buf text = {0};

    (void)section, (void)value;
    unquote(f->value, &text);
    if (!f->value.len)
        load_error(f, "'%.60s' has no value", name);
    else if (strcasecmp(name, "include") == 0)
        include(f, buf_view(&text));
    else if (f->loader->section)
        set_value(f->loader, name, buf_view(&text), f->path, f->line);
    else if (!f->loader->skip)
        load_error(f, "'%.60s' stands before the first section (expected [pmta] or another)", name);
    buf_free(&text);
    return 1;
}

/* What inih gets for this line; "" for nothing. */
static void translate(struct load_file *f, struct strview line, char *out, size_t size)
{
    strcpy(out, "\n");
    line = sv_trim(line);
    if (!line.len || line.ptr[0] == ';' || line.ptr[0] == '#')
        return;
    if (line.ptr[0] == '[') {
        line = cut_comment(line, ";#");
        if (line.ptr[line.len - 1] != ']') {
            load_error(f, "section header does not end (expected ']')");
            f->loader->section = NULL;
            f->loader->skip = true;
            return;
        }
        set_section(f->loader, sv_trim(sv(line.ptr + 1, line.len - 2)), f->path, f->line);
        snprintf(out, size, "[@]\n");
        return;
    }
    ptrdiff_t at = sv_find(line, '=');
    struct strview name = sv_trim(sv(line.ptr, at < 0 ? line.len : (size_t)at));
    if (at < 0 || !name.len || name.len > 60 || !config_is_name(name) || sv_find(name, ':') >= 0) {
        load_error(f, "'%.*s' is not a setting (expected NAME = VALUE)",
                   (int)MIN_OF(line.len, (size_t)60), line.ptr);
        return;
    }
    struct strview raw = sv(line.ptr + at, line.len - (size_t)at);
    raw = sv(raw.ptr + 1, raw.len - 1);
    f->value = sv_trim(raw).len && sv_trim(raw).ptr[0] == '#' ? sv("", 0) : cut_comment(raw, "#");
    snprintf(out, size, "%.*s=@\n", SV_ARG(name));
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
    if (line.len > MAX_LINE)
        load_error(f, "line is too long (at most %d bytes)", MAX_LINE);
    else if (line.len && memchr(line.ptr, 0, line.len))
        load_error(f, "line has a NUL byte");
    else
        translate(f, line, out, (size_t)size);
    return out;
}

static void load_file(struct loader *l, const char *path)
{
    struct load_file f = {.loader = l, .path = path};
    struct buf text = {0};
    FILE *in = fopen(path, "re");
    size_t n = 0;

    if (!in) {
        report_line(l->report, true, path, 0, "cannot be opened: %s", strerror(errno));
        return;
    }
    do {
        char *to = buf_reserve(&text, 65536);
        n = fread(to, 1, 65536, in);
        buf_advance(&text, n);
    } while (n && buf_len(&text) <= MAX_FILE);
    if (ferror(in) || buf_len(&text) > MAX_FILE)
        report_line(l->report, true, path, 0, "cannot be read, or is larger than 64 MiB");
    fclose(in);
    f.rest = buf_view(&text);
    l->depth++;
    ini_parse_stream(load_line, &f, on_value, &f);
    l->depth--;
    buf_free(&text);
}

/* A name that a value refers to must be a section. */
static void check_reference(struct loader *l, const struct config_value *v, uint32_t kinds)
{
    const char **names = xcalloc(l->cfg->section_count + 1, sizeof(char *));
    char hint[128], where[200];
    size_t n = 0;
    bool there = false;

    for (unsigned i = 0; i < CONFIG_KIND_COUNT; i++) {
        if (!(kinds & 1u << i))
            continue;
        there = there || config_has_section(l->cfg, (enum config_kind)(1u << i), sv_of(v->text));
        for (size_t j = 0; j < l->cfg->name_count[i] && n < l->cfg->section_count; j++)
            names[n++] = l->cfg->names[i][j];
    }
    if (!there)
        report_line(l->report, true, v->origin.file, v->origin.line,
                    "%s: '%.60s' is not defined (expected the name of a section %s)%s",
                    directive_info(v->directive)->name, v->text,
                    config_kinds_text(kinds, where, sizeof(where)),
                    config_suggest(sv_of(v->text), names, hint));
    free(names);
}

static void check_section(struct loader *l, const struct config_section *s)
{
    static const struct {
        enum directive directive;
        uint32_t kinds;
    } refs[] = {{DIR_PIPE, KIND_PIPE},
                {DIR_DEFAULT_PIPE, KIND_PIPE},
                {DIR_SOURCE_NAME, KIND_SOURCE},
                {DIR_POOL_MEMBER, KIND_VIRTUAL_MTA},
                {DIR_DEFAULT_VIRTUAL_MTA, KIND_VIRTUAL_MTA | KIND_VIRTUAL_MTA_POOL}};
    const char *listener = s->name[config_kind_index(KIND_LISTENER)];
    struct sockaddr_storage addr;

    for (size_t i = 0; i < ARRAY_LEN(refs); i++) {
        struct value_node *n = config_section_value(s, refs[i].directive);
        for (const struct config_value *v = n ? &n->value : NULL; v; v = v->next)
            check_reference(l, v, refs[i].kinds);
    }
    if (listener && !config_section_value(s, DIR_ADDRESS) &&
        listener_address_parse(sv_of(listener), &addr) < 0)
        report_line(l->report, true, s->file, s->line, "listener '%.60s' has no address (expected "
                    "[listener ADDR:PORT], or address = ADDR:PORT)", listener);
    if (config_section_value(s, DIR_TLS_KEY) && !config_section_value(s, DIR_TLS_CERTIFICATE))
        report_line(l->report, true, s->file, s->line, "tls-key without tls-certificate");
    if (s->kinds == KIND_SMTP_USER && !config_section_value(s, DIR_PASSWORD))
        report_line(l->report, true, s->file, s->line, "smtp-user without password");
    if (s->kinds == KIND_VIRTUAL_MTA_POOL && !config_section_value(s, DIR_POOL_MEMBER))
        report_line(l->report, true, s->file, s->line, "pool without virtual-mta");
    if (s->kinds == KIND_VIRTUAL_MTA &&
        config_has_section(l->cfg, KIND_VIRTUAL_MTA_POOL,
                           sv_of(s->name[config_kind_index(KIND_VIRTUAL_MTA)])))
        report_line(l->report, true, s->file, s->line,
                    "a virtual MTA and a pool cannot have one name");
}

static void check_all(struct loader *l)
{
    const struct config_section *where = NULL;
    struct err e = {0};

    if (config_finish(l->cfg, &where, &e) < 0) {
        report_line(l->report, true, where->file, where->line, "%s", e.text);
        return;
    }
    for (const struct config_section *s = l->cfg->first; s; s = s->next)
        check_section(l, s);
    if (!config_section_name(l->cfg, KIND_PIPE, 0))
        report_line(l->report, true, l->dir, 0, "no [pipe NAME] (expected at least one)");
    if (!config_section_name(l->cfg, KIND_LISTENER, 0))
        report_line(l->report, true, l->dir, 0, "no [listener ADDR:PORT] (expected at least one)");
}

static int is_conf(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return d->d_name[0] != '.' && n > 5 && strcmp(d->d_name + n - 5, ".conf") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void load_dir(struct loader *l)
{
    struct dirent **names = NULL;
    int n = scandir(l->dir, &names, is_conf, by_name);

    if (n < 0)
        report_line(l->report, true, l->dir, 0, "cannot be read: %s", strerror(errno));
    else if (n == 0)
        report_line(l->report, true, l->dir, 0, "has no file that ends in .conf");
    for (int i = 0; i < n; i++) {
        struct buf path = {0};
        buf_printf(&path, "%s/%s", l->dir, names[i]->d_name);
        l->section = NULL;
        l->skip = false;
        load_file(l, buf_data(&path));
        buf_free(&path);
        free(names[i]);
    }
    free(names);
}

int config_load_with(const char *dir, uint64_t generation, const struct config_override *overrides,
                     size_t override_count, struct config **ret, struct config_report *report)
{
    struct loader l = {.cfg = config_new(generation), .report = report, .dir = dir};

    load_dir(&l);
    for (size_t i = 0; i < override_count; i++) {
        unsigned line = (unsigned)i + 1;
        /* that an override replaces a value is its purpose: no warning */
        set_section(&l, sv_of(overrides[i].section), "override", line);
        unsigned warnings = report->warnings;
        size_t length = report->text.end;
        if (l.section)
            set_value(&l, overrides[i].directive, sv_trim(sv_of(overrides[i].value)), "override",
                      line);
        if (report->warnings != warnings) {
            report->warnings = warnings;
            report->text.end = length;
            buf_data(&report->text)[buf_len(&report->text)] = '\0';
        }
    }
    if (!report->errors)
        check_all(&l);
    if (report->errors) {
        config_unref(l.cfg);
        return ERR_CONFIG;
    }
    *ret = l.cfg;
    return 0;
}

int config_load(const char *dir, uint64_t generation, struct config **ret,
                struct config_report *report)
{
    return config_load_with(dir, generation, NULL, 0, ret, report);
}
