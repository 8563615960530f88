/*
 * Whether a spool can be written. After a failed commit of messages or of outcomes it cannot, and a
 * probe, once a second, finds out when it can again (journal_batch.c, commit_probe).
 */
#include "spool/internal.h"

static void on_probe_timer(uv_timer_t *timer)
{
    struct spool *s = container_of(timer, struct spool, probe_timer);
    s->probe_due = true;
    journal_batch_start(s);
}

void health_note(struct spool *s, const struct commit_error *e)
{
    if (!e->code)
        return;
    s->last_error = e->code;
    if (s->writable) {
        s->writable = false;
        s->ops->health(s->owner, false, e->what);
    }
    if (!s->closing && !uv_is_active((uv_handle_t *)&s->probe_timer))
        uv_timer_start(&s->probe_timer, on_probe_timer, SPOOL_PROBE_MS, 0);
}

void health_regained(struct spool *s)
{
    if (s->writable)
        return;
    s->writable = true;
    s->ops->health(s->owner, true, "the spool can be written again");
}
