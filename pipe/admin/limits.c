/*
 * `show limits`, and what holds a queue for `show queues` and `why`. Limits are walked by the same
 * rules that set them (queue/throttle.c), so what is told is what holds.
 */
#include "admin/limits.h"

#include "admin/pace_words.h"
#include "admin/verbs.h"
#include "base/clock.h"
#include "pace/warmup.h"
#include "queue/throttle.h"

#include <stdio.h>

enum { MOST_SOURCES = 64, MOST_HOSTS = 16, MOST_WAITERS = 10 };

static const char *directive_name(const struct limit *l, const struct config_value *v)
{
    static const char *const names[] = {
#define MEASURE_NAME(id, name, unit) name,
        LIMIT_MEASURES(MEASURE_NAME)
#undef MEASURE_NAME
    };
    return v ? directive_info(v->directive)->name : names[l->measure];
}

/* --- the limit that a queue waits for --- */

static void interval_text(int64_t us, char *out, size_t size)
{
    char text[UNITS_SIZE];

    if (us < 10 * 1000 * 1000) {
        snprintf(out, size, "%.1fs", (double)MAX_OF(us, (int64_t)0) / 1e6);
        return;
    }
    units_format_interval((us + 999999) / 1000000 * 1000, text);
    snprintf(out, size, "%s", text);
}

/* The pair that l is a limit of. */
static bool find_pace(struct engine *g, struct queue *q, const struct limit *l,
                      struct pace_view *ret)
{
    for (size_t i = 0; i < q->vmta->source_count && i < MOST_SOURCES; i++) {
        const struct pace_pair *pair = throttle_known_pair(g, q, &q->vmta->sources[i]);
        if (!pair)
            continue;
        pace_pair_view(pair, ret);
        if (l == ret->adaptive_limit || l == ret->warmup_limit)
            return true;
    }
    return false;
}

static void next_text(struct limit_hold *ret, const struct limit_level *level, int64_t now_us,
                      char *out, size_t size)
{
    if (level->free_now || !level->next_us) {
        snprintf(out, size, "next now");
        snprintf(ret->next, sizeof(ret->next), "at once");
        return;
    }
    char in[UNITS_SIZE];
    interval_text(level->next_us - now_us, in, sizeof(in));
    snprintf(out, size, "next in %s", in);
    ret->next_ms = (level->next_us + 999) / 1000;
}

static void pace_hold(const struct pace_view *v, const struct limit *l, struct limit_hold *ret)
{
    int64_t now_us = clock_wall_us();
    struct buf name = {0}, sentence = {0};
    struct limit_level level;
    char next[UNITS_SIZE + 20];

    limit_level(l, now_us, &level);
    pace_say_limit(v, l, now_us / 1000, &name, &sentence);
    next_text(ret, &level, now_us, next, sizeof(next));
    bool said = strstr(buf_data(&sentence), "next at") != NULL;
    snprintf(ret->text, sizeof(ret->text), "%.150s: %.250s%s%s", buf_data(&name),
             buf_data(&sentence), said ? "" : "; ", said ? "" : next);
    snprintf(ret->what, sizeof(ret->what), "the %.240s", buf_data(&name));
    snprintf(ret->because, sizeof(ret->because), "%.300s, and %u queue%s of this pipe wait%s",
             buf_data(&sentence), level.waiting, level.waiting == 1 ? "" : "s",
             level.waiting == 1 ? "s" : "");
    buf_free(&name);
    buf_free(&sentence);
}

/* The directive that switched it on. */
static const struct config_value *pace_value(struct engine *g, struct queue *q,
                                             const struct pace_view *v, const struct limit *l)
{
    if (l == v->adaptive_limit)
        return throttle_pace_value(g, q, DIR_ADAPTIVE);
    return throttle_pace_value(g, q, v->warmup->day_count ? DIR_WARMUP_SCHEDULE : DIR_WARMUP);
}

bool limit_hold(struct engine *g, struct queue *q, struct limit_hold *ret)
{
    const struct limit *l = q->line;
    struct limit_level level;
    int64_t now_us = clock_wall_us();
    struct pace_view v;
    char next[UNITS_SIZE + 20];

    if (!l || !q->ready_count)
        return false;
    if (l->measure == LIMIT_MESSAGES && find_pace(g, q, l, &v)) {
        *ret = (struct limit_hold){.value = pace_value(g, q, &v, l)};
        pace_hold(&v, l, ret);
        return true;
    }
    *ret = (struct limit_hold){.value = throttle_origin(g, q, l)};
    const char *name = directive_name(l, ret->value);
    limit_level(l, now_us, &level);
    bool places = l->measure == LIMIT_CONNECTIONS;
    snprintf(ret->what, sizeof(ret->what), "%s: %s of %.150s",
             places ? "a connection, all are in use" : "its turn at a rate", name, l->name);
    snprintf(ret->because, sizeof(ret->because), "%s = %.100s, and %u queue%s of this pipe wait%s",
             name, ret->value && ret->value->text ? ret->value->text : "", level.waiting,
             level.waiting == 1 ? "" : "s", level.waiting == 1 ? "s" : "");
    if (places) {
        snprintf(ret->text, sizeof(ret->text), "%s of %.200s: %u of %u in use", name, l->name,
                 level.used, level.max);
        snprintf(ret->next, sizeof(ret->next), "when one of them has had its share");
    } else {
        next_text(ret, &level, now_us, next, sizeof(next));
        snprintf(ret->text, sizeof(ret->text), "%s of %.200s: %s", name, l->name, next);
    }
    return true;
}

const char *limits_in_short(struct engine *g, struct queue *q, char *out, size_t size)
{
    static const struct {
        enum queue_limit which;
        const char *format;
    } rows[] = {{QLIMIT_MAX_SMTP_OUT, "%s conns"},
                {QLIMIT_MAX_MSG_RATE, ", %s"},
                {QLIMIT_MAX_CONNECT_RATE, ", %s connects"},
                {QLIMIT_MAX_DATA_VOLUME_RATE, ", %s bytes"}};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows) && n < size; i++) {
        const struct config_value *v = throttle_value(g, q, rows[i].which);
        if (i == 0 || v->rate.count)
            n += (size_t)snprintf(out + n, size - n, rows[i].format, v->text ? v->text : "");
    }
    if (q->rate_percent < 100 && n < size)
        snprintf(out + n, size - n, ", cut to %u%%", q->rate_percent);
    return out;
}

/* --- show limits --- */

struct showing {
    struct pipe *pipe;
    struct admin *admin;
    const struct queue *queue;
    json_t *seen; /* names that were told */
    int64_t now_us;
};

static json_t *waiter_names(const struct limit *l)
{
    json_t *names = json_array();
    size_t n = 0;

    list_for_each (w, &l->waiters) {
        if (n++ == MOST_WAITERS)
            break;
        json_array_append_new(names, json_string(container_of(w, struct queue, waiter.link)->name));
    }
    return names;
}

static void show_one(struct showing *s, const struct limit *l, const char *name,
                     const struct config_value *v, const char *allows)
{
    static const char *const units[] = {
#define MEASURE_UNIT(id, name, unit) unit,
        LIMIT_MEASURES(MEASURE_UNIT)
#undef MEASURE_UNIT
    };
    struct limit_level level;

    limit_level(l, s->now_us, &level);
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "pipe", s->pipe->name, "queue",
                  s->queue->name, "limit", name, "directive", directive_info(v->directive)->name,
                  "unit", units[l->measure], "free_now", (json_int_t)level.free_now, "next_ms",
                  (json_int_t)(level.free_now ? 0 : (level.next_us + 999) / 1000), "waiting",
                  (json_int_t)level.waiting, "line", (json_int_t)v->origin.line);
    json_object_set_new(o, "allows", admin_json_text(sv_of(allows)));
    json_object_set_new(o, "file", admin_json_text(sv_of(v->origin.file)));
    json_object_set_new(o, "section", admin_json_text(sv_of(v->origin.section)));
    if (l->measure == LIMIT_CONNECTIONS) {
        json_object_set_new(o, "max", json_integer(level.max));
        json_object_set_new(o, "used", json_integer(level.used));
        json_object_set_new(o, "used_here", json_integer(level.used_here));
    } else {
        char rate[UNITS_SIZE];
        json_object_set_new(o, "rate", json_string(units_format_rate(&level.rate, rate)));
    }
    json_object_set_new(o, "waiters", waiter_names(l));
    json_object_set_new(o, "holds", json_boolean(s->queue->line == l));
    admin_send(s->admin, o);
}

static void show_limit(void *arg, const struct throttle_rule *r)
{
    struct showing *s = arg;
    char key[1000];

    snprintf(key, sizeof(key), "%d %s", (int)r->measure, r->name);
    if (json_object_get(s->seen, key))
        return;
    json_object_set_new(s->seen, key, json_true());
    struct limit *l = limit_get(engine_limits(s->pipe->engine), r->measure, sv_of(r->name));
    if (r->measure == LIMIT_CONNECTIONS)
        limit_set_max(l, r->max);
    else
        limit_set_rate(l, &r->rate);
    show_one(s, l, l->name, r->value, r->value->text);
    limit_unref(l);
}

/* What adaptive and warm-up allow now, for the addresses that have sent. */
static void show_pace(struct showing *s, struct queue *q, const struct vmta_source *source)
{
    const struct pace_pair *pair = throttle_known_pair(s->pipe->engine, q, source);
    struct pace_view v;

    if (!pair)
        return;
    pace_pair_view(pair, &v);
    const struct limit *both[] = {v.adaptive_limit, v.warmup_limit};
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        struct buf name = {0}, sentence = {0};
        if (!both[i])
            continue;
        pace_say_limit(&v, both[i], s->now_us / 1000, &name, &sentence);
        buf_reset(&sentence);
        pace_say_allowed(&v, both[i], &sentence);
        show_one(s, both[i], buf_data(&name), pace_value(s->pipe->engine, q, &v, both[i]),
                 buf_data(&sentence));
        buf_free(&name);
        buf_free(&sentence);
    }
}

static void show_host(struct showing *s, struct queue *q, const struct vmta_source *source,
                      struct strview text, const struct sockaddr_storage *addr)
{
    char name[256];

    snprintf(name, sizeof(name), "%.*s", SV_ARG(text));
    struct delivery_host host = {.name = name, .addr = *addr};
    throttle_explain(s->pipe->engine, q, source, &host, show_limit, s);
}

/* The hosts that the queue knows by now, for mx-connection-limit and ip-connection-limit. */
static void show_hosts(struct showing *s, struct queue *q, const struct vmta_source *source)
{
    size_t n = 0;

    if (!throttle_numbers(s->pipe->engine, q)->has_host_limits)
        return;
    for (size_t i = 0; i < q->settings.host_count && n < MOST_HOSTS; i++) {
        const struct host_entry *h = &q->settings.hosts[i];
        if (h->kind == HOST_ADDRESS) {
            show_host(s, q, source, h->name, &h->addr);
            n++;
        }
    }
    for (size_t i = 0; i < q->route.count; i++) {
        const struct route *r = q->route.routes[i];
        for (size_t k = 0; r && r->status == ROUTE_OK && k < r->address_count && n < MOST_HOSTS;
             k++, n++)
            show_host(s, q, source, r->addresses[k].host, &r->addresses[k].addr);
    }
}

void show_limits(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview domain = admin_text(a, "domain"), vmta = admin_text(a, "vmta");
    struct strview slash = domain;
    struct showing s = {p, a, NULL, NULL, clock_wall_us()};

    if (!vmta.len && sv_split(&slash, '/', &domain) && slash.ptr)
        vmta = slash;
    if (!vmta.len) {
        vmta = sv_of(config_text(p->config, &(struct config_query){.pipe = sv_of(p->name)},
                                 DIR_DEFAULT_VIRTUAL_MTA));
        if (!vmta.len)
            vmta = SV(VMTA_DEFAULT);
    }
    if (!domain.len || domain.len > 253) {
        admin_error(a, "'domain' is missing or too long");
        return;
    }
    struct queue *q = engine_ask_queue(p->engine, domain, vmta);
    if (!q) {
        admin_error(a, "'vmta' is no virtual MTA (a pool's limits are those of its members)");
        return;
    }
    s.queue = q;
    admin_send(a, group_of_queue(p, q));
    s.seen = json_object();
    for (size_t i = 0; i < q->vmta->source_count && i < MOST_SOURCES; i++) {
        throttle_explain(p->engine, q, &q->vmta->sources[i], NULL, show_limit, &s);
        show_pace(&s, q, &q->vmta->sources[i]);
        show_hosts(&s, q, &q->vmta->sources[i]);
    }
    json_decref(s.seen);
    admin_end(a);
}
