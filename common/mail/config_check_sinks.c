/*
 * The part of the check of a whole configuration that is about event sinks: forms of values, names
 * that refer to sections, and settings that do nothing for that kind of sink. Called by
 * config_check.c.
 */
#include "mail/config_check.h"

#include "mail/event_sink.h"

enum { SIGNING_SECRETS_MAX = 2 };

/* A setting that is for one kind of sink. */
static const struct {
    enum directive directive;
    enum sink_kind kind;
    const char *scheme;
} only_for[] = {
    {DIR_SINK_SIGNING_SECRET, SINK_HTTP, "http"},
    {DIR_SINK_HTTP_HEADER, SINK_HTTP, "http"},
    {DIR_SINK_HEADER_FILE, SINK_HTTP, "http"},
    {DIR_SINK_GZIP, SINK_HTTP, "http"},
    {DIR_SINK_MAX_IN_FLIGHT, SINK_HTTP, "http"},
    {DIR_SINK_LOGIN, SINK_REDIS, "redis"},
    {DIR_SINK_PASSWORD_FILE, SINK_REDIS, "redis"},
    {DIR_SINK_REDIS_DATABASE, SINK_REDIS, "redis"},
    {DIR_SINK_REDIS_MAX_LENGTH, SINK_REDIS, "redis"},
    {DIR_SINK_KAFKA_KEY, SINK_KAFKA, "kafka"},
    {DIR_SINK_KAFKA_OPTION, SINK_KAFKA, "kafka"},
    {DIR_SINK_KAFKA_OPTION_FILE, SINK_KAFKA, "kafka"},
};

static const struct config_value *value_of(const struct config_section *s, enum directive d)
{
    const struct value_node *n = config_section_value(s, d);
    return n && n->value.text ? &n->value : NULL;
}

static void check_forms(struct loader *l, const struct config_section *s)
{
    const struct config_value *v;
    unsigned secrets = 0;

    for (v = value_of(s, DIR_SINK_HTTP_HEADER); v && v->text; v = v->next)
        if (!sink_header_is_valid(sv_of(v->text)))
            load_error(l, v->origin.file, v->origin.line,
                       "http-header: '%.60s' is no header field (expected Name: value)", v->text);
    for (v = value_of(s, DIR_SINK_KAFKA_OPTION); v && v->text; v = v->next)
        if (!sink_option_is_valid(sv_of(v->text)))
            load_error(l, v->origin.file, v->origin.line,
                       "kafka-option: '%.60s' is no property (expected name=value)", v->text);
    for (v = value_of(s, DIR_SINK_SIGNING_SECRET); v && v->text; v = v->next)
        if (++secrets == SIGNING_SECRETS_MAX + 1)
            load_error(l, v->origin.file, v->origin.line,
                       "signing-secret-file: more than %d (expected the new one, and the old one "
                       "while it is changed)",
                       SIGNING_SECRETS_MAX);
}

static void check_uses(struct loader *l, const struct config_section *s, const struct sink_url *url)
{
    const struct config_value *v;

    for (size_t i = 0; i < ARRAY_LEN(only_for); i++)
        if (only_for[i].kind != url->kind && (v = value_of(s, only_for[i].directive)))
            load_error(l, v->origin.file, v->origin.line,
                       "%s does nothing here (expected a url %s:...)",
                       directive_info(v->directive)->name, only_for[i].scheme);
    if (url->kind == SINK_REDIS && (v = value_of(s, DIR_SINK_LOGIN)) &&
        !value_of(s, DIR_SINK_PASSWORD_FILE))
        load_error(l, v->origin.file, v->origin.line,
                   "login without password-file (expected both)");
}

static void check_sink(struct loader *l, const struct config_section *s)
{
    const char *name = s->name[config_kind_index(KIND_EVENT_SINK)];
    const struct config_value *v = value_of(s, DIR_SINK_URL), *max;
    struct sink_url url;
    struct err e = {0};

    if (!v) {
        load_error(l, s->file, s->line, "event sink '%.60s' has no url (expected where events go)",
                   name);
    } else if (sink_url_parse(sv_of(v->text), &url, &e) < 0 || url.kind == SINK_STDOUT) {
        load_error(l, v->origin.file, v->origin.line, "url: %s",
                   *e.text ? e.text : "stdout is for pmta-ship on a command line");
    } else {
        check_uses(l, s, &url);
    }
    if ((v = value_of(s, DIR_SINK_ACCT_FILE)) &&
        !config_has_section(l->cfg, KIND_ACCT_FILE, sv_of(v->text)))
        load_error(l, v->origin.file, v->origin.line,
                   "acct-file: there is no [acct-file %.100s] (expected the name of a section)",
                   v->text);
    if ((v = value_of(s, DIR_SINK_RETRY_MIN)) && (max = value_of(s, DIR_SINK_RETRY_MAX)) &&
        v->number > max->number)
        load_error(l, v->origin.file, v->origin.line,
                   "retry-min is more than retry-max (expected at most %s)", max->text);
    check_forms(l, s);
}

void check_sinks(struct loader *l)
{
    for (const struct config_section *s = l->cfg->first; s; s = s->next)
        if (s->kinds == KIND_EVENT_SINK)
            check_sink(l, s);
}
