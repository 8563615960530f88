/*
 * Signing as the configuration has it; see signing.h. Called when a configuration is taken over, and
 * for messages that carry X-DKIM-Options. Nothing is kept.
 */
#include "mail/signing.h"

#include "mail/domain_key.h"

static const enum directive key_lines[] = {DIR_DOMAIN_KEY, DIR_DKIM_KEY, DIR_SECOND_DOMAIN_KEY};

static void note(void *arg, const struct config_value *v)
{
    (void)v;
    *(bool *)arg = true;
}

static void note_mode(void *arg, const struct config_value *v)
{
    *(bool *)arg |= v->number != 0;
}

static void note_yes(void *arg, const struct config_value *v)
{
    *(bool *)arg |= v->yes;
}

static void note_form(void *arg, const struct config_value *v)
{
    struct signing_needs *n = arg;
    *(v->number % 2 == 0 ? &n->relaxed : &n->simple) = true;
}

void signing_needs(const struct config *cfg, struct strview pipe, struct signing_needs *ret)
{
    *ret = (struct signing_needs){0};
    for (size_t i = 0; i < ARRAY_LEN(key_lines); i++)
        config_each(cfg, key_lines[i], pipe, note, &ret->keys);
    config_each(cfg, DIR_DKIM_PRIVATE_KEY, pipe, note, &ret->keys);
    config_each(cfg, DIR_BIMI_SELECTOR, pipe, note, &ret->bimi);
    config_each(cfg, DIR_LIST_UNSUBSCRIBE, pipe, note_mode, &ret->unsubscribe);
    if (ret->unsubscribe)
        config_each(cfg, DIR_LIST_UNSUBSCRIBE_REPLACE, pipe, note_yes, &ret->take_list);
    if (!ret->keys)
        return;
    config_each(cfg, DIR_DKIM_CANONICALIZATION, pipe, note_form, ret);
    note_form(ret, config_get(cfg, NULL, DIR_DKIM_CANONICALIZATION));
}

struct key_files {
    void (*fn)(void *arg, const struct config_value *v, struct strview file);
    void *arg;
};

static int parse_line(const struct config_value *v, struct domain_key *ret)
{
    return domain_key_parse(sv_of(v->text), v->directive == DIR_DKIM_KEY, ret, NULL);
}

static void file_of_line(void *arg, const struct config_value *v)
{
    struct key_files *k = arg;
    struct domain_key d;

    if (parse_line(v, &d) == 0)
        k->fn(k->arg, v, d.file);
}

static void file_of_path(void *arg, const struct config_value *v)
{
    struct key_files *k = arg;
    k->fn(k->arg, v, sv_of(v->text));
}

void signing_key_files(const struct config *cfg, struct strview pipe,
                       void (*fn)(void *arg, const struct config_value *v, struct strview file),
                       void *arg)
{
    struct key_files k = {fn, arg};

    for (size_t i = 0; i < ARRAY_LEN(key_lines); i++)
        config_each(cfg, key_lines[i], pipe, file_of_line, &k);
    config_each(cfg, DIR_DKIM_PRIVATE_KEY, pipe, file_of_path, &k);
}

/* --- X-DKIM-Options --- */

bool signing_is_identity(struct strview s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= 0x20 || s.ptr[i] >= 0x7f || s.ptr[i] == ';' || s.ptr[i] == '=')
            return false;
    return s.len && sv_find(s, '@') >= 0 && s.len <= 320;
}

static int wrong_options(struct err *e)
{
    return err_set(e, ERR_SYNTAX, "expected s=SELECTOR; d=DOMAIN; i=USER@DOMAIN, each optional");
}

static int take_option(struct strview part, struct signing_options *ret)
{
    struct strview name, value = part;

    if (!sv_split(&value, '=', &name) || !value.ptr)
        return ERR_SYNTAX;
    name = sv_trim(name);
    value = sv_trim(value);
    struct strview *to = sv_eq_nocase(name, SV("s"))   ? &ret->selector
                         : sv_eq_nocase(name, SV("d")) ? &ret->domain
                         : sv_eq_nocase(name, SV("i")) ? &ret->identity
                                                       : NULL;
    if (!to)
        return sv_eq_nocase(name, SV("q")) ? 0 : ERR_SYNTAX;
    if (to->len ||
        (to == &ret->identity ? !signing_is_identity(value) : !domain_key_is_name(value)))
        return ERR_SYNTAX;
    *to = value;
    return 0;
}

int signing_options_parse(struct strview text, struct signing_options *ret, struct err *e)
{
    struct strview part;

    *ret = (struct signing_options){0};
    if (text.len > SIGNING_OPTIONS_MAX)
        return err_set(e, ERR_SYNTAX, "longer than %d bytes", SIGNING_OPTIONS_MAX);
    while (sv_split(&text, ';', &part))
        if (sv_trim(part).len && take_option(part, ret) < 0)
            return wrong_options(e);
    return 0;
}

struct seeking {
    const struct signing_options *options;
    bool found;
};

static void seek_line(void *arg, const struct config_value *v)
{
    struct seeking *s = arg;
    struct domain_key d;

    if (parse_line(v, &d) == 0)
        s->found |= domain_key_is_wanted(&d, s->options->selector, s->options->domain);
}

static void seek_selector(void *arg, const struct config_value *v)
{
    struct seeking *s = arg;
    s->found |= !s->options->selector.len || sv_eq_nocase(sv_of(v->text), s->options->selector);
}

bool signing_options_known(const struct config *cfg, struct strview pipe,
                           const struct signing_options *o)
{
    struct seeking s = {.options = o};

    config_each(cfg, DIR_DOMAIN_KEY, pipe, seek_line, &s);
    if (!s.found)
        config_each(cfg, DIR_DKIM_KEY, pipe, seek_line, &s);
    if (!s.found)
        config_each(cfg, DIR_DKIM_SELECTOR, pipe, seek_selector, &s);
    return s.found;
}
