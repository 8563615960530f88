/*
 * The part of the check of a whole configuration that is about mail that comes back to us: forms of
 * inbound, bounce and unsubscribe addresses and links, and settings that need each other. Called by
 * config_check.c.
 */
#include "mail/config_check.h"

#include "mail/inbound_address.h"
#include "mail/unsubscribe_url.h"

static void wrong(struct loader *l, const struct config_value *v, const struct err *e)
{
    load_error(l, v->origin.file, v->origin.line, "%s: '%.80s' is not valid (%s)",
               directive_info(v->directive)->name, v->text, e->text);
}

static void check_pattern_form(void *arg, const struct config_value *v)
{
    struct inbound_pattern p;
    struct err e;

    if (inbound_pattern_parse(sv_of(v->text), &p, &e) < 0)
        wrong(arg, v, &e);
}

static void check_base_form(void *arg, const struct config_value *v)
{
    struct strview local, domain;
    struct err e;

    if (inbound_base_parse(sv_of(v->text), &local, &domain, &e) < 0)
        wrong(arg, v, &e);
}

static void check_url_form(void *arg, const struct config_value *v)
{
    struct err e;

    if (unsubscribe_url_check(sv_of(v->text), &e) < 0)
        wrong(arg, v, &e);
}

static void check_processors(struct loader *l, enum config_kind kind)
{
    const char *name;

    for (size_t i = 0; (name = config_section_name(l->cfg, kind, i)); i++) {
        const struct config_value *v =
            config_section_get(l->cfg, kind, sv_of(name), DIR_INBOUND_ADDRESS);
        if (!v || !v->text)
            load_error(l, l->dir, 0, "[%s %.60s] has no inbound-address (expected one or more)",
                       config_kind_name(kind), name);
    }
}

static void check_verp(void *arg, const struct config_value *v)
{
    struct loader *l = arg;

    if (v->yes && !config_is_set(l->cfg, DIR_BOUNCE_ADDRESS))
        load_error(l, v->origin.file, v->origin.line,
                   "verp without bounce-address (expected bounce-address = user@domain)");
}

static void check_list_unsubscribe(void *arg, const struct config_value *v)
{
    enum { ONE_CLICK = 2 };
    struct loader *l = arg;

    if (v->number == ONE_CLICK && !config_is_set(l->cfg, DIR_UNSUBSCRIBE_URL))
        load_error(l, v->origin.file, v->origin.line,
                   "list-unsubscribe = one-click without unsubscribe-url (expected "
                   "unsubscribe-url = https://host/path/)");
    else if (v->number && !config_is_set(l->cfg, DIR_UNSUBSCRIBE_URL) &&
             !config_is_set(l->cfg, DIR_UNSUBSCRIBE_ADDRESS))
        load_error(l, v->origin.file, v->origin.line,
                   "list-unsubscribe without unsubscribe-url or unsubscribe-address (expected one "
                   "of them, or both)");
}

struct reaching {
    struct loader *l;
    struct inbound_table *table;
};

/* An address with a token must find its way to a processor. */
static void check_reached(void *arg, const struct config_value *v)
{
    const struct reaching *r = arg;
    struct strview local, domain;
    struct inbound_match m;
    struct buf b = {0};

    if (inbound_base_parse(sv_of(v->text), &local, &domain, NULL) < 0)
        return;
    buf_printf(&b, "%.*s%cx@%.*s", SV_ARG(local), INBOUND_DELIMITER, SV_ARG(domain));
    if (inbound_table_find(r->table, buf_view(&b), &m) && m.use != INBOUND_BOUNCES)
        load_warn(r->l, v->origin.file, v->origin.line,
                  "bounce-address: no [bounce-processor] takes %.*s%c*@%.*s, so what bounces later "
                  "is not seen here; add that as its inbound-address",
                  SV_ARG(local), INBOUND_DELIMITER, SV_ARG(domain));
    buf_free(&b);
}

void check_inbound(struct loader *l)
{
    const struct strview all = {NULL, 0};

    config_each(l->cfg, DIR_INBOUND_ADDRESS, all, check_pattern_form, l);
    config_each(l->cfg, DIR_BOUNCE_ADDRESS, all, check_base_form, l);
    config_each(l->cfg, DIR_UNSUBSCRIBE_ADDRESS, all, check_base_form, l);
    config_each(l->cfg, DIR_UNSUBSCRIBE_URL, all, check_url_form, l);
    config_each(l->cfg, DIR_VERP, all, check_verp, l);
    config_each(l->cfg, DIR_LIST_UNSUBSCRIBE, all, check_list_unsubscribe, l);
    check_processors(l, KIND_BOUNCE_PROCESSOR);
    check_processors(l, KIND_FEEDBACK_LOOP_PROCESSOR);
    struct reaching r = {l, inbound_table_new(l->cfg)};
    config_each(l->cfg, DIR_BOUNCE_ADDRESS, all, check_reached, &r);
    inbound_table_free(r.table);
}
