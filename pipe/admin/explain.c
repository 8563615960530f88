/*
 * What a setting is for a domain, where it was written, and what it overrode.
 */
#include "admin/pace_words.h"
#include "admin/verbs.h"
#include "base/clock.h"
#include "queue/throttle.h"

#include <stdio.h>

enum { MOST_SOURCES = 16 };

struct explained {
    json_t *winner;
    json_t *overrode;
};

static json_t *value_object(const struct config_value *v)
{
    json_t *o = json_object();
    json_object_set_new(o, "value", admin_json_text(sv_of(v->text ? v->text : "")));
    if (v->origin.file) {
        json_object_set_new(o, "file", admin_json_text(sv_of(v->origin.file)));
        json_object_set_new(o, "line", json_integer(v->origin.line));
        json_object_set_new(o, "section", admin_json_text(sv_of(v->origin.section)));
    }
    return o;
}

static void collect(void *arg, const struct config_value *v, bool wins)
{
    struct explained *x = arg;

    if (wins && !x->winner)
        x->winner = value_object(v);
    else if (!wins && v->text)
        json_array_append_new(x->overrode, value_object(v));
}

/* What the members of a group share: looked up under its name. */
static bool is_shared(enum directive d)
{
#define WITH_TWIN(id) DIR_##id, DIR_BACKOFF_##id
    static const enum directive shared[] = {
        WITH_TWIN(MAX_SMTP_OUT),
        WITH_TWIN(MAX_MSG_RATE),
        WITH_TWIN(MAX_CONNECT_RATE),
        WITH_TWIN(MAX_DATA_VOLUME_RATE),
        WITH_TWIN(SMTP_OUT_RAMPUP_INTERVAL),
        WITH_TWIN(MAX_MSG_PER_CONNECTION),
        WITH_TWIN(MAX_RCPT_PER_TRANSACTION),
        WITH_TWIN(MX_CONNECTION_LIMIT),
        WITH_TWIN(IP_CONNECTION_LIMIT),
        WITH_TWIN(SOURCE_IP_MAX_SMTP_OUT),
        WITH_TWIN(SOURCE_IP_MAX_MSG_RATE),
        WITH_TWIN(SOURCE_IP_MAX_CONNECT_RATE),
        WITH_TWIN(SOURCE_IP_MAX_DATA_VOLUME_RATE),
        DIR_ADAPTIVE,
        DIR_ADAPTIVE_MIN_RATE,
        DIR_ADAPTIVE_START_RATE,
        DIR_WARMUP,
        DIR_WARMUP_START_RATE,
        DIR_WARMUP_SCHEDULE,
        DIR_WARMUP_MAX_DEFERRED,
        DIR_WARMUP_MAX_BOUNCED,
        DIR_WARMUP_UPON_TROUBLE,
    };
#undef WITH_TWIN
    for (size_t i = 0; i < ARRAY_LEN(shared); i++)
        if (shared[i] == d)
            return true;
    return false;
}

/* What adaptive and warm-up have made of it by now, address by address. */
static void say_now(struct engine *g, struct queue *q, enum directive d, struct buf *out)
{
    int64_t now_ms = clock_wall_ms();
    struct pace_view v;

    for (size_t i = 0; i < q->vmta->source_count && i < MOST_SOURCES; i++) {
        const struct pace_pair *pair = throttle_known_pair(g, q, &q->vmta->sources[i]);
        if (!pair)
            continue;
        pace_pair_view(pair, &v);
        bool told = d == DIR_ADAPTIVE ? v.adaptive != NULL : v.warmup != NULL;
        if (!told)
            continue;
        buf_printf(out, "%s%s: ", buf_len(out) ? "; " : "", *v.source ? v.source : "any address");
        if (d == DIR_ADAPTIVE)
            pace_say_adaptive(v.adaptive, out);
        else
            pace_say_warmup(&v, now_ms, out);
    }
}

static bool has_now(const struct config_value *v)
{
    switch (v->directive) {
    case DIR_ADAPTIVE:
        return v->yes;
    case DIR_WARMUP:
        return v->number > 0;
    case DIR_WARMUP_SCHEDULE:
        return v->text != NULL;
    default:
        return false;
    }
}

/* The queue, when there is one; and its pool and group. */
static struct queue *ask_queue(const struct pipe *p, struct config_query *q)
{
    char name[600];
    int len = snprintf(name, sizeof(name), "%.*s/%.*s", SV_ARG(q->domain), SV_ARG(q->vmta));

    if (len >= (int)sizeof(name))
        return NULL;
    str_lower(name, (size_t)len);
    struct queue *queue = engine_find_queue(p->engine, sv(name, (size_t)len));
    if (!queue)
        return NULL;
    q->pool = sv_of(queue->vmta->pool);
    q->group = queue_group_domain(queue);
    return queue;
}

void explain_config(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    char domain[256];
    struct strview d = admin_text(a, "domain");
    struct config_query q = {.vmta = admin_text(a, "vmta"), .pipe = sv_of(p->name)};

    if (!d.len || d.len >= sizeof(domain)) {
        admin_error(a, "'domain' is missing or too long");
        return;
    }
    memcpy(domain, d.ptr, d.len);
    str_lower(domain, d.len);
    q.domain = sv(domain, d.len);
    if (!q.vmta.len) {
        const char *name =
            config_text(p->config, &(struct config_query){.pipe = q.pipe}, DIR_DEFAULT_VIRTUAL_MTA);
        q.vmta = sv_of(name ? name : VMTA_DEFAULT);
    }
    struct queue *queue = ask_queue(p, &q);
    for (int i = 0; i < DIRECTIVE_COUNT; i++) {
        const struct directive_info *info = directive_info((enum directive)i);
        struct explained x = {NULL, json_array()};
        if (!(info->kinds & KIND_DOMAIN)) {
            json_decref(x.overrode);
            continue;
        }
        struct config_query asked = q;
        if (q.group.len && is_shared((enum directive)i))
            asked.domain = q.group;
        config_explain(p->config, &asked, (enum directive)i, collect, &x);
        json_t *o = json_pack("{s:s}", "directive", info->name);
        if (x.winner)
            json_object_update(o, x.winner);
        json_decref(x.winner);
        json_object_set_new(o, "overrode", x.overrode);
        const struct config_value *v = config_get(p->config, &asked, (enum directive)i);
        struct buf now = {0};
        if (queue && has_now(v))
            say_now(p->engine, queue, (enum directive)i, &now);
        if (buf_len(&now))
            json_object_set_new(o, "now", admin_json_text(buf_view(&now)));
        buf_free(&now);
        admin_send(a, o);
    }
    admin_end(a);
}
