/*
 * Puts a configuration together: sections, values, domain patterns with macros multiplied out,
 * index. The loader and the snapshot decoder both come through here, so a decoded configuration
 * answers as the one that was encoded. Errors carry no file and line; callers know them. Memory:
 * cfg->arena.
 */
#include "mail/config_internal.h"

#include "mail/host_list.h"

#include <stdio.h>

enum { MACRO_DEPTH = 16 };

static bool section_match(const struct hash_node *n, const void *key)
{
    return strcmp(container_of(n, struct config_section, by_key)->key, key) == 0;
}

static bool pattern_match(const struct hash_node *n, const void *key)
{
    const struct config_pattern *p = container_of(n, struct config_pattern, node);
    const struct strview *k = key;
    return sv_eq(sv(p->key, p->key_len), *k);
}

struct config *config_new(uint64_t generation)
{
    struct config *cfg = xcalloc(1, sizeof(*cfg));
    cfg->refs = 1;
    cfg->generation = generation;
    cfg->last = &cfg->first;
    hash_init(&cfg->patterns, pattern_match);
    hash_init(&cfg->sections, section_match);
    for (unsigned d = 0; d < DIRECTIVE_COUNT; d++) {
        struct config_value *v = &cfg->defaults[d];
        v->directive = (enum directive)d;
        v->text = directive_info(v->directive)->default_text;
        BUG_ON(v->text && config_value_parse(v, &cfg->arena, NULL) < 0);
    }
    return cfg;
}

/* [source X]: X looks like an address when it has nothing but address characters. */
static bool looks_like_cidr(const char *s)
{
    return s[strspn(s, "0123456789abcdef.:/")] == '\0' && strpbrk(s, ".:/");
}

/* 10/8, 10.1/16, 0/0, 192.0.2.1, ::1, 2001:db8::/32 */
static bool parse_cidr(struct config_section *s, const char *text)
{
    char address[64];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    struct sockaddr_storage addr;
    uint64_t bits = 0;

    if (!len || len > 45)
        return false;
    snprintf(address, sizeof(address), "%.*s", (int)len, text);
    if (slash && !strchr(address, ':')) {
        int dots = 0;
        for (const char *p = address; *p; p++)
            dots += *p == '.';
        for (; dots < 3; dots++)
            strcat(address, ".0");
    }
    if (ip_address_parse(sv_of(address), 0, &addr) < 0)
        return false;
    unsigned all = addr.ss_family == AF_INET6 ? 128 : 32;
    if (slash && (!sv_to_u64(sv_of(slash + 1), &bits) || bits > all))
        return false;
    s->is_cidr = true;
    s->family = (uint8_t)addr.ss_family;
    s->prefix = (uint8_t)(slash ? bits : all);
    if (all == 128)
        memcpy(s->address, &((struct sockaddr_in6 *)&addr)->sin6_addr, 16);
    else
        memcpy(s->address, &((struct sockaddr_in *)&addr)->sin_addr, 4);
    return true;
}

static int add_pair(struct config *cfg, struct config_section *s, struct strview pair,
                    struct err *e)
{
    static const char *const names[] = {
#define KIND_TEXT(id, bit, name) name,
        CONFIG_KINDS(KIND_TEXT)
#undef KIND_TEXT
            NULL};
    char hint[128];
    unsigned i = 0;
    size_t n = 0;

    pair = sv_trim(pair);
    while (n < pair.len && pair.ptr[n] != ' ' && pair.ptr[n] != '\t')
        n++;
    struct strview kind = sv(pair.ptr, n), name = sv_trim(sv(pair.ptr + n, pair.len - n));
    while (names[i] && !sv_eq_nocase(kind, sv_of(names[i])))
        i++;
    if (!names[i])
        return err_set(e, ERR_CONFIG, "unknown kind of section '%.*s'%s", SV_ARG(kind),
                       config_suggest(kind, names, hint));
    if (s->kinds & 1u << i)
        return err_set(e, ERR_CONFIG, "'%s' stands twice in a section header", names[i]);
    if (1u << i == KIND_BOUNCE_CATEGORY_PATTERNS) {
        if (name.len && !sv_eq_nocase(name, SV("shipped")))
            return err_set(e, ERR_CONFIG, "section '%s' takes no name, or 'shipped'", names[i]);
        name = name.len ? name : SV("own");
    }
    if (1u << i == KIND_PMTA ? name.len != 0 : name.len == 0 || name.len > CONFIG_MAX_NAME)
        return err_set(e, ERR_CONFIG, "section '%s' %s", names[i],
                       1u << i == KIND_PMTA ? "takes no name" : "needs a name (at most 253 bytes)");
    char *copy = arena_strndup(&cfg->arena, name.ptr, name.len);
    if (!(1u << i & (KIND_SMTP_USER | KIND_ACCT_FILE)))
        str_lower(copy, name.len);
    if (1u << i == KIND_PIPE)
        s->pipe_written = arena_strndup(&cfg->arena, name.ptr, name.len);
    s->kinds |= 1u << i;
    s->name[i] = copy;
    return 0;
}

static int check_names(struct config_section *s, struct err *e)
{
    const uint32_t queue = KIND_DOMAIN | KIND_VIRTUAL_MTA | KIND_VIRTUAL_MTA_POOL | KIND_PIPE;
    const char *pipe = s->name[config_kind_index(KIND_PIPE)];
    const char *source = s->name[config_kind_index(KIND_SOURCE)];

    if ((s->kinds & (s->kinds - 1)) && (s->kinds & ~queue))
        return err_set(e, ERR_CONFIG,
                       "these kinds cannot stand together (expected [virtual-mta], "
                       "[virtual-mta-pool], [pipe] and [domain] only)");
    const char *sink = s->name[config_kind_index(KIND_EVENT_SINK)];
    if (sink && sink[strspn(sink, "abcdefghijklmnopqrstuvwxyz0123456789-_")])
        return err_set(e, ERR_CONFIG,
                       "'%.60s' is not a sink's name (expected letters, digits, - and _)", sink);
    const char *acct = s->name[config_kind_index(KIND_ACCT_FILE)];
    if (acct && acct[0] == '|')
        return err_set(e, ERR_CONFIG,
                       "'%.60s' is a command (expected the path of a file; let a program follow "
                       "the finished files in move-to)",
                       acct);
    if (pipe && pipe[strspn(pipe, "abcdefghijklmnopqrstuvwxyz0123456789-_")])
        return err_set(e, ERR_CONFIG,
                       "'%.60s' is not a pipe's name (expected letters, digits, - "
                       "and _)",
                       pipe);
    if (source && looks_like_cidr(source) && !parse_cidr(s, source))
        return err_set(e, ERR_CONFIG,
                       "'%.60s' is not a network (expected ADDRESS, "
                       "ADDRESS/BITS or a name)",
                       source);
    return 0;
}

static void link_section(struct config *cfg, struct config_section *s)
{
    *cfg->last = s;
    cfg->last = &s->next;
    s->index = cfg->section_count++;
    hash_insert(&cfg->sections, &s->by_key, hash_bytes(s->key, strlen(s->key)));
    if (!s->is_cidr)
        return;
    if (cfg->cidr_count == cfg->cidr_cap) {
        cfg->cidr_cap = cfg->cidr_cap ? cfg->cidr_cap * 2 : 16;
        cfg->cidrs = xrealloc(cfg->cidrs, cfg->cidr_cap * sizeof(struct config_section *));
    }
    cfg->cidrs[cfg->cidr_count++] = s;
}

/* One copy of a file's name for all that stands in it. */
static const char *keep_file(struct config *cfg, const char *file)
{
    if (!cfg->last_file || strcmp(cfg->last_file, file) != 0)
        cfg->last_file = arena_strdup(&cfg->arena, file);
    return cfg->last_file;
}

/* Spool directories have lower case names, so these two would be one. */
static int check_case(const struct config_section *old, const struct config_section *s,
                      struct err *e)
{
    if (s->kinds != KIND_PIPE || strcmp(old->pipe_written, s->pipe_written) == 0)
        return 0;
    return err_set(e, ERR_CONFIG, "pipe '%s' and pipe '%s' at %s:%u differ only in case",
                   s->pipe_written, old->pipe_written, old->file, old->line);
}

static int find_or_link(struct config *cfg, const struct config_section *new, struct strview title,
                        struct config_section **ret, struct err *e)
{
    struct buf key = {0};
    int r = 0;

    for (unsigned i = 0; i < CONFIG_KIND_COUNT; i++)
        if (new->kinds & 1u << i)
            buf_printf(&key, "%u %s,", i, new->name[i]);
    uint64_t h = hash_bytes(buf_data(&key), buf_len(&key));
    struct hash_node *old = hash_find(&cfg->sections, h, buf_data(&key));
    if (old) {
        *ret = container_of(old, struct config_section, by_key);
        r = check_case(*ret, new, e);
    } else if (cfg->section_count == CONFIG_MAX_SECTIONS) {
        r = err_set(e, ERR_CONFIG, "more than %d sections", CONFIG_MAX_SECTIONS);
    } else {
        struct config_section *s = arena_alloc(&cfg->arena, sizeof(*s));
        *s = *new;
        s->key = arena_strdup(&cfg->arena, buf_data(&key));
        s->title = arena_strndup(&cfg->arena, title.ptr, title.len);
        link_section(cfg, s);
        *ret = s;
    }
    buf_free(&key);
    return r;
}

int config_add_section(struct config *cfg, struct strview title, const char *file, unsigned line,
                       struct config_section **ret, struct err *e)
{
    struct config_section s = {.line = line};
    struct strview rest = title, pair;
    int r = 0;

    if (!title.len || title.len > CONFIG_MAX_TEXT || memchr(title.ptr, 0, title.len))
        return err_set(e, ERR_CONFIG, "section header is empty or too long");
    while (r == 0 && sv_split(&rest, ',', &pair))
        r = add_pair(cfg, &s, pair, e);
    if (r == 0)
        r = check_names(&s, e);
    if (r < 0)
        return r;
    s.file = keep_file(cfg, file);
    return find_or_link(cfg, &s, title, ret, e);
}

struct value_node *config_section_value(const struct config_section *s, enum directive d)
{
    for (struct value_node *n = (struct value_node *)s->values; n; n = n->sibling)
        if (n->value.directive == d)
            return n;
    return NULL;
}

/* A value that has no default may be cleared, unless its section means nothing without it. */
static bool may_clear(enum directive d)
{
    return !directive_info(d)->default_text && d != DIR_DOMAINS && d != DIR_POOL_MEMBER &&
           d != DIR_PASSWORD;
}

static void link_value(struct config_section *s, struct value_node *node,
                       struct config_origin *ret_old)
{
    struct value_node *old = config_section_value(s, node->value.directive);
    bool repeatable = directive_info(node->value.directive)->repeatable;

    if (!old) {
        node->last = &node->value;
        node->sibling = (struct value_node *)s->values;
        s->values = &node->value;
    } else if (repeatable && node->value.text && old->value.text) {
        old->last->next = &node->value;
        old->last = &node->value;
    } else {
        if (!repeatable)
            *ret_old = old->value.origin;
        old->value = node->value;
        old->last = &old->value;
    }
}

int config_add_value(struct config *cfg, struct config_section *s, enum directive d,
                     struct strview text, const char *file, unsigned line,
                     struct config_origin *ret_old, struct err *e)
{
    const struct directive_info *info = directive_info(d);
    char where[200];

    *ret_old = (struct config_origin){0};
    if (text.len > CONFIG_MAX_TEXT || (text.len && memchr(text.ptr, 0, text.len)))
        return err_set(e, ERR_CONFIG, "%s: value is too long or has a NUL byte", info->name);
    if (!(s->kinds & info->kinds))
        return err_set(e, ERR_CONFIG, "'%s' cannot stand in [%.80s] (expected in %s)", info->name,
                       s->title, config_kinds_text(info->kinds, where, sizeof(where)));
    if (!text.len && !may_clear(d))
        return err_set(e, ERR_CONFIG, "%s: cannot be empty", info->name);
    struct value_node *node = arena_alloc(&cfg->arena, sizeof(*node));
    node->value = (struct config_value){
        .directive = d,
        .text = text.len ? arena_strndup(&cfg->arena, text.ptr, text.len) : NULL,
        .origin = {keep_file(cfg, file), line, s->title},
    };
    int r = text.len ? config_value_parse(&node->value, &cfg->arena, e) : 0;
    if (r < 0)
        return r;
    link_value(s, node, ret_old);
    return 0;
}

/* The section's key in the index is "KIND NAME\nDOMAIN" with its narrowest scope. */
static const uint32_t scope_order[] = {KIND_SMTP_USER,   KIND_SOURCE,           KIND_LISTENER,
                                       KIND_VIRTUAL_MTA, KIND_VIRTUAL_MTA_POOL, KIND_PIPE};

static int index_pattern(struct config *cfg, struct config_section *s, struct strview domain,
                         unsigned closeness, struct err *e)
{
    struct buf key = {0};

    if (++cfg->pattern_count > CONFIG_MAX_PATTERNS)
        return err_set(e, ERR_CONFIG, "more than %d domain patterns", CONFIG_MAX_PATTERNS);
    for (size_t i = 0; i < ARRAY_LEN(scope_order) && !buf_len(&key); i++)
        if (s->kinds & scope_order[i])
            buf_printf(&key, "%u %s", config_kind_index(scope_order[i]),
                       s->name[config_kind_index(scope_order[i])]);
    buf_append_char(&key, '\n');
    buf_append_sv(&key, domain);
    struct config_pattern *p = arena_alloc(&cfg->arena, sizeof(*p));
    struct strview k = buf_view(&key);
    p->section = s;
    p->closeness = closeness;
    p->key = arena_strndup(&cfg->arena, k.ptr, k.len);
    p->key_len = k.len;
    uint64_t h = hash_bytes(k.ptr, k.len);
    struct hash_node *head = hash_find(&cfg->patterns, h, &k);
    if (head) {
        struct config_pattern *first = container_of(head, struct config_pattern, node);
        p->same = first->same;
        first->same = p;
    } else {
        hash_insert(&cfg->patterns, &p->node, h);
    }
    buf_free(&key);
    return 0;
}

/* One pattern without macros: "*", "d", "*.d" or "[*.]d". */
static int add_pattern(struct config *cfg, struct config_section *s, struct strview p, bool macro,
                       struct err *e)
{
    struct strview d = p;
    unsigned closeness = 100000 + !macro;
    bool both = sv_starts_nocase(p, SV("[*.]")), below = sv_starts_nocase(p, SV("*."));
    char dotted[CONFIG_MAX_NAME + 2];

    if (sv_eq(p, SV("*")))
        return index_pattern(cfg, s, p, 1 + !macro, e);
    if (both || below)
        d = sv(p.ptr + (both ? 4 : 2), p.len - (both ? 4 : 2));
    if (!config_is_domain(d))
        return err_set(e, ERR_CONFIG,
                       "'%.*s' is not a domain pattern (expected DOMAIN, *.DOMAIN, "
                       "[*.]DOMAIN or *)",
                       (int)MIN_OF(p.len, (size_t)100), p.ptr);
    if (!both && !below)
        return index_pattern(cfg, s, d, closeness, e);
    closeness = 100 + (unsigned)d.len * 4 + (below ? 2 : 0) + !macro;
    snprintf(dotted, sizeof(dotted), ".%.*s", SV_ARG(d));
    int r = index_pattern(cfg, s, sv_of(dotted), closeness, e);
    return r == 0 && both ? index_pattern(cfg, s, d, closeness, e) : r;
}

static struct config_section *find_macro(struct config *cfg, struct strview name)
{
    char key[CONFIG_MAX_NAME + 16];
    if (!name.len || name.len > CONFIG_MAX_NAME)
        return NULL;
    snprintf(key, sizeof(key), "%u %.*s,", config_kind_index(KIND_DOMAIN_MACRO), SV_ARG(name));
    struct hash_node *n = hash_find(&cfg->sections, hash_bytes(key, strlen(key)), key);
    return n ? container_of(n, struct config_section, by_key) : NULL;
}

static int unknown_macro(struct config *cfg, struct strview name, struct err *e)
{
    unsigned i = config_kind_index(KIND_DOMAIN_MACRO);
    const char **names = xcalloc(cfg->section_count + 1, sizeof(char *));
    char hint[128];
    size_t n = 0;

    for (struct config_section *s = cfg->first; s; s = s->next)
        if (s->name[i])
            names[n++] = s->name[i];
    err_set(e, ERR_CONFIG, "macro '$%.*s' is not defined%s", (int)MIN_OF(name.len, (size_t)60),
            name.ptr, config_suggest(name, names, hint));
    free(names);
    return ERR_CONFIG;
}

/* A section whose domain is being multiplied out. */
struct expansion {
    struct config *cfg;
    struct config_section *section;
    size_t patterns_before;
    struct err *e;
};

static int expand(struct expansion *x, struct strview p, unsigned depth);

/* p with the bytes from at to end replaced by item. */
static int expand_item(struct expansion *x, struct strview p, size_t at, size_t end,
                       struct strview item, unsigned depth)
{
    struct buf b = {0};
    int r;

    if (++x->cfg->macro_steps > CONFIG_MAX_STEPS)
        return err_set(x->e, ERR_CONFIG, "macros take more than %d steps to multiply out",
                       CONFIG_MAX_STEPS);
    buf_append(&b, p.ptr, at);
    buf_append_sv(&b, item);
    buf_append(&b, p.ptr + end, p.len - end);
    str_lower(buf_data(&b), buf_len(&b));
    if (buf_len(&b) > 4 * CONFIG_MAX_NAME)
        r = err_set(x->e, ERR_CONFIG, "pattern is too long after macros");
    else
        r = expand(x, buf_view(&b), depth + 1);
    buf_free(&b);
    return r;
}

/* Replaces the first $NAME by each item of the macro, and goes on with what comes out. */
static int expand(struct expansion *x, struct strview p, unsigned depth)
{
    ptrdiff_t dollar = sv_find(p, '$');
    int r = 0;

    if (x->cfg->pattern_count - x->patterns_before >= CONFIG_SECTION_PATTERNS)
        return err_set(x->e, ERR_CONFIG, "macros give more than %d domain patterns",
                       CONFIG_SECTION_PATTERNS);
    if (dollar < 0)
        return add_pattern(x->cfg, x->section, p, depth > 0, x->e);
    size_t at = (size_t)dollar, end = at + 1;
    while (end < p.len &&
           (ascii_is_alpha(p.ptr[end]) || ascii_is_digit(p.ptr[end]) || p.ptr[end] == '_'))
        end++;
    struct strview name = sv(p.ptr + at + 1, end - at - 1);
    struct config_section *macro = find_macro(x->cfg, name);
    if (!macro)
        return unknown_macro(x->cfg, name, x->e);
    if (depth == MACRO_DEPTH)
        return err_set(x->e, ERR_CONFIG,
                       "macro '$%.*s' refers to itself, or macros are nested "
                       "more than %d deep",
                       SV_ARG(name), MACRO_DEPTH);
    struct value_node *node = config_section_value(macro, DIR_DOMAINS);
    if (!node)
        return err_set(x->e, ERR_CONFIG, "macro '$%.*s' at %s:%u has no domains", SV_ARG(name),
                       macro->file, macro->line);
    for (const struct config_value *v = &node->value; v && r == 0; v = v->next) {
        struct strview rest = sv_of(v->text), item;
        while (r == 0 && sv_split(&rest, ',', &item))
            r = expand_item(x, p, at, end, sv_trim(item), depth);
    }
    return r;
}

static void list_names(struct config *cfg)
{
    for (unsigned i = 0; i < CONFIG_KIND_COUNT; i++) {
        cfg->names[i] = arena_alloc(&cfg->arena, (cfg->section_count + 1) * sizeof(char *));
        for (struct config_section *s = cfg->first; s; s = s->next)
            if (s->kinds == 1u << i)
                cfg->names[i][cfg->name_count[i]++] = s->name[i];
    }
}

/* Sections that other sections name, and no query reaches by itself. */
#define KINDS_NAMED                                                                    \
    (KIND_DOMAIN_MACRO | KIND_SOURCE_GROUP | KIND_MX_ROLLUP | KIND_SMTP_PATTERN_LIST | \
     KIND_BOUNCE_CATEGORY_PATTERNS | KIND_ACCT_FILE | KIND_BOUNCE_PROCESSOR |           \
     KIND_FEEDBACK_LOOP_PROCESSOR | KIND_EVENT_SINK | KIND_HTTP_LISTENER)

/* A name that is no section was reported by the loader. */
static void join_group(struct config *cfg, struct config_section *s)
{
    struct value_node *node = config_section_value(s, DIR_SOURCE_GROUP_NAME);
    char key[CONFIG_MAX_NAME + 16];

    if (!node || !node->value.text)
        return;
    int n = snprintf(key, sizeof(key), "%u %s,", config_kind_index(KIND_SOURCE_GROUP),
                     node->value.text);
    str_lower(key, (size_t)n);
    struct hash_node *group = hash_find(&cfg->sections, hash_bytes(key, (size_t)n), key);
    if (group)
        s->group = container_of(group, struct config_section, by_key);
}

int config_finish(struct config *cfg, const struct config_section **ret_where, struct err *e)
{
    list_names(cfg);
    for (struct config_section *s = cfg->first; s; s = s->next) {
        *ret_where = s;
        join_group(cfg, s);
        if (s->kinds & KINDS_NAMED)
            continue;
        struct expansion x = {cfg, s, cfg->pattern_count, e};
        int r = s->kinds & KIND_DOMAIN
                    ? expand(&x, sv_of(s->name[config_kind_index(KIND_DOMAIN)]), 0)
                    : index_pattern(cfg, s, sv(NULL, 0), 0, e);
        if (r < 0)
            return r;
    }
    return 0;
}
