/*
 * Collection of the journal: all files but the current one are read, the events that are still
 * needed are written into one new file, and the old ones go. An event is needed when it is the
 * newest of its recipient and the segment that it names still exists.
 *
 *   rotate   a commit begins a new file N+2; what is in files up to N can be collected
 *   gather   thread pool: newest event of each recipient in files up to N; written to file N+1 with
 *            the copy flag and the counters of file N+2's beginning; durable
 *   report   loop, in slices: the new places, but for recipients journalled again meanwhile
 *   remove   thread pool: the old files go
 *
 * A crash in between leaves both, which is harmless: the copies say the same, come later, and are
 * not counted. Work is proportional to the journal and it runs when that has doubled. Memory: 40
 * bytes per unfinished recipient for the time of the job.
 */
#include "spool/internal.h"

#include <errno.h>
#include <unistd.h>

#include "base/fault.h"

enum { REPORT_SLICE = 2000, MAX_FILES = 64 };

enum collect_step { COLLECT_ROTATE, COLLECT_GATHER, COLLECT_REPORT, COLLECT_REMOVE };

struct collect_job {
    uv_work_t work;
    struct spool *s;
    enum collect_step step;
    uint64_t *files; /* to collect, ascending */
    size_t file_count;
    uint64_t output;
    struct journal_header header;
    uint32_t *segments; /* that exist, ascending */
    size_t segment_count;
    struct states newest; /* `at` is the old place while gathering, then the new one */
    struct states seen;   /* journalled since the rotation: their place is newer */
    size_t reported;      /* slots of `newest` done */
    uint64_t output_bytes;
    int status;
    uint64_t current; /* file being scanned */
    struct buf out;
    int out_fd;
    bool writing;
};

static bool segment_exists(const struct collect_job *j, uint32_t number)
{
    size_t low = 0, high = j->segment_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (j->segments[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < j->segment_count && j->segments[low] == number;
}

static void flush_out(struct collect_job *j)
{
    if (j->status == 0)
        j->status = spool_write_at(j->out_fd, buf_data(&j->out), buf_len(&j->out), j->output_bytes);
    j->output_bytes += buf_len(&j->out);
    buf_reset(&j->out);
}

static void keep_event(struct collect_job *j, struct strview encoded, struct state *slot)
{
    struct event e;
    size_t bytes;
    slot->at = journal_place(j->output, j->output_bytes + buf_len(&j->out));
    buf_append_sv(&j->out, encoded);
    char *copy = buf_data(&j->out) + buf_len(&j->out) - encoded.len;
    BUG_ON(event_decode(sv(copy, encoded.len), &e, &bytes) < 0);
    event_relocate(copy, &e.place);
    if (buf_len(&j->out) > 256 * 1024)
        flush_out(j);
}

/* First pass: who has the newest. Second pass: write those out. */
static void on_event(void *arg, uint64_t offset, const struct event *e, struct strview encoded)
{
    struct collect_job *j = arg;
    spool_journal_place at = journal_place(j->current, offset);
    if (!e->id || !segment_exists(j, e->place.segment))
        return;
    if (!j->writing) {
        states_put(&j->newest, e, at, encoded.len);
        return;
    }
    struct state *slot = (struct state *)(uintptr_t)states_get(&j->newest, e->id, e->rcpt);
    if (slot && slot->at == at)
        keep_event(j, encoded, slot);
}

/* Damage in an old file was set aside by recovery; there is nothing to keep in it. */
static void on_damage(void *arg, uint64_t from, uint64_t to, bool to_end)
{
    (void)arg;
    (void)from;
    (void)to;
    (void)to_end;
}

static void scan_files(struct collect_job *j)
{
    struct journal_scan scan = {on_event, on_damage, j};
    for (size_t i = 0; j->status == 0 && i < j->file_count; i++) {
        int fd = spool_dir_open_file(j->s->dir.journals, j->files[i]);
        int64_t size = fd < 0 ? fd : spool_file_size(fd);
        j->current = j->files[i];
        j->status = size < 0 ? (int)size : journal_scan(&scan, fd, (uint64_t)size);
        if (fd >= 0)
            close(fd);
    }
}

static void write_output(struct collect_job *j)
{
    char header[JOURNAL_HEADER_BYTES];
    j->out_fd = spool_dir_new_file(j->s->dir.journals, j->output);
    if (j->out_fd < 0) {
        j->status = j->out_fd;
        return;
    }
    journal_header_encode(&j->header, header);
    buf_append(&j->out, header, sizeof(header));
    j->writing = true;
    scan_files(j);
    flush_out(j);
    if (j->status == 0)
        j->status = spool_dir_publish(j->s->dir.journals, j->out_fd, j->output);
    close(j->out_fd);
    if (j->status < 0)
        spool_dir_abandon(j->s->dir.journals, j->output);
}

static void gather(struct collect_job *j)
{
    scan_files(j);
    if (j->status == 0 && j->newest.count)
        write_output(j);
    FAULT(COLLECTED);
}

static void remove_files(struct collect_job *j)
{
    char name[SPOOL_NAME_SIZE];
    for (size_t i = 0; i < j->file_count; i++) {
        if (unlinkat(j->s->dir.journals, spool_dir_name(j->files[i], name), 0) < 0 &&
            errno != ENOENT)
            j->status = -errno;
        FAULT(COLLECT_REMOVED);
    }
    if (fsync(j->s->dir.journals) < 0)
        j->status = -errno;
}

static void on_collect_work(uv_work_t *work)
{
    struct collect_job *j = container_of(work, struct collect_job, work);
    if (j->step == COLLECT_GATHER)
        gather(j);
    else
        remove_files(j);
}

static void finish(struct collect_job *j)
{
    struct spool *s = j->s;
    if (j->status < 0)
        log_warn(LOG_SPOOL, "collecting the journal failed, it stays as it is error=\"%s\"",
                 err_name(j->status));
    int result = j->status;
    free(j->files);
    free(j->segments);
    states_free(&j->newest);
    states_free(&j->seen);
    buf_free(&j->out);
    free(j);
    s->collect = NULL;
    maintain_finished(s, result);
}

static void on_collect_done(uv_work_t *work, int status);

static void start_work(struct collect_job *j, enum collect_step step)
{
    j->step = step;
    BUG_ON(uv_queue_work(j->s->loop, &j->work, on_collect_work, on_collect_done) < 0);
}

/* Tells the owner the new places, a slice at a time. */
static void report_slice(struct collect_job *j)
{
    struct spool *s = j->s;
    size_t stop = MIN_OF(j->newest.cap, j->reported + REPORT_SLICE);
    for (; j->reported < stop; j->reported++) {
        const struct state *n = &j->newest.slots[j->reported];
        if (!n->id || n->rcpt == RCPT_ALL || states_get(&j->seen, n->id, n->rcpt))
            continue;
        if (s->ops->journalled && live_find(&s->live, n->id))
            s->ops->journalled(s->owner, n->id, n->rcpt, n->at);
    }
    if (j->reported < j->newest.cap && !s->closing)
        maintain_park(s, 1);
    else
        start_work(j, COLLECT_REMOVE);
}

static void forget_file(struct spool *s, uint64_t number)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->journal_count; i++)
        if (s->journals[i].number != number)
            s->journals[kept++] = s->journals[i];
    s->journal_count = kept;
}

static void gathered(struct collect_job *j)
{
    struct spool *s = j->s;
    s->journal_kept = j->newest.count ? j->output_bytes : 0;
    if (j->newest.count)
        spool_journal_file_put(s, j->output, j->output_bytes);
    for (size_t i = 0; i < j->file_count; i++)
        forget_file(s, j->files[i]);
    log_debug(LOG_SPOOL, "journal collected files=%zu kept_events=%zu kept_bytes=%llu",
              j->file_count, j->newest.count, (unsigned long long)j->output_bytes);
    j->step = COLLECT_REPORT;
    report_slice(j);
}

static void on_collect_done(uv_work_t *work, int status)
{
    struct collect_job *j = container_of(work, struct collect_job, work);
    (void)status; /* never cancelled */
    if (j->step == COLLECT_GATHER && j->status == 0)
        gathered(j);
    else
        finish(j);
}

void collect_resume(struct spool *s)
{
    if (s->collect->step == COLLECT_REPORT)
        report_slice(s->collect);
    else if (s->collect->step == COLLECT_ROTATE && s->closing)
        finish(s->collect);
}

void collect_saw(struct spool *s, const struct event *e)
{
    if (s->collect && s->collect->step != COLLECT_REMOVE && e->rcpt != RCPT_ALL)
        states_put(&s->collect->seen, e, 0, 0);
}

static void snapshot_segments(struct collect_job *j)
{
    struct spool *s = j->s;
    j->segments = xcalloc(s->segment_count, sizeof(*j->segments));
    for (size_t i = 0; i < s->segment_count; i++)
        j->segments[j->segment_count++] = s->segments[i]->number;
}

/* A commit began a new file: the ones before it are sealed and synced. */
void collect_rotated(struct spool *s)
{
    struct collect_job *j = s->collect;
    if (!j || j->step != COLLECT_ROTATE)
        return;
    if (s->closing) {
        finish(j);
        return;
    }
    size_t sealed = s->journal_count - 1;
    BUG_ON(s->journals[sealed].number != s->journal_writer.number);
    j->files = xcalloc(sealed, sizeof(*j->files));
    for (size_t i = 0; i < sealed; i++)
        j->files[j->file_count++] = s->journals[i].number;
    j->output = s->journal_writer.number - 1;
    j->header =
        (struct journal_header){j->output, s->journal_commit.written, s->journal_commit.last_id, 0};
    j->header.ledger.received = s->journal_commit.received;
    snapshot_segments(j);
    start_work(j, COLLECT_GATHER);
}

bool collect_start(struct spool *s)
{
    uint64_t bytes = spool_journal_bytes(s);
    if (bytes < 2 * s->journal_kept + 2 * s->options.journal_file_bytes &&
        s->journal_count <= MAX_FILES + 2 * (s->journal_kept / s->options.journal_file_bytes))
        return false;
    /* one file that nobody has open yet; while a job runs, only that knows */
    if (s->journal_count < 2 && (s->journal_commit.running || s->journal_writer.fd < 0))
        return false;
    s->collect = xcalloc(1, sizeof(*s->collect));
    s->collect->s = s;
    s->collect->step = COLLECT_ROTATE;
    s->rotate_due = true;
    spool_wake(s);
    return true;
}
