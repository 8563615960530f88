/*
 * Counts and limits of incoming connections; see admission.h. Called by session.c when a connection
 * opens and when its memory goes. A group that reserves connections gets them even when all others
 * together would fill the process: what it has reserved and does not use is taken off for everybody
 * else. There are as many counts as sources and groups with connections: few. Counts are heap
 * memory, gone with their last connection; names outlive a reload, so they are copied.
 */
#include "admission.h"

#include <strings.h>

void admission_init(struct admission *a)
{
    list_init(&a->sources);
    list_init(&a->groups);
    a->connections = 0;
}

static struct admission_count *find(const struct list *counts, const char *name)
{
    list_for_each (pos, counts) {
        struct admission_count *c = list_entry(pos, struct admission_count, link);
        if (strcasecmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}

static struct admission_count *count_in(struct list *counts, const char *name)
{
    struct admission_count *c = find(counts, name);

    if (!c) {
        c = xcalloc(1, sizeof(*c) + strlen(name) + 1);
        memcpy(c->name, name, strlen(name) + 1);
        list_push_back(counts, &c->link);
    }
    c->count++;
    return c;
}

static void count_out(struct admission_count *c)
{
    if (!c || --c->count > 0)
        return;
    list_remove(&c->link);
    free(c);
}

/* What groups other than this one have reserved and do not use. */
static uint64_t reserved_by_others(const struct admission *a, const struct config *cfg,
                                   const struct admission_count *group)
{
    uint64_t sum = 0;
    const char *name;

    for (size_t i = 0; (name = config_section_name(cfg, KIND_SOURCE_GROUP, i)); i++) {
        const struct config_value *v =
            config_section_get(cfg, KIND_SOURCE_GROUP, sv_of(name), DIR_RESERVED_SMTP_IN);
        if (!v || (group && strcasecmp(group->name, name) == 0))
            continue;
        const struct admission_count *c = find(&a->groups, name);
        uint64_t used = c ? c->count : 0;
        sum += (uint64_t)v->number > used ? (uint64_t)v->number - used : 0;
    }
    return sum;
}

static const char *over_limit(const struct admission *a, const struct config *cfg,
                              const struct config_query *q, const struct admission_place *p)
{
    uint64_t total = (uint64_t)config_number(cfg, NULL, DIR_TOTAL_MAX_SMTP_IN);

    if (a->connections + reserved_by_others(a, cfg, p->group) > total)
        return "421 4.3.2 Too many connections, try again later";
    if (p->source->count > (uint64_t)config_number(cfg, q, DIR_MAX_SMTP_IN))
        return "421 4.7.0 Too many connections from your source, try again later";
    if (!p->group)
        return NULL;
    const struct config_value *v =
        config_section_get(cfg, KIND_SOURCE_GROUP, sv_of(p->group->name), DIR_MAX_SMTP_IN);
    if (v && p->group->count > (uint64_t)v->number)
        return "421 4.7.0 Too many connections from your group of sources, try again later";
    return NULL;
}

const char *admission_enter(struct admission *a, const struct config *cfg, const char *source,
                            const struct sockaddr *client, struct admission_place *ret)
{
    struct config_query q = {.source = sv_of(source), .client = client};
    const char *group = source ? config_text(cfg, &q, DIR_SOURCE_GROUP_NAME) : NULL;

    a->connections++;
    ret->source = count_in(&a->sources, source ? source : "");
    ret->group = group ? count_in(&a->groups, group) : NULL;
    return over_limit(a, cfg, &q, ret);
}

void admission_leave(struct admission *a, struct admission_place *place)
{
    a->connections--;
    count_out(place->source);
    count_out(place->group);
    *place = (struct admission_place){0};
}
