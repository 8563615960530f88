/*
 * Queues and the moves of their entries; see queue.h. Invariant: every entry with state READY is in
 * its lane, every one with DEFERRED in deferred, and live counts those and the ones that are out with
 * connections.
 */
#include "queue/queue.h"
#include "queue/throttle.h"

#include "base/clock.h"

#include <stdio.h>

struct queue *queue_new(struct engine *engine, struct strview domain, struct vmta *vmta,
                        struct queue *base, enum tls_ask ask)
{
    struct queue *q = xcalloc(1, sizeof(*q));
    struct buf name = {0};

    buf_printf(&name, "%.*s/%s%s", SV_ARG(domain), vmta->name, tls_ask_suffix(ask));
    q->ask = ask;
    q->base = base;
    if (base)
        base->variants[ask] = q;
    q->name = buf_take(&name);
    q->domain = sv(q->name, domain.len);
    q->engine = engine;
    q->vmta = vmta;
    q->route.queue = q;
    q->idle_since_ms = clock_mono_ms();
    list_init(&q->lanes);
    lane_init_plain(&q->plain, q);
    list_init(&q->senders);
    list_init(&q->idle);
    list_init(&q->runnable);
    list_init(&q->failing);
    list_init(&q->in_memo);
    list_init(&q->configured);
    list_init(&q->waiter.link);
    list_init(&q->host_wait);
    q->rate_percent = 100;
    list_init(&q->in_group);
    list_init(&q->moving);
    list_init(&q->stranded);
    heap_node_init(&q->wake);
    return q;
}

void queue_free(struct queue *q)
{
    BUG_ON(q->live || q->sender_count || q->line);
    list_remove(&q->runnable);
    list_remove(&q->moving);
    list_remove(&q->stranded);
    list_remove(&q->failing);
    list_remove(&q->in_memo);
    list_remove(&q->configured);
    throttle_fini(q);
    queue_group_leave(q);
    if (q->base)
        q->base->variants[q->ask] = NULL;
    for (size_t i = 0; i < TLS_ASK_COUNT; i++)
        if (q->variants[i])
            q->variants[i]->base = NULL;
    queue_settings_fini(&q->settings);
    lanes_free_all(q);
    heap_fini(&q->turns);
    heap_fini(&q->deferred);
    free(q->last_text);
    free(q->name);
    free(q);
}

static void enter_ready(struct queue *q, struct entry *e, bool in_front)
{
    BUG_ON(e->state == ENTRY_READY || e->state == ENTRY_DEFERRED);
    e->state = ENTRY_READY;
    e->queue = q;
    lane_put(q, e, in_front);
}

void queue_ready(struct queue *q, struct entry *e)
{
    enter_ready(q, e, false);
}

void queue_ready_front(struct queue *q, struct entry *e)
{
    enter_ready(q, e, true);
}

void queue_defer(struct queue *q, struct entry *e, int64_t until_wall_ms)
{
    BUG_ON(e->state == ENTRY_READY || e->state == ENTRY_DEFERRED);
    e->state = ENTRY_DEFERRED;
    e->queue = q;
    heap_node_init(&e->wake);
    heap_set(&q->deferred, &e->wake, until_wall_ms);
}

void queue_take(struct queue *q, struct entry *e, enum entry_state to)
{
    if (e->state == ENTRY_READY) {
        lane_take(q, e);
    } else {
        BUG_ON(e->state != ENTRY_DEFERRED);
        heap_remove(&q->deferred, &e->wake);
    }
    e->state = (uint8_t)to;
}

struct entry *queue_any_waiting(struct queue *q)
{
    struct heap_node *deferred = heap_min(&q->deferred);

    if (deferred)
        return container_of(deferred, struct entry, wake);
    list_for_each (l, &q->lanes) {
        struct list *ready = list_first(&list_entry(l, struct lane, of_queue)->entries);
        if (ready)
            return list_entry(ready, struct entry, link);
    }
    return NULL;
}

bool queue_collect_due(struct queue *q, int64_t now_wall_ms)
{
    bool moved = false;

    for (struct heap_node *n; (n = heap_min(&q->deferred)) && n->key <= now_wall_ms;) {
        struct entry *e = container_of(n, struct entry, wake);
        queue_take(q, e, ENTRY_DETACHED);
        queue_ready(q, e);
        moved = true;
    }
    return moved;
}

const char *queue_state_name(const struct queue *q, bool pipe_paused)
{
    if (q->paused || pipe_paused)
        return "paused";
    if (q->sender_count > q->coming)
        return "active";
    if (q->held)
        return "held";
    if (q->retry_at_ms)
        return "retry";
    if (q->ready_count)
        return q->sender_count || q->route.pending ? "connecting" : "active";
    if (q->held_count)
        return "held";
    return q->live ? "waiting" : "idle";
}

void queue_set_text(struct queue *q, struct strview text)
{
    free(q->last_text);
    q->last_text = xstrndup(text.ptr, MIN_OF(text.len, (size_t)400));
}
