/*
 * Virtual MTAs and pools; see vmta.h. Called by the engine when the first message for one comes and
 * after a reload, by the scheduler for the next source address, by choose.c for the next member.
 */
#include "queue/vmta.h"

#include "base/clock.h"
#include "base/log.h"
#include "mail/host_list.h"

#include <arpa/inet.h>

enum { SOURCES_MAX = 65536, DUPLICATES_LOOKED_FOR = 512, MISSING_TOLD = 16 };

static void forget_names(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

static void forget_sources(struct vmta *v)
{
    for (size_t i = 0; v->sources && v->sources[i].helo_name; i++)
        free(v->sources[i].helo_name);
    free(v->sources);
    v->sources = NULL;
    v->source_count = v->missing_count = 0;
    v->is_stranded = false;
}

/* --- source addresses --- */

/* Collects what the lines give; sources ends in an entry without name. */
struct collector {
    struct vmta *vmta;
    const struct config_value *line;
    const struct local_addresses *local;
    const char *helo;
    bool silent;
    bool is_network; /* of a CIDR only what the machine has counts */
    size_t count, cap;
};

static void append(struct collector *c, const struct vmta_source *s)
{
    if (c->count + 1 >= c->cap) {
        c->cap = c->cap ? c->cap * 2 : 4;
        c->vmta->sources = xrealloc(c->vmta->sources, c->cap * sizeof(*s));
    }
    c->vmta->sources[c->count++] = *s;
    c->vmta->sources[c->count] = (struct vmta_source){0};
}

static bool is_there_already(const struct collector *c, const struct sockaddr_storage *addr)
{
    for (size_t i = 0; i < c->count && i < DUPLICATES_LOOKED_FOR; i++)
        if (memcmp(&c->vmta->sources[i].addr, addr, sizeof(*addr)) == 0)
            return true;
    return false;
}

static void add_source(void *arg, const struct sockaddr_storage *addr, struct strview host)
{
    struct collector *c = arg;
    bool has = c->is_network ? local_is_on_interface(c->local, addr) : local_has(c->local, addr);

    if ((c->is_network && !has) || c->count >= SOURCES_MAX || is_there_already(c, addr))
        return;
    append(c, &(struct vmta_source){
                  .addr = *addr,
                  .helo_name = host.len ? xstrndup(host.ptr, host.len) : xstrdup(c->helo),
                  .file = c->line->origin.file,
                  .line = c->line->origin.line,
                  .is_missing = !has,
              });
}

static void collect(struct collector *c, const struct config_value *first, bool with_host)
{
    for (const struct config_value *s = first; s && s->text; s = s->next) {
        struct strview text = sv_of(s->text);
        size_t before = c->count;
        c->line = s;
        c->is_network = sv_find(text, '/') >= 0;
        source_host_expand(text, with_host, add_source, c, NULL);
        if (c->is_network && c->count == before && !c->silent)
            log_warn(LOG_QUEUE,
                     "no address of this network is on this machine, it is skipped at=%s:%u "
                     "virtual-mta=%s network='%s'",
                     s->origin.file, s->origin.line, c->vmta->name, s->text);
    }
}

static void address_text(const struct sockaddr_storage *a, char *out)
{
    const void *bytes = a->ss_family == AF_INET6
                            ? (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)a)->sin_addr;
    if (!inet_ntop(a->ss_family, bytes, out, INET6_ADDRSTRLEN))
        out[0] = '\0'; /* a network without any address here */
}

/* Puts those that the machine has in front and counts. */
static void partition(struct vmta *v, size_t all)
{
    struct vmta_source *missing = xmalloc((all + 1) * sizeof(*missing));
    size_t at = 0, out = 0;

    for (size_t i = 0; i < all; i++) {
        if (v->sources[i].is_missing)
            missing[out++] = v->sources[i];
        else
            v->sources[at++] = v->sources[i];
    }
    memcpy(v->sources + at, missing, out * sizeof(*missing));
    free(missing);
    v->missing_count = out;
    v->is_stranded = at == 0;
    v->source_count = v->is_stranded ? all : at;
}

static size_t count_all(const struct vmta *v)
{
    return v->is_stranded ? v->missing_count : v->source_count + v->missing_count;
}

static void tell_missing(const struct vmta *v)
{
    size_t told = 0;

    for (size_t i = 0; i < count_all(v) && told < MISSING_TOLD; i++) {
        const struct vmta_source *s = &v->sources[i];
        char text[INET6_ADDRSTRLEN];
        if (!s->is_missing || !s->addr.ss_family)
            continue;
        address_text(&s->addr, text);
        log_warn(LOG_QUEUE,
                 "source address is not on this machine, it is skipped until it is at=%s:%u "
                 "virtual-mta=%s ip=%s",
                 s->file ? s->file : "", s->line, v->name, text);
        told++;
    }
    if (v->missing_count > told && told == MISSING_TOLD)
        log_warn(LOG_QUEUE, "and %zu more source addresses are not there virtual-mta=%s",
                 v->missing_count - told, v->name);
    if (v->is_stranded)
        log_error(LOG_QUEUE, "virtual MTA has no address on this machine, its mail waits name=%s",
                  v->name);
}

/* smtp-source-host and smtp-source-ip are two spellings of one thing: what stands on the virtual
 * MTA itself hides what stands in [pmta], however it is spelt. */
static bool on_vmta(const struct config_value *v)
{
    return v->text && v->origin.section &&
           sv_starts_nocase(sv_of(v->origin.section), SV("virtual"));
}

static void read_sources(struct vmta *v, const struct config *cfg, const struct config_query *q,
                         const char *helo, const struct local_addresses *local, bool silent)
{
    const struct config_value *hosts = config_get(cfg, q, DIR_SMTP_SOURCE_HOST);
    const struct config_value *ips = config_get(cfg, q, DIR_SMTP_SOURCE_IP);
    struct collector c = {.vmta = v, .local = local, .helo = helo, .silent = silent};
    bool own = on_vmta(hosts) || on_vmta(ips);

    if (!own || on_vmta(hosts))
        collect(&c, hosts, true);
    if (!own || on_vmta(ips))
        collect(&c, ips, false);
    bool wanted = hosts->text || ips->text;
    if (!c.count)
        append(&c,
               &(struct vmta_source){.helo_name = xstrdup(helo),
                                     .file = hosts->text ? hosts->origin.file : ips->origin.file,
                                     .line = hosts->text ? hosts->origin.line : ips->origin.line,
                                     .is_missing = wanted});
    partition(v, c.count);
}

static const char *helo_of(const struct config *cfg, const struct config_query *q,
                           const char *fallback)
{
    const char *helo = config_text(cfg, q, DIR_HOST_NAME);
    return helo && *helo ? helo : fallback;
}

/* --- pools that a virtual MTA is in --- */

static const struct config_value *pool_members(const struct config *cfg, const char *pool)
{
    return config_get(cfg, &(struct config_query){.pool = sv_of(pool)}, DIR_POOL_MEMBER);
}

static char *find_pool(const struct config *cfg, struct strview vmta)
{
    struct strview name;
    const char *pool;
    uint32_t weight;

    for (size_t i = 0; (pool = config_section_name(cfg, KIND_VIRTUAL_MTA_POOL, i)); i++)
        for (const struct config_value *m = pool_members(cfg, pool); m && m->text; m = m->next)
            if (pool_member_parse(sv_of(m->text), &name, &weight, NULL) == 0 &&
                sv_eq_nocase(name, vmta))
                return xstrdup(pool);
    return NULL;
}

bool vmta_is_known(const struct config *cfg, struct strview name)
{
    return sv_eq_nocase(name, SV(VMTA_DEFAULT)) ||
           config_has_section(cfg, KIND_VIRTUAL_MTA, name) ||
           config_has_section(cfg, KIND_VIRTUAL_MTA_POOL, name);
}

size_t vmta_name_list(const struct config *cfg, const struct config_query *q, enum directive d,
                      char ***ret)
{
    size_t count = 0;

    *ret = NULL;
    for (const struct config_value *v = config_get(cfg, q, d); v && v->text; v = v->next) {
        *ret = xrealloc(*ret, (count + 1) * sizeof(char *));
        (*ret)[count++] = xstrdup(v->text);
    }
    return count;
}

/* --- virtual MTAs --- */

void vmta_configure(struct vmta *v, const struct config *cfg, struct strview pipe,
                    const char *helo_fallback, const struct local_addresses *local)
{
    struct strview name = sv_of(v->name);
    struct config_query q = {.vmta = name, .pipe = pipe};
    bool has_section = config_has_section(cfg, KIND_VIRTUAL_MTA, name);
    char *pool = find_pool(cfg, name);

    v->is_defined = has_section || sv_eq_nocase(name, SV(VMTA_DEFAULT));
    v->to_pipe = NULL;
    if (sv_starts_nocase(name, SV(VMTA_PIPE))) {
        const char *pipe_now = config_text(cfg, &(struct config_query){.pipe = pipe}, DIR_DSN_PIPE);
        v->to_pipe = v->name + strlen(VMTA_PIPE);
        v->is_defined = pipe_now && sv_eq_nocase(sv_of(pipe_now), sv_of(v->to_pipe));
    }
    if (pool || v->is_defined) { /* one that is gone remembers where it was */
        free(v->pool);
        v->pool = pool;
    }
    forget_names(v->cold, v->cold_count);
    v->cold_count = vmta_name_list(cfg, &q, DIR_COLD_VIRTUAL_MTA, &v->cold);
    forget_sources(v);
    read_sources(v, cfg, &q, helo_of(cfg, &q, helo_fallback), local, false);
    tell_missing(v);
    v->checked_ms = clock_mono_ms();
    v->turn = 0;
}

bool vmta_recheck(struct vmta *v, const struct config *cfg, struct strview pipe,
                  const char *helo_fallback, const struct local_addresses *local)
{
    struct config_query q = {.vmta = sv_of(v->name), .pipe = pipe};
    size_t before = v->is_stranded ? 0 : v->source_count;

    forget_sources(v);
    read_sources(v, cfg, &q, helo_of(cfg, &q, helo_fallback), local, true);
    v->checked_ms = clock_mono_ms();
    size_t now = v->is_stranded ? 0 : v->source_count;
    if (now > before)
        log_info(LOG_QUEUE, "source addresses are on this machine again virtual-mta=%s count=%zu",
                 v->name, now - before);
    return now > before;
}

bool vmta_source_lost(struct vmta *v, const struct sockaddr_storage *addr)
{
    size_t all = count_all(v);

    if (!addr->ss_family || local_can_bind(addr))
        return false;
    for (size_t i = 0; i < all; i++) {
        struct vmta_source *s = &v->sources[i];
        if (s->is_missing || memcmp(&s->addr, addr, sizeof(*addr)) != 0)
            continue;
        s->is_missing = true;
        partition(v, all);
        v->checked_ms = clock_mono_ms();
        tell_missing(v);
        break;
    }
    return true;
}

void vmta_free(struct vmta *v)
{
    if (!v)
        return;
    forget_sources(v);
    forget_names(v->cold, v->cold_count);
    free(v->pool);
    free(v->name);
    free(v);
}

/* --- pools --- */

void vmta_pool_free(struct vmta_pool *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < VMTA_POOL_LANES; i++)
        free(p->turns[i]);
    forget_names(p->cold, p->cold_count);
    free(p->members);
    free(p->name);
    free(p);
}

static bool all_stranded(const struct vmta_pool *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (!p->members[i].vmta->is_stranded)
            return false;
    return true;
}

struct vmta *vmta_pool_next(struct vmta_pool *p, uint64_t lane)
{
    bool take_all = all_stranded(p);
    int64_t **turns = &p->turns[lane % VMTA_POOL_LANES], sum = 0;
    size_t best = SIZE_MAX;

    if (!*turns)
        *turns = xcalloc(p->count + 1, sizeof(**turns));
    for (size_t i = 0; i < p->count; i++) {
        const struct vmta_pool_member *m = &p->members[i];
        if (m->vmta->is_stranded && !take_all)
            continue;
        (*turns)[i] += m->weight;
        sum += m->weight;
        if (best == SIZE_MAX || (*turns)[i] > (*turns)[best])
            best = i;
    }
    if (best == SIZE_MAX)
        return NULL;
    (*turns)[best] -= sum;
    return p->members[best].vmta;
}
