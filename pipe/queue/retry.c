/*
 * Waits; see retry.h. Called by settle.c when something failed and by the engine when mail comes.
 * Nothing here has a state of its own: the clocks are fields of queue and entry.
 */
#include "queue/retry.h"

#include "base/clock.h"
#include "queue/queue.h"
#include "queue/react.h"

enum {
    FALLBACK_MS = 600000,
    NEW_MAIL_MIN_MS = 1000,  /* hosts that refuse at once are not asked more often */
    GREYLIST_ATTEMPTS = 12,  /* who greylists for ever is then tried as anybody else */
    GREYLIST_JITTER_DIV = 10 /* added only: too early is in vain */
};

static struct retry_form form_of(const struct config *cfg, const struct config_query *q,
                                 enum directive d)
{
    const struct config_value *v = config_get(cfg, q, d);
    return v->text ? v->retry : (struct retry_form){0};
}

void retry_settings_resolve(struct retry_settings *ret, const struct config *cfg,
                            const struct config_query *q)
{
    *ret = (struct retry_settings){
        .queue = form_of(cfg, q, DIR_RETRY_AFTER),
        .backoff = form_of(cfg, q, DIR_BACKOFF_RETRY_AFTER),
        .recipients = form_of(cfg, q, DIR_RETRY_RECIPIENTS_AFTER),
        .dns_error_ms = config_number(cfg, q, DIR_RETRY_AFTER_DNS_ERROR),
        .greylisting_ms = config_number(cfg, q, DIR_RETRY_AFTER_GREYLISTING),
        .upon_new_mail = config_bool(cfg, q, DIR_RETRY_UPON_NEW_MAIL),
    };
}

static int64_t grow(int64_t ms, uint32_t factor_percent, int64_t most)
{
    if (ms > most / (int64_t)factor_percent * 100)
        return most;
    return MIN_OF(ms / 100 * factor_percent + ms % 100 * factor_percent / 100, most);
}

int64_t retry_form_wait_ms(const struct retry_form *f, unsigned n)
{
    size_t i = n ? n - 1 : 0;
    int64_t most = f->max_ms ? f->max_ms : INT64_MAX / 1000;

    if (!f->count)
        return FALLBACK_MS;
    if (i < f->count)
        return f->max_ms ? MIN_OF(f->items[i], f->max_ms) : f->items[i];
    int64_t ms = f->items[f->count - 1];
    if (f->factor_percent <= 100)
        return MIN_OF(ms, most);
    for (i -= f->count - 1; i && ms < most; i--)
        ms = grow(ms, f->factor_percent, most);
    return MIN_OF(ms, most);
}

int64_t retry_form_delay_ms(const struct retry_form *f, unsigned n, uint64_t seed)
{
    int64_t base = retry_form_wait_ms(f, n);
    int64_t jitter = base / 10;

    if (!jitter)
        return base;
    return base - jitter + (int64_t)(hash_u64(seed + n) % (uint64_t)(2 * jitter + 1));
}

static const struct retry_form *queue_form(const struct queue *q)
{
    const struct retry_settings *s = &q->settings.retry;
    return q->mode == QUEUE_BACKOFF && s->backoff.count ? &s->backoff : &s->queue;
}

int64_t retry_queue_delay_ms(const struct queue *q, const struct outcome *o)
{
    if (o->phase == PHASE_DNS)
        return q->settings.retry.dns_error_ms;
    return retry_form_delay_ms(queue_form(q), q->failures, hash_bytes(q->name, strlen(q->name)));
}

static int64_t greylisting_ms(const struct entry *e, int64_t base)
{
    return base + (int64_t)(hash_u64(e->message->id + e->attempts) %
                            (uint64_t)(base / GREYLIST_JITTER_DIV + 1));
}

int64_t retry_recipient_delay_ms(const struct entry *e, const struct outcome *o,
                                 const struct reaction *r)
{
    const struct retry_settings *s = &e->queue->settings.retry;
    const struct retry_form *form = s->recipients.count ? &s->recipients : queue_form(e->queue);
    int64_t wait;

    if (r && r->retry_after_ms > 0)
        return r->retry_after_ms;
    if (o->retry_hint_ms > 0)
        return o->retry_hint_ms;
    wait = retry_form_delay_ms(form, e->attempts, e->message->id);
    if (s->greylisting_ms && wait > s->greylisting_ms && e->attempts <= GREYLIST_ATTEMPTS &&
        reply_is_greylisting(o))
        wait = MIN_OF(wait, greylisting_ms(e, s->greylisting_ms));
    return wait;
}

enum directive retry_recipient_directive(const struct queue *q)
{
    if (q->settings.retry.recipients.count)
        return DIR_RETRY_RECIPIENTS_AFTER;
    return q->mode == QUEUE_BACKOFF ? DIR_BACKOFF_RETRY_AFTER : DIR_RETRY_AFTER;
}

bool retry_upon_new_mail(const struct queue *q)
{
    return q->retry_at_ms && q->settings.retry.upon_new_mail &&
           clock_wall_ms() >= q->failed_at_ms + NEW_MAIL_MIN_MS;
}
