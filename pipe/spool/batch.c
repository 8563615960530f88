/*
 * Group commits of messages, seen from the loop: takes all that wait as one batch, and when the job
 * (commit.c, in the thread pool) is back, notes where everything is and answers them. One job at a
 * time; the next goes as soon as that one is back. Until a probe went well after a failure, appends
 * are answered with its error.
 */
#include "spool/internal.h"

#include "base/clock.h"

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

static void take_batch(struct spool *s)
{
    struct commit *c = &s->commit;

    c->append_count = s->waiting_count;
    c->appends = take_waiting(s);
    c->status = xcalloc(c->append_count, sizeof(int));
    c->last_id = s->last_id;
    c->new_segments = NULL;
    c->new_segment_count = 0;
    c->error.code = 0;
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

static void answer_batch(struct spool *s)
{
    struct commit *c = &s->commit;
    struct spool_append *a = c->appends;
    int64_t now = clock_wall_ms();
    for (uint32_t i = 0; i < c->append_count; i++) {
        struct spool_append *next = a->next;
        a->durable_ms = now;
        a->done(a, c->status[i]);
        a = next;
    }
    free(c->status);
    c->status = NULL;
    c->appends = NULL;
    c->append_count = 0;
}

static void on_commit_done(uv_work_t *work, int status)
{
    struct spool *s = container_of(work, struct spool, commit.work);
    (void)status; /* never cancelled */
    s->commits++;
    s->last_commit_us = s->commit.took_us;
    note_new_files(s);
    note_appends(s);
    health_note(s, &s->commit.error);
    answer_batch(s);
    s->commit.running = false;
    batch_start(s);
    journal_batch_start(s); /* a probe waits for this */
    maintain(s);
    spool_close_step(s);
}

void batch_start(struct spool *s)
{
    if (s->commit.running || s->handles_closing)
        return;
    refuse_invalid(s);
    if (!s->writable)
        answer(take_waiting(s), s->last_error);
    if (!s->waiting)
        return;
    take_batch(s);
    s->commit.running = true;
    BUG_ON(uv_queue_work(s->loop, &s->commit.work, on_commit_work, on_commit_done) < 0);
}
