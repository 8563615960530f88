/*
 * A group commit of messages, in the thread pool: all that waited are written and synced together.
 * batch.c starts it with a taken batch and reads the results; this file only touches `writer` and
 * `commit`.
 *
 * One pwritev straight from the callers' memory, one fdatasync, for as many as fit in the segment.
 * After an error nothing of the group may appear later: the file is cut back to its last good end.
 * After a failed sync the segment is given up besides, because the kernel may have dropped pages
 * that it reported as written: the next append makes a new segment, whose header says where the
 * records of this one end. Files appear under their name only when their header is durable.
 */
#include "spool/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"

enum { IOV_BATCH = 1024, IOVS_PER_APPEND = 4, COPY_BYTES = 256 * 1024, SPACE_CHECK_MS = 250 };

static const char padding[RECORD_ALIGN];

int commit_fail(struct commit_error *e, int code, const char *what)
{
    if (!e->code) {
        e->code = code;
        snprintf(e->what, sizeof(e->what), "%s: %s", what, err_name(code));
    }
    return code;
}

int commit_sync(int fd)
{
    return fdatasync(fd) < 0 ? -errno : 0;
}

/* ---- free space ---- */

/* Below the configured minimum new messages are refused before they are written. */
static int check_space(struct spool *s)
{
    struct writer *w = &s->writer;
    int64_t now = clock_mono_ms();
    struct statvfs v;

    if (!s->options.min_free_bytes ||
        (w->space_status == 0 && w->space_checked_ms && now - w->space_checked_ms < SPACE_CHECK_MS))
        return 0;
    w->space_checked_ms = now;
    w->space_status = 0;
    if (fstatvfs(s->dir.segments, &v) == 0 &&
        (uint64_t)v.f_bavail * v.f_frsize < s->options.min_free_bytes)
        w->space_status = -ENOSPC;
    return w->space_status;
}

/* ---- segments ---- */

uint32_t spool_new_tag(void)
{
    uint32_t tag = 0;
    while (!tag)
        if (getrandom(&tag, sizeof(tag), 0) != sizeof(tag))
            tag = (uint32_t)clock_wall_us();
    return tag;
}

/* The next header says where the records of this one end, but that segment can go before this one
 * does: what was refused must not be in the file any more by then. */
static int seal_segment(struct writer *w)
{
    if (w->segment_fd < 0)
        return 0;
    /* gives preallocated blocks back, too; when only that fails they are wasted */
    int rc = ftruncate(w->segment_fd, (off_t)w->segment_end) < 0 ? -errno : 0;
    if (rc == 0 && w->segment_cut)
        rc = commit_sync(w->segment_fd);
    if (rc < 0 && w->segment_cut)
        return rc;
    close(w->segment_fd);
    w->segment_fd = -1;
    w->segment_cut = w->segment_bad = false;
    return 0;
}

static void remember_segment(struct commit *c, uint32_t number)
{
    c->new_segments =
        xrealloc(c->new_segments, (c->new_segment_count + 1) * sizeof(*c->new_segments));
    c->new_segments[c->new_segment_count++] = number;
}

static int new_segment(struct spool *s)
{
    struct writer *w = &s->writer;
    char header[SEGMENT_HEADER_BYTES];
    uint32_t number = __atomic_fetch_add(&s->next_segment, 1, __ATOMIC_RELAXED);
    uint32_t tag = spool_new_tag();
    struct segment_header h = {SEGMENT_FRESH,   number,      w->prev_segment,
                               w->prev_end,     w->received, s->commit.last_id,
                               clock_wall_ms(), tag};

    int rc = seal_segment(w);
    int fd = rc < 0 ? rc : spool_dir_new_file(s->dir.segments, number);
    if (fd < 0)
        return fd;
    /* best effort: saves metadata updates at each sync */
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)s->options.segment_bytes) < 0)
        errno = 0;
    segment_header_encode(&h, header);
    rc = spool_write_at(fd, header, sizeof(header), 0);
    if (rc == 0)
        rc = spool_dir_publish(s->dir.segments, fd, number);
    if (rc < 0) {
        close(fd);
        spool_dir_abandon(s->dir.segments, number);
        return rc;
    }
    w->segment_fd = fd;
    w->segment = w->prev_segment = number;
    w->segment_tag = tag;
    w->segment_end = w->prev_end = SEGMENT_HEADER_BYTES;
    remember_segment(&s->commit, number);
    return 0;
}

/* ---- appends ---- */

static uint64_t append_bytes(const struct spool_append *a)
{
    struct record r = {.envelope_bytes = (uint32_t)a->envelope.len,
                       .content_bytes = a->content_bytes};
    return record_total_bytes(&r);
}

/* pwritev until all of it is written. */
static int write_vector(int fd, struct iovec *iov, int count, uint64_t at)
{
    while (count) {
        ssize_t n = pwritev(fd, iov, count, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        at += (uint64_t)n;
        for (; count && (size_t)n >= iov->iov_len; iov++, count--)
            n -= (ssize_t)iov->iov_len;
        if (count) {
            iov->iov_base = (char *)iov->iov_base + n;
            iov->iov_len -= (size_t)n;
        }
    }
    return 0;
}

struct gather {
    struct iovec iov[IOV_BATCH];
    char headers[IOV_BATCH / IOVS_PER_APPEND][RECORD_HEADER_BYTES];
    int iovs;
    int records;
    uint64_t at;  /* where iov[0] goes */
    uint64_t end; /* where the next record goes */
};

static int flush(struct writer *w, struct gather *g)
{
    int rc = write_vector(w->segment_fd, g->iov, g->iovs, g->at);
    g->iovs = g->records = 0;
    g->at = g->end;
    return rc;
}

static void add_iov(struct gather *g, const void *base, size_t len)
{
    if (len)
        g->iov[g->iovs++] = (struct iovec){(void *)(uintptr_t)base, len};
}

/* Copies content from the caller's file to its place and sums it up. *own is set when the caller's
 * file is to blame, not the spool. */
static int copy_content(struct writer *w, const struct spool_append *a, uint64_t at, uint64_t *sum,
                        bool *own)
{
    struct checksum *checksum = checksum_new();
    char *chunk = xmalloc(COPY_BYTES);
    int rc = 0;
    for (uint64_t done = 0; rc == 0 && done < a->content_bytes;) {
        size_t n = (size_t)MIN_OF(a->content_bytes - done, (uint64_t)COPY_BYTES);
        rc = spool_read_at(a->content_fd, chunk, n, done);
        *own = rc < 0;
        if (rc == 0)
            rc = spool_write_at(w->segment_fd, chunk, n, at + done);
        checksum_update(checksum, chunk, n);
        done += n;
    }
    *sum = checksum_digest(checksum);
    free(chunk);
    checksum_free(checksum);
    return rc == -ENODATA ? -EIO : rc;
}

static void place_append(struct spool *s, struct gather *g, struct spool_append *a,
                         struct record *r)
{
    struct writer *w = &s->writer;
    *r = (struct record){
        .id = a->id,
        .envelope_bytes = (uint32_t)a->envelope.len,
        .rcpt_count = a->rcpt_count,
        .content_bytes = a->content_bytes,
        .batch_offset = (uint32_t)w->segment_end,
        .segment_tag = w->segment_tag,
    };
    a->place = (struct spool_place){w->segment, (uint32_t)g->end, (uint32_t)record_total_bytes(r)};
}

/* Writes one record, or gathers it for the next flush. */
static int put_append(struct spool *s, struct gather *g, struct spool_append *a, uint64_t received,
                      bool *own)
{
    struct writer *w = &s->writer;
    struct record r;
    int rc = 0;

    place_append(s, g, a, &r);
    r.received_before = received;
    uint64_t content_at = g->end + RECORD_HEADER_BYTES + r.envelope_bytes;
    if (a->content_fd < 0)
        r.content_sum = spool_checksum(a->content.ptr, a->content.len);
    else if ((rc = flush(w, g)) < 0 ||
             (rc = copy_content(w, a, content_at, &r.content_sum, own)) < 0)
        return rc;

    char *header = g->headers[g->records++];
    record_encode(&r, a->envelope, header);
    add_iov(g, header, RECORD_HEADER_BYTES);
    add_iov(g, a->envelope.ptr, a->envelope.len);
    if (a->content_fd < 0)
        add_iov(g, a->content.ptr, a->content.len);
    else if ((rc = flush(w, g)) < 0)
        return rc;
    size_t pad =
        (size_t)(a->place.length - RECORD_HEADER_BYTES - r.envelope_bytes - r.content_bytes);
    if (a->content_fd >= 0)
        g->at = content_at + r.content_bytes;
    add_iov(g, padding, pad);
    g->end += a->place.length;
    if (g->iovs + IOVS_PER_APPEND > IOV_BATCH || g->records == IOV_BATCH / IOVS_PER_APPEND)
        rc = flush(w, g);
    return rc;
}

/* Nothing that was written since the last good end may be found later. */
static void cut_back(struct writer *w, bool give_up)
{
    if (w->segment_fd < 0)
        return;
    w->segment_cut = true;
    if (ftruncate(w->segment_fd, (off_t)w->segment_end) < 0)
        give_up = true;
    w->segment_bad = w->segment_bad || give_up;
}

static void refuse(struct commit *c, struct spool_append *a, uint32_t first, uint32_t count, int rc)
{
    for (uint32_t i = 0; i < count; i++, a = a->next)
        c->status[first + i] = rc;
}

/* Writes and syncs the appends from *a on that fit in the segment together; returns how many it
 * dealt with, and moves *a past them. */
static uint32_t commit_group(struct spool *s, struct gather *g, struct spool_append **a,
                             uint32_t first)
{
    struct commit *c = &s->commit;
    struct writer *w = &s->writer;
    struct spool_append *begin = *a;
    uint64_t received = w->received;
    uint32_t count = 0;
    int rc = 0;
    bool own = false;

    g->iovs = g->records = 0;
    g->at = g->end = w->segment_end;
    while (*a && rc == 0) {
        if (count && g->end + append_bytes(*a) > s->options.segment_bytes)
            break;
        rc = put_append(s, g, *a, received, &own);
        if (rc < 0 && own)
            break;
        received += (*a)->rcpt_count;
        *a = (*a)->next;
        count++;
    }
    if (own) { /* only this one is refused; those before it in the group go through */
        c->status[first + count] = rc;
        rc = 0;
        g->iovs = g->records = 0;
    }
    if (rc == 0)
        rc = flush(w, g);
    if (rc == 0 && count && (rc = commit_sync(w->segment_fd)) < 0)
        cut_back(w, true);
    else if (rc < 0)
        cut_back(w, false);
    if (rc < 0) {
        refuse(c, begin, first, count, commit_fail(&c->error, rc, "cannot write messages"));
    } else {
        w->segment_end = w->prev_end = g->end;
        w->received = received;
        w->segment_cut = false; /* synced */
        if (own)
            cut_back(w, false);
    }
    if (own) {
        *a = (*a)->next;
        count++;
    }
    return count;
}

static void commit_appends(struct spool *s)
{
    struct commit *c = &s->commit;
    struct writer *w = &s->writer;
    struct spool_append *a = c->appends;
    struct gather *g = a ? xmalloc(sizeof(*g)) : NULL;

    for (uint32_t done = 0; done < c->append_count;) {
        int rc = check_space(s);
        if (rc < 0)
            commit_fail(&c->error, rc, "free space is below the minimum");
        bool full = w->segment_fd >= 0 && w->segment_end > SEGMENT_HEADER_BYTES &&
                    w->segment_end + append_bytes(a) > s->options.segment_bytes;
        if (rc == 0 && (w->segment_fd < 0 || w->segment_bad || full) && (rc = new_segment(s)) < 0)
            commit_fail(&c->error, rc, "cannot create a segment");
        if (rc < 0) {
            refuse(c, a, done, c->append_count - done, rc);
            break;
        }
        done += commit_group(s, g, &a, done);
    }
    free(g);
}

/* ---- probe ---- */

int commit_probe(struct spool *s)
{
    enum { PROBE_BYTES = 64 * 1024 };
    int fd = spool_dir_unnamed(s->dir.segments);
    int rc = fd < 0 ? fd : check_space(s);
    if (rc == 0) {
        char *zeros = xcalloc(1, PROBE_BYTES);
        rc = spool_write_at(fd, zeros, PROBE_BYTES, 0);
        free(zeros);
    }
    if (rc == 0)
        rc = commit_sync(fd);
    if (fd >= 0)
        close(fd);
    return rc;
}

void commit_run(struct spool *s)
{
    int64_t start = (int64_t)(uv_hrtime() / 1000);
    FAULT(COMMIT_BEGIN);
    commit_appends(s);
    FAULT(APPENDED);
    s->commit.took_us = (int64_t)(uv_hrtime() / 1000) - start;
}
