/*
 * Key files that the configuration names are looked at when it is loaded, so that a key that cannot
 * be used is an error with file and line before anything has changed. Called at the end of
 * load_check. One file is looked at once, however many directives name it, and reported at each.
 */
#include "mail/config_internal.h"
#include "mail/config_load.h"
#include "mail/key_file.h"
#include "mail/signing.h"

#include <pwd.h>

struct seen {
    struct hash_node node;
    const char *path;
    struct key_file key;
    struct err trouble;
};

struct key_check {
    struct loader *loader;
    struct arena arena;
    struct hash seen;
    uid_t owner;
};

static bool match(const struct hash_node *n, const void *path)
{
    return strcmp(container_of(n, const struct seen, node)->path, path) == 0;
}

static struct seen *look_at(struct key_check *c, struct strview file)
{
    const struct config_files *files = c->loader->files;
    const char *path = arena_strndup(&c->arena, file.ptr, file.len);
    uint64_t h = hash_bytes(file.ptr, file.len);
    struct hash_node *n = hash_find(&c->seen, h, path);

    if (n)
        return container_of(n, struct seen, node);
    struct seen *s = arena_alloc(&c->arena, sizeof(*s));
    s->path = path;
    files->key(files->arg, path, c->owner, &s->key, &s->trouble);
    hash_insert(&c->seen, &s->node, h);
    return s;
}

static void check_file(void *arg, const struct config_value *v, struct strview file)
{
    struct key_check *c = arg;
    const struct seen *s = look_at(c, file);
    const char *name = directive_info(v->directive)->name;

    if (s->trouble.code < 0)
        load_error(c->loader, v->origin.file, v->origin.line, "%s: key file '%.200s' %s", name,
                   s->path, s->trouble.text);
    else if (s->key.kind == KEY_FILE_RSA && s->key.bits < KEY_FILE_GOOD_RSA_BITS)
        load_warn(c->loader, v->origin.file, v->origin.line,
                  "%s: key file '%.200s' holds an RSA key of %u bits (expected %d or more)", name,
                  s->path, s->key.bits, KEY_FILE_GOOD_RSA_BITS);
}

uid_t load_key_owner(const struct config *cfg)
{
    const char *name = config_text(cfg, NULL, DIR_USER);
    const struct passwd *pw = name && *name ? getpwnam(name) : NULL;
    return pw ? pw->pw_uid : (uid_t)-1;
}

static void has_value(void *arg, const struct config_value *v)
{
    (void)v;
    *(bool *)arg = true;
}

/* A private key needs its selector, wherever the two stand. */
static void check_pair(struct loader *l)
{
    bool selector = false;
    const struct config_section *s;

    config_each(l->cfg, DIR_DKIM_SELECTOR, sv(NULL, 0), has_value, &selector);
    for (s = l->cfg->first; s && !selector; s = s->next) {
        const struct value_node *n = config_section_value(s, DIR_DKIM_PRIVATE_KEY);
        if (n && n->value.text)
            load_error(l, n->value.origin.file, n->value.origin.line,
                       "dkim-private-key without dkim-selector (expected both)");
    }
}

static void check_secrets_of(struct loader *l, const struct config_section *s, enum directive d,
                             uid_t owner)
{
    const struct value_node *n = config_section_value(s, d);
    struct err e = {0};

    for (const struct config_value *v = n ? &n->value : NULL; v && v->text; v = v->next)
        if (l->files->secret(l->files->arg, v->text, owner, &e) < 0)
            load_error(l, v->origin.file, v->origin.line, "%s: file '%.200s' %s",
                       directive_info(d)->name, v->text, e.text);
}

void load_check_secrets(struct loader *l)
{
    if (!l->files->secret)
        return;
    uid_t owner = load_key_owner(l->cfg);
    for (unsigned d = 0; d < DIRECTIVE_COUNT; d++)
        for (struct config_section *s = l->cfg->first;
             directive_info((enum directive)d)->secret && s; s = s->next)
            check_secrets_of(l, s, (enum directive)d, owner);
}

void load_check_keys(struct loader *l)
{
    struct signing_needs needs;
    struct key_check c = {.loader = l, .owner = (uid_t)-1};

    signing_needs(l->cfg, sv(NULL, 0), &needs);
    if (!needs.keys)
        return;
    check_pair(l);
    if (!l->files->key)
        return;
    c.owner = load_key_owner(l->cfg);
    hash_init(&c.seen, match);
    signing_key_files(l->cfg, sv(NULL, 0), check_file, &c);
    hash_fini(&c.seen);
    arena_free(&c.arena);
}
