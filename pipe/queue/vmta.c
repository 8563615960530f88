/*
 * Virtual MTAs; see vmta.h. Called by the engine when the first message for one comes and after a
 * reload.
 */
#include "queue/vmta.h"

#include "mail/host_list.h"
#include "queue/settings.h"

static void forget_sources(struct vmta *v)
{
    for (size_t i = 0; i < v->source_count; i++)
        free(v->sources[i].helo_name);
    free(v->sources);
    v->sources = NULL;
    v->source_count = 0;
}

static void add_source(struct vmta *v, const struct sockaddr_storage *addr, struct strview helo)
{
    v->sources = xrealloc(v->sources, (v->source_count + 1) * sizeof(v->sources[0]));
    struct vmta_source *s = &v->sources[v->source_count++];
    *s = (struct vmta_source){.helo_name = xstrndup(helo.ptr, helo.len)};
    if (addr)
        s->addr = *addr;
}

static const struct config_value *pool_members(const struct config *cfg, const char *pool)
{
    return config_get(cfg, &(struct config_query){.pool = sv_of(pool)}, DIR_POOL_MEMBER);
}

static char *find_pool(const struct config *cfg, struct strview vmta)
{
    const char *pool;

    for (size_t i = 0; (pool = config_section_name(cfg, KIND_VIRTUAL_MTA_POOL, i)); i++)
        for (const struct config_value *m = pool_members(cfg, pool); m && m->text; m = m->next)
            if (sv_eq_nocase(sv_of(m->text), vmta))
                return xstrdup(pool);
    return NULL;
}

struct strview vmta_choose(const struct config *cfg, struct strview name, uint64_t turn)
{
    char pool[256];
    uint64_t count = 0;

    if (name.len >= sizeof(pool) || !config_has_section(cfg, KIND_VIRTUAL_MTA_POOL, name))
        return name;
    memcpy(pool, name.ptr, name.len);
    pool[name.len] = '\0';
    const struct config_value *first = pool_members(cfg, pool), *m;
    for (m = first; m && m->text; m = m->next)
        count++;
    if (!count)
        return name;
    m = first;
    for (turn %= count; turn; turn--)
        m = m->next;
    return sv_of(m->text);
}

bool vmta_is_known(const struct config *cfg, struct strview name)
{
    return sv_eq_nocase(name, SV(VMTA_DEFAULT)) ||
           config_has_section(cfg, KIND_VIRTUAL_MTA, name) ||
           config_has_section(cfg, KIND_VIRTUAL_MTA_POOL, name);
}

void vmta_configure(struct vmta *v, const struct config *cfg, struct strview pipe,
                    const char *helo_fallback)
{
    struct strview name = sv_of(v->name);
    struct config_query q = {.vmta = name, .pipe = pipe};
    const char *helo = config_text(cfg, &q, DIR_HOST_NAME);

    forget_sources(v);
    free(v->pool);
    v->pool = find_pool(cfg, name);
    for (const struct config_value *s = config_get(cfg, &q, DIR_SMTP_SOURCE_HOST); s && s->text;
         s = s->next) {
        struct sockaddr_storage addr;
        struct strview host;
        if (source_host_parse(sv_of(s->text), &addr, &host, NULL) == 0)
            add_source(v, &addr, host);
    }
    if (!v->source_count)
        add_source(v, NULL, sv_of(helo && *helo ? helo : helo_fallback));
    v->turn = 0;
}

void vmta_free(struct vmta *v)
{
    if (!v)
        return;
    forget_sources(v);
    free(v->pool);
    free(v->name);
    free(v);
}
