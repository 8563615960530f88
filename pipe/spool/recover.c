/*
 * Recovery, when a spool is opened: rebuilds everything that is known of it from the files alone.
 * Blocks; nothing else runs yet.
 *
 *   1. which segments there are, of which kind, and where the records of each end: what lies behind
 *      the end that the next segment's header gives was never acknowledged
 *   2. the newest segment of appends is verified wholly and its torn tail is cut off
 *   3. the journal: newest event of each recipient; counters from file headers and events
 *   4. segments of copies: an index by id. Then the others in order, merged with the copies by id:
 *      this is the order of arrival. Messages with a recipient left go to the owner.
 *   5. received - ended - left must be 0; what is missing was in a damaged range and is counted as
 *      corrupt from now on
 *
 * Damaged ranges are copied to quarantine/ once, with one line each; they are never fatal.
 */
#include "spool/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

/* What is found about a segment before its records are looked at. */
struct found {
    uint32_t number;
    bool header_good;
    struct segment_header header;
    uint64_t size;
    uint64_t end;
    int fd; /* the segment's, while recovery goes on */
};

struct copy {
    message_id id;
    uint32_t found; /* index */
    uint32_t offset;
    uint32_t head_bytes; /* header and envelope */
};

struct recovery {
    struct spool *s;
    struct found *found;
    size_t count;
    struct found *last; /* newest fresh segment, or NULL */
    struct states states;
    uint64_t journal; /* number of the file being scanned */
    uint64_t journal_good_end;
    bool journal_last;
    bool tail_unmarked; /* events behind the last mark were believed */
    struct found *scanning;
    int scanning_fd;
    uint64_t good_end;  /* of the last segment */
    bool valid_in_tail; /* a valid header follows the last good record */
    struct copy *copies;
    size_t copy_count;
    size_t copy_cap;
    size_t copies_done;
    struct buf head; /* header and envelope of a copy */
    struct arena arena;
    struct spool_recovered_rcpt *rcpts;
    uint32_t rcpts_cap;
    uint64_t left; /* unfinished recipients reported */
};

/* ---- 1: segments ---- */

static int look_at_segment(struct recovery *r, struct found *f, uint64_t number, struct err *e)
{
    struct spool *s = r->s;
    char header[SEGMENT_HEADER_BYTES];
    int64_t size;

    f->number = (uint32_t)number;
    f->fd = spool_dir_open_file(s->dir.segments, number);
    if (f->fd < 0)
        return err_set(e, f->fd, "spool of pipe '%s': cannot open segment %08" PRIu64, s->pipe,
                       number);
    if ((size = spool_file_size(f->fd)) < 0)
        return err_set(e, (int)size, "spool of pipe '%s': cannot look at segment %08" PRIu64,
                       s->pipe, number);
    f->size = f->end = (uint64_t)size;
    f->header_good = spool_read_at(f->fd, header, sizeof(header), 0) == 0 &&
                     segment_header_decode(header, &f->header) && f->header.number == f->number;
    if (!f->header_good) {
        f->header = (struct segment_header){.number = f->number};
        log_error(LOG_SPOOL,
                  "segment header is damaged, its records are read without it segment=%u",
                  f->number);
    }
    return 0;
}

/* A later header says where the records of the segment before it end. */
static void apply_ends(struct recovery *r)
{
    struct spool *s = r->s;
    for (size_t i = 0; i < r->count; i++) {
        struct found *f = &r->found[i];
        for (size_t k = i; f->header_good && f->header.prev_number && k-- > 0;)
            if (r->found[k].number == f->header.prev_number)
                r->found[k].end = MIN_OF(r->found[k].end, f->header.prev_end);
        if (f->header.kind == SEGMENT_FRESH) {
            r->last = f;
            s->writer.received = MAX_OF(s->writer.received, f->header.received);
        }
        s->last_id = MAX_OF(s->last_id, f->header.last_id);
        s->next_segment = f->number + 1;
    }
}

static int find_segments(struct recovery *r, struct err *e)
{
    uint64_t *numbers = NULL;
    struct spool *s = r->s;
    int rc = spool_dir_list(s->dir.segments, &numbers, &r->count);
    if (rc < 0)
        return err_set(e, rc, "spool of pipe '%s': cannot list its segments", s->pipe);
    r->found = xcalloc(r->count, sizeof(*r->found));
    for (size_t i = 0; i < r->count; i++)
        r->found[i].fd = -1;
    for (size_t i = 0; rc == 0 && i < r->count; i++)
        rc = look_at_segment(r, &r->found[i], numbers[i], e);
    free(numbers);
    if (rc < 0)
        return rc;
    apply_ends(r);
    for (size_t i = 0; i < r->count; i++) {
        struct found *f = &r->found[i];
        struct segment *g = spool_segment_add(s, f->number, f->header.kind, f->size);
        g->active = f == r->last;
    }
    return 0;
}

/* ---- damage ---- */

static void set_range_aside(struct recovery *r, int fd, const char *kind, uint64_t number,
                            uint64_t from, uint64_t to)
{
    int rc = spool_dir_quarantine(&r->s->dir, fd, kind, number, from, to);
    if (rc == 0) /* at an earlier start */
        return;
    r->s->quarantined += rc > 0;
    log_error(LOG_SPOOL, "damaged bytes %s file=%s/%08" PRIu64 " offset=%" PRIu64 " bytes=%" PRIu64,
              rc > 0 ? "set aside in quarantine" : "could not be copied to quarantine", kind,
              number, from, to - from);
}

/* ---- 2: the tail of the newest segment ---- */

static void on_tail_record(void *arg, uint32_t offset, const struct record *rec, const char *in,
                           bool content_ok)
{
    struct recovery *r = arg;
    (void)in;
    if (content_ok)
        r->good_end = offset + record_total_bytes(rec);
    r->valid_in_tail = !content_ok;
}

/* Whoever reads on reports it. */
static void ignore_damage(void *arg, uint64_t from, uint64_t to, bool to_end)
{
    (void)arg;
    (void)from;
    (void)to;
    (void)to_end;
}

static void cut_tail(struct recovery *r)
{
    struct found *f = r->last;
    char name[SPOOL_NAME_SIZE];
    if (!f)
        return;
    struct segment_scan scan = {f->header.tag, true, on_tail_record, ignore_damage, r};
    r->good_end = MIN_OF(f->end, (uint64_t)SEGMENT_HEADER_BYTES);
    segment_scan(&scan, f->fd, f->end);
    int fd = openat(r->s->dir.segments, spool_dir_name(f->number, name), O_RDWR | O_CLOEXEC);
    if (r->good_end < f->end && r->valid_in_tail)
        set_range_aside(r, f->fd, "tail", f->number, r->good_end, f->end);
    if (r->good_end < f->end)
        log_info(LOG_SPOOL, "torn end of the newest segment cut off segment=%u bytes=%" PRIu64,
                 f->number, f->end - r->good_end);
    /* what is reported now may be answered for: make it durable. Where that fails, the next
     * commit's header gives the end all the same */
    if (fd < 0 || ftruncate(fd, (off_t)r->good_end) < 0 || fdatasync(fd) < 0)
        log_warn(LOG_SPOOL, "cannot cut the newest segment segment=%u error=\"%s\"", f->number,
                 err_name(-errno));
    if (fd >= 0)
        close(fd);
    f->end = r->good_end;
    spool_segment(r->s, f->number)->bytes = f->end;
    r->s->writer.prev_segment = f->number;
    r->s->writer.prev_end = f->end;
}

/* ---- 3: journal ---- */

static void on_event(void *arg, uint64_t offset, const struct event *e, struct strview encoded)
{
    struct recovery *r = arg;
    struct spool *s = r->s;
    ledger_count(&s->ledger, e);
    s->last_id = MAX_OF(s->last_id, e->id);
    r->journal_good_end = offset + encoded.len;
    /* also when its segment is gone: the removal of two may have reached the disk in any order */
    if (e->id)
        states_put(&r->states, e, journal_place(r->journal, offset), encoded.len);
}

static void on_journal_damage(void *arg, uint64_t from, uint64_t to, bool to_end)
{
    struct recovery *r = arg;
    if (!(to_end && r->journal_last))
        set_range_aside(r, r->scanning_fd, "journal", r->journal, from, to);
}

static uint64_t this_boot(void)
{
    char id[40];
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, id, sizeof(id));

    if (fd >= 0)
        close(fd);
    return n > 0 ? spool_checksum(id, (size_t)n) : 0;
}

struct last_mark {
    uint64_t boot;
    uint64_t end; /* 0: there is none */
};

static void on_mark(void *arg, uint64_t offset, const struct event *e, struct strview encoded)
{
    if (e->state == STATE_MARK)
        *(struct last_mark *)arg =
            (struct last_mark){(uint64_t)e->next_attempt_ms, offset + encoded.len};
}

/* Where what counts of the newest file ends. The kernel may write a file before another that was
 * written first: after a power cut, an event behind the last mark may lack its accounting record. It
 * does not count then, and its recipient is tried again. A killed process loses no page. */
static uint64_t trusted_end(struct recovery *r, uint64_t size)
{
    struct last_mark mark = {0};
    struct journal_scan scan = {on_mark, ignore_damage, &mark};
    uint64_t boot = r->s->boot;

    journal_scan(&scan, r->scanning_fd, size);
    r->tail_unmarked = mark.end && mark.end < size;
    if (!r->tail_unmarked || !boot || boot == mark.boot)
        return size;
    log_info(LOG_SPOOL,
             "outcomes that were not synced when the machine went down are not counted on "
             "file=%08" PRIu64 " bytes=%" PRIu64,
             r->journal, size - mark.end);
    return mark.end;
}

static void cut_journal(struct recovery *r, uint64_t size)
{
    char name[SPOOL_NAME_SIZE];
    int fd = openat(r->s->dir.journals, spool_dir_name(r->journal, name), O_RDWR | O_CLOEXEC);
    if (r->journal_good_end < size)
        log_info(LOG_SPOOL, "torn end of the journal cut off file=%08" PRIu64 " bytes=%" PRIu64,
                 r->journal, size - r->journal_good_end);
    if (fd < 0 || ftruncate(fd, (off_t)r->journal_good_end) < 0 || fdatasync(fd) < 0)
        log_warn(LOG_SPOOL, "cannot cut the journal file=%08" PRIu64 " error=\"%s\"", r->journal,
                 err_name(-errno));
    if (fd >= 0)
        close(fd);
}

static int read_journal(struct recovery *r, uint64_t number, struct err *e)
{
    struct spool *s = r->s;
    char header[JOURNAL_HEADER_BYTES];
    struct journal_header h;
    struct journal_scan scan = {on_event, on_journal_damage, r};
    int fd = spool_dir_open_file(s->dir.journals, number);
    int64_t size = fd < 0 ? fd : spool_file_size(fd);

    if (size < 0) {
        if (fd >= 0)
            close(fd);
        return err_set(e, (int)size, "spool of pipe '%s': cannot read journal %08" PRIu64, s->pipe,
                       number);
    }
    r->journal = number;
    r->scanning_fd = fd;
    r->journal_good_end = MIN_OF((uint64_t)size, (uint64_t)JOURNAL_HEADER_BYTES);
    if (spool_read_at(fd, header, sizeof(header), 0) == 0 && journal_header_decode(header, &h) &&
        h.number == number) {
        s->ledger = h.ledger;
        s->writer.received = MAX_OF(s->writer.received, h.ledger.received);
        s->last_id = MAX_OF(s->last_id, h.last_id);
    } else {
        log_error(LOG_SPOOL, "journal header is damaged, counters go on without it file=%08" PRIu64,
                  number);
    }
    journal_scan(&scan, fd, r->journal_last ? trusted_end(r, (uint64_t)size) : (uint64_t)size);
    if (r->journal_last)
        cut_journal(r, (uint64_t)size);
    close(fd);
    spool_journal_file_put(s, number, r->journal_last ? r->journal_good_end : (uint64_t)size);
    s->journal_writer.number = number;
    return 0;
}

static int read_journals(struct recovery *r, struct err *e)
{
    uint64_t *numbers = NULL;
    size_t count;
    int rc = spool_dir_list(r->s->dir.journals, &numbers, &count);
    if (rc < 0)
        return err_set(e, rc, "spool of pipe '%s': cannot list its journal", r->s->pipe);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        r->journal_last = i + 1 == count;
        rc = read_journal(r, numbers[i], e);
    }
    free(numbers);
    r->s->journal_kept = r->states.bytes;
    return rc;
}

/* ---- 4: messages ---- */

/* State of one recipient; true when it is not finished. */
static bool recover_rcpt(const struct recovery *r, message_id id, uint16_t rcpt,
                         struct spool_recovered_rcpt *ret)
{
    const struct state *st = states_get(&r->states, id, rcpt);
    *ret = (struct spool_recovered_rcpt){.state = SPOOL_QUEUED};
    if (st)
        *ret = (struct spool_recovered_rcpt){(enum spool_state)st->state, st->attempts,
                                             st->next_attempt_ms, st->first_attempt_s, st->at};
    return !spool_state_is_final(ret->state);
}

static uint32_t recover_rcpts(struct recovery *r, message_id id, uint32_t count)
{
    uint32_t left = 0;
    const struct state *all = states_get(&r->states, id, RCPT_ALL);
    if (all && all->state == STATE_CORRUPT)
        return 0;
    if (count > r->rcpts_cap)
        r->rcpts = xrealloc(r->rcpts, (r->rcpts_cap = count) * sizeof(*r->rcpts));
    for (uint32_t i = 0; i < count; i++)
        left += recover_rcpt(r, id, (uint16_t)i, &r->rcpts[i]);
    return left;
}

/* After a crash in the middle of a compaction: events of a copied message that name the old place
 * are journalled again, or they would be collected with the old segment. */
static void relocate_event(struct recovery *r, message_id id, uint16_t rcpt,
                           const struct spool_place *place)
{
    const struct state *st = states_get(&r->states, id, rcpt);
    char encoded[EVENT_MAX_BYTES];
    if (!st || st->segment == place->segment)
        return;
    int fd = spool_dir_open_file(r->s->dir.journals, st->at >> PLACE_BITS);
    int rc =
        fd < 0 ? fd
               : spool_read_at(fd, encoded, st->bytes, st->at & (((uint64_t)1 << PLACE_BITS) - 1));
    if (fd >= 0)
        close(fd);
    if (rc < 0)
        return;
    event_relocate(encoded, place);
    spool_put_copy(r->s, encoded, st->bytes);
}

static void report_message(struct recovery *r, const struct record *rec, const char *in,
                           const struct spool_place *place, bool content_ok)
{
    struct spool *s = r->s;
    struct envelope env;
    uint32_t left = recover_rcpts(r, rec->id, rec->rcpt_count);

    if (!left || live_find(&s->live, rec->id))
        return;
    live_put(&s->live, rec->id, place->segment, left);
    spool_segment_gain(spool_segment(s, place->segment), place->length);
    arena_reset(&r->arena);
    if (!content_ok ||
        envelope_decode(sv(in + RECORD_HEADER_BYTES, rec->envelope_bytes), &r->arena, &env, NULL) <
            0 ||
        env.rcpt_count != rec->rcpt_count) {
        set_range_aside(r, r->scanning_fd, "record", place->segment, place->offset,
                        (uint64_t)place->offset + place->length);
        spool_set_aside(s, rec->id, place);
        return;
    }
    r->left += left;
    s->ops->recovered(s->owner, rec->id, place, &env, r->rcpts);
}

static void on_copy(void *arg, uint32_t offset, const struct record *rec, const char *in, bool ok)
{
    struct recovery *r = arg;
    struct spool_place place = {r->scanning->number, offset, (uint32_t)record_total_bytes(rec)};
    (void)in;
    (void)ok;
    if (r->copy_count == r->copy_cap)
        r->copies = xrealloc(r->copies, (r->copy_cap = r->copy_cap ? r->copy_cap * 2 : 1024) *
                                            sizeof(*r->copies));
    r->copies[r->copy_count++] = (struct copy){rec->id, (uint32_t)(r->scanning - r->found), offset,
                                               RECORD_HEADER_BYTES + rec->envelope_bytes};
    for (uint32_t i = 0; i < rec->rcpt_count; i++)
        relocate_event(r, rec->id, (uint16_t)i, &place);
    relocate_event(r, rec->id, RCPT_ALL, &place);
    r->s->last_id = MAX_OF(r->s->last_id, rec->id);
}

static int compare_copies(const void *a, const void *b)
{
    const struct copy *x = a, *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return (x->found < y->found) - (x->found > y->found); /* the latest copy first: it wins */
}

static void report_copy(struct recovery *r, const struct copy *c)
{
    struct found *f = &r->found[c->found];
    struct record rec;
    buf_reset(&r->head);
    char *in = buf_reserve(&r->head, c->head_bytes);
    if (spool_read_at(f->fd, in, c->head_bytes, c->offset) < 0 || !record_peek(in, &rec))
        return; /* was readable a moment ago; what is missing is counted at the end */
    struct spool_place place = {f->number, c->offset, (uint32_t)record_total_bytes(&rec)};
    r->scanning_fd = f->fd;
    report_message(r, &rec, in, &place, true);
}

/* Copies that arrived before `id`, and that of `id` itself. */
static void report_copies(struct recovery *r, message_id id)
{
    int fd = r->scanning_fd;
    while (r->copies_done < r->copy_count && r->copies[r->copies_done].id <= id)
        report_copy(r, &r->copies[r->copies_done++]);
    r->scanning_fd = fd;
}

/* Events that name a segment which is gone would not survive the next collection. */
static void adopt_events(struct recovery *r, message_id id, uint32_t rcpt_count,
                         const struct spool_place *place)
{
    for (uint32_t i = 0; i < rcpt_count; i++) {
        const struct state *st = states_get(&r->states, id, (uint16_t)i);
        if (st && st->segment != place->segment && !spool_segment(r->s, st->segment))
            relocate_event(r, id, (uint16_t)i, place);
    }
}

static void on_record(void *arg, uint32_t offset, const struct record *rec, const char *in, bool ok)
{
    struct recovery *r = arg;
    struct spool_place place = {r->scanning->number, offset, (uint32_t)record_total_bytes(rec)};
    r->s->writer.received = MAX_OF(r->s->writer.received, rec->received_before + rec->rcpt_count);
    r->s->last_id = MAX_OF(r->s->last_id, rec->id);
    bool copied = r->copies_done < r->copy_count && r->copies[r->copies_done].id <= rec->id;
    if (copied)
        report_copies(r, rec->id);
    bool has_copy = r->copies_done && r->copies[r->copies_done - 1].id == rec->id;
    if (has_copy)
        return;
    adopt_events(r, rec->id, rec->rcpt_count, &place);
    report_message(r, rec, in, &place, ok);
}

static void on_damage(void *arg, uint64_t from, uint64_t to, bool to_end)
{
    struct recovery *r = arg;
    (void)to_end;
    set_range_aside(r, r->scanning_fd, "seg", r->scanning->number, from, to);
}

static void scan_kind(struct recovery *r, enum segment_kind kind)
{
    for (size_t i = 0; i < r->count; i++) {
        struct found *f = &r->found[i];
        if (f->header.kind != kind)
            continue;
        bool fresh = kind == SEGMENT_FRESH;
        struct segment_scan scan = {f->header.tag, f == r->last, fresh ? on_record : on_copy,
                                    on_damage, r};
        r->scanning = f;
        r->scanning_fd = f->fd;
        int rc = segment_scan(&scan, f->fd, f->end);
        if (rc < 0)
            log_error(LOG_SPOOL, "cannot read all of a segment segment=%u error=\"%s\"", f->number,
                      err_name(rc));
    }
}

static void read_messages(struct recovery *r)
{
    scan_kind(r, SEGMENT_COPIES);
    if (r->copy_count)
        qsort(r->copies, r->copy_count, sizeof(*r->copies), compare_copies);
    scan_kind(r, SEGMENT_FRESH);
    report_copies(r, UINT64_MAX);
}

/* ---- 5: the sum ---- */

static void balance(struct recovery *r)
{
    struct spool_ledger *l = &r->s->ledger;
    uint64_t known = l->delivered + l->bounced + l->expired + l->deleted + l->corrupt + r->left;
    if (known < l->received) {
        uint64_t missing = l->received - known;
        log_error(LOG_SPOOL,
                  "recipients were lost with damaged bytes, counted as corrupt count=%" PRIu64,
                  missing);
        struct event e = {.state = STATE_CORRUPT,
                          .rcpt = RCPT_ALL,
                          .count = (uint32_t)MIN_OF(missing, (uint64_t)UINT32_MAX)};
        spool_put_event(r->s, &e);
    } else if (known > l->received) {
        log_error(LOG_SPOOL,
                  "final records were lost with damaged bytes, recipients are tried again "
                  "count=%" PRIu64,
                  known - l->received);
    }
}

static void free_recovery(struct recovery *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->found && r->found[i].fd >= 0)
            close(r->found[i].fd);
    free(r->found);
    states_free(&r->states);
    free(r->copies);
    free(r->rcpts);
    buf_free(&r->head);
    arena_free(&r->arena);
}

int spool_recover(struct spool *s, struct err *e)
{
    struct recovery r = {.s = s};
    s->boot = s->options.boot ? s->options.boot : this_boot();
    int rc = find_segments(&r, e);
    if (rc == 0) {
        cut_tail(&r);
        rc = read_journals(&r, e);
    }
    if (rc == 0) {
        s->ledger_written = s->ledger_synced = s->ledger;
        read_messages(&r);
        s->ledger.received = s->writer.received;
        balance(&r);
        /* what was believed may not be after a power cut: until the next file begins, which counts
         * it, its messages stay */
        for (size_t i = 0; i < s->segment_count; i++)
            s->segments[i]->removable_after = s->journal_queued + r.tail_unmarked;
    }
    free_recovery(&r);
    return rc;
}
