/*
 * Effective settings of queues and virtual MTAs; see settings.h. Called by the engine when a queue
 * is made and after a reload. The configuration was checked by root: what does not parse here was
 * not in the snapshot, so errors fall back to the table's defaults.
 */
#include "queue/settings.h"

#include "mail/host_list.h"
#include "queue/vmta.h"

uint32_t settings_total_connections(const struct config *cfg, const struct config_query *q)
{
    const struct config_value *v = config_get(cfg, q, DIR_MAX_SMTP_OUT);
    return v->origin.file ? (uint32_t)v->number : 0;
}

void queue_settings_resolve(struct queue_settings *ret, struct config *cfg, struct strview pipe,
                            const struct vmta *vmta, struct strview domain, struct strview group)
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
