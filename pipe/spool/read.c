/*
 * Reading messages back. Small records are tried on the loop first with RWF_NOWAIT, which never
 * waits for the disk; what the page cache does not hold goes to the thread pool. Every record is
 * verified before anybody sees it. A damaged one is copied to quarantine/, its unfinished
 * recipients get a CORRUPT event, and the reader gets ERR_CORRUPT.
 *
 * Memory: one read_job per read, with the record's bytes; it becomes content.owner and is freed by
 * spool_content_release, or here when the read failed. Some are kept with their bytes for the next
 * reads: a backlog is read as fast as it is sent, and memory that was just used is still near.
 */
#include "spool/internal.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    LOOP_READ_MAX = 256 * 1024,
    HEAD_GUESS = 4096, /* most envelopes end before */
    KEPT_JOBS = 512,
    KEPT_BYTES = 16 * 1024, /* of a job that is kept, at most */
};

struct read_job {
    uv_work_t work;
    struct list node; /* in s->reads_done */
    struct spool *s;
    struct spool_read *read;
    struct segment *segment;
    struct spool_place place;
    message_id id;
    int fd;
    bool whole; /* the record is loaded, not only header and envelope */
    bool quarantined;
    int status;
    size_t load_max;
    size_t len; /* bytes loaded, or to load; 0: not known yet */
    size_t cap; /* bytes of mem */
    char *mem;
};

static struct read_job *new_job(struct spool *s)
{
    struct list *n = list_pop_front(&s->reads_kept);

    if (!n)
        return xcalloc(1, sizeof(struct read_job));
    s->reads_kept_count--;
    return list_entry(n, struct read_job, node);
}

static void reserve(struct read_job *j, size_t len)
{
    j->len = len;
    if (len <= j->cap)
        return;
    free(j->mem);
    j->mem = xmalloc(len);
    j->cap = len;
}

static int corrupt(struct read_job *j)
{
    j->quarantined =
        spool_dir_quarantine(&j->s->dir, j->fd, "record", j->place.segment, j->place.offset,
                             (uint64_t)j->place.offset + j->place.length) == 1;
    return ERR_CORRUPT;
}

/* Header and envelope in j->mem are those of the message. */
static bool head_is_good(const struct read_job *j, struct record *r)
{
    return j->len >= RECORD_HEADER_BYTES && record_peek(j->mem, r) && r->id == j->id &&
           record_total_bytes(r) == j->place.length &&
           j->len >= RECORD_HEADER_BYTES + (size_t)r->envelope_bytes && record_verify(j->mem, r);
}

/* Fills the result from a loaded and good head; content is looked at by the caller. */
static void fill_result(struct read_job *j, const struct record *r)
{
    struct spool_content *c = &j->read->content;
    const char *content = j->mem + RECORD_HEADER_BYTES + r->envelope_bytes;
    uint64_t content_at = (uint64_t)j->place.offset + RECORD_HEADER_BYTES + r->envelope_bytes;
    *c = (struct spool_content){
        .envelope = sv(j->mem + RECORD_HEADER_BYTES, r->envelope_bytes),
        .content = j->whole ? sv(content, (size_t)r->content_bytes) : sv(NULL, 0),
        .fd = j->whole ? -1 : j->fd,
        .fd_offset = j->whole ? 0 : content_at,
        .content_bytes = r->content_bytes,
        .owner = j,
    };
}

/* Verifies what was loaded. 0 or ERR_CORRUPT; no blocking when the whole record is loaded. */
static int verify(struct read_job *j)
{
    struct record r;
    if (!head_is_good(j, &r))
        return ERR_CORRUPT;
    fill_result(j, &r);
    if (j->read->envelope_only) {
        j->read->content.fd = -1;
        return 0;
    }
    if (j->whole)
        return spool_checksum(j->read->content.content.ptr, (size_t)r.content_bytes) ==
                       r.content_sum
                   ? 0
                   : ERR_CORRUPT;
    return segment_content_ok(j->fd, j->read->content.fd_offset, &r) ? 0 : ERR_CORRUPT;
}

/* Loads the whole record, or for a large content header and envelope only. */
static int load(struct read_job *j)
{
    char header[RECORD_HEADER_BYTES];
    struct record r;
    if (!j->len) {
        int rc = spool_read_at(j->fd, header, sizeof(header), j->place.offset);
        if (rc < 0)
            return rc == -ENODATA ? ERR_CORRUPT : rc;
        if (!record_peek(header, &r) || record_total_bytes(&r) != j->place.length)
            return ERR_CORRUPT;
        j->whole = !j->read->envelope_only && r.content_bytes <= j->load_max;
        reserve(j, j->whole ? j->place.length : RECORD_HEADER_BYTES + (size_t)r.envelope_bytes);
    }
    int rc = spool_read_at(j->fd, j->mem, j->len, j->place.offset);
    return rc == -ENODATA ? ERR_CORRUPT : rc;
}

static void on_read_work(uv_work_t *work)
{
    struct read_job *j = container_of(work, struct read_job, work);
    j->status = load(j);
    if (j->status == 0)
        j->status = verify(j);
    if (j->status == ERR_CORRUPT)
        corrupt(j);
}

static void free_job(struct read_job *j)
{
    struct spool *s = j->s;

    if (j->segment)
        spool_segment_unref(s, j->segment);
    if (j->cap > KEPT_BYTES || s->reads_kept_count >= KEPT_JOBS) {
        free(j->mem);
        free(j);
        return;
    }
    list_push_front(&s->reads_kept, &j->node);
    s->reads_kept_count++;
}

void spool_free_kept_reads(struct spool *s)
{
    for (struct list *n; (n = list_pop_front(&s->reads_kept));) {
        struct read_job *j = list_entry(n, struct read_job, node);
        free(j->mem);
        free(j);
    }
    s->reads_kept_count = 0;
}

static void report_damage(struct spool *s, const struct read_job *j)
{
    s->quarantined += j->quarantined;
    log_error(LOG_SPOOL,
              "damaged message set aside in quarantine id=%s segment=%u offset=%u bytes=%u",
              message_id_format(j->id, (char[MESSAGE_ID_SIZE]){0}), j->place.segment,
              j->place.offset, j->place.length);
    spool_set_aside(s, j->id, &j->place);
    j->segment->no_compact = true;
}

static void finish_read(struct spool *s, struct read_job *j)
{
    struct spool_read *r = j->read;
    int status = j->status;
    if (status == ERR_CORRUPT)
        report_damage(s, j);
    if (status < 0) {
        r->content = (struct spool_content){.fd = -1};
        free_job(j);
    }
    r->done(r, status);
}

void spool_run_reads(struct spool *s)
{
    struct list ready;
    list_init(&ready);
    list_splice_back(&ready, &s->reads_done);
    for (struct list *n; (n = list_pop_front(&ready)) != NULL;)
        finish_read(s, list_entry(n, struct read_job, node));
}

static void on_read_done(uv_work_t *work, int status)
{
    struct read_job *j = container_of(work, struct read_job, work);
    struct spool *s = j->s;
    (void)status; /* never cancelled */
    s->reads_in_pool--;
    finish_read(s, j);
    spool_close_step(s);
}

static void put_off(struct spool *s, struct read_job *j, int status)
{
    j->status = status;
    list_push_back(&s->reads_done, &j->node);
    spool_wake(s);
}

/* The page cache had all of it and it is good. */
static bool read_now(struct read_job *j, size_t load_max)
{
    bool head = j->read->envelope_only;

    if (!head && (j->place.length > LOOP_READ_MAX || j->place.length > load_max))
        return false;
    reserve(j, head ? MIN_OF(j->place.length, (size_t)HEAD_GUESS) : j->place.length);
    j->whole = !head;
    struct iovec iov = {j->mem, j->len};
    ssize_t n = preadv2(j->fd, &iov, 1, (off_t)j->place.offset, RWF_NOWAIT);
    if (n == (ssize_t)j->len && verify(j) == 0)
        return true;
    if (head) /* longer than guessed, or not in memory: from the start */
        j->len = 0;
    return false;
}

void spool_read(struct spool *s, message_id id, const struct spool_place *place, size_t load_max,
                struct spool_read *r)
{
    struct read_job *j = new_job(s);
    *j = (struct read_job){.s = s,
                           .read = r,
                           .place = *place,
                           .id = id,
                           .load_max = load_max,
                           .fd = -1,
                           .cap = j->cap,
                           .mem = j->mem};
    r->id = id;
    r->content = (struct spool_content){.fd = -1};
    j->segment = spool_segment(s, place->segment);
    if (!j->segment) {
        put_off(s, j, ERR_NOT_FOUND);
        return;
    }
    j->segment->refs++;
    j->fd = spool_segment_fd(s, j->segment);
    if (j->fd < 0) {
        put_off(s, j, j->fd);
    } else if (read_now(j, load_max)) {
        put_off(s, j, 0);
    } else {
        s->reads_in_pool++;
        BUG_ON(uv_queue_work(s->loop, &j->work, on_read_work, on_read_done) < 0);
    }
}

void spool_content_release(struct spool *s, struct spool_content *c)
{
    struct read_job *j = c->owner;
    (void)s;
    *c = (struct spool_content){.fd = -1};
    if (j)
        free_job(j);
}

int spool_read_envelope(struct spool *s, message_id id, const struct spool_place *place,
                        struct arena *arena, struct envelope *ret)
{
    struct segment *g = spool_segment(s, place->segment);
    char header[RECORD_HEADER_BYTES];
    struct record r;
    if (!g)
        return ERR_NOT_FOUND;
    int fd = spool_segment_fd(s, g);
    int rc = fd < 0 ? fd : spool_read_at(fd, header, sizeof(header), place->offset);
    if (rc < 0)
        return rc == -ENODATA ? ERR_CORRUPT : rc;
    if (!record_peek(header, &r) || r.id != id)
        return ERR_CORRUPT;
    size_t len = RECORD_HEADER_BYTES + (size_t)r.envelope_bytes;
    char *mem = arena_alloc(arena, len);
    rc = spool_read_at(fd, mem, len, place->offset);
    if (rc < 0)
        return rc == -ENODATA ? ERR_CORRUPT : rc;
    if (memcmp(mem, header, sizeof(header)) != 0 || !record_verify(mem, &r))
        return ERR_CORRUPT;
    return envelope_decode(sv(mem + RECORD_HEADER_BYTES, r.envelope_bytes), arena, ret, NULL);
}

int spool_read_event(struct spool *s, spool_journal_place at, struct arena *arena,
                     struct spool_event *ret)
{
    struct event e;
    size_t bytes;
    if (!at)
        return ERR_NOT_FOUND;
    int fd = spool_dir_open_file(s->dir.journals, at >> PLACE_BITS);
    if (fd < 0)
        return fd == -ENOENT ? ERR_NOT_FOUND : fd;
    char *mem = arena_alloc(arena, EVENT_MAX_BYTES);
    ssize_t n = pread(fd, mem, EVENT_MAX_BYTES, (off_t)(at & (((uint64_t)1 << PLACE_BITS) - 1)));
    int rc = n < 0 ? -errno : event_decode(sv(mem, (size_t)n), &e, &bytes);
    close(fd);
    if (rc < 0)
        return rc == -EAGAIN ? ERR_CORRUPT : rc;
    if (e.state == STATE_CORRUPT)
        return ERR_NOT_FOUND;
    *ret = (struct spool_event){
        .id = e.id,
        .place = e.place,
        .rcpt = e.rcpt,
        .state = (enum spool_state)e.state,
        .attempts = e.attempts,
        .next_attempt_ms = e.next_attempt_ms,
        .first_attempt_s = e.first_attempt_s,
        .phase = e.phase,
        .code = e.code,
        .text = e.text,
    };
    return 0;
}
