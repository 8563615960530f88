/*
 * Compaction: copies the unfinished messages out of sparse segments into one new segment of copies,
 * so that the sparse ones can go. What a copy must carry along is what became of its recipients,
 * because the old events name the old segment and are collected after it is gone:
 *
 *   list     thread pool: the messages in the victims (headers only)
 *   pick     loop: which of them are unfinished
 *   states   thread pool: the newest event of each recipient, out of the whole journal
 *   copy     thread pool, 4 MiB a slice: records into the new segment, verified; then durable
 *   move     loop, in slices: for each message, first the newest event of each recipient is
 *            journalled again with the new place (copy flag), then the owner is told. Events that
 *            were journalled since the start are kept aside (`late`) and win. A message that was
 *            finished meanwhile has a copy too, so its final events are carried along as well.
 *   end      a victim without messages is removed by remove.c once the journal is synced
 *
 * A crash at any point leaves both records or the old one only; recovery takes the copy when there
 * are two, and journals again what names the old place. It is all or nothing: a victim that kept an
 * unfinished message would outlive the events of those that moved. So a damaged record stops the
 * whole run; its segment is left alone from then on, and the next read of the record sets it aside.
 */
#include "spool/internal.h"

#include "base/fault.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    SPARSE_PERCENT = 30,
    EMPTYING_PERCENT = 10,
    MAX_VICTIMS = 16,
    SLICE_BYTES = 4 * 1024 * 1024,
    MOVE_SLICE = 500,
    PAUSE_MS = 5,
    INTERVAL_MS = 1000,
};

enum compact_step { COMPACT_LIST, COMPACT_STATES, COMPACT_COPY, COMPACT_MOVE };

struct compact_entry {
    message_id id;
    uint64_t length;
    uint32_t segment;
    uint32_t offset;
    uint32_t rcpts;
    uint32_t new_offset;
};

struct compact_job {
    uv_work_t work;
    struct spool *s;
    enum compact_step step;
    uint32_t victims[MAX_VICTIMS];
    size_t victim_count;
    bool damaged[MAX_VICTIMS];
    size_t listing;
    struct compact_entry *entries; /* by id after pick */
    size_t count;
    size_t cap;
    size_t done; /* entries copied, later moved */
    struct journal_file *journals;
    size_t journal_count;
    struct buf events;    /* encoded, of the picked messages */
    struct states states; /* `at` is an offset in events */
    struct buf late;      /* encoded, queued since the start */
    struct states late_states;
    size_t late_indexed; /* bytes of late that late_states knows */
    uint32_t output;
    uint32_t output_tag;
    uint64_t output_end;
    int output_fd;
    bool published;
    int status;
};

/* ---- thread pool ---- */

static void on_listed(void *arg, uint32_t offset, const struct record *r, const char *in, bool ok)
{
    struct compact_job *j = arg;
    (void)in;
    (void)ok;
    if (j->count == j->cap)
        j->entries =
            xrealloc(j->entries, (j->cap = j->cap ? j->cap * 2 : 1024) * sizeof(*j->entries));
    j->entries[j->count++] = (struct compact_entry){
        r->id, record_total_bytes(r), j->victims[j->listing], offset, r->rcpt_count, 0};
}

static void on_damage(void *arg, uint64_t from, uint64_t to, bool to_end)
{
    struct compact_job *j = arg;
    (void)from;
    (void)to;
    (void)to_end;
    j->damaged[j->listing] = true;
    j->status = ERR_CORRUPT;
}

static void list_messages(struct compact_job *j)
{
    for (j->listing = 0; j->status == 0 && j->listing < j->victim_count; j->listing++) {
        struct segment_scan scan = {0, false, on_listed, on_damage, j};
        int fd = spool_dir_open_file(j->s->dir.segments, j->victims[j->listing]);
        int64_t size = fd < 0 ? fd : spool_file_size(fd);
        j->status = size < 0 ? (int)size : segment_scan(&scan, fd, (uint64_t)size);
        if (fd >= 0)
            close(fd);
    }
}

static int compare_ids(const void *a, const void *b)
{
    const struct compact_entry *x = a, *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return (x->segment > y->segment) - (x->segment < y->segment);
}

static bool is_picked(const struct compact_job *j, message_id id)
{
    struct compact_entry key = {.id = id};
    size_t low = 0, high = j->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (j->entries[middle].id < key.id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < j->count && j->entries[low].id == id;
}

static void on_event(void *arg, uint64_t offset, const struct event *e, struct strview encoded)
{
    struct compact_job *j = arg;
    (void)offset;
    if (!is_picked(j, e->id))
        return;
    states_put(&j->states, e, buf_len(&j->events), encoded.len);
    buf_append_sv(&j->events, encoded);
}

static void on_journal_damage(void *arg, uint64_t from, uint64_t to, bool to_end)
{
    (void)arg;
    (void)from;
    (void)to;
    (void)to_end;
}

static void gather_states(struct compact_job *j)
{
    struct journal_scan scan = {on_event, on_journal_damage, j};
    for (size_t i = 0; j->status == 0 && i < j->journal_count; i++) {
        int fd = spool_dir_open_file(j->s->dir.journals, j->journals[i].number);
        j->status = fd < 0 ? fd : journal_scan(&scan, fd, j->journals[i].bytes);
        if (fd >= 0)
            close(fd);
    }
}

static int begin_output(struct compact_job *j)
{
    char header[SEGMENT_HEADER_BYTES];
    struct segment_header h = {
        .kind = SEGMENT_COPIES, .number = j->output, .created_ms = clock_wall_ms()};
    j->output_fd = spool_dir_new_file(j->s->dir.segments, j->output);
    if (j->output_fd < 0)
        return j->output_fd;
    j->output_tag = h.tag = spool_new_tag();
    j->output_end = SEGMENT_HEADER_BYTES;
    segment_header_encode(&h, header);
    return spool_write_at(j->output_fd, header, sizeof(header), 0);
}

static int copy_bytes(struct compact_job *j, int fd, uint64_t from, uint64_t to, uint64_t len)
{
    enum { CHUNK = 256 * 1024 };
    char *chunk = xmalloc(CHUNK);
    int rc = 0;
    for (uint64_t done = 0; rc == 0 && done < len; done += CHUNK) {
        size_t n = (size_t)MIN_OF(len - done, (uint64_t)CHUNK);
        rc = spool_read_at(fd, chunk, n, from + done);
        if (rc == 0)
            rc = spool_write_at(j->output_fd, chunk, n, to + done);
    }
    free(chunk);
    return rc;
}

static int mark_damaged(struct compact_job *j, uint32_t segment)
{
    for (size_t i = 0; i < j->victim_count; i++)
        if (j->victims[i] == segment)
            j->damaged[i] = true;
    return ERR_CORRUPT;
}

/* The record again with another tag. */
static int copy_record(struct compact_job *j, struct compact_entry *e, int fd)
{
    struct record r;
    char header[RECORD_HEADER_BYTES];
    int rc = spool_read_at(fd, header, sizeof(header), e->offset);
    if (rc < 0)
        return rc;
    if (!record_peek(header, &r) || r.id != e->id || record_total_bytes(&r) != e->length)
        return mark_damaged(j, e->segment);
    size_t head = RECORD_HEADER_BYTES + (size_t)r.envelope_bytes;
    char *mem = xmalloc(head);
    rc = spool_read_at(fd, mem, head, e->offset);
    bool good = rc == 0 && record_verify(mem, &r) && segment_content_ok(fd, e->offset + head, &r);
    if (good) {
        r.flags |= RECORD_COPY;
        r.received_before = 0;
        r.batch_offset = 0;
        r.segment_tag = j->output_tag;
        record_encode(&r, sv(mem + RECORD_HEADER_BYTES, r.envelope_bytes), mem);
        rc = spool_write_at(j->output_fd, mem, head, j->output_end);
        if (rc == 0)
            rc = copy_bytes(j, fd, e->offset + head, j->output_end + head, e->length - head);
        e->new_offset = (uint32_t)j->output_end;
        j->output_end += e->length;
    } else if (rc == 0)
        rc = mark_damaged(j, e->segment);
    free(mem);
    return rc;
}

/* Entries are in order of id, which keeps messages of one segment together. */
static void copy_slice(struct compact_job *j)
{
    uint64_t stop;
    uint32_t open = 0;
    int fd = -1;
    if (j->output_fd < 0)
        j->status = begin_output(j);
    stop = j->output_end + SLICE_BYTES;
    while (j->status == 0 && j->done < j->count && j->output_end < stop) {
        struct compact_entry *e = &j->entries[j->done++];
        if (e->segment != open || fd < 0) {
            if (fd >= 0)
                close(fd);
            fd = spool_dir_open_file(j->s->dir.segments, open = e->segment);
        }
        j->status = fd < 0 ? fd : copy_record(j, e, fd);
    }
    if (fd >= 0)
        close(fd);
    if (j->status == 0 && fdatasync(j->output_fd) < 0)
        j->status = -errno;
    if (j->status == 0 && j->done == j->count && j->output_end > SEGMENT_HEADER_BYTES) {
        j->status = spool_dir_publish(j->s->dir.segments, j->output_fd, j->output);
        j->published = j->status == 0;
        FAULT(COMPACTED);
    }
}

static void on_compact_work(uv_work_t *work)
{
    struct compact_job *j = container_of(work, struct compact_job, work);
    if (j->step == COMPACT_LIST)
        list_messages(j);
    else if (j->step == COMPACT_STATES)
        gather_states(j);
    else
        copy_slice(j);
}

/* ---- loop ---- */

static void finish(struct compact_job *j)
{
    struct spool *s = j->s;
    int status = j->status;
    for (size_t i = 0; i < j->victim_count; i++) {
        struct segment *g = spool_segment(s, j->victims[i]);
        g->victim = false;
        g->no_compact = g->no_compact || j->damaged[i];
        g->removable_after = s->journal_queued;
    }
    if (j->output_fd >= 0)
        close(j->output_fd);
    if (!j->published)
        spool_dir_abandon(s->dir.segments, j->output);
    if (status < 0)
        log_warn(LOG_SPOOL, "compaction failed, segments stay as they are error=\"%s\"",
                 err_name(status));
    free(j->entries);
    free(j->journals);
    buf_free(&j->events);
    buf_free(&j->late);
    states_free(&j->states);
    states_free(&j->late_states);
    free(j);
    s->compact = NULL;
    s->compact_after_ms = (int64_t)(uv_hrtime() / 1000000) + INTERVAL_MS;
    maintain_finished(s, status);
}

static void on_compact_done(uv_work_t *work, int status);

static void start_work(struct compact_job *j, enum compact_step step)
{
    j->step = step;
    BUG_ON(uv_queue_work(j->s->loop, &j->work, on_compact_work, on_compact_done) < 0);
}

/* The scan found all messages that the counters speak of; or else something is damaged. */
static void check_victims(struct compact_job *j)
{
    for (size_t i = 0; i < j->victim_count; i++) {
        uint32_t found = 0;
        for (size_t k = 0; k < j->count; k++)
            found += j->entries[k].segment == j->victims[i];
        if (found != spool_segment(j->s, j->victims[i])->live_messages) {
            j->damaged[i] = true;
            j->status = ERR_CORRUPT;
        }
    }
}

/* Keeps the unfinished messages. */
static void pick(struct compact_job *j)
{
    size_t kept = 0;
    for (size_t i = 0; i < j->count; i++) {
        struct live_entry *l = live_find(&j->s->live, j->entries[i].id);
        if (l && l->segment == j->entries[i].segment)
            j->entries[kept++] = j->entries[i];
    }
    j->count = kept;
    check_victims(j);
    if (kept)
        qsort(j->entries, kept, sizeof(*j->entries), compare_ids);
}

void compact_saw(struct spool *s, const char *encoded, size_t len)
{
    struct compact_job *j = s->compact;
    struct event e;
    size_t bytes;
    if (!j)
        return;
    BUG_ON(event_decode(sv(encoded, len), &e, &bytes) < 0);
    for (size_t i = 0; i < j->victim_count; i++)
        if (j->victims[i] == e.place.segment)
            buf_append(&j->late, encoded, len);
}

/* Makes late_states know all of `late`. */
static void index_late(struct compact_job *j)
{
    struct event e;
    size_t bytes;
    while (j->late_indexed < buf_len(&j->late)) {
        const char *at = buf_data(&j->late) + j->late_indexed;
        BUG_ON(event_decode(sv(at, buf_len(&j->late) - j->late_indexed), &e, &bytes) < 0);
        states_put(&j->late_states, &e, j->late_indexed, bytes);
        j->late_indexed += bytes;
    }
}

/* Journals the newest event of one recipient again, for the record's new place. */
static void carry_event(struct compact_job *j, message_id id, uint16_t rcpt,
                        const struct spool_place *to)
{
    const struct state *late = states_get(&j->late_states, id, rcpt);
    const struct state *old = states_get(&j->states, id, rcpt);
    const struct state *st = late ? late : old;
    char copy[EVENT_MAX_BYTES];
    if (!st)
        return;
    memcpy(copy, buf_data(late ? &j->late : &j->events) + st->at, st->bytes);
    event_relocate(copy, to);
    spool_put_copy(j->s, copy, st->bytes);
}

static void move_message(struct compact_job *j, const struct compact_entry *e)
{
    struct spool *s = j->s;
    struct spool_place to = {j->output, e->new_offset, (uint32_t)e->length};
    struct segment *output = spool_segment(s, j->output);

    for (uint32_t rcpt = 0; rcpt < e->rcpts; rcpt++)
        carry_event(j, e->id, (uint16_t)rcpt, &to);
    carry_event(j, e->id, RCPT_ALL, &to);
    struct live_entry *l = live_find(&s->live, e->id);
    if (!l)
        return;
    l->segment = j->output;
    spool_segment_gain(output, e->length);
    spool_segment_lose(s, spool_segment(s, e->segment), e->length);
    if (!s->ops->moved(s->owner, e->id, &to))
        log_warn(LOG_SPOOL, "moved a message that the queue does not have id=%s",
                 message_id_format(e->id, (char[MESSAGE_ID_SIZE]){0}));
}

static void move_slice(struct compact_job *j)
{
    size_t stop = j->s->closing ? j->count : MIN_OF(j->count, j->done + MOVE_SLICE);
    index_late(j);
    for (; j->done < stop; j->done++)
        move_message(j, &j->entries[j->done]);
    if (j->done < j->count) {
        maintain_park(j->s, 1);
        return;
    }
    FAULT(MOVED);
    log_debug(LOG_SPOOL, "compacted segments=%zu messages=%zu bytes=%llu", j->victim_count,
              j->count, (unsigned long long)j->output_end);
    finish(j);
}

static void copied(struct compact_job *j)
{
    struct spool *s = j->s;
    if (j->done < j->count && !s->closing) {
        maintain_park(s, PAUSE_MS);
        return;
    }
    if (!j->published) {
        finish(j);
        return;
    }
    spool_segment_add(s, j->output, SEGMENT_COPIES, j->output_end);
    j->step = COMPACT_MOVE;
    j->done = 0;
    move_slice(j);
}

static void step(struct compact_job *j)
{
    if (j->status < 0 || (j->s->closing && !j->published)) {
        finish(j);
    } else if (j->step == COMPACT_LIST) {
        pick(j);
        if (j->status == 0)
            start_work(j, COMPACT_STATES);
        else
            finish(j);
    } else if (j->step == COMPACT_STATES) {
        start_work(j, COMPACT_COPY);
    } else if (j->step == COMPACT_COPY) {
        copied(j);
    }
}

static void on_compact_done(uv_work_t *work, int status)
{
    (void)status; /* never cancelled */
    step(container_of(work, struct compact_job, work));
}

void compact_resume(struct spool *s)
{
    struct compact_job *j = s->compact;
    if (j->step == COMPACT_MOVE)
        move_slice(j);
    else if (s->closing)
        finish(j);
    else
        start_work(j, COMPACT_COPY);
}

static bool is_sparse(const struct segment *g)
{
    return !g->active && !g->no_compact && g->live_messages &&
           g->live_bytes * 100 < g->bytes * SPARSE_PERCENT;
}

/*
 * A backlog that drains takes its segments along: to copy the last third of each would be work for
 * nothing, and its syncs are what other pipes on the disk wait for. So only what stays is copied: a
 * segment that lost less than a tenth while it was watched.
 */
static bool keep_watching(const struct spool *s, struct segment *g, int64_t now)
{
    if (g->looked_ms && now - g->looked_ms < s->options.settle_ms)
        return true;
    bool stays = g->looked_ms && g->live_bytes * 100 > g->looked_bytes * (100 - EMPTYING_PERCENT);
    g->looked_ms = now;
    g->looked_bytes = g->live_bytes;
    return !stays && s->options.settle_ms > 0;
}

/* *watched: there is a sparse segment that may be one the next time. */
static size_t choose(struct spool *s, int64_t now, uint32_t *victims, bool *watched)
{
    size_t count = 0;
    uint64_t bytes = 0;
    for (size_t i = 0; i < s->segment_count && count < MAX_VICTIMS; i++) {
        struct segment *g = s->segments[i];
        if (!is_sparse(g) || (count && bytes + g->live_bytes > s->options.segment_bytes))
            continue;
        if (keep_watching(s, g, now)) {
            *watched = true;
            continue;
        }
        bytes += g->live_bytes;
        victims[count++] = g->number;
    }
    return count;
}

static void keep_queued_events(struct compact_job *j)
{
    struct spool *s = j->s;
    if (s->journal_commit.running)
        buf_append_sv(&j->late, buf_view(&s->journal_commit.journal));
    buf_append_sv(&j->late, buf_view(&s->journal_waiting));
}

bool compact_start(struct spool *s)
{
    uint32_t victims[MAX_VICTIMS];
    int64_t now = (int64_t)(uv_hrtime() / 1000000);
    bool watched = false;
    if (now < s->compact_after_ms) {
        maintain_look_again(s, s->compact_after_ms - now);
        return false;
    }
    size_t count = choose(s, now, victims, &watched);
    s->compact_after_ms = now + INTERVAL_MS;
    if (!count && watched)
        maintain_look_again(s, s->options.settle_ms);
    if (!count)
        return false;
    struct compact_job *j = s->compact = xcalloc(1, sizeof(*j));
    j->s = s;
    j->output_fd = -1;
    j->victim_count = count;
    memcpy(j->victims, victims, sizeof(victims));
    for (size_t i = 0; i < count; i++)
        spool_segment(s, victims[i])->victim = true;
    j->output = __atomic_fetch_add(&s->next_segment, 1, __ATOMIC_RELAXED);
    j->journals = xcalloc(s->journal_count, sizeof(*j->journals));
    if (s->journal_count)
        memcpy(j->journals, s->journals, s->journal_count * sizeof(*j->journals));
    j->journal_count = s->journal_count;
    keep_queued_events(j);
    start_work(j, COMPACT_LIST);
    return true;
}
