/*
 * The loop's side of a spool: takes requests, starts one group commit after the other in the thread
 * pool, hands out results, keeps the counters. See spool.h for the contract and internal.h for who
 * may touch what.
 *
 * Happy path: spool_append queues and wakes the turn handle; at the end of the loop's turn all that
 * waits is taken by one commit job (commit.c); when it is back, done() is called for each append
 * and the next batch goes at once. Requests put off like this make sure that no callback fires
 * inside the call that asked for it.
 *
 * What goes wrong: after a failed commit the spool is not writable: appends are refused with the
 * error, events wait in memory, and a probe job tries once a second. Memory: the struct is freed in
 * handle_closed, when the last handle is.
 */
#include "spool/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"

static void commit_start(struct spool *s);
static void on_turn(uv_check_t *handle);
static void on_spin(uv_idle_t *handle);
enum { GATHER_MS = 5, GATHER_BYTES = 64 * 1024 };

static void on_sync_timer(uv_timer_t *timer);
static void on_gather_timer(uv_timer_t *timer);
static void on_probe_timer(uv_timer_t *timer);

/* ---- segments ---- */

static size_t segment_index(const struct spool *s, uint32_t number)
{
    size_t low = 0, high = s->segment_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (s->segments[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct segment *spool_segment(const struct spool *s, uint32_t number)
{
    size_t i = segment_index(s, number);
    return i < s->segment_count && s->segments[i]->number == number ? s->segments[i] : NULL;
}

struct segment *spool_segment_add(struct spool *s, uint32_t number, uint16_t kind, uint64_t bytes)
{
    size_t i = segment_index(s, number);
    struct segment *g = xcalloc(1, sizeof(*g));
    *g = (struct segment){.number = number, .fd = -1, .kind = kind, .bytes = bytes};
    if (s->segment_count == s->segment_cap) {
        s->segment_cap = s->segment_cap ? s->segment_cap * 2 : 16;
        s->segments = xrealloc(s->segments, s->segment_cap * sizeof(*s->segments));
    }
    memmove(s->segments + i + 1, s->segments + i, (s->segment_count - i) * sizeof(*s->segments));
    s->segments[i] = g;
    s->segment_count++;
    return g;
}

static void close_segment(struct spool *s, struct segment *g)
{
    if (g->fd < 0)
        return;
    close(g->fd);
    g->fd = -1;
    s->open_segments--;
}

static void free_segment(struct spool *s, struct segment *g)
{
    close_segment(s, g);
    free(g);
}

void spool_segment_drop(struct spool *s, struct segment *g)
{
    size_t i = segment_index(s, g->number);
    BUG_ON(s->segments[i] != g);
    memmove(s->segments + i, s->segments + i + 1,
            (s->segment_count - i - 1) * sizeof(*s->segments));
    s->segment_count--;
    g->gone = true;
    if (!g->refs)
        free_segment(s, g);
}

void spool_segment_unref(struct spool *s, struct segment *g)
{
    BUG_ON(!g->refs);
    if (!--g->refs && g->gone)
        free_segment(s, g);
}

/* Descriptors are a limited good: closes those that nobody reads from. */
static void close_idle_segments(struct spool *s)
{
    for (size_t i = 0; i < s->segment_count; i++)
        if (!s->segments[i]->refs)
            close_segment(s, s->segments[i]);
}

int spool_segment_fd(struct spool *s, struct segment *g)
{
    if (g->fd >= 0)
        return g->fd;
    if (s->open_segments >= SPOOL_MAX_OPEN_SEGMENTS)
        close_idle_segments(s);
    int fd = spool_dir_open_file(s->dir.segments, g->number);
    if (fd < 0)
        return fd;
    g->fd = fd;
    s->open_segments++;
    return fd;
}

void spool_segment_gain(struct segment *g, uint64_t bytes)
{
    g->live_messages++;
    g->live_bytes += bytes;
}

void spool_segment_lose(struct spool *s, struct segment *g, uint64_t bytes)
{
    BUG_ON(!g->live_messages);
    g->live_messages--;
    g->live_bytes -= MIN_OF(bytes, g->live_bytes);
    g->removable_after = s->journal_queued;
    if (!g->live_messages)
        spool_wake(s);
}

/* ---- journal ---- */

void spool_journal_file_add(struct spool *s, uint64_t number, uint64_t bytes)
{
    size_t i = s->journal_count++;
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

static struct account *account_of(struct spool *s, int fd)
{
    size_t i = 0;
    while (i < s->account_count && (s->accounts[i].fd != fd || s->accounts[i].ended))
        i++;
    BUG_ON(i == SPOOL_MAX_ACCOUNTS);
    if (i == s->account_count) {
        s->accounts[i] = (struct account){.fd = fd};
        s->account_count++;
    }
    return &s->accounts[i];
}

void spool_accounting(struct spool *s, int fd, struct strview bytes)
{
    buf_append_sv(&account_of(s, fd)->waiting, bytes);
    spool_wake(s);
}

void spool_accounting_end(struct spool *s, int fd, void (*ended)(void *arg, int fd), void *arg)
{
    struct account *a = account_of(s, fd);

    a->ended = ended;
    a->arg = arg;
    s->accounts_ending++;
    spool_wake(s);
}

/* Between commits: what has ended and is synced goes. */
static void release_accounts(struct spool *s)
{
    for (size_t i = 0; s->accounts_ending && i < s->account_count;) {
        struct account a = s->accounts[i];
        if (!a.ended || a.dirty || buf_len(&a.waiting) || a.taken_done < buf_len(&a.taken)) {
            i++;
            continue;
        }
        s->account_count--;
        memmove(&s->accounts[i], &s->accounts[i + 1], (s->account_count - i) * sizeof(a));
        s->accounts_ending--;
        buf_free(&a.waiting);
        buf_free(&a.taken);
        a.ended(a.arg, a.fd);
    }
}

/* ---- appends ---- */

static message_id next_id(struct spool *s)
{
    message_id id = (message_id)clock_wall_us() << 8 | s->id_hash;
    if (id <= s->last_id)
        id = (((s->last_id >> 8) + 1) << 8) | s->id_hash;
    return s->last_id = id;
}

void spool_append(struct spool *s, struct spool_append *a)
{
    a->id = next_id(s);
    a->next = NULL;
    if (a->content_fd < 0)
        a->content_bytes = a->content.len;
    *s->waiting_tail = a;
    s->waiting_tail = &a->next;
    s->waiting_count++;
    spool_wake(s);
}

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

/* ---- commit ---- */

static bool has_accounting(const struct spool *s)
{
    for (size_t i = 0; i < s->account_count; i++)
        if (buf_len(&s->accounts[i].waiting) ||
            s->accounts[i].taken_done < buf_len(&s->accounts[i].taken))
            return true;
    return false;
}

/* Something was written that the next sync must cover. */
static bool has_unsynced(const struct spool *s)
{
    for (size_t i = 0; i < s->account_count; i++)
        if (s->accounts[i].dirty)
            return true;
    return buf_len(&s->journal_unsynced) > 0;
}

static bool commit_wanted(const struct spool *s)
{
    return s->waiting || buf_len(&s->journal_waiting) || s->rotate_due || s->probe_due ||
           has_accounting(s) || s->accounts_ending || (s->sync_due && has_unsynced(s)) ||
           (s->closing && !s->last_commit_made);
}

/* Outcomes without new messages are gathered for a few milliseconds: a job in the thread pool for
 * each turn of the loop costs more than what it writes. What a kill -9 can lose by that was in
 * flight a moment ago and is delivered again. */
static bool gathering(struct spool *s)
{
    if (s->waiting || s->sync_due || s->accounts_ending || s->rotate_due || s->probe_due ||
        s->closing || s->gather_due || !s->writable || buf_len(&s->journal_waiting) >= GATHER_BYTES)
        return false;
    if (!uv_is_active((uv_handle_t *)&s->gather_timer))
        uv_timer_start(&s->gather_timer, on_gather_timer, GATHER_MS, 0);
    return true;
}

static void take_accounting(struct spool *s)
{
    for (size_t i = 0; i < s->account_count; i++) {
        struct account *a = &s->accounts[i];
        buf_consume(&a->taken, a->taken_done);
        a->taken_done = 0;
        if (!buf_len(&a->taken)) {
            struct buf empty = a->taken;
            a->taken = a->waiting;
            a->waiting = empty;
            buf_reset(&a->waiting);
        } else {
            buf_append_sv(&a->taken, buf_view(&a->waiting));
            buf_reset(&a->waiting);
        }
    }
}

/* Moves what waits into the commit. */
static void take_batch(struct spool *s)
{
    struct commit *c = &s->commit;
    struct buf empty = c->journal;

    c->append_count = s->waiting_count;
    c->appends = take_waiting(s);
    c->status = c->append_count ? xcalloc(c->append_count, sizeof(int)) : NULL;
    buf_reset(&empty);
    c->journal = s->journal_waiting;
    s->journal_waiting = empty;
    c->journal_seq = s->journal_queued;
    take_accounting(s);
    c->account_count = s->account_count;
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

static void grow_journal_file(struct spool *s, spool_journal_place at, size_t len)
{
    uint64_t number = at >> PLACE_BITS;
    for (size_t i = s->journal_count; i-- > 0;)
        if (s->journals[i].number == number)
            s->journals[i].bytes += len;
}

static void note_journal(struct spool *s)
{
    struct commit *c = &s->commit;
    if (c->repeated_at) {
        grow_journal_file(s, c->repeated_at, buf_len(&s->journal_unsynced));
        report_places(s, buf_view(&s->journal_unsynced), c->repeated_at);
        buf_reset(&s->journal_unsynced);
        s->ledger_synced = s->ledger_written;
    }
    if (!c->journal_written) {
        /* first in line for the next try */
        buf_append_sv(&c->journal, buf_view(&s->journal_waiting));
        struct buf waiting = c->journal;
        c->journal = s->journal_waiting;
        s->journal_waiting = waiting;
    } else {
        ledger_count_bytes(&s->ledger_written, buf_view(&c->journal));
        grow_journal_file(s, c->journal_at, buf_len(&c->journal));
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

static void answer_appends(struct spool *s)
{
    struct commit *c = &s->commit;
    struct spool_append *a = c->appends;
    int64_t now = c->append_count ? clock_wall_ms() : 0;
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

static void commit_finish(struct spool *s)
{
    struct commit *c = &s->commit;
    s->commits++;
    s->last_commit_us = c->took_us;
    note_new_files(s);
    note_appends(s);
    note_journal(s);
    if (c->rotate && (!c->error || s->closing))
        collect_rotated(s);
    else if (c->rotate)
        s->rotate_due = true;
    note_health(s);
    answer_appends(s);
    c->running = false;
    release_accounts(s);
    if (has_unsynced(s) && !s->closing && !uv_is_active((uv_handle_t *)&s->sync_timer))
        uv_timer_start(&s->sync_timer, on_sync_timer, (uint64_t)s->options.journal_sync_ms, 0);
    commit_start(s);
    maintain(s);
    spool_close_step(s);
}

static void on_commit_done(uv_work_t *work, int status)
{
    struct spool *s = container_of(work, struct spool, commit.work);
    (void)status; /* never cancelled */
    commit_finish(s);
}

static void commit_start(struct spool *s)
{
    if (s->commit.running || s->handles_closing)
        return;
    refuse_invalid(s);
    bool try_now = s->writable || s->probe_due || (s->closing && !s->last_commit_made);
    if (!try_now)
        answer(take_waiting(s), s->last_error);
    if (!try_now || !commit_wanted(s) || gathering(s))
        return;
    take_batch(s);
    s->gather_due = false;
    uv_timer_stop(&s->gather_timer);
    s->commit.running = true;
    BUG_ON(uv_queue_work(s->loop, &s->commit.work, on_commit_work, on_commit_done) < 0);
}

/* ---- the turn ---- */

void spool_wake(struct spool *s)
{
    if (s->handles_closing || !s->open_handles) /* recovery queues events before there is a loop */
        return;
    uv_check_start(&s->turn, on_turn);
    uv_idle_start(&s->spin, on_spin);
}

static void turn(struct spool *s)
{
    uv_check_stop(&s->turn);
    uv_idle_stop(&s->spin);
    spool_run_reads(s);
    commit_start(s);
    maintain(s);
    spool_close_step(s);
}

static void on_turn(uv_check_t *handle)
{
    turn(container_of(handle, struct spool, turn));
}

static void on_spin(uv_idle_t *handle)
{
    (void)handle;
}

static void on_sync_timer(uv_timer_t *timer)
{
    struct spool *s = container_of(timer, struct spool, sync_timer);
    s->sync_due = true;
    commit_start(s);
}

static void on_gather_timer(uv_timer_t *timer)
{
    struct spool *s = container_of(timer, struct spool, gather_timer);
    s->gather_due = true;
    commit_start(s);
}

static void on_probe_timer(uv_timer_t *timer)
{
    struct spool *s = container_of(timer, struct spool, probe_timer);
    s->probe_due = true;
    commit_start(s);
}

/* ---- open and close ---- */

static void init_handles(struct spool *s)
{
    uv_check_init(s->loop, &s->turn);
    uv_idle_init(s->loop, &s->spin);
    uv_timer_init(s->loop, &s->sync_timer);
    uv_timer_init(s->loop, &s->gather_timer);
    uv_timer_init(s->loop, &s->probe_timer);
    uv_timer_init(s->loop, &s->maintenance_timer);
    s->open_handles = SPOOL_HANDLES;
}

static void free_spool(struct spool *s)
{
    while (s->segment_count)
        spool_segment_drop(s, s->segments[s->segment_count - 1]);
    free(s->segments);
    free(s->journals);
    if (s->writer.segment_fd >= 0) {
        if (ftruncate(s->writer.segment_fd, (off_t)s->writer.segment_end) < 0)
            errno = 0; /* preallocated space stays until the segment goes */
        close(s->writer.segment_fd);
    }
    if (s->writer.journal_fd >= 0)
        close(s->writer.journal_fd);
    for (size_t i = 0; i < s->account_count; i++) {
        buf_free(&s->accounts[i].waiting);
        buf_free(&s->accounts[i].taken);
    }
    buf_free(&s->journal_waiting);
    buf_free(&s->journal_unsynced);
    buf_free(&s->commit.journal);
    live_fini(&s->live);
    spool_dir_close(&s->dir);
    free(s->pipe);
    free(s);
}

static void apply_options(struct spool *s, const struct spool_options *o)
{
    s->options = *o;
    s->options.pipe = s->pipe;
    if (!s->options.segment_bytes)
        s->options.segment_bytes = 64u << 20;
    s->options.segment_bytes = MIN_OF(s->options.segment_bytes, (uint64_t)1 << 30);
    if (!s->options.journal_file_bytes)
        s->options.journal_file_bytes = 16u << 20;
    if (s->options.journal_sync_ms <= 0)
        s->options.journal_sync_ms = 100;
}

int spool_open(struct spool **ret, uv_loop_t *loop, int dirfd, const struct spool_options *options,
               const struct spool_ops *ops, void *owner, struct err *e)
{
    struct spool *s = xcalloc(1, sizeof(*s));
    s->loop = loop;
    s->ops = ops;
    s->owner = owner;
    s->pipe = xstrdup(options->pipe);
    apply_options(s, options);
    s->id_hash = (uint8_t)spool_checksum(s->pipe, strlen(s->pipe));
    s->writer.segment_fd = s->writer.journal_fd = -1;
    s->waiting_tail = &s->waiting;
    list_init(&s->reads_done);
    s->next_segment = 1;
    s->writable = true;
    s->dir = (struct spool_dir){-1, -1, -1, -1, -1};

    int rc = spool_dir_open(&s->dir, dirfd, s->pipe, e);
    if (rc == 0)
        rc = spool_recover(s, e);
    if (rc < 0) {
        free_spool(s);
        return rc;
    }
    init_handles(s);
    spool_wake(s); /* maintenance may have something to do already */
    *ret = s;
    return 0;
}

static void handle_closed(uv_handle_t *handle)
{
    struct spool *s = handle->data;
    if (--s->open_handles)
        return;
    void (*closed)(void *arg) = s->closed;
    void *arg = s->closed_arg;
    free_spool(s);
    closed(arg);
}

static void close_handle(struct spool *s, uv_handle_t *handle)
{
    handle->data = s;
    uv_close(handle, handle_closed);
}

void spool_close_step(struct spool *s)
{
    if (!s->closing || s->handles_closing || s->commit.running || s->maintenance ||
        s->reads_in_pool || !list_empty(&s->reads_done))
        return;
    if (!s->last_commit_made || (s->writable && commit_wanted(s))) {
        commit_start(s);
        return;
    }
    if (buf_len(&s->journal_waiting) || buf_len(&s->journal_unsynced))
        log_error(LOG_SPOOL,
                  "journal records could not be made durable, their recipients may be tried again "
                  "bytes=%zu error=%s",
                  buf_len(&s->journal_waiting) + buf_len(&s->journal_unsynced),
                  err_name(s->last_error));
    s->handles_closing = true;
    close_handle(s, (uv_handle_t *)&s->turn);
    close_handle(s, (uv_handle_t *)&s->spin);
    close_handle(s, (uv_handle_t *)&s->sync_timer);
    close_handle(s, (uv_handle_t *)&s->gather_timer);
    close_handle(s, (uv_handle_t *)&s->probe_timer);
    close_handle(s, (uv_handle_t *)&s->maintenance_timer);
}

void spool_close(struct spool *s, void (*done)(void *arg), void *arg)
{
    if (s->closing)
        return;
    s->closing = true;
    s->closed = done;
    s->closed_arg = arg;
    if (s->maintenance_parked)
        maintain_park(s, 0);
    spool_wake(s);
}

int spool_temporary_file(struct spool *s, int *ret_fd, struct err *e)
{
    int fd = spool_dir_unnamed(s->dir.segments);
    if (fd < 0)
        return err_set(e, fd, "spool of pipe '%s': cannot make a temporary file", s->pipe);
    *ret_fd = fd;
    return 0;
}

void spool_ledger(const struct spool *s, struct spool_ledger *ret)
{
    *ret = s->ledger;
}

void spool_stats(const struct spool *s, struct spool_stats *ret)
{
    *ret = (struct spool_stats){
        .segments = (uint32_t)s->segment_count,
        .journal_bytes = spool_journal_bytes(s),
        .journal_waiting_bytes = buf_len(&s->journal_waiting) + buf_len(&s->journal_unsynced) +
                                 (s->commit.running ? buf_len(&s->commit.journal) : 0),
        .commits = s->commits,
        .appended = s->appended,
        .appends_waiting = s->waiting_count + s->commit.append_count,
        .last_commit_us = s->last_commit_us,
        .writable = s->writable,
        .quarantined = s->quarantined,
    };
    for (size_t i = 0; i < s->segment_count; i++) {
        ret->segment_bytes += s->segments[i]->bytes;
        ret->live_bytes += s->segments[i]->live_bytes;
    }
}
