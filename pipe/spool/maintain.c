/*
 * One maintenance job at a time, the cheapest first: remove finished segments, collect the journal,
 * compact sparse segments. A job that works in slices parks between them on the timer, so that
 * commits and reads get their turn at the disk.
 */
#include "spool/internal.h"

enum { RETRY_MS = 10000 };

static void on_timer(uv_timer_t *timer)
{
    struct spool *s = container_of(timer, struct spool, maintenance_timer);
    bool parked = s->maintenance_parked;
    s->maintenance_parked = false;
    if (!parked)
        maintain(s);
    else if (s->maintenance == MAINTAIN_REMOVE)
        remove_resume(s);
    else if (s->maintenance == MAINTAIN_COMPACT)
        compact_resume(s);
    else if (s->maintenance == MAINTAIN_COLLECT)
        collect_resume(s);
    else
        maintain(s);
}

void maintain_park(struct spool *s, int64_t ms)
{
    s->maintenance_parked = true;
    uv_ref((uv_handle_t *)&s->maintenance_timer);
    uv_timer_start(&s->maintenance_timer, on_timer, (uint64_t)ms, 0);
}

void maintain_look_again(struct spool *s, int64_t ms)
{
    if (uv_is_active((uv_handle_t *)&s->maintenance_timer))
        return;
    uv_timer_start(&s->maintenance_timer, on_timer, (uint64_t)ms, 0);
    uv_unref((uv_handle_t *)&s->maintenance_timer);
}

void maintain(struct spool *s)
{
    if (s->maintenance || s->maintenance_parked || s->closing || !s->writable)
        return;
    if (remove_start(s))
        s->maintenance = MAINTAIN_REMOVE;
    else if (collect_start(s))
        s->maintenance = MAINTAIN_COLLECT;
    else if (compact_start(s))
        s->maintenance = MAINTAIN_COMPACT;
}

void maintain_finished(struct spool *s, int status)
{
    if (status < 0 && !s->closing)
        maintain_park(s, RETRY_MS);
    s->maintenance = MAINTAIN_NOTHING;
    maintain(s);
    spool_close_step(s);
}
