/*
 * What a setting is for a domain, where it was written, and what it overrode.
 */
#include "admin/verbs.h"

struct explained {
    json_t *winner;
    json_t *overrode;
};

static json_t *value_object(const struct config_value *v)
{
    json_t *o = json_object();
    json_object_set_new(o, "value", admin_json_text(sv_of(v->text ? v->text : "")));
    if (v->origin.file) {
        json_object_set_new(o, "file", admin_json_text(sv_of(v->origin.file)));
        json_object_set_new(o, "line", json_integer(v->origin.line));
        json_object_set_new(o, "section", admin_json_text(sv_of(v->origin.section)));
    }
    return o;
}

static void collect(void *arg, const struct config_value *v, bool wins)
{
    struct explained *x = arg;

    if (wins && !x->winner)
        x->winner = value_object(v);
    else if (!wins && v->text)
        json_array_append_new(x->overrode, value_object(v));
}

void explain_config(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    char domain[256];
    struct strview d = admin_text(a, "domain");
    struct config_query q = {.vmta = admin_text(a, "vmta"), .pipe = sv_of(p->name)};

    if (!d.len || d.len >= sizeof(domain)) {
        admin_error(a, "'domain' is missing or too long");
        return;
    }
    memcpy(domain, d.ptr, d.len);
    str_lower(domain, d.len);
    q.domain = sv(domain, d.len);
    if (!q.vmta.len) {
        const char *name =
            config_text(p->config, &(struct config_query){.pipe = q.pipe}, DIR_DEFAULT_VIRTUAL_MTA);
        q.vmta = sv_of(name ? name : VMTA_DEFAULT);
    }
    for (int i = 0; i < DIRECTIVE_COUNT; i++) {
        const struct directive_info *info = directive_info((enum directive)i);
        struct explained x = {NULL, json_array()};
        if (!(info->kinds & KIND_DOMAIN)) {
            json_decref(x.overrode);
            continue;
        }
        config_explain(p->config, &q, (enum directive)i, collect, &x);
        json_t *o = json_pack("{s:s}", "directive", info->name);
        if (x.winner)
            json_object_update(o, x.winner);
        json_decref(x.winner);
        json_object_set_new(o, "overrode", x.overrode);
        admin_send(a, o);
    }
    admin_end(a);
}
