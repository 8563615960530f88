/*
 * Group commits, seen from the loop: decides when one is due, takes all that waits as its batch,
 * and when the job (commit.c, in the thread pool) is back, notes where everything is and answers
 * the appends. One job at a time; the next goes as soon as that one is back.
 *
 * Called at the end of the loop's turn (spool.c) and by three timers: journal records gather for a
 * few milliseconds, what was written is synced a while later, and after a failed commit a
 * probe is made. Until that succeeds appends are answered with the error.
 */
#include "spool/internal.h"

enum { GATHER_MS = 5, GATHER_BYTES = 64 * 1024 };

static void on_sync_timer(uv_timer_t *timer);
static void on_gather_timer(uv_timer_t *timer);
static void on_probe_timer(uv_timer_t *timer);

static bool append_is_valid(const struct spool_append *a)
{
    return a->rcpt_count && a->rcpt_count <= ENVELOPE_MAX_RCPTS &&
           a->envelope.len <= RECORD_ENVELOPE_MAX && a->content_bytes <= RECORD_CONTENT_MAX;
}

static struct spool_append *take_waiting(struct spool *s)
{
    struct spool_append *a = s->waiting;
    s->waiting = NULL;
    s->waiting_tail = &s->waiting;
    s->waiting_count = 0;
    return a;
}

static void answer(struct spool_append *a, int status)
{
    while (a) {
        struct spool_append *next = a->next;
        a->done(a, status);
        a = next;
    }
}

/* Takes out what can never be stored, so that the job need not think about it. */
static void refuse_invalid(struct spool *s)
{
    struct spool_append **at = &s->waiting, *refused = NULL;
    while (*at) {
        struct spool_append *a = *at;
        if (append_is_valid(a)) {
            at = &a->next;
            continue;
        }
        *at = a->next;
        a->next = refused;
        refused = a;
        s->waiting_count--;
    }
    s->waiting_tail = at;
    answer(refused, -EMSGSIZE);
}

/* Something was written that the next sync must cover. */
static bool has_unsynced(const struct spool *s)
{
    for (size_t i = 0; i < s->account_count; i++)
        if (s->accounts[i].dirty)
            return true;
    return buf_len(&s->journal_unsynced) > 0;
}

bool batch_wanted(const struct spool *s)
{
    return s->waiting || buf_len(&s->journal_waiting) || s->rotate_due || s->probe_due ||
           accounts_wait(s) || s->accounts_ending || (s->sync_due && has_unsynced(s)) ||
           (s->closing && !s->last_commit_made);
}

/* Outcomes and accounting records gather for a few milliseconds, also while messages are appended: a
 * write to each of their files for each group of appends costs more than what is in it. What a kill
 * -9 can lose by that was in flight a moment ago and is delivered again. */
static bool journal_due(const struct spool *s)
{
    return s->sync_due || s->accounts_ending || s->rotate_due || s->probe_due || s->closing ||
           s->gather_due || !s->writable || buf_len(&s->journal_waiting) >= GATHER_BYTES;
}

static void gather(struct spool *s)
{
    if (!uv_is_active((uv_handle_t *)&s->gather_timer))
        uv_timer_start(&s->gather_timer, on_gather_timer, GATHER_MS, 0);
}

static void take_journal(struct spool *s)
{
    struct commit *c = &s->commit;
    struct buf empty = c->journal;

    buf_reset(&empty);
    c->journal = s->journal_waiting;
    s->journal_waiting = empty;
    c->journal_seq = s->journal_queued;
    accounts_take(s);
    c->account_count = s->account_count;
    s->gather_due = false;
    uv_timer_stop(&s->gather_timer);
}

/* Moves what waits into the commit. */
static void take_batch(struct spool *s)
{
    struct commit *c = &s->commit;

    c->append_count = s->waiting_count;
    c->appends = take_waiting(s);
    c->status = c->append_count ? xcalloc(c->append_count, sizeof(int)) : NULL;
    c->account_count = 0;
    if (journal_due(s))
        take_journal(s);
    else if (buf_len(&s->journal_waiting) || accounts_wait(s))
        gather(s);
    c->sync = s->sync_due || s->accounts_ending || s->closing || s->probe_due;
    c->rotate = s->rotate_due;
    c->probe = s->probe_due;
    c->written = s->ledger_written;
    c->synced = s->ledger_synced;
    c->last_id = s->last_id;
    c->new_segments = NULL;
    c->new_segment_count = c->new_journal_count = 0;
    c->repeated_at = c->journal_at = 0;
    c->journal_written = c->journal_synced = false;
    c->error = 0;
    s->sync_due = s->rotate_due = s->probe_due = false;
    s->last_commit_made = s->closing;
}

static void on_commit_work(uv_work_t *work)
{
    commit_run(container_of(work, struct spool, commit.work));
}

static void note_new_files(struct spool *s)
{
    struct commit *c = &s->commit;
    for (size_t i = 0; i < c->new_segment_count; i++) {
        for (size_t k = 0; k < s->segment_count; k++)
            s->segments[k]->active = false;
        spool_segment_add(s, c->new_segments[i], SEGMENT_FRESH, SEGMENT_HEADER_BYTES)->active =
            true;
    }
    free(c->new_segments);
    c->new_segments = NULL;
    for (size_t i = 0; i < c->new_journal_count; i++)
        spool_journal_file_add(s, c->new_journals[i], JOURNAL_HEADER_BYTES);
}

static void note_appends(struct spool *s)
{
    struct commit *c = &s->commit;
    struct spool_append *a = c->appends;
    for (uint32_t i = 0; i < c->append_count; i++, a = a->next) {
        if (c->status[i] < 0)
            continue;
        struct segment *g = spool_segment(s, a->place.segment);
        BUG_ON(!g);
        live_put(&s->live, a->id, g->number, a->rcpt_count);
        spool_segment_gain(g, a->place.length);
        g->bytes = (uint64_t)a->place.offset + a->place.length;
        s->ledger.received += a->rcpt_count;
        s->appended++;
    }
}

static void note_health(struct spool *s)
{
    struct commit *c = &s->commit;
    if (c->error) {
        s->last_error = c->error;
        if (s->writable) {
            s->writable = false;
            s->ops->health(s->owner, false, c->what);
        }
        if (!s->closing && !uv_is_active((uv_handle_t *)&s->probe_timer))
            uv_timer_start(&s->probe_timer, on_probe_timer, SPOOL_PROBE_MS, 0);
    } else if (!s->writable && c->probe) {
        s->writable = true;
        s->ops->health(s->owner, true, "the spool can be written again");
    }
}

static void answer_batch(struct spool *s)
{
    struct commit *c = &s->commit;
    struct spool_append *a = c->appends;
    for (uint32_t i = 0; i < c->append_count; i++) {
        struct spool_append *next = a->next;
        a->done(a, c->status[i]);
        a = next;
    }
    free(c->status);
    c->status = NULL;
    c->appends = NULL;
    c->append_count = 0;
}

static void finish(struct spool *s)
{
    struct commit *c = &s->commit;
    s->commits++;
    s->last_commit_us = c->took_us;
    note_new_files(s);
    note_appends(s);
    journal_committed(s);
    if (c->rotate && (!c->error || s->closing))
        collect_rotated(s);
    else if (c->rotate)
        s->rotate_due = true;
    note_health(s);
    answer_batch(s);
    c->running = false;
    accounts_release(s);
    if (has_unsynced(s) && !s->closing && !uv_is_active((uv_handle_t *)&s->sync_timer))
        uv_timer_start(&s->sync_timer, on_sync_timer, (uint64_t)s->options.journal_sync_ms, 0);
    batch_start(s);
    maintain(s);
    spool_close_step(s);
}

static void on_commit_done(uv_work_t *work, int status)
{
    struct spool *s = container_of(work, struct spool, commit.work);
    (void)status; /* never cancelled */
    finish(s);
}

void batch_start(struct spool *s)
{
    if (s->commit.running || s->handles_closing)
        return;
    refuse_invalid(s);
    bool try_now = s->writable || s->probe_due || (s->closing && !s->last_commit_made);
    if (!try_now)
        answer(take_waiting(s), s->last_error);
    if (!try_now || !batch_wanted(s))
        return;
    if (!s->waiting && !journal_due(s)) {
        gather(s);
        return;
    }
    take_batch(s);
    s->commit.running = true;
    BUG_ON(uv_queue_work(s->loop, &s->commit.work, on_commit_work, on_commit_done) < 0);
}

static void on_sync_timer(uv_timer_t *timer)
{
    struct spool *s = container_of(timer, struct spool, sync_timer);
    s->sync_due = true;
    batch_start(s);
}

static void on_gather_timer(uv_timer_t *timer)
{
    struct spool *s = container_of(timer, struct spool, gather_timer);
    s->gather_due = true;
    batch_start(s);
}

static void on_probe_timer(uv_timer_t *timer)
{
    struct spool *s = container_of(timer, struct spool, probe_timer);
    s->probe_due = true;
    batch_start(s);
}
