/*
 * Chains of queues that come back to where they began: reroute-to-virtual-mta and
 * backoff-reroute-to-virtual-mta from one virtual MTA to the next, queue-to from one domain to the
 * next. Every section that sets one of them is a start, with each of its domains; each step asks
 * the configuration as the pipe would. A queue that leads to itself stays where it is: that ends a
 * chain and is no loop. Called by config_check.c.
 */
#include "mail/config_check.h"

#include "mail/host_list.h"

enum { CHAIN_MAX = 64, STEPS_MAX = 100000, ALL_STEPS_MAX = 5000000 };

struct walk {
    struct check *check;
    struct config_query query;
    const struct config_value *start;
    struct strview path[CHAIN_MAX];
    size_t depth;
    size_t steps;
    bool found; /* a loop, which is reported */
};

static void report_loop(struct walk *w, size_t from, struct strview again)
{
    struct buf chain = {0};

    for (size_t i = from; i < w->depth; i++)
        buf_printf(&chain, "%.*s -> ", SV_ARG(w->path[i]));
    buf_append_sv(&chain, again);
    load_error(w->check->loader, w->start->origin.file, w->start->origin.line,
               "%s: mail would go round in a circle: %.300s",
               directive_info(w->start->directive)->name, buf_data(&chain));
    buf_free(&chain);
    w->found = true;
}

/* True when name is on the path already. */
static bool comes_back(struct walk *w, struct strview name)
{
    for (size_t i = 0; i < w->depth; i++)
        if (sv_eq_nocase(w->path[i], name)) {
            report_loop(w, i, name);
            return true;
        }
    return false;
}

static const struct config_value *pool_members(const struct walk *w, struct strview pool)
{
    return config_section_get(w->check->loader->cfg, KIND_VIRTUAL_MTA_POOL, pool, DIR_POOL_MEMBER);
}

static struct strview member_name(const struct config_value *m)
{
    struct strview name = {NULL, 0};
    uint32_t weight;
    if (m && m->text)
        pool_member_parse(sv_of(m->text), &name, &weight, NULL);
    return name;
}

static bool leads_away(const struct walk *w, struct strview from, struct strview to)
{
    if (sv_eq_nocase(from, to))
        return false;
    for (const struct config_value *m = pool_members(w, to); m; m = m->next)
        if (sv_eq_nocase(from, member_name(m)))
            return false;
    return to.len > 0;
}

static void walk_vmta(struct walk *w, struct strview name);

static void walk_target(struct walk *w, struct strview target)
{
    const struct config_value *m = pool_members(w, target);

    if (!m)
        walk_vmta(w, target);
    for (; m && !w->found; m = m->next)
        walk_vmta(w, member_name(m));
}

static void walk_vmta(struct walk *w, struct strview name)
{
    const struct config *cfg = w->check->loader->cfg;

    if (w->depth == CHAIN_MAX || ++w->steps > STEPS_MAX || comes_back(w, name))
        return;
    w->path[w->depth++] = name;
    struct config_query q = w->query;
    q.vmta = name;
    q.pool = sv_of(check_pool_of(w->check, name));
    struct strview always = sv_of(config_text(cfg, &q, DIR_REROUTE_TO_VIRTUAL_MTA));
    struct strview backoff = sv_of(config_text(cfg, &q, DIR_BACKOFF_REROUTE_TO_VIRTUAL_MTA));
    if (leads_away(w, name, always))
        walk_target(w, always);
    else if (leads_away(w, name, backoff))
        walk_target(w, backoff);
    w->depth--;
}

static size_t check_reroute(struct check *c, const struct checked_pattern *p, enum directive d)
{
    struct value_node *n = config_section_value(p->section, d);
    struct walk w = {.check = c, .query = check_query(c, p)};

    if (!n || !n->value.text)
        return 0;
    w.start = &n->value;
    walk_target(&w, sv_of(n->value.text));
    return w.steps;
}

static size_t check_queue_to(struct check *c, const struct checked_pattern *p)
{
    struct value_node *n = config_section_value(p->section, DIR_QUEUE_TO);
    struct walk w = {.check = c, .query = check_query(c, p)};

    if (!n || !n->value.text)
        return 0;
    w.start = &n->value;
    struct strview domain = sv_of(n->value.text), next;
    for (; w.depth < CHAIN_MAX && !comes_back(&w, domain); domain = next) {
        w.path[w.depth++] = domain;
        w.query.domain = domain;
        next = sv_of(config_text(c->loader->cfg, &w.query, DIR_QUEUE_TO));
        if (!next.len || sv_eq_nocase(domain, next))
            break;
    }
    return w.depth;
}

static bool leads_on(const struct config_section *s)
{
    return config_section_value(s, DIR_REROUTE_TO_VIRTUAL_MTA) ||
           config_section_value(s, DIR_BACKOFF_REROUTE_TO_VIRTUAL_MTA) ||
           config_section_value(s, DIR_QUEUE_TO);
}

void check_loops(struct check *c)
{
    struct checked_pattern p;
    size_t steps = 0;

    for (size_t i = 0; i < c->pattern_count && steps < ALL_STEPS_MAX; i++) {
        if (!leads_on(c->patterns[i]->section))
            continue;
        check_pattern(c, i, &p);
        unsigned before = c->loader->report->errors;
        steps += check_reroute(c, &p, DIR_REROUTE_TO_VIRTUAL_MTA);
        steps += check_reroute(c, &p, DIR_BACKOFF_REROUTE_TO_VIRTUAL_MTA);
        steps += check_queue_to(c, &p);
        /* one report for a section, not one for each of its domains */
        while (c->loader->report->errors > before && i + 1 < c->pattern_count &&
               c->patterns[i + 1]->section == p.section)
            i++;
    }
}
