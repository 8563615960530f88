/*
 * Effective settings of queues and virtual MTAs; see settings.h. Called by the engine when a queue
 * is made and after a reload. The configuration was checked by root: what does not parse here was
 * not in the snapshot, so errors fall back to the table's defaults.
 */
#include "queue/settings.h"

#include "mail/host_list.h"
#include "queue/vmta.h"

const struct config_value *queue_limit_value(const struct config *cfg, const struct config_query *q,
                                             enum queue_limit which, enum queue_mode mode)
{
    static const struct {
        enum directive normal, backoff;
    } rows[QLIMIT_COUNT] = {
#define LIMIT_ROW(id) [QLIMIT_##id] = {DIR_##id, DIR_BACKOFF_##id},
        QUEUE_LIMITS(LIMIT_ROW)
#undef LIMIT_ROW
    };
    if (mode == QUEUE_BACKOFF) {
        const struct config_value *twin = config_get(cfg, q, rows[which].backoff);
        if (twin->text)
            return twin;
    }
    return config_get(cfg, q, rows[which].normal);
}

void queue_pace_resolve(struct pace_settings *ret, const struct config *cfg,
                        const struct config_query *q, enum queue_mode mode)
{
    *ret = (struct pace_settings){
        .adaptive = config_bool(cfg, q, DIR_ADAPTIVE),
        .min_rate = config_get(cfg, q, DIR_ADAPTIVE_MIN_RATE)->rate,
        .start_rate = config_get(cfg, q, DIR_ADAPTIVE_START_RATE)->rate,
        .max_rate = queue_limit_value(cfg, q, QLIMIT_MAX_MSG_RATE, mode)->rate,
        .warmup_ms = config_number(cfg, q, DIR_WARMUP),
        .warmup_start_rate = config_get(cfg, q, DIR_WARMUP_START_RATE)->rate,
        .warmup_max_deferred_percent = (unsigned)config_number(cfg, q, DIR_WARMUP_MAX_DEFERRED),
        .warmup_max_bounced_percent = (unsigned)config_number(cfg, q, DIR_WARMUP_MAX_BOUNCED),
        .warmup_upon_trouble = (int)config_number(cfg, q, DIR_WARMUP_UPON_TROUBLE),
    };
    const struct config_value *schedule = config_get(cfg, q, DIR_WARMUP_SCHEDULE);
    if (schedule->text)
        ret->warmup_schedule = schedule->rates;
}

void queue_settings_resolve(struct queue_settings *ret, struct config *cfg, struct strview pipe,
                            const struct vmta *vmta, struct strview domain, struct strview group,
                            enum tls_ask ask)
{
    struct config_query q = {
        .domain = domain,
        .group = group,
        .vmta = sv_of(vmta->name),
        .pool = sv_of(vmta->pool),
        .pipe = pipe,
    };
    const char *hosts = config_text(cfg, &q, DIR_SMTP_HOSTS);

    *ret = (struct queue_settings){
        .config = config_ref(cfg),
        .bounce_after_ms = config_number(cfg, &q, DIR_BOUNCE_AFTER),
        .port = (uint16_t)config_number(cfg, &q, DIR_SMTP_PORT),
        .priority = (uint8_t)config_number(cfg, &q, DIR_QUEUE_PRIORITY),
        .connect_timeout_ms = config_number(cfg, &q, DIR_CONNECT_TIMEOUT),
        .greeting_timeout_ms = config_number(cfg, &q, DIR_SMTP_GREETING_TIMEOUT),
        .command_timeout_ms = config_number(cfg, &q, DIR_COMMAND_TIMEOUT),
        .data_timeout_ms = config_number(cfg, &q, DIR_DATA_SEND_TIMEOUT),
        .idle_timeout_ms = config_number(cfg, &q, DIR_IDLE_TIMEOUT_OUT),
        .use_pipelining = config_bool(cfg, &q, DIR_USE_PIPELINING),
    };
    if (config_bool(cfg, &q, DIR_VERP))
        ret->bounce_base = verp_base_of(config_text(cfg, &q, DIR_BOUNCE_ADDRESS));
    ret->verp = ret->bounce_base.local.len > 0;
    tls_settings_resolve(&ret->tls, cfg, &q, ask);
    retry_settings_resolve(&ret->retry, cfg, &q);
    react_settings_resolve(&ret->react, cfg, &q);
    if (hosts && *hosts)
        host_list_parse(sv_of(hosts), &ret->arena, &ret->hosts, &ret->host_count, NULL);
}

void queue_settings_fini(struct queue_settings *s)
{
    arena_free(&s->arena);
    config_unref(s->config);
    *s = (struct queue_settings){0};
}

struct route_wants queue_settings_wants(const struct queue_settings *s, size_t i)
{
    uint16_t port = s->host_count ? s->hosts[i].port : 0;

    return (struct route_wants){
        .bits = tls_settings_wants(&s->tls),
        .port = port ? port : s->port,
    };
}
