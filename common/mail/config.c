/*
 * Answers questions to a finished configuration; see config.h. A query is a handful of hash
 * look-ups: each scope that it names (and none) with each way the domain can be written in a
 * pattern. What is found is ranked by scope, then domain, then place in the files. Nothing changes
 * after config_finish, so answers stay valid as long as a reference is held.
 */
#include "mail/config_internal.h"

#include <stdio.h>

/* Scopes from strong to weak; a section's rank is the sum of what it names. */
static const struct {
    uint32_t kind;
    unsigned weight;
} scopes[] = {{KIND_SMTP_USER, 32},  {KIND_SOURCE, 16},          {KIND_LISTENER, 8},
              {KIND_VIRTUAL_MTA, 4}, {KIND_VIRTUAL_MTA_POOL, 2}, {KIND_PIPE, 1}};

struct candidate {
    const struct config_value *value;
    unsigned scope, source, closeness;
    uint32_t index;
};

struct search {
    const struct config *cfg;
    const struct config_query *q;
    enum directive directive;
    void (*found)(struct search *s, const struct candidate *c);
    unsigned farther; /* how much less close than its pattern says a candidate is */
    struct candidate best;
    struct candidate *all; /* explain */
    size_t count, cap;
};

static struct strview queried(const struct config_query *q, uint32_t kind)
{
    switch (kind) {
    case KIND_SMTP_USER:
        return q->user;
    case KIND_SOURCE:
        return q->source;
    case KIND_LISTENER:
        return q->listener;
    case KIND_VIRTUAL_MTA:
        return q->vmta;
    case KIND_VIRTUAL_MTA_POOL:
        return q->pool;
    default:
        return q->pipe;
    }
}

static bool beats(const struct candidate *a, const struct candidate *b)
{
    if (a->scope != b->scope)
        return a->scope > b->scope;
    if (a->source != b->source)
        return a->source > b->source;
    if (a->closeness != b->closeness)
        return a->closeness > b->closeness;
    return a->index > b->index;
}

/* A total is no limit of one queue, nor the other way round; see DIRECTIVE_TOTAL. */
static bool total_applies(const struct config_section *s, const struct config_query *q)
{
    bool scoped = q->vmta.len || q->pool.len || q->pipe.len;
    if (q->domain.len)
        return s->kinds & (KIND_DOMAIN | KIND_PMTA);
    return !(s->kinds & KIND_DOMAIN) && (!scoped || !(s->kinds & KIND_PMTA));
}

/* What the section itself says, or (a source) else its group: own values come first, then the
 * group's, then what wider networks and their groups say. */
static void consider(struct search *search, const struct config_section *s, unsigned source,
                     unsigned closeness)
{
    struct value_node *node = config_section_value(s, search->directive);
    struct value_node *of_group =
        s->group ? config_section_value(s->group, search->directive) : NULL;
    struct candidate c = {
        .source = 2 * source + 1, .closeness = closeness - search->farther, .index = s->index};

    if (!node && !of_group)
        return;
    if (directive_info(search->directive)->total && !total_applies(s, search->q))
        return;
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        const char *name = s->name[config_kind_index(scopes[i].kind)];
        if (!name)
            continue;
        struct strview asked = queried(search->q, scopes[i].kind);
        bool user = scopes[i].kind == KIND_SMTP_USER;
        if (!source && !(user ? sv_eq(asked, sv_of(name)) : sv_eq_nocase(asked, sv_of(name))))
            return;
        c.scope += scopes[i].weight;
    }
    if (node) {
        c.value = &node->value;
        search->found(search, &c);
    }
    if (of_group) {
        c.value = &of_group->value;
        c.source = 2 * source;
        search->found(search, &c);
    }
}

/* All sections under one key; scope is "" or "KIND NAME". */
static void look_up(struct search *search, struct strview scope, const char *prefix,
                    struct strview domain)
{
    char key[2 * CONFIG_MAX_NAME + 32];
    size_t n = 0;

    memcpy(key, scope.ptr, scope.len);
    n = scope.len;
    key[n++] = '\n';
    while (*prefix)
        key[n++] = *prefix++;
    for (size_t i = 0; i < domain.len; i++)
        key[n++] = ascii_lower(domain.ptr[i]);
    struct strview k = sv(key, n);
    struct hash_node *node = hash_find(&search->cfg->patterns, hash_bytes(key, n), &k);
    if (!node)
        return;
    for (struct config_pattern *p = container_of(node, struct config_pattern, node); p; p = p->same)
        consider(search, p->section, p->section->kinds & KIND_SOURCE ? 1000 : 0, p->closeness);
}

/* [domain GROUP] comes after [domain D] and [domain $MACRO-WITH-D], before any wildcard. */
static void look_up_group(struct search *search, struct strview scope)
{
    enum { BEHIND_THE_DOMAIN = 10 };
    struct strview group = search->q->group;

    if (!group.len || group.len > CONFIG_MAX_NAME)
        return;
    search->farther = BEHIND_THE_DOMAIN;
    look_up(search, scope, "", group);
    search->farther = 0;
}

static void look_up_scope(struct search *search, struct strview scope)
{
    struct strview d = search->q->domain;

    look_up(search, scope, "", sv(NULL, 0));
    if (!d.len)
        return;
    look_up_group(search, scope);
    look_up(search, scope, "*", sv(NULL, 0));
    if (d.ptr[d.len - 1] == '.')
        d.len--;
    if (!d.len || d.len > CONFIG_MAX_NAME)
        return;
    look_up(search, scope, "", d);
    for (ptrdiff_t dot; (dot = sv_find(d, '.')) >= 0;) {
        d = sv(d.ptr + dot + 1, d.len - (size_t)dot - 1);
        look_up(search, scope, ".", d);
        /* [*.]d is indexed under ".d" and, for d itself, "d" */
    }
}

/* The client's address as 4 or 16 bytes; an IPv4 address mapped into IPv6 is IPv4. */
static int client_bytes(const struct sockaddr *client, const uint8_t **ret)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (client->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)client;
        *ret = (const uint8_t *)&v4->sin_addr;
        return AF_INET;
    }
    if (client->sa_family != AF_INET6)
        return AF_UNSPEC;
    const struct sockaddr_in6 *v6 = (const void *)client;
    *ret = (const uint8_t *)&v6->sin6_addr;
    if (memcmp(*ret, mapped, 12) != 0)
        return AF_INET6;
    *ret += 12;
    return AF_INET;
}

static bool cidr_holds(const struct config_section *s, int family, const uint8_t *bytes)
{
    unsigned whole = s->prefix / 8, rest = s->prefix % 8;
    if (s->family != family || memcmp(s->address, bytes, whole) != 0)
        return false;
    return !rest || (s->address[whole] ^ bytes[whole]) >> (8 - rest) == 0;
}

static void search_run(struct search *search)
{
    static const struct config_query nothing;
    const struct config *cfg = search->cfg;
    char scope[CONFIG_MAX_NAME + 8];
    const uint8_t *bytes;

    if (!search->q)
        search->q = &nothing;
    look_up_scope(search, sv(scope, 0));
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        struct strview name = queried(search->q, scopes[i].kind);
        if (!name.len || name.len > CONFIG_MAX_NAME)
            continue;
        scope[0] = (char)('0' + config_kind_index(scopes[i].kind));
        scope[1] = ' ';
        memcpy(scope + 2, name.ptr, name.len);
        if (scopes[i].kind != KIND_SMTP_USER)
            str_lower(scope + 2, name.len);
        look_up_scope(search, sv(scope, name.len + 2));
    }
    int family = search->q->client ? client_bytes(search->q->client, &bytes) : AF_UNSPEC;
    for (size_t i = 0; i < cfg->cidr_count && family != AF_UNSPEC; i++)
        if (cidr_holds(cfg->cidrs[i], family, bytes))
            consider(search, cfg->cidrs[i], 1u + cfg->cidrs[i]->prefix, 0);
}

static void keep_best(struct search *s, const struct candidate *c)
{
    if (!s->best.value || beats(c, &s->best))
        s->best = *c;
}

const struct config_value *config_get(const struct config *cfg, const struct config_query *q,
                                      enum directive d)
{
    struct search s = {.cfg = cfg, .q = q, .directive = d, .found = keep_best};
    search_run(&s);
    return s.best.value ? s.best.value : &cfg->defaults[d];
}

bool config_is_set(const struct config *cfg, enum directive d)
{
    for (const struct config_section *s = cfg->first; s; s = s->next) {
        struct value_node *n = config_section_value(s, d);
        if (n && n->value.text)
            return true;
    }
    return false;
}

void config_each(const struct config *cfg, enum directive d, struct strview pipe,
                 void (*fn)(void *arg, const struct config_value *v), void *arg)
{
    const unsigned kind = config_kind_index(KIND_PIPE);

    for (const struct config_section *s = cfg->first; s; s = s->next) {
        struct value_node *n = config_section_value(s, d);
        if (!n || (pipe.len && s->name[kind] && !sv_eq_nocase(sv_of(s->name[kind]), pipe)))
            continue;
        for (const struct config_value *v = &n->value; v && v->text; v = v->next)
            fn(arg, v);
    }
}

bool config_bool(const struct config *cfg, const struct config_query *q, enum directive d)
{
    BUG_ON(directive_info(d)->type != TYPE_BOOL);
    return config_get(cfg, q, d)->yes;
}

int64_t config_number(const struct config *cfg, const struct config_query *q, enum directive d)
{
    enum directive_type t = directive_info(d)->type;
    BUG_ON(t != TYPE_INT && t != TYPE_INTERVAL && t != TYPE_SIZE && t != TYPE_ENUM);
    return config_get(cfg, q, d)->number;
}

const char *config_text(const struct config *cfg, const struct config_query *q, enum directive d)
{
    return config_get(cfg, q, d)->text;
}

static void keep_all(struct search *s, const struct candidate *c)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->all[i].value == c->value) {
            if (beats(c, &s->all[i]))
                s->all[i] = *c;
            return;
        }
    if (s->count == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 16;
        s->all = xrealloc(s->all, s->cap * sizeof(*s->all));
    }
    s->all[s->count++] = *c;
}

static int by_rank(const void *a, const void *b)
{
    return beats(a, b) ? -1 : beats(b, a);
}

void config_explain(const struct config *cfg, const struct config_query *q, enum directive d,
                    void (*fn)(void *arg, const struct config_value *v, bool wins), void *arg)
{
    struct search s = {.cfg = cfg, .q = q, .directive = d, .found = keep_all};
    search_run(&s);
    if (s.count)
        qsort(s.all, s.count, sizeof(*s.all), by_rank);
    for (size_t i = 0; i < s.count; i++)
        fn(arg, s.all[i].value, i == 0);
    fn(arg, &cfg->defaults[d], s.count == 0);
    free(s.all);
}

const char *config_section_name(const struct config *cfg, enum config_kind kind, size_t i)
{
    unsigned k = config_kind_index(kind);
    return i < cfg->name_count[k] ? cfg->names[k][i] : NULL;
}

static const struct config_section *find_section(const struct config *cfg, enum config_kind kind,
                                                 struct strview name)
{
    char key[CONFIG_MAX_NAME + 16];
    unsigned k = config_kind_index(kind);
    int n;

    if (name.len > CONFIG_MAX_NAME)
        return NULL;
    n = snprintf(key, sizeof(key), "%u %.*s,", k, SV_ARG(name));
    if (kind != KIND_SMTP_USER)
        str_lower(key, (size_t)n);
    struct hash_node *node = hash_find(&cfg->sections, hash_bytes(key, (size_t)n), key);
    return node ? container_of(node, struct config_section, by_key) : NULL;
}

bool config_has_section(const struct config *cfg, enum config_kind kind, struct strview name)
{
    return find_section(cfg, kind, name) != NULL;
}

const struct config_value *config_section_get(const struct config *cfg, enum config_kind kind,
                                              struct strview name, enum directive d)
{
    const struct config_section *s = find_section(cfg, kind, name);
    struct value_node *n = s ? config_section_value(s, d) : NULL;

    return n ? &n->value : NULL;
}

const char *config_source_name(const struct config *cfg, const struct config_query *q)
{
    const struct config_section *best = NULL;
    const uint8_t *bytes;
    unsigned k = config_kind_index(KIND_SOURCE);

    if (q->source.len)
        for (size_t i = 0; i < cfg->name_count[k]; i++)
            if (sv_eq_nocase(sv_of(cfg->names[k][i]), q->source))
                return cfg->names[k][i];
    int family = q->client ? client_bytes(q->client, &bytes) : AF_UNSPEC;
    for (size_t i = 0; i < cfg->cidr_count && family != AF_UNSPEC; i++)
        if (cidr_holds(cfg->cidrs[i], family, bytes) &&
            (!best || cfg->cidrs[i]->prefix > best->prefix))
            best = cfg->cidrs[i];
    return best ? best->name[k] : NULL;
}

uint64_t config_generation(const struct config *cfg)
{
    return cfg->generation;
}

struct config *config_ref(struct config *cfg)
{
    cfg->refs++;
    return cfg;
}

void config_unref(struct config *cfg)
{
    if (!cfg || --cfg->refs)
        return;
    hash_fini(&cfg->patterns);
    hash_fini(&cfg->sections);
    free(cfg->cidrs);
    arena_free(&cfg->arena);
    free(cfg);
}
