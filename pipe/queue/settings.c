/*
 * Effective settings of queues and virtual MTAs; see settings.h. Called by the engine when a queue
 * is made and after a reload. The configuration was checked by root: what does not parse here was
 * not in the snapshot, so errors fall back to the table's defaults.
 */
#include "queue/settings.h"

uint32_t settings_total_connections(const struct config *cfg, const struct config_query *q)
{
    const struct config_value *v = config_get(cfg, q, DIR_MAX_SMTP_OUT);
    return v->origin.file ? (uint32_t)v->number : 0;
}

void queue_settings_resolve(struct queue_settings *ret, struct config *cfg, struct strview pipe,
                            const struct vmta *vmta, struct strview domain)
{
    struct config_query q = {
        .domain = domain,
        .vmta = sv_of(vmta->name),
        .pool = sv_of(vmta->pool),
        .pipe = pipe,
    };
    const struct config_value *retry = config_get(cfg, &q, DIR_RETRY_AFTER);
    const char *hosts = config_text(cfg, &q, DIR_SMTP_HOSTS);

    *ret = (struct queue_settings){
        .config = config_ref(cfg),
        .retry_after_ms = retry->intervals.items,
        .retry_count = retry->intervals.count,
        .bounce_after_ms = config_number(cfg, &q, DIR_BOUNCE_AFTER),
        .max_smtp_out = (uint32_t)config_number(cfg, &q, DIR_MAX_SMTP_OUT),
        .max_msg_per_connection = (uint32_t)config_number(cfg, &q, DIR_MAX_MSG_PER_CONNECTION),
        .max_rcpt_per_transaction = (uint32_t)config_number(cfg, &q, DIR_MAX_RCPT_PER_TRANSACTION),
        .port = (uint16_t)config_number(cfg, &q, DIR_SMTP_PORT),
        .connect_timeout_ms = config_number(cfg, &q, DIR_CONNECT_TIMEOUT),
        .greeting_timeout_ms = config_number(cfg, &q, DIR_SMTP_GREETING_TIMEOUT),
        .command_timeout_ms = config_number(cfg, &q, DIR_COMMAND_TIMEOUT),
        .data_timeout_ms = config_number(cfg, &q, DIR_DATA_SEND_TIMEOUT),
        .idle_timeout_ms = config_number(cfg, &q, DIR_IDLE_TIMEOUT_OUT),
        .use_starttls = config_bool(cfg, &q, DIR_USE_STARTTLS),
        .use_pipelining = config_bool(cfg, &q, DIR_USE_PIPELINING),
    };
    if (hosts && *hosts)
        host_list_parse(sv_of(hosts), &ret->arena, &ret->hosts, &ret->host_count, NULL);
}

void queue_settings_fini(struct queue_settings *s)
{
    arena_free(&s->arena);
    config_unref(s->config);
    *s = (struct queue_settings){0};
}

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
    struct config_query alone = {.vmta = name};
    const char *helo = config_text(cfg, &q, DIR_HOST_NAME);

    forget_sources(v);
    free(v->pool);
    v->pool = find_pool(cfg, name);
    v->slots.max = config_has_section(cfg, KIND_VIRTUAL_MTA, name)
                       ? settings_total_connections(cfg, &alone)
                       : 0;
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
