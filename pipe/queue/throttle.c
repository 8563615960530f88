/*
 * Which limits apply; see throttle.h. Called by scheduler.c when a queue wants to connect, by
 * sender.c when the limits of an open connection changed, and after every change of settings, mode
 * or rate of a queue.
 *
 * The rules below walk through the places where a limit can stand and hand each to a function: one
 * gets the limit of that name and sets it (collect), another tells an operator (throttle_explain).
 * Limits are found by name, so two queues that obey one limit, in this pipe or another, meet in it.
 * What a queue needs for every connection is kept with it; limits of addresses and hosts are looked
 * up when they are wanted.
 */
#include "queue/throttle.h"

#include "queue/engine_int.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>

enum { NAME_SIZE = 800, MOST_SOURCES = 64 };

struct throttle {
    struct config *config; /* a reference: values live in it */
    struct throttle_numbers numbers;
    struct pace_settings pace;
    bool has_pace;
    bool has_source_totals; /* source-ip-max-* stands on the virtual MTA, its pool or the pipe */
    const struct config_value *values[QLIMIT_COUNT]; /* in the mode of the queue */
    uint8_t count;
    struct limit *limits[]; /* those that do not depend on address or host */
};

/* Who is asked, and who is told. */
struct rules {
    struct engine *g;
    struct queue *q;
    const struct config *config;
    const struct config_value *const *values;
    bool has_source_totals;
    void (*fn)(void *arg, const struct throttle_rule *r);
    void *arg;
};

/* The four things that can be limited together in one place. */
static const struct {
    enum limit_measure measure;
    enum queue_limit queue, source;
    enum directive directive, source_directive;
} measures[] = {
    {LIMIT_CONNECTIONS, QLIMIT_MAX_SMTP_OUT, QLIMIT_SOURCE_IP_MAX_SMTP_OUT, DIR_MAX_SMTP_OUT,
     DIR_SOURCE_IP_MAX_SMTP_OUT},
    {LIMIT_MESSAGES, QLIMIT_MAX_MSG_RATE, QLIMIT_SOURCE_IP_MAX_MSG_RATE, DIR_MAX_MSG_RATE,
     DIR_SOURCE_IP_MAX_MSG_RATE},
    {LIMIT_CONNECTS, QLIMIT_MAX_CONNECT_RATE, QLIMIT_SOURCE_IP_MAX_CONNECT_RATE,
     DIR_MAX_CONNECT_RATE, DIR_SOURCE_IP_MAX_CONNECT_RATE},
    {LIMIT_BYTES, QLIMIT_MAX_DATA_VOLUME_RATE, QLIMIT_SOURCE_IP_MAX_DATA_VOLUME_RATE,
     DIR_MAX_DATA_VOLUME_RATE, DIR_SOURCE_IP_MAX_DATA_VOLUME_RATE},
};

/* --- where a value stands --- */

/* The name behind `kind` in the header of the section that v stands in; empty: not there. */
static struct strview section_name(const struct config_value *v, const char *kind)
{
    struct strview rest = sv_of(v->origin.section), part;

    while (rest.len && sv_split(&rest, ',', &part)) {
        struct strview word;
        part = sv_trim(part);
        if (sv_split(&part, ' ', &word) && sv_eq_nocase(word, sv_of(kind)))
            return sv_trim(part);
    }
    return sv(NULL, 0);
}

/* The macro whose domains share v; empty: each domain has its own. */
static struct strview shared_macro(const struct rules *k, const struct config_value *v)
{
    struct strview d = section_name(v, "domain");

    if (!d.len || d.ptr[0] != '$')
        return sv(NULL, 0);
    d = sv(d.ptr + 1, d.len - 1);
    const struct config_value *shared =
        config_section_get(k->config, KIND_DOMAIN_MACRO, d, DIR_SHARED);
    return shared && shared->yes ? d : sv(NULL, 0);
}

/* --- one limit --- */

static void scale(struct rate *r, unsigned percent)
{
    if (percent && percent < 100)
        r->period_ms = r->period_ms * 100 / percent;
}

/* Tells of v under a name; a value of a [pipe] holds for that pipe alone, so it is in the name. */
__attribute__((format(printf, 5, 6))) static void tell(const struct rules *k,
                                                       enum limit_measure measure,
                                                       const struct config_value *v,
                                                       unsigned percent, const char *format, ...)
{
    char name[NAME_SIZE];
    struct throttle_rule r = {.measure = measure, .name = name, .value = v};
    struct strview pipe = section_name(v, "pipe");
    va_list ap;

    if (measure == LIMIT_CONNECTIONS) {
        uint64_t n = (uint64_t)v->number * percent / 100;
        r.max = v->number ? (uint32_t)MAX_OF(n, (uint64_t)1) : 0;
    } else if (v->directive == DIR_SMTP_OUT_RAMPUP_INTERVAL ||
               v->directive == DIR_BACKOFF_SMTP_OUT_RAMPUP_INTERVAL) {
        r.rate = (struct rate){v->number ? 1 : 0, v->number};
    } else {
        r.rate = v->rate;
        scale(&r.rate, percent);
    }
    if (!r.max && !r.rate.count)
        return;
    va_start(ap, format);
    int n = vsnprintf(name, sizeof(name), format, ap);
    va_end(ap);
    if (pipe.len && strncmp(format, "pipe ", 5) != 0 && n > 0 && (size_t)n < sizeof(name))
        snprintf(name + n, sizeof(name) - (size_t)n, " of pipe %s", k->g->pipe);
    k->fn(k->arg, &r);
}

/* --- places --- */

static struct config_query query_of(const struct rules *k)
{
    return (struct config_query){
        .domain = queue_identity_domain(k->q),
        .vmta = sv_of(k->q->vmta->name),
        .pool = sv_of(k->q->vmta->pool),
        .pipe = sv_of(k->g->pipe),
    };
}

/* A value that domains share is a limit of all of them; in back-off, those of them that are in it
 * share the twin besides. What a rule's rate= takes off is the queue's own matter. */
static void queue_limit(const struct rules *k, enum limit_measure measure, enum queue_limit which,
                        unsigned percent)
{
    struct config_query query = query_of(k);
    const struct config_value *v = k->values[which], *normal = v;
    const char *vmta = k->q->vmta->name;

    if (k->q->mode == QUEUE_BACKOFF)
        normal = queue_limit_value(k->config, &query, which, QUEUE_NORMAL);
    struct strview of_normal = shared_macro(k, normal), macro = shared_macro(k, v);
    if (of_normal.len)
        tell(k, measure, normal, 100, "domain-macro %.*s/%s", SV_ARG(of_normal), vmta);
    if (macro.len && v != normal)
        tell(k, measure, v, 100, "domain-macro %.*s/%s in back-off", SV_ARG(macro), vmta);
    if (!macro.len || percent < 100)
        tell(k, measure, v, percent, "queue %s", queue_identity(k->q));
}

static void queue_rules(const struct rules *k)
{
    bool has_rate = k->values[QLIMIT_MAX_MSG_RATE]->rate.count ||
                    k->values[QLIMIT_MAX_DATA_VOLUME_RATE]->rate.count;

    for (size_t i = 0; i < ARRAY_LEN(measures); i++) {
        /* rate=50% halves rates; where there is none, connections */
        bool cut = measures[i].measure != LIMIT_CONNECTIONS || !has_rate;
        queue_limit(k, measures[i].measure, measures[i].queue, cut ? k->q->rate_percent : 100);
    }
    tell(k, LIMIT_CONNECTS, k->values[QLIMIT_SMTP_OUT_RAMPUP_INTERVAL], 100, "ramp-up of queue %s",
         queue_identity(k->q));
}

static void rollup_rules(const struct rules *k)
{
    const struct queue_group *group = queue_base(k->q)->group;
    struct strview name = group ? group->rollup : sv(NULL, 0);

    for (size_t i = 0; name.len && i < ARRAY_LEN(measures); i++) {
        const struct config_value *v =
            config_section_get(k->config, KIND_MX_ROLLUP, name, measures[i].directive);
        if (v && v->text)
            tell(k, measures[i].measure, v, 100, "mx-rollup %.*s", SV_ARG(name));
    }
}

/* Sums: what stands on the virtual MTA (or its pool, for each member by itself) and on the pipe. */
static void total_rules(const struct rules *k)
{
    struct config_query both = query_of(k), of_vmta, of_pipe = {.pipe = both.pipe};

    both.domain = sv(NULL, 0);
    of_vmta = both;
    of_vmta.pipe = sv(NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(measures); i++) {
        enum directive d = measures[i].directive;
        enum limit_measure m = measures[i].measure;
        const struct config_value *v = config_get(k->config, &of_vmta, d);
        if (v->origin.file)
            tell(k, m, v, 100, "virtual-mta %s", k->q->vmta->name);
        v = config_get(k->config, &both, d);
        if (v->origin.file && section_name(v, "pipe").len &&
            (section_name(v, "virtual-mta").len || section_name(v, "virtual-mta-pool").len))
            tell(k, m, v, 100, "virtual-mta %s", k->q->vmta->name);
        v = config_get(k->config, &of_pipe, d);
        if (v->origin.file)
            tell(k, m, v, 100, "pipe %s", k->g->pipe);
    }
}

static void process_rules(const struct rules *k)
{
    tell(k, LIMIT_CONNECTIONS, config_get(k->config, NULL, DIR_TOTAL_MAX_SMTP_OUT), 100, "total");
    tell(k, LIMIT_MESSAGES, config_get(k->config, NULL, DIR_TOTAL_MAX_MSG_RATE), 100, "total");
    tell(k, LIMIT_CONNECTS, config_get(k->config, NULL, DIR_TOTAL_MAX_CONNECT_RATE), 100, "total");
}

static void base_rules(const struct rules *k)
{
    queue_rules(k);
    rollup_rules(k);
    total_rules(k);
    process_rules(k);
}

static void address_text(const struct sockaddr_storage *a, char *out)
{
    if (a->ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr, out, INET6_ADDRSTRLEN);
    else if (a->ss_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, out, INET6_ADDRSTRLEN);
    else
        strcpy(out, "any");
}

/* source-ip-max-* without a domain: for everything that leaves from one address. */
static bool source_totals(const struct rules *k, size_t i, const struct config_value **ret_vmta,
                          const struct config_value **ret_pipe)
{
    struct config_query both = query_of(k), of_vmta;

    both.domain = sv(NULL, 0);
    of_vmta = both;
    of_vmta.pipe = sv(NULL, 0);
    *ret_vmta = config_get(k->config, &of_vmta, measures[i].source_directive);
    *ret_pipe = config_get(k->config, &both, measures[i].source_directive);
    if (!(*ret_vmta)->origin.file)
        *ret_vmta = NULL;
    if (!(*ret_pipe)->origin.file || !section_name(*ret_pipe, "pipe").len)
        *ret_pipe = NULL;
    return *ret_vmta || *ret_pipe;
}

static void source_rules(const struct rules *k, const struct vmta_source *source)
{
    const struct config_value *v, *w;
    char from[INET6_ADDRSTRLEN];

    address_text(&source->addr, from);
    for (size_t i = 0; i < ARRAY_LEN(measures); i++) {
        enum limit_measure m = measures[i].measure;
        tell(k, m, k->values[measures[i].source], k->q->rate_percent, "queue %s from %s",
             queue_identity(k->q), from);
        if (!k->has_source_totals || !source_totals(k, i, &v, &w))
            continue;
        if (v)
            tell(k, m, v, 100, "source %s of %s", from, k->q->vmta->name);
        if (w)
            tell(k, m, w, 100, "source %s of %s", from, k->q->vmta->name);
    }
}

static void host_rules(const struct rules *k, const struct vmta_source *source,
                       const struct delivery_host *host)
{
    char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];

    address_text(&source->addr, from);
    address_text(&host->addr, to);
    tell(k, LIMIT_CONNECTIONS, k->values[QLIMIT_MX_CONNECTION_LIMIT], 100, "mx %s from %s",
         host->name ? host->name : to, from);
    tell(k, LIMIT_CONNECTIONS, k->values[QLIMIT_IP_CONNECTION_LIMIT], 100, "address %s from %s", to,
         from);
}

/* --- a queue's own --- */

static void collect(void *arg, const struct throttle_rule *r)
{
    struct throttle_set *s = ((void **)arg)[0];
    struct limits *limits = ((void **)arg)[1];

    if (s->count == THROTTLE_MAX)
        return;
    struct limit *l = limit_get(limits, r->measure, sv_of(r->name));
    if (r->measure == LIMIT_CONNECTIONS)
        limit_set_max(l, r->max);
    else
        limit_set_rate(l, &r->rate);
    s->items[s->count++] = l;
}

static void read_numbers(struct throttle *t)
{
    struct throttle_numbers *n = &t->numbers;

    n->max_connections = (uint32_t)t->values[QLIMIT_MAX_SMTP_OUT]->number;
    n->max_msg_per_connection = (uint32_t)t->values[QLIMIT_MAX_MSG_PER_CONNECTION]->number;
    n->max_rcpt_per_transaction = (uint32_t)t->values[QLIMIT_MAX_RCPT_PER_TRANSACTION]->number;
    n->has_host_limits = t->values[QLIMIT_MX_CONNECTION_LIMIT]->number ||
                         t->values[QLIMIT_IP_CONNECTION_LIMIT]->number;
}

static void resolve_values(const struct rules *k, const struct config_value **values)
{
    struct config_query query = query_of(k);
    for (size_t i = 0; i < QLIMIT_COUNT; i++)
        values[i] = queue_limit_value(k->config, &query, (enum queue_limit)i, k->q->mode);
}

static struct throttle *throttle_new(struct engine *g, struct queue *q)
{
    const struct config_value *values[QLIMIT_COUNT];
    struct throttle_set set = {.count = 0};
    void *args[2] = {&set, g->limits};
    struct rules k = {g, q, g->config, values, false, collect, args};

    struct config_query query = query_of(&k);

    resolve_values(&k, values);
    base_rules(&k);
    struct throttle *t = xcalloc(1, sizeof(*t) + set.count * sizeof(t->limits[0]));
    t->config = config_ref(g->config);
    memcpy(t->values, values, sizeof(values));
    memcpy(t->limits, set.items, set.count * sizeof(t->limits[0]));
    t->count = set.count;
    for (size_t i = 0; i < ARRAY_LEN(measures); i++)
        t->has_source_totals |= source_totals(&k, i, &values[0], &values[1]);
    queue_pace_resolve(&t->pace, g->config, &query, q->mode);
    t->has_pace = pace_is_wanted(&t->pace);
    read_numbers(t);
    return t;
}

static void throttle_free(struct throttle *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->count; i++)
        limit_unref(t->limits[i]);
    config_unref(t->config);
    free(t);
}

static struct throttle *throttle_of(struct engine *g, struct queue *q)
{
    if (!q->throttle)
        q->throttle = throttle_new(g, q);
    return q->throttle;
}

void throttle_configure(struct engine *g, struct queue *q)
{
    struct throttle *old = q->throttle;

    if (!old)
        return;                       /* made when it is wanted */
    q->throttle = throttle_new(g, q); /* before the old one goes: levels are kept */
    q->throttle->numbers.version = old->numbers.version + 1;
    throttle_free(old);
    scheduler_retry(g, q);
}

void throttle_fini(struct queue *q)
{
    throttle_free(q->throttle);
    q->throttle = NULL;
}

const struct throttle_numbers *throttle_numbers(struct engine *g, struct queue *q)
{
    return &throttle_of(g, q)->numbers;
}

const struct config_value *throttle_value(struct engine *g, struct queue *q, enum queue_limit which)
{
    return throttle_of(g, q)->values[which];
}

/* --- sets --- */

bool throttle_is_common(const struct queue *q, const struct limit *l)
{
    for (size_t i = 0; q->throttle && i < q->throttle->count; i++)
        if (q->throttle->limits[i] == l)
            return true;
    return false;
}

static struct rules rules_for(struct engine *g, struct queue *q,
                              void (*fn)(void *arg, const struct throttle_rule *r), void *arg)
{
    const struct throttle *t = throttle_of(g, q);
    return (struct rules){g, q, t->config, t->values, t->has_source_totals, fn, arg};
}

void throttle_gather_host(struct engine *g, struct queue *q, const struct vmta_source *source,
                          const struct delivery_host *host, struct throttle_set *ret)
{
    void *args[2] = {ret, g->limits};
    struct rules k = rules_for(g, q, collect, args);

    ret->count = 0;
    if (q->throttle->numbers.has_host_limits)
        host_rules(&k, source, host);
}

struct pace_pair *throttle_pair(struct engine *g, struct queue *q, const struct vmta_source *source)
{
    const struct throttle *t = throttle_of(g, q);
    char from[INET6_ADDRSTRLEN] = "";

    if (!t->has_pace)
        return NULL;
    if (source->addr.ss_family)
        address_text(&source->addr, from);
    return pace_pair_get(g->pace, sv_of(queue_identity(q)), sv_of(from), &t->pace);
}

struct pace_pair *throttle_known_pair(struct engine *g, struct queue *q,
                                      const struct vmta_source *source)
{
    char from[INET6_ADDRSTRLEN] = "";

    if (source->addr.ss_family)
        address_text(&source->addr, from);
    return pace_pair_find(g->pace, sv_of(queue_identity(q)), sv_of(from));
}

const struct config_value *throttle_pace_value(struct engine *g, struct queue *q, enum directive d)
{
    struct rules k = rules_for(g, q, NULL, NULL);
    struct config_query query = query_of(&k);
    return config_get(k.config, &query, d);
}

static void gather_pace(struct engine *g, struct queue *q, const struct vmta_source *source,
                        struct throttle_set *ret)
{
    struct pace_pair *pair = throttle_pair(g, q, source);
    struct limit *limits[2];
    size_t count = pace_limits(pair, limits);

    for (size_t i = 0; i < count && ret->count < THROTTLE_MAX; i++) {
        ret->items[ret->count++] = limits[i];
        limits[i]->refs++;
    }
    pace_pair_put(pair);
}

void throttle_gather(struct engine *g, struct queue *q, const struct vmta_source *source,
                     const struct delivery_host *host, struct throttle_set *ret)
{
    void *args[2] = {ret, g->limits};
    struct rules k = rules_for(g, q, collect, args);
    const struct throttle *t = q->throttle;

    ret->count = 0;
    for (size_t i = 0; i < t->count; i++) {
        ret->items[ret->count++] = t->limits[i];
        t->limits[i]->refs++;
    }
    source_rules(&k, source);
    gather_pace(g, q, source, ret);
    if (host)
        host_rules(&k, source, host);
}

void throttle_set_fini(struct throttle_set *s)
{
    for (size_t i = 0; i < s->count; i++)
        limit_unref(s->items[i]);
    s->count = 0;
}

void throttle_explain(struct engine *g, struct queue *q, const struct vmta_source *source,
                      const struct delivery_host *host,
                      void (*fn)(void *arg, const struct throttle_rule *r), void *arg)
{
    struct rules k = rules_for(g, q, fn, arg);

    base_rules(&k);
    source_rules(&k, source);
    if (host)
        host_rules(&k, source, host);
}

/* --- back from a limit to the configuration --- */

struct search {
    const struct limit *limit;
    const struct config_value *found;
};

static void match_limit(void *arg, const struct throttle_rule *r)
{
    struct search *s = arg;
    if (r->measure == s->limit->measure && strcmp(r->name, s->limit->name) == 0)
        s->found = r->value;
}

static bool is_named(const struct limit *l, const char *prefix)
{
    return strncmp(l->name, prefix, strlen(prefix)) == 0;
}

static const struct config_value *pace_origin(const struct throttle *t,
                                              const struct config_query *query, bool is_adaptive)
{
    const struct config_value *v = config_get(t->config, query, DIR_WARMUP_SCHEDULE);

    if (is_adaptive)
        return config_get(t->config, query, DIR_ADAPTIVE);
    return v->origin.file ? v : config_get(t->config, query, DIR_WARMUP);
}

const struct config_value *throttle_origin(struct engine *g, struct queue *q, const struct limit *l)
{
    const struct throttle *t = throttle_of(g, q);
    struct search s = {l, NULL};

    if (is_named(l, "mx "))
        return t->values[QLIMIT_MX_CONNECTION_LIMIT];
    if (is_named(l, "address "))
        return t->values[QLIMIT_IP_CONNECTION_LIMIT];
    if (is_named(l, "adaptive ") || is_named(l, "warm-up ")) {
        struct rules k = rules_for(g, q, NULL, NULL);
        struct config_query query = query_of(&k);
        return pace_origin(t, &query, is_named(l, "adaptive "));
    }
    for (size_t i = 0; i < q->vmta->source_count && i < MOST_SOURCES && !s.found; i++)
        throttle_explain(g, q, &q->vmta->sources[i], NULL, match_limit, &s);
    return s.found;
}
