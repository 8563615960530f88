/*
 * Settings of processors; see settings.h. Called for each report, by its address.
 */
#include "inbound/settings.h"

struct source {
    struct config *cfg;
    enum config_kind kind;
    const char *name; /* NULL: the defaults of the table */
};

static const struct config_value *get(const struct source *s, enum directive d)
{
    const struct config_value *v =
        s->name ? config_section_get(s->cfg, s->kind, sv_of(s->name), d) : NULL;
    return v ? v : config_get(s->cfg, NULL, d);
}

static size_t addresses(const struct source *s, enum directive d, struct strview *ret)
{
    size_t n = 0;

    for (const struct config_value *v = get(s, d); v && v->text; v = v->next) {
        struct strview rest = sv_of(v->text), one;
        while (n < INBOUND_FORWARD_MAX && sv_split(&rest, ',', &one))
            if (sv_trim(one).len)
                ret[n++] = sv_trim(one);
    }
    return n;
}

void inbound_settings_get(struct config *cfg, const struct inbound_match *m,
                          struct inbound_settings *ret)
{
    bool bounces = m->use == INBOUND_BOUNCES;
    const struct source s = {cfg, bounces ? KIND_BOUNCE_PROCESSOR : KIND_FEEDBACK_LOOP_PROCESSOR,
                             m->use == INBOUND_UNSUBSCRIBE ? NULL : m->processor};

    *ret = (struct inbound_settings){
        .use = m->use,
        .name = s.name ? sv_of(s.name) : SV("unsubscribe"),
        .deliver_matched = get(&s, DIR_DELIVER_MATCHED_EMAIL)->yes,
        .deliver_unmatched = get(&s, DIR_DELIVER_UNMATCHED_EMAIL)->yes,
        .trust_plain = get(&s, DIR_TRUST_PLAIN_REPORTS)->yes,
        .suppress = get(&s, DIR_SUPPRESS_REPORTED)->yes,
        .has_scope = get(&s, DIR_SUPPRESS_REPORTED_SCOPE)->text != NULL,
        .scope = (enum suppress_scope)get(&s, DIR_SUPPRESS_REPORTED_SCOPE)->number,
        .categories = sv_of(get(&s, DIR_SUPPRESS_REPORTED_CATEGORIES)->text),
        .expire_after_ms = get(&s, DIR_SUPPRESS_REPORTED_FOR)->number,
        .max_bytes = (size_t)get(&s, DIR_REPORT_MAX_SIZE)->number,
        .time_ms = get(&s, DIR_REPORT_MAX_TIME)->number,
    };
    ret->forward_unmatched_count = addresses(&s, DIR_FORWARD_UNMATCHED_TO, ret->forward_unmatched);
    ret->forward_errors_count = addresses(&s, DIR_FORWARD_ERRORS_TO, ret->forward_errors);
}

bool inbound_settings_feeds(const struct inbound_settings *s, struct strview category)
{
    struct strview rest = s->categories, one;

    while (category.len && sv_split(&rest, ',', &one))
        if (sv_eq_nocase(sv_trim(one), category))
            return true;
    return false;
}
