/*
 * Group commits of outcomes and accounting records, seen from the loop: decides when one is due, takes
 * all that waits, and when the job (journal_commit.c, in the thread pool) is back, notes where
 * everything is. One job at a time, beside that of the messages: no client waits for an accounting
 * file.
 *
 * Called at the end of the loop's turn (spool.c) and by two timers: records gather for a few
 * milliseconds, and what was written is synced a while later. After a failed commit they wait for
 * the probe (health.c), which goes with such a commit and has the disk for itself.
 */
#include "spool/internal.h"

enum { GATHER_MS = 5, GATHER_BYTES = 64 * 1024 };

static void on_sync_timer(uv_timer_t *timer);
static void on_gather_timer(uv_timer_t *timer);

/* Something was written that the next sync must cover. */
static bool has_unsynced(const struct spool *s)
{
    return accounts_unsynced(s) || buf_len(&s->journal_unsynced) > 0;
}

bool journal_batch_wanted(const struct spool *s)
{
    return buf_len(&s->journal_waiting) || s->rotate_due || s->probe_due || accounts_wait(s) ||
           s->accounts_ending || (s->sync_due && has_unsynced(s)) ||
           (s->closing && !s->last_commit_made);
}

/* Outcomes and accounting records gather for a few milliseconds: a write to each of their files for
 * each of them costs more than what is in it. What a kill -9 can lose by that was in flight a moment
 * ago and is delivered again. */
static bool is_due(const struct spool *s)
{
    return s->sync_due || s->accounts_ending || s->rotate_due || s->probe_due || s->closing ||
           s->gather_due || buf_len(&s->journal_waiting) >= GATHER_BYTES;
}

static void gather(struct spool *s)
{
    if (!uv_is_active((uv_handle_t *)&s->gather_timer))
        uv_timer_start(&s->gather_timer, on_gather_timer, GATHER_MS, 0);
}

static void take(struct spool *s)
{
    struct journal_commit *c = &s->journal_commit;
    struct buf empty = c->journal;

    buf_reset(&empty);
    c->journal = s->journal_waiting;
    s->journal_waiting = empty;
    c->journal_seq = s->journal_queued;
    accounts_take(s);
    c->account_count = s->account_count;
    s->gather_due = false;
    uv_timer_stop(&s->gather_timer);
    c->sync = s->sync_due || s->accounts_ending || s->closing || s->probe_due;
    c->rotate = s->rotate_due;
    c->probe = s->probe_due;
    c->written = s->ledger_written;
    c->synced = s->ledger_synced;
    c->received = s->ledger.received;
    c->last_id = s->last_id;
    c->file_count = 0;
    c->repeated_at = c->journal_at = 0;
    c->journal_written = c->journal_synced = false;
    c->error.code = 0;
    s->sync_due = s->rotate_due = s->probe_due = false;
    s->last_commit_made = s->closing;
}

static void on_work(uv_work_t *work)
{
    journal_commit_run(container_of(work, struct spool, journal_commit.work));
}

static void on_done(uv_work_t *work, int status)
{
    struct spool *s = container_of(work, struct spool, journal_commit.work);
    struct journal_commit *c = &s->journal_commit;

    (void)status; /* never cancelled */
    s->commits++;
    journal_committed(s);
    if (c->rotate && (!c->error.code || s->closing))
        collect_rotated(s);
    else if (c->rotate)
        s->rotate_due = true;
    health_note(s, &c->error);
    if (c->probe && !c->error.code)
        health_regained(s);
    c->running = false;
    accounts_release(s);
    if (has_unsynced(s) && !s->closing && !uv_is_active((uv_handle_t *)&s->sync_timer))
        uv_timer_start(&s->sync_timer, on_sync_timer, (uint64_t)s->options.journal_sync_ms, 0);
    batch_start(s);
    journal_batch_start(s);
    maintain(s);
    spool_close_step(s);
}

void journal_batch_start(struct spool *s)
{
    if (s->journal_commit.running || s->handles_closing || !journal_batch_wanted(s))
        return;
    if (!s->writable && !s->probe_due && !(s->closing && !s->last_commit_made))
        return;
    if (s->probe_due && s->commit.running) /* its end calls here */
        return;
    if (!is_due(s)) {
        gather(s);
        return;
    }
    take(s);
    s->journal_commit.running = true;
    BUG_ON(uv_queue_work(s->loop, &s->journal_commit.work, on_work, on_done) < 0);
}

static void on_sync_timer(uv_timer_t *timer)
{
    struct spool *s = container_of(timer, struct spool, sync_timer);
    s->sync_due = true;
    journal_batch_start(s);
}

static void on_gather_timer(uv_timer_t *timer)
{
    struct spool *s = container_of(timer, struct spool, gather_timer);
    s->gather_due = true;
    journal_batch_start(s);
}
