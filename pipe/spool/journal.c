/*
 * The loop's side of the journal: what becomes of recipients, encoded and waiting for the next
 * commit, and where it stands once that has written it. Called for each outcome (spool_journal), by
 * maintenance, which repeats records and sets damaged messages aside, and by batch.c when a commit
 * is back.
 *
 * What was written is kept until it is synced: after a failed sync the next commit writes it again
 * into a new file. What could not be written goes first in the next try.
 */
#include "spool/internal.h"

void spool_journal_file_put(struct spool *s, uint64_t number, uint64_t bytes)
{
    size_t i = s->journal_count;
    for (; i > 0 && s->journals[i - 1].number >= number; i--)
        if (s->journals[i - 1].number == number) {
            s->journals[i - 1].bytes = bytes;
            return;
        }
    i = s->journal_count++;
    s->journals = xrealloc(s->journals, s->journal_count * sizeof(*s->journals));
    for (; i > 0 && s->journals[i - 1].number > number; i--)
        s->journals[i] = s->journals[i - 1];
    s->journals[i] = (struct journal_file){number, bytes};
}

uint64_t spool_journal_bytes(const struct spool *s)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < s->journal_count; i++)
        bytes += s->journals[i].bytes;
    return bytes;
}

void spool_put_copy(struct spool *s, const char *encoded, size_t len)
{
    buf_append(&s->journal_waiting, encoded, len);
    s->journal_queued += len;
    spool_wake(s);
}

void spool_put_event(struct spool *s, const struct event *e)
{
    size_t len = event_encode(&s->journal_waiting, e);
    s->journal_queued += len;
    ledger_count(&s->ledger, e);
    compact_saw(s, buf_data(&s->journal_waiting) + buf_len(&s->journal_waiting) - len, len);
    spool_wake(s);
}

/* Takes `count` recipients off a message's unfinished ones. */
static void finish_rcpts(struct spool *s, struct live_entry *l, uint32_t count, uint32_t bytes)
{
    l->rcpts -= count;
    if (l->rcpts)
        return;
    struct segment *g = spool_segment(s, l->segment);
    BUG_ON(!g);
    live_remove(&s->live, l->id);
    spool_segment_lose(s, g, bytes);
}

void spool_journal(struct spool *s, const struct spool_event *ev)
{
    struct live_entry *l = live_find(&s->live, ev->id);
    if (!l || ev->state == SPOOL_QUEUED) {
        /* set aside as damaged while an attempt was under way: it has its final record */
        log_warn(LOG_SPOOL, "event for a finished message ignored id=%s rcpt=%u state=%d",
                 message_id_format(ev->id, (char[MESSAGE_ID_SIZE]){0}), ev->rcpt, ev->state);
        return;
    }
    struct event e = {
        .state = (uint8_t)ev->state,
        .id = ev->id,
        .place = {l->segment, ev->place.offset, ev->place.length},
        .rcpt = ev->rcpt,
        .attempts = ev->attempts,
        .next_attempt_ms = ev->next_attempt_ms,
        .count = spool_state_is_final(ev->state),
        .first_attempt_s = ev->first_attempt_s,
        .code = ev->code,
        .phase = ev->phase,
        .text = ev->text,
    };
    spool_put_event(s, &e);
    if (e.count)
        finish_rcpts(s, l, 1, ev->place.length);
}

void spool_set_aside(struct spool *s, message_id id, const struct spool_place *place)
{
    struct live_entry *l = live_find(&s->live, id);
    if (!l)
        return;
    struct event e = {.state = STATE_CORRUPT,
                      .id = id,
                      .place = {l->segment, place->offset, place->length},
                      .rcpt = RCPT_ALL,
                      .count = l->rcpts};
    spool_put_event(s, &e);
    finish_rcpts(s, l, l->rcpts, place->length);
}

/* Tells the owner where encoded events are now. */
static void report_places(struct spool *s, struct strview encoded, spool_journal_place at)
{
    struct event e;
    size_t n;
    while (encoded.len) {
        BUG_ON(event_decode(encoded, &e, &n) < 0);
        collect_saw(s, &e);
        if (s->ops->journalled && e.rcpt != RCPT_ALL)
            s->ops->journalled(s->owner, e.id, e.rcpt, at);
        at += n;
        encoded = sv(encoded.ptr + n, encoded.len - n);
    }
}

void journal_committed(struct spool *s)
{
    struct journal_commit *c = &s->journal_commit;
    for (size_t i = 0; i < c->file_count; i++)
        spool_journal_file_put(s, c->files[i].number, c->files[i].bytes);
    if (c->repeated_at) {
        report_places(s, buf_view(&s->journal_unsynced), c->repeated_at);
        buf_reset(&s->journal_unsynced);
        s->ledger_synced = s->ledger_written;
    }
    if (!c->journal_written && buf_len(&c->journal)) {
        /* first in line for the next try */
        buf_append_sv(&c->journal, buf_view(&s->journal_waiting));
        struct buf waiting = c->journal;
        c->journal = s->journal_waiting;
        s->journal_waiting = waiting;
    } else if (c->journal_written) {
        ledger_count_bytes(&s->ledger_written, buf_view(&c->journal));
        buf_append_sv(&s->journal_unsynced, buf_view(&c->journal));
        report_places(s, buf_view(&c->journal), c->journal_at);
    }
    buf_reset(&c->journal);
    if (c->journal_synced) {
        s->ledger_synced = s->ledger_written;
        s->journal_synced = c->journal_seq;
        buf_reset(&s->journal_unsynced);
    }
}
