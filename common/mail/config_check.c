/*
 * What can only be checked when all files are read: names that refer to sections, and directives
 * that need each other. Each problem is one line in the loader's report.
 */
#include "mail/config_check.h"

#include "mail/host_list.h"

#include <netinet/in.h>
#include <stdio.h>

/* ": did you mean 'x'?" among the names of sections of these kinds. out: 128 bytes. */
static const char *suggest_section(const struct config *cfg, uint32_t kinds, struct strview name,
                                   char *out)
{
    const char **names = xcalloc(cfg->section_count + 1, sizeof(char *));
    size_t n = 0;

    for (unsigned i = 0; i < CONFIG_KIND_COUNT; i++)
        for (size_t j = 0; kinds & 1u << i && j < cfg->name_count[i]; j++)
            names[n++] = cfg->names[i][j];
    config_suggest(name, names, out);
    free(names);
    return out;
}

static bool is_section(const struct config *cfg, uint32_t kinds, struct strview name)
{
    /* the virtual MTA of mail that none was chosen for needs no section */
    if (kinds & KIND_VIRTUAL_MTA_POOL && sv_eq_nocase(name, SV("default")))
        return true;
    for (; kinds; kinds &= kinds - 1)
        if (config_has_section(cfg, (enum config_kind)(kinds & -kinds), name))
            return true;
    return false;
}

/* A name that something refers to must be a section. */
static void check_reference(struct loader *l, const char *what, struct strview name, uint32_t kinds,
                            const char *file, unsigned line)
{
    char hint[128], where[200];

    if (is_section(l->cfg, kinds, name) || l->report->errors > CONFIG_MAX_ERRORS)
        return;
    load_error(l, file, line, "%s: '%.*s' is not defined (expected the name of a section %s)%s",
               what, (int)MIN_OF(name.len, (size_t)60), name.ptr,
               config_kinds_text(kinds, where, sizeof(where)),
               suggest_section(l->cfg, kinds, name, hint));
}

/* What a value refers to: "NAME", or "NAME WEIGHT". */
static struct strview value_name(const struct config_value *v)
{
    struct strview name = sv_of(v->text);
    uint32_t weight;

    if (directive_info(v->directive)->type == TYPE_POOL_MEMBER)
        pool_member_parse(name, &name, &weight, NULL);
    return name;
}

static void check_values(struct loader *l, const struct config_section *s)
{
    static const struct {
        enum directive directive;
        uint32_t kinds;
    } refs[] = {{DIR_PIPE, KIND_PIPE},
                {DIR_DEFAULT_PIPE, KIND_PIPE},
                {DIR_DSN_PIPE, KIND_PIPE},
                {DIR_SOURCE_NAME, KIND_SOURCE},
                {DIR_POOL_MEMBER, KIND_VIRTUAL_MTA},
                {DIR_COLD_VIRTUAL_MTA, KIND_VIRTUAL_MTA},
                {DIR_SMTP_PATTERN_LIST_NAME, KIND_SMTP_PATTERN_LIST},
                {DIR_SOURCE_GROUP_NAME, KIND_SOURCE_GROUP},
                {DIR_DEFAULT_VIRTUAL_MTA, KIND_VIRTUAL_MTA | KIND_VIRTUAL_MTA_POOL},
                {DIR_REROUTE_TO_VIRTUAL_MTA, KIND_VIRTUAL_MTA | KIND_VIRTUAL_MTA_POOL},
                {DIR_BACKOFF_REROUTE_TO_VIRTUAL_MTA, KIND_VIRTUAL_MTA | KIND_VIRTUAL_MTA_POOL}};

    for (size_t i = 0; i < ARRAY_LEN(refs); i++) {
        struct value_node *n = config_section_value(s, refs[i].directive);
        for (const struct config_value *v = n ? &n->value : NULL; v && v->text; v = v->next)
            check_reference(l, directive_info(v->directive)->name, value_name(v), refs[i].kinds,
                            v->origin.file, v->origin.line);
    }
}

/* [pipe x, domain y] needs [pipe x]. */
static void check_header(struct loader *l, const struct config_section *s)
{
    if (!(s->kinds & (s->kinds - 1)))
        return;
    for (uint32_t left = s->kinds & ~(uint32_t)KIND_DOMAIN; left; left &= left - 1) {
        enum config_kind kind = (enum config_kind)(left & -left);
        check_reference(l, config_kind_name(kind), sv_of(s->name[config_kind_index(kind)]), kind,
                        s->file, s->line);
    }
}

/* A key goes with a certificate, whichever of [listener] and [pmta] they stand in. */
static void check_listener(struct loader *l, const struct config_section *s)
{
    const char *name = s->name[config_kind_index(KIND_LISTENER)];
    const struct config_query q = {.listener = sv_of(name)};
    const struct config_value *certificate = config_get(l->cfg, &q, DIR_TLS_CERTIFICATE);
    const struct config_value *key = config_get(l->cfg, &q, DIR_TLS_KEY);
    const struct config_value *implicit = config_get(l->cfg, &q, DIR_TLS_IMPLICIT);
    const struct config_value *address = config_get(l->cfg, &q, DIR_ADDRESS);
    struct sockaddr_storage addr;

    if (!address->text && listener_address_parse(sv_of(name), &addr) < 0)
        load_error(l, s->file, s->line,
                   "listener '%.60s' has no address (expected [listener "
                   "ADDR:PORT], or address = ADDR:PORT)",
                   name);
    /* a certificate that is cleared on purpose leaves the key of [pmta] without effect */
    if (key->text && !certificate->text && !certificate->origin.file)
        load_error(l, key->origin.file, key->origin.line,
                   "tls-key without tls-certificate in "
                   "listener '%.60s' (expected both, or the certificate alone)",
                   name);
    if (implicit->yes && !certificate->text)
        load_error(l, implicit->origin.file, implicit->origin.line,
                   "tls-implicit without tls-certificate");
    if (certificate->text && key->text && config_section_value(s, DIR_TLS_CERTIFICATE) &&
        !config_section_value(s, DIR_TLS_KEY))
        load_warn(
            l, certificate->origin.file, certificate->origin.line,
            "tls-certificate of this "
            "listener goes with the tls-key at %s:%u; set tls-key here as well (\"\" when the "
            "certificate's file holds it)",
            key->origin.file, key->origin.line);
}

static const char *listener_name(const struct config_section *s)
{
    return s->kinds & (KIND_LISTENER | KIND_HTTP_LISTENER)
               ? s->name[config_kind_index((enum config_kind)s->kinds)]
               : NULL;
}

/* Where a listener listens. */
static bool listener_parse(const struct config_section *s, struct sockaddr_storage *ret)
{
    const char *name = listener_name(s);
    const struct value_node *n = config_section_value(s, DIR_ADDRESS);

    memset(ret, 0, sizeof(*ret));
    return name &&
           listener_address_parse(sv_of(n && n->value.text ? n->value.text : name), ret) == 0;
}

static void check_http_listener(struct loader *l, const struct config_section *s)
{
    struct sockaddr_storage addr;

    if (!listener_parse(s, &addr))
        load_error(l, s->file, s->line,
                   "http-listener '%.60s' has no address (expected [http-listener ADDR:PORT], or "
                   "address = ADDR:PORT)",
                   listener_name(s));
}

/* The same, but for port 0, which is another one each time. */
static bool listener_address(const struct config_section *s, struct sockaddr_storage *ret)
{
    return listener_parse(s, ret) &&
           (ret->ss_family == AF_INET6 ? ((struct sockaddr_in6 *)ret)->sin6_port
                                       : ((struct sockaddr_in *)ret)->sin_port);
}

/* Two listeners on one address: the second could not be bound. */
static void check_addresses(struct loader *l)
{
    struct sockaddr_storage a, b;

    for (const struct config_section *s = l->cfg->first; s; s = s->next) {
        if (!listener_address(s, &a))
            continue;
        for (const struct config_section *t = l->cfg->first; t != s; t = t->next)
            if (listener_address(t, &b) && !memcmp(&a, &b, sizeof(a)))
                load_error(l, s->file, s->line,
                           "listener '%.60s' has the address of listener '%.60s' (%s:%u)",
                           listener_name(s), listener_name(t), t->file, t->line);
    }
}

static void check_section(struct loader *l, const struct config_section *s)
{
    check_values(l, s);
    check_header(l, s);
    if (s->kinds == KIND_LISTENER)
        check_listener(l, s);
    if (s->kinds == KIND_HTTP_LISTENER)
        check_http_listener(l, s);
    if (s->kinds == KIND_SMTP_USER && !config_section_value(s, DIR_PASSWORD))
        load_error(l, s->file, s->line, "smtp-user without password");
    if (s->kinds == KIND_VIRTUAL_MTA_POOL && !config_section_value(s, DIR_POOL_MEMBER))
        load_error(l, s->file, s->line, "pool without virtual-mta");
    if (s->kinds == KIND_VIRTUAL_MTA &&
        config_has_section(l->cfg, KIND_VIRTUAL_MTA_POOL,
                           sv_of(s->name[config_kind_index(KIND_VIRTUAL_MTA)])))
        load_error(l, s->file, s->line, "a virtual MTA and a pool cannot have one name");
}

/* --- for the other parts --- */

struct member {
    struct hash_node node;
    struct strview name;
    const struct config_section *pool;
};

static bool member_match(const struct hash_node *n, const void *key)
{
    return sv_eq_nocase(container_of(n, struct member, node)->name, *(const struct strview *)key);
}

static struct member *find_member(const struct check *c, struct strview name)
{
    struct hash_node *n = hash_find(&c->members, hash_bytes_nocase(name.ptr, name.len), &name);
    return n ? container_of(n, struct member, node) : NULL;
}

const char *check_pool_of(const struct check *c, struct strview vmta)
{
    const struct member *m = find_member(c, vmta);
    return m ? m->pool->name[config_kind_index(KIND_VIRTUAL_MTA_POOL)] : NULL;
}

/* Some section is about that pool and a domain. */
static bool has_domains(const struct check *c, const struct config_section *pool)
{
    const unsigned kind = config_kind_index(KIND_VIRTUAL_MTA_POOL);

    for (const struct config_section *s = c->loader->cfg->first; s; s = s->next)
        if (s->kinds & KIND_DOMAIN && s->name[kind] && strcmp(s->name[kind], pool->name[kind]) == 0)
            return true;
    return false;
}

/* A virtual MTA takes the settings of one pool. */
static void add_member(struct check *c, const struct config_section *pool,
                       const struct config_value *v)
{
    const unsigned kind = config_kind_index(KIND_VIRTUAL_MTA_POOL);
    struct strview name = value_name(v);
    struct member *old = find_member(c, name);

    if (!old) {
        struct member *m = arena_alloc(&c->arena, sizeof(*m));
        m->name = name;
        m->pool = pool;
        hash_insert(&c->members, &m->node, hash_bytes_nocase(name.ptr, name.len));
    } else if (old->pool == pool) {
        load_error(c->loader, v->origin.file, v->origin.line,
                   "virtual-mta: '%.*s' stands twice in pool '%.60s' (expected once, with a weight "
                   "when it is to get more)",
                   (int)MIN_OF(name.len, (size_t)60), name.ptr, pool->name[kind]);
    } else if (has_domains(c, old->pool) && has_domains(c, pool)) {
        load_error(c->loader, v->origin.file, v->origin.line,
                   "virtual-mta: '%.*s' is a member of pools '%.60s' and '%.60s', and both have "
                   "settings for domains (expected one of them at most)",
                   (int)MIN_OF(name.len, (size_t)60), name.ptr, old->pool->name[kind],
                   pool->name[kind]);
    }
}

static void list_members(struct check *c)
{
    hash_init(&c->members, member_match);
    for (const struct config_section *s = c->loader->cfg->first; s; s = s->next) {
        struct value_node *n =
            s->kinds == KIND_VIRTUAL_MTA_POOL ? config_section_value(s, DIR_POOL_MEMBER) : NULL;
        for (const struct config_value *v = n ? &n->value : NULL; v && v->text; v = v->next)
            add_member(c, s, v);
    }
}

static int by_section(const void *a, const void *b)
{
    const struct config_pattern *x = *(const struct config_pattern *const *)a;
    const struct config_pattern *y = *(const struct config_pattern *const *)b;
    size_t n = MIN_OF(x->key_len, y->key_len);

    if (x->section != y->section)
        return x->section->index < y->section->index ? -1 : 1;
    int d = memcmp(x->key, y->key, n);
    return d ? d : (x->key_len > y->key_len) - (x->key_len < y->key_len);
}

static void list_patterns(struct check *c)
{
    const struct config *cfg = c->loader->cfg;

    c->patterns = xcalloc(cfg->pattern_count + 1, sizeof(*c->patterns));
    for (struct hash_node *n = NULL; (n = hash_next(&cfg->patterns, n));)
        for (struct config_pattern *p = container_of(n, struct config_pattern, node); p;
             p = p->same)
            c->patterns[c->pattern_count++] = p;
    qsort(c->patterns, c->pattern_count, sizeof(*c->patterns), by_section);
}

void check_pattern(const struct check *c, size_t i, struct checked_pattern *ret)
{
    const struct config_pattern *p = c->patterns[i];
    const char *end = memchr(p->key, '\n', p->key_len);
    struct strview domain = sv(end + 1, p->key_len - (size_t)(end + 1 - p->key));

    ret->section = p->section;
    if (sv_eq(domain, SV("*")))
        domain = SV(".invalid");
    snprintf(ret->domain, sizeof(ret->domain), "%s%.*s",
             domain.len && domain.ptr[0] == '.' ? "any-host" : "", SV_ARG(domain));
}

/* A section without a domain is asked about a domain that nothing names: what holds for a queue. */
struct config_query check_query(const struct check *c, const struct checked_pattern *p)
{
    const char *const *name = p->section->name;
    struct config_query q = {
        .domain = p->domain[0] ? sv_of(p->domain) : SV("any-host.invalid"),
        .vmta = sv_of(name[config_kind_index(KIND_VIRTUAL_MTA)]),
        .pool = sv_of(name[config_kind_index(KIND_VIRTUAL_MTA_POOL)]),
        .pipe = sv_of(name[config_kind_index(KIND_PIPE)]),
    };
    if (q.vmta.len && !q.pool.len)
        q.pool = sv_of(check_pool_of(c, q.vmta));
    return q;
}

static void check_shaping(struct loader *l)
{
    struct check c = {.loader = l};

    list_members(&c);
    list_patterns(&c);
    check_limits(&c);
    check_loops(&c);
    free(c.patterns);
    hash_fini(&c.members);
    arena_free(&c.arena);
}

void load_check(struct loader *l)
{
    const struct config_section *where = NULL;
    struct err e = {0};

    if (config_finish(l->cfg, &where, &e) < 0) {
        load_error(l, where->file, where->line, "%s", e.text);
        return;
    }
    for (const struct config_section *s = l->cfg->first; s; s = s->next)
        check_section(l, s);
    check_addresses(l);
    if (!config_section_name(l->cfg, KIND_PIPE, 0))
        load_error(l, l->dir, 0, "no [pipe NAME] (expected at least one)");
    if (!config_section_name(l->cfg, KIND_LISTENER, 0))
        load_error(l, l->dir, 0, "no [listener ADDR:PORT] (expected at least one)");
    check_tls(l);
    check_inbound(l);
    load_check_keys(l);
    load_check_secrets(l);
    if (!l->report->errors)
        check_shaping(l);
}
