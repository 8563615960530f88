/*
 * See gather.h. Called by the admin verbs, and by main.c after each configuration. Everything is
 * looked up when it is asked for; nothing here is on the way of mail.
 */
#include "check/gather.h"

#include "mail/domain_key.h"
#include "queue/engine_int.h"
#include "sign/keyring.h"

enum { WATCHED_DOMAINS = 50 };

/* --- sources --- */

static void add_vmta(struct gathered *r, struct vmta *v)
{
    for (size_t i = 0; i < r->vmta_count; i++)
        if (r->vmtas[i] == v)
            return;
    r->vmtas = xrealloc(r->vmtas, (r->vmta_count + 1) * sizeof(struct vmta *));
    r->vmtas[r->vmta_count++] = v;
}

static void add_pool(struct gathered *r, const struct vmta_pool *p)
{
    for (size_t i = 0; i < p->count; i++)
        add_vmta(r, p->members[i].vmta);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct vmta *const *)a)->name, (*(struct vmta *const *)b)->name);
}

static void add_defined(struct engine *g, struct gathered *r)
{
    const char *name;

    for (size_t i = 0; (name = config_section_name(g->config, KIND_VIRTUAL_MTA, i)); i++)
        add_vmta(r, choose_get_vmta(g, sv_of(name)));
    if (!r->vmta_count)
        add_vmta(r, choose_get_vmta(g, SV(VMTA_DEFAULT)));
    qsort(r->vmtas, r->vmta_count, sizeof(struct vmta *), by_name);
}

static void add_sources(struct gathered *r)
{
    size_t total = 0;

    for (size_t i = 0; i < r->vmta_count; i++)
        total += r->vmtas[i]->source_count + r->vmtas[i]->missing_count;
    r->sources = xcalloc(total + 1, sizeof(r->sources[0]));
    for (size_t i = 0; i < r->vmta_count; i++) {
        const struct vmta *v = r->vmtas[i];
        size_t all = v->is_stranded ? v->missing_count : v->source_count + v->missing_count;
        for (size_t k = 0; k < all; k++)
            r->sources[r->source_count++] =
                (struct check_source){v->name, v->sources[k].addr, v->sources[k].helo_name};
    }
}

static int add_named(struct engine *g, struct strview vmta, struct strview pool, struct gathered *r,
                     struct err *e)
{
    const struct vmta_pool *p = pool.len ? choose_find_pool(g, pool) : NULL;

    if (pool.len && !p)
        return err_set(e, ERR_NOT_FOUND, "no virtual MTA pool '%.*s'",
                       (int)MIN_OF(pool.len, (size_t)100), pool.ptr);
    if (p)
        add_pool(r, p);
    if (!vmta.len)
        return 0;
    if (vmta.len > 255 || !vmta_is_known(g->config, vmta))
        return err_set(e, ERR_NOT_FOUND, "no virtual MTA '%.*s'",
                       (int)MIN_OF(vmta.len, (size_t)100), vmta.ptr);
    p = choose_find_pool(g, vmta);
    if (p)
        add_pool(r, p);
    else
        add_vmta(r, choose_get_vmta(g, vmta));
    return 0;
}

int gather_sources(struct engine *g, struct strview vmta, struct strview pool, struct gathered *ret,
                   struct err *e)
{
    const char *usual = g->default_vmta;

    *ret = (struct gathered){0};
    if (vmta.len || pool.len) {
        int status = add_named(g, vmta, pool, ret, e);
        if (status < 0) {
            gather_free(ret);
            return status;
        }
    } else if (usual && strcmp(usual, VMTA_DEFAULT) != 0) {
        add_named(g, sv_of(usual), sv(NULL, 0), ret, NULL);
    }
    if (!ret->vmta_count)
        add_defined(g, ret);
    add_sources(ret);
    return 0;
}

struct strview gather_return_path(struct engine *g, const struct gathered *r)
{
    const struct config *cfg = engine_config(g);

    for (size_t i = 0; i < r->vmta_count; i++) {
        struct config_query q = {
            .domain = SV("any-host.invalid"),
            .vmta = sv_of(r->vmtas[i]->name),
            .pool = sv_of(r->vmtas[i]->pool),
            .pipe = sv_of(engine_pipe(g)),
        };
        struct verp_base base = verp_base_of(config_text(cfg, &q, DIR_BOUNCE_ADDRESS));
        if (base.local.len && config_bool(cfg, &q, DIR_VERP))
            return base.domain;
    }
    return sv(NULL, 0);
}

void gather_free(struct gathered *r)
{
    arena_free(&r->arena);
    free(r->vmtas);
    free(r->sources);
    free(r->keys);
    *r = (struct gathered){0};
}

/* --- keys --- */

static void add_key(struct gathered *r, const struct sign_with *with)
{
    const char *algorithm = sign_key_algorithm(with->key);

    for (size_t i = 0; i < r->key_count; i++)
        if (strcmp(r->keys[i].selector, with->selector) == 0 &&
            strcmp(r->keys[i].domain, with->domain) == 0)
            return;
    char *public_key = sign_key_public(with->key);
    r->keys = xrealloc(r->keys, (r->key_count + 1) * sizeof(r->keys[0]));
    r->keys[r->key_count++] = (struct check_key){
        .selector = arena_strdup(&r->arena, with->selector),
        .domain = arena_strdup(&r->arena, with->domain),
        .algorithm = algorithm,
        .bits = sign_key_bits(with->key),
        .public_key = arena_strdup(&r->arena, public_key),
    };
    free(public_key);
}

void gather_keys(struct engine *g, struct keyring *keyring, struct strview domain,
                 struct gathered *ret)
{
    for (size_t i = 0; keyring && i < ret->vmta_count; i++) {
        const struct vmta *v = ret->vmtas[i];
        struct sign_scope scope = {
            .vmta = sv_of(v->name),
            .pool = sv_of(v->pool),
            .pipe = sv_of(g->pipe),
            .from_domain = domain,
        };
        struct sign_plan *plan = keyring_plan(keyring, g->config, &scope);
        for (size_t k = 0; k < plan->count && ret->key_count < CHECK_MAX_KEYS; k++)
            add_key(ret, &plan->with[k]);
        if (plan->unusable)
            ret->unusable_key = arena_strdup(&ret->arena, plan->unusable);
        if (plan->bimi_selector)
            ret->bimi_selector = arena_strdup(&ret->arena, plan->bimi_selector);
        sign_plan_unref(plan);
    }
}

/* --- the watch --- */

struct domains {
    struct arena arena;
    struct watch_group groups[1 + WATCHED_DOMAINS]; /* the first is that of names */
    size_t count;
    const struct vmta *vmta; /* at hand */
};

static void add_source(struct watch_group *to, const char *vmta, const struct vmta_source *s)
{
    to->sources = xrealloc(to->sources, (to->count + 1) * sizeof(to->sources[0]));
    to->sources[to->count++] = (struct check_source){vmta, s->addr, s->helo_name};
}

static void add_all(struct watch_group *to, const struct vmta *v)
{
    size_t all = v->is_stranded ? v->missing_count : v->source_count + v->missing_count;

    if (to->count && to->sources[to->count - 1].vmta == v->name)
        return; /* two keys of one domain */
    for (size_t i = 0; i < all; i++)
        add_source(to, v->name, &v->sources[i]);
}

static void add_domain(struct domains *d, struct strview domain)
{
    for (size_t i = 1; i < d->count; i++)
        if (sv_eq_nocase(sv_of(d->groups[i].domain), domain)) {
            add_all(&d->groups[i], d->vmta);
            return;
        }
    if (d->count == ARRAY_LEN(d->groups))
        return;
    d->groups[d->count].domain = arena_strndup(&d->arena, domain.ptr, domain.len);
    add_all(&d->groups[d->count++], d->vmta);
}

static void add_values(void *arg, const struct config_value *v, bool wins)
{
    struct domain_key key;

    (void)wins;
    for (; v && v->text; v = v->next)
        if (domain_key_parse(sv_of(v->text), v->directive == DIR_DKIM_KEY, &key, NULL) == 0 &&
            !sv_eq(key.domain, SV("*")))
            add_domain(arg, key.domain);
}

static void add_watched(struct engine *g, struct domains *d, const struct vmta *v)
{
    struct config_query q = {
        .vmta = sv_of(v->name), .pool = sv_of(v->pool), .pipe = sv_of(g->pipe)};

    d->vmta = v;
    add_all(&d->groups[0], v);
    config_explain(g->config, &q, DIR_DOMAIN_KEY, add_values, d);
    config_explain(g->config, &q, DIR_DKIM_KEY, add_values, d);
}

void gather_watch(struct engine *g, struct watch *w)
{
    const char *first = config_section_name(g->config, KIND_PIPE, 0), *name;
    struct domains d = {.count = 1};

    if (config_bool(g->config, NULL, DIR_CHECK_SENDERS) && first &&
        sv_eq_nocase(sv_of(first), sv_of(g->pipe)))
        for (size_t i = 0; (name = config_section_name(g->config, KIND_VIRTUAL_MTA, i)); i++)
            add_watched(g, &d, choose_get_vmta(g, sv_of(name)));
    watch_start(w, d.groups, d.count, WATCH_DELAY_MS);
    for (size_t i = 0; i < d.count; i++)
        free(d.groups[i].sources);
    arena_free(&d.arena);
}
