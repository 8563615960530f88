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
        load_error(l, v->origin.file, v->origin.line, "tls-match: %u names (expected %d at most)", n,
                   MATCH_NAMES);
}

static void check_client_name(void *arg, const struct config_value *v)
{
    struct loader *l = arg;

    if (!config_is_set(l->cfg, DIR_TLS_CLIENT_CA))
        load_error(l, v->origin.file, v->origin.line,
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
        load_error(l, want->origin.file, want->origin.line,
                   "%s asks for TLS, and use-starttls = no in the same section forbids it (expected "
                   "one of them)",
                   directive_info(want->directive)->name);
    if (is_set_here(s, DIR_TLS_CLIENT_KEY, &want) &&
        !is_set_here(s, DIR_TLS_CLIENT_CERTIFICATE, &other))
        load_error(l, want->origin.file, want->origin.line,
                   "tls-client-key without tls-client-certificate (expected both in one section)");
    if ((is_set_here(s, DIR_TLS_CERTIFICATE_FOR, &want) || is_set_here(s, DIR_TLS_CLIENT_CA, &want)) &&
        !is_set_here(s, DIR_TLS_CERTIFICATE, &other) &&
        !config_get(l->cfg, NULL, DIR_TLS_CERTIFICATE)->text)
        load_error(l, want->origin.file, want->origin.line,
                   "%s without tls-certificate (expected the certificate of the listener as well)",
                   directive_info(want->directive)->name);
}

void check_tls(struct loader *l)
{
    config_each(l->cfg, DIR_TLS_CERTIFICATE_FOR, sv(NULL, 0), check_pair_of_files, l);
    config_each(l->cfg, DIR_TLS_MATCH, sv(NULL, 0), check_match, l);
    config_each(l->cfg, DIR_TLS_CLIENT_NAME, sv(NULL, 0), check_client_name, l);
    for (const struct config_section *s = l->cfg->first; s; s = s->next)
        check_section(l, s);
}
