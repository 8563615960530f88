/*
 * Reads the *.conf files of a directory in name order into a configuration; root, --check and tools
 * only. Each file goes through config_reader.c, which calls back for headers, values and includes;
 * overrides come last, then config_check.c looks at the whole. Every problem is one line in the
 * report, and reading goes on. What files can grow is limited: bytes and files in all, depth of
 * includes. Memory: the configuration's arena; paths and text only while they are read.
 */
#include "mail/config_internal.h"
#include "mail/config_load.h"
#include "mail/domain_key.h"
#include "mail/bounce_rule.h"
#include "mail/reply_rule.h"

#include <errno.h>

enum { MAX_FILE = 64 << 20, MAX_BYTES = 256 << 20, MAX_FILES = 10000, MAX_INCLUDES = 16 };

void load_report(struct config_report *r, bool error, const char *file, unsigned line,
                 const char *fmt, ...)
{
    va_list ap;
    unsigned *count = error ? &r->errors : &r->warnings;

    if (++*count > CONFIG_MAX_ERRORS) {
        if (*count == CONFIG_MAX_ERRORS + 1)
            buf_printf(&r->text, "%s: too many %s, the rest is not shown\n", file,
                       error ? "errors" : "warnings");
        return;
    }
    buf_append_str(&r->text, file);
    if (line)
        buf_printf(&r->text, ":%u", line);
    buf_append_str(&r->text, error ? ": " : ": warning: ");
    va_start(ap, fmt);
    buf_vprintf(&r->text, fmt, ap);
    va_end(ap);
    buf_append_char(&r->text, '\n');
}

static void unknown_directive(struct loader *l, const char *name, const char *path, unsigned line)
{
    const char *names[DIRECTIVE_COUNT + 64] = {NULL};
    const struct directive_alias *alias;
    char hint[128];
    size_t n = 0;

    for (; n < DIRECTIVE_COUNT; n++)
        names[n] = directive_info((enum directive)n)->name;
    for (size_t i = 0; (alias = directive_alias(i)) && n + 1 < ARRAY_LEN(names); i++)
        names[n++] = alias->name;
    load_error(l, path, line, "unknown directive '%.60s'%s", name,
               config_suggest(sv_of(name), names, hint));
}

/* "path" is relative to the directory; a number under an older name has that name's unit. */
static struct strview complete(struct loader *l, enum directive d,
                               const struct directive_alias *alias, struct strview text,
                               struct buf *out)
{
    uint64_t n;

    struct domain_key key;
    enum directive_type type = directive_info(d)->type;
    bool is_key = type == TYPE_DOMAIN_KEY || type == TYPE_DKIM_KEY;

    if (type == TYPE_PATH && text.len && text.ptr[0] != '/') {
        buf_printf(out, "%s/%.*s", l->dir, SV_ARG(text));
    } else if (is_key && domain_key_parse(text, type == TYPE_DKIM_KEY, &key, NULL) == 0 &&
               key.file.ptr[0] != '/') {
        size_t at = (size_t)(key.file.ptr - text.ptr);
        buf_printf(out, "%.*s%s/%.*s", (int)at, text.ptr, l->dir, (int)(text.len - at),
                   text.ptr + at);
    }
    if (alias && alias->suffix[0] && sv_to_u64(text, &n) && n)
        buf_printf(out, "%.*s%s", SV_ARG(text), alias->suffix);
    return buf_len(out) ? buf_view(out) : text;
}

/* A category that is nearly a known one is a slip of the pen. */
static void check_category(struct loader *l, struct strview name, const char *path, unsigned line)
{
    const char *names[BOUNCE_CATEGORY_COUNT + 1] = {NULL};
    enum bounce_category known;
    char hint[128];

    for (unsigned c = 0; c < BOUNCE_CATEGORY_COUNT; c++)
        names[c] = bounce_category_name((enum bounce_category)c);
    if (!bounce_category_find(name, &known) && *config_suggest(name, names, hint))
        load_warn(l, path, line, "'%.*s' is a category of your own%s", SV_ARG(name), hint);
}

static void check_value(struct loader *l, enum directive d, struct strview text, const char *path,
                        unsigned line)
{
    enum directive_type type = directive_info(d)->type;
    struct reply_rule rule;
    struct bounce_rule bounce;
    struct err e = {0};
    int r = 0;

    if (type == TYPE_REPLY_RULE && reply_rule_parse(text, &rule, NULL) == 0)
        r = load_check_regex(rule.regex, &e);
    if (type == TYPE_BOUNCE_RULE && bounce_rule_parse(text, &bounce, NULL) == 0) {
        r = load_check_regex(bounce.regex, &e);
        check_category(l, bounce.category, path, line);
    }
    if (r < 0)
        load_error(l, path, line, "%s: %s", directive_info(d)->name, e.text);
}

/* One name, two meanings: in a source it bounds what is accepted, in a queue what is sent. */
static enum directive find_directive(const struct config_section *s, const char *name,
                                     const struct directive_alias **ret_alias)
{
    static const struct directive_alias sent = {"max-rcpt-per-message",
                                                DIR_MAX_RCPT_PER_TRANSACTION, ""};
    enum directive d = config_directive_find(sv_of(name), ret_alias);

    if (d != DIR_MAX_RCPT_PER_MESSAGE || !s || (s->kinds & directive_info(d)->kinds) ||
        !(s->kinds & directive_info(DIR_MAX_RCPT_PER_TRANSACTION)->kinds))
        return d;
    *ret_alias = &sent;
    return sent.directive;
}

void load_set_value(struct loader *l, const char *name, struct strview text, const char *path,
                    unsigned line)
{
    struct config_origin old;
    struct err e = {0};
    struct buf completed = {0};
    const struct directive_alias *alias;
    enum directive d = find_directive(l->section, name, &alias);

    if (d == DIRECTIVE_COUNT) {
        unknown_directive(l, name, path, line);
        return;
    }
    const char *real = directive_info(d)->name;
    text = complete(l, d, alias, text, &completed);
    if (config_add_value(l->cfg, l->section, d, text, path, line, &old, &e) < 0)
        load_error(l, path, line, "%s%s%s", alias ? alias->name : "", alias ? ", which is " : "",
                   e.text);
    else if (old.file && strcmp(path, "override") != 0)
        load_warn(l, path, line, "'%s'%s%s%s was set at %s:%u already; this one counts", name,
                  alias ? " (" : "", alias ? real : "", alias ? ")" : "", old.file, old.line);
    else
        check_value(l, d, text, path, line);
    load_template(l, d, text, path, line);
    buf_free(&completed);
}

void load_set_section(struct loader *l, struct strview title, const char *path, unsigned line)
{
    struct err e = {0};
    l->skip = config_add_section(l->cfg, title, path, line, &l->section, &e) < 0;
    if (l->skip) {
        l->section = NULL;
        load_error(l, path, line, "%s", e.text);
    }
}

/* --- files --- */

static void add_path(void *to, const char *path)
{
    struct path_list *list = to;
    if (list->count > MAX_FILES)
        return;
    if (list->count == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 16;
        list->items = xrealloc(list->items, list->cap * sizeof(char *));
    }
    list->items[list->count++] = xstrdup(path);
}

static void free_paths(struct path_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
}

static bool same_file(const struct config_file_id *a, const struct config_file_id *b)
{
    return a->device == b->device && a->number == b->number;
}

/* Reads one file; from says who wants it, for errors. */
static void read_file(struct loader *l, const char *path, const char *from, unsigned from_line)
{
    struct load_file f = {.loader = l, .path = path, .includer = l->innermost};
    struct buf text = {0};
    struct err e = {0};
    int r = l->files->identify(l->files->arg, path, &f.id);

    if (r == 0)
        r = l->files->read(l->files->arg, path, MAX_FILE, &text);
    l->read_count++;
    l->read_bytes += buf_len(&text);
    if (r < 0) {
        err_set(&e, r, "'%.300s' cannot be read", path);
        load_error(l, from, from_line, "%s", e.text);
    } else if (l->read_count > MAX_FILES || l->read_bytes > MAX_BYTES) {
        load_error(l, from, from_line, "more than %d files, or more than 256 MiB in all",
                   MAX_FILES);
    } else {
        f.rest = buf_view(&text);
        l->innermost = &f;
        load_read_lines(&f);
        l->innermost = f.includer;
    }
    buf_free(&text);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* False, with an error, when path must not be read here. */
static bool may_include(struct load_file *f, const char *path)
{
    struct loader *l = f->loader;
    struct config_file_id id;

    if (l->files->identify(l->files->arg, path, &id) < 0)
        return true; /* reading will say why */
    for (struct load_file *up = f; up; up = up->includer)
        if (same_file(&up->id, &id)) {
            load_error(l, f->path, f->line, "'%.200s' includes itself", base_name(path));
            return false;
        }
    for (size_t i = 0; i < l->own_count; i++)
        if (same_file(&l->own[i], &id)) {
            load_error(l, f->path, f->line,
                       "'%.200s' is read with its directory already (expected "
                       "a file that does not end in .conf, or of another directory)",
                       base_name(path));
            return false;
        }
    return true;
}

/* The included file begins in the section of its includer, which goes on after it. */
static void include_one(struct load_file *f, const char *path)
{
    struct loader *l = f->loader;
    struct config_section *section = l->section;
    bool skip = l->skip;

    if (may_include(f, path))
        read_file(l, path, f->path, f->line);
    l->section = section;
    l->skip = skip;
}

static unsigned depth(const struct load_file *f)
{
    unsigned n = 0;
    for (; f->includer; f = f->includer)
        n++;
    return n;
}

void load_include(struct load_file *f, struct strview pattern)
{
    struct loader *l = f->loader;
    struct path_list found = {0};
    struct buf full = {0};
    const char *slash = strrchr(f->path, '/');

    if (pattern.len && pattern.ptr[0] != '/' && slash)
        buf_append(&full, f->path, (size_t)(slash - f->path) + 1);
    buf_append_sv(&full, pattern);
    int r = l->files->match(l->files->arg, buf_data(&full), add_path, &found);
    if (!pattern.len)
        load_error(l, f->path, f->line, "include: no file is named");
    else if (depth(f) >= MAX_INCLUDES)
        load_error(l, f->path, f->line, "include is nested more than %d deep", MAX_INCLUDES);
    else if (r < 0 || !found.count)
        load_error(l, f->path, f->line, "include: no file matches '%.300s'", buf_data(&full));
    else
        for (size_t i = 0; i < found.count && l->report->errors <= CONFIG_MAX_ERRORS; i++)
            include_one(f, found.items[i]);
    free_paths(&found);
    buf_free(&full);
}

static void read_dir(struct loader *l)
{
    struct path_list paths = {0};
    struct err e = {0};
    int r = l->files->list(l->files->arg, l->dir, add_path, &paths);

    if (r < 0) {
        err_set(&e, r, "cannot be read");
        load_error(l, l->dir, 0, "%s", e.text);
    } else if (!paths.count) {
        load_error(l, l->dir, 0, "has no file that ends in .conf");
    }
    l->own = xcalloc(paths.count + 1, sizeof(*l->own));
    for (size_t i = 0; i < paths.count; i++)
        if (l->files->identify(l->files->arg, paths.items[i], &l->own[l->own_count]) == 0)
            l->own_count++;
    for (size_t i = 0; i < paths.count && l->report->errors <= CONFIG_MAX_ERRORS; i++) {
        l->section = NULL;
        l->skip = false;
        read_file(l, paths.items[i], l->dir, 0);
    }
    free(l->own);
    free_paths(&paths);
}

/* --- the whole --- */

static void apply_override(struct loader *l, const struct config_override *o, unsigned number)
{
    load_set_section(l, sv_trim(sv_of(o->section)), "override", number);
    if (l->section)
        load_set_value(l, o->directive, sv_trim(sv_of(o->value)), "override", number);
}

int config_load_files(const struct config_files *files, const char *dir, uint64_t generation,
                      const struct config_override *overrides, size_t override_count,
                      struct config **ret, struct config_report *report)
{
    struct loader l = {.files = files, .cfg = config_new(generation), .report = report, .dir = dir};

    read_dir(&l);
    for (size_t i = 0; i < override_count; i++)
        apply_override(&l, &overrides[i], (unsigned)i + 1);
    if (!report->errors)
        load_check(&l);
    if (report->errors) {
        config_unref(l.cfg);
        return ERR_CONFIG;
    }
    *ret = l.cfg;
    return 0;
}

int config_load_with(const char *dir, uint64_t generation, const struct config_override *overrides,
                     size_t override_count, struct config **ret, struct config_report *report)
{
    return config_load_files(&config_files_system, dir, generation, overrides, override_count, ret,
                             report);
}

int config_load(const char *dir, uint64_t generation, struct config **ret,
                struct config_report *report)
{
    return config_load_with(dir, generation, NULL, 0, ret, report);
}
