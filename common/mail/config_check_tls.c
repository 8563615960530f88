/*
 * The part of the check of a whole configuration that is about TLS: forms of values, and settings that
 * need each other. Called by config_check.c.
 */
#include "mail/config_check.h"

#include "mail/tls_config.h"

enum { MATCH_NAMES = 8 }; /* as many as a connection can look for */

static void check_pair_of_files(void *arg, const struct config_value *v)
{
    struct loader *l = arg;
    struct tls_certificate_for f;
    struct err e;

    if (tls_certificate_for_parse(sv_of(v->text), &f, &e) < 0)
        load_error(l, v->origin.file, v->origin.line, "tls-certificate-for: %s", e.text);
}

static void check_match(void *arg, const struct config_value *v)
{
    struct loader *l = arg;
    struct strview rest = sv_of(v->text), one;
    unsigned n = 0;

    while (sv_split(&rest, ',', &one))
        n++;
    if (n > MATCH_NAMES)
        load_error(l, v->origin.file, v->origin.line, "tls-match: %u names (expected %d at most)",
                   n, MATCH_NAMES);
}

static void check_client_name(void *arg, const struct config_value *v)
{
    struct loader *l = arg;

    if (!config_is_set(l->cfg, DIR_TLS_CLIENT_CA))
        load_error(
            l, v->origin.file, v->origin.line,
            "tls-client-name: no listener asks for certificates (expected tls-client-ca in a "
            "[listener])");
}

static bool is_set_here(const struct config_section *s, enum directive d,
                        const struct config_value **ret)
{
    struct value_node *n = config_section_value(s, d);
    *ret = n ? &n->value : NULL;
    return n && n->value.text;
}

/* Settings of one section that take each other back. */
static void check_section(struct loader *l, const struct config_section *s)
{
    const struct config_value *use, *want, *other;

    if (is_set_here(s, DIR_USE_STARTTLS, &use) && !use->yes &&
        ((is_set_here(s, DIR_REQUIRE_STARTTLS, &want) && want->yes) ||
         (is_set_here(s, DIR_TLS_VERIFY, &want) && want->number > 1)))
        load_error(
            l, want->origin.file, want->origin.line,
            "%s asks for TLS, and use-starttls = no in the same section forbids it (expected "
            "one of them)",
            directive_info(want->directive)->name);
    if (is_set_here(s, DIR_TLS_CLIENT_KEY, &want) &&
        !is_set_here(s, DIR_TLS_CLIENT_CERTIFICATE, &other))
        load_error(l, want->origin.file, want->origin.line,
                   "tls-client-key without tls-client-certificate (expected both in one section)");
    if ((is_set_here(s, DIR_TLS_CERTIFICATE_FOR, &want) ||
         is_set_here(s, DIR_TLS_CLIENT_CA, &want)) &&
        !is_set_here(s, DIR_TLS_CERTIFICATE, &other) &&
        !config_get(l->cfg, NULL, DIR_TLS_CERTIFICATE)->text)
        load_error(l, want->origin.file, want->origin.line,
                   "%s without tls-certificate (expected the certificate of the listener as well)",
                   directive_info(want->directive)->name);
}

/* --- private keys: nobody else may read them --- */

static void check_private(struct loader *l, const struct config_value *v, struct strview file)
{
    struct buf path = {0};
    struct err e = {0};

    if (file.len && file.ptr[0] != '/')
        buf_printf(&path, "%s/", l->dir);
    buf_append_sv(&path, file);
    if (l->files->secret(l->files->arg, buf_data(&path), load_key_owner(l->cfg), &e) < 0)
        load_error(l, v->origin.file, v->origin.line, "%s: file '%.200s' with a private key %s",
                   directive_info(v->directive)->name, buf_data(&path), e.text);
    buf_free(&path);
}

/* The key's own file, or the certificate's when there is none. */
static void check_private_of(struct loader *l, const struct config_section *s, enum directive cert,
                             enum directive key)
{
    const struct config_value *c, *k;

    if (is_set_here(s, key, &k))
        check_private(l, k, sv_of(k->text));
    else if (is_set_here(s, cert, &c) && (k || !config_get(l->cfg, NULL, key)->text))
        check_private(l, c, sv_of(c->text)); /* key = "", or none at all */
}

static void check_private_for(void *arg, const struct config_value *v)
{
    struct loader *l = arg;
    struct tls_certificate_for f;

    if (tls_certificate_for_parse(sv_of(v->text), &f, NULL) == 0)
        check_private(l, v, f.key);
}

static void check_private_keys(struct loader *l)
{
    if (!l->files->secret)
        return;
    config_each(l->cfg, DIR_TLS_CERTIFICATE_FOR, sv(NULL, 0), check_private_for, l);
    for (const struct config_section *s = l->cfg->first; s; s = s->next) {
        check_private_of(l, s, DIR_TLS_CERTIFICATE, DIR_TLS_KEY);
        check_private_of(l, s, DIR_TLS_CLIENT_CERTIFICATE, DIR_TLS_CLIENT_KEY);
    }
}

void check_tls(struct loader *l)
{
    check_private_keys(l);
    config_each(l->cfg, DIR_TLS_CERTIFICATE_FOR, sv(NULL, 0), check_pair_of_files, l);
    config_each(l->cfg, DIR_TLS_MATCH, sv(NULL, 0), check_match, l);
    config_each(l->cfg, DIR_TLS_CLIENT_NAME, sv(NULL, 0), check_client_name, l);
    for (const struct config_section *s = l->cfg->first; s; s = s->next)
        check_section(l, s);
}
