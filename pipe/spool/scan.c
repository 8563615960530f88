/*
 * Scans; see scan.h. Called by recovery, collection, compaction and tools/pmta-spool; the happy
 * path is one pread of 256 KiB after another. Memory: one window, the scan's.
 */
#include "spool/scan.h"

#include <errno.h>
#include <unistd.h>

#include "spool/dir.h"

enum { WINDOW_BYTES = 256 * 1024, SKIP_BYTES = 16 * 1024 };

void scan_window_init(struct scan_window *w, int fd, uint64_t end)
{
    *w = (struct scan_window){.fd = fd, .end = end};
}

void scan_window_fini(struct scan_window *w)
{
    free(w->mem);
    w->mem = NULL;
}

static void fill(struct scan_window *w, size_t want)
{
    while (w->len < want) {
        ssize_t n = pread(w->fd, w->mem + w->len, want - w->len, (off_t)(w->at + w->len));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && !w->error)
            w->error = -errno;
        if (n <= 0)
            return;
        w->len += (size_t)n;
    }
}

/* Reads ahead when the place follows what was read before, and little after a jump. */
static void move_to(struct scan_window *w, uint64_t offset, size_t want)
{
    bool follows = offset >= w->at && offset <= w->at + w->len;
    size_t bytes = MAX_OF(want, (size_t)(follows ? WINDOW_BYTES : SKIP_BYTES));
    bytes = (size_t)MIN_OF((uint64_t)bytes, w->end - offset);
    size_t keep = follows ? (size_t)(w->at + w->len - offset) : 0;
    if (bytes > w->cap)
        w->mem = xrealloc(w->mem, w->cap = MAX_OF(bytes, (size_t)WINDOW_BYTES));
    if (keep)
        memmove(w->mem, w->mem + (offset - w->at), keep);
    w->at = offset;
    w->len = keep;
    fill(w, bytes);
}

const char *scan_window_at(struct scan_window *w, uint64_t offset, size_t want, size_t *have)
{
    if (offset >= w->end) {
        *have = 0;
        return "";
    }
    want = (size_t)MIN_OF((uint64_t)want, w->end - offset);
    if (offset < w->at || offset + want > w->at + w->len)
        move_to(w, offset, want);
    uint64_t stop = w->at + w->len;
    *have = (size_t)MIN_OF((uint64_t)want, stop > offset ? stop - offset : 0);
    return w->mem + (offset - w->at);
}

/* The record at an offset, when it is one: header and envelope, contiguous; or NULL. */
static const char *record_at(struct scan_window *w, struct segment_scan *scan, uint64_t at,
                             struct record *r)
{
    size_t have;
    const char *in = scan_window_at(w, at, RECORD_HEADER_BYTES, &have);
    if (have < RECORD_HEADER_BYTES || !record_peek(in, r) || at + record_total_bytes(r) > w->end)
        return NULL;
    if (scan->tag && r->segment_tag != scan->tag)
        return NULL;
    size_t want = RECORD_HEADER_BYTES + r->envelope_bytes;
    in = scan_window_at(w, at, want, &have);
    if (have < want || !record_verify(in, r))
        return NULL;
    scan->tag = r->segment_tag;
    return in;
}

bool segment_content_ok(int fd, uint64_t content_at, const struct record *r)
{
    struct checksum *sum = checksum_new();
    size_t size = (size_t)MIN_OF(r->content_bytes, (uint64_t)WINDOW_BYTES);
    char *chunk = xmalloc(size);
    bool ok = true;
    for (uint64_t done = 0; ok && done < r->content_bytes;) {
        size_t n = (size_t)MIN_OF(r->content_bytes - done, (uint64_t)size);
        ok = spool_read_at(fd, chunk, n, content_at + done) == 0;
        if (ok)
            checksum_update(sum, chunk, n);
        done += n;
    }
    ok = ok && checksum_digest(sum) == r->content_sum;
    free(chunk);
    checksum_free(sum);
    return ok;
}

static bool check_content(struct scan_window *w, uint64_t at, const struct record *r)
{
    uint64_t content = at + RECORD_HEADER_BYTES + r->envelope_bytes;
    if (r->content_bytes > WINDOW_BYTES / 4)
        return segment_content_ok(w->fd, content, r);
    size_t have;
    const char *in = scan_window_at(w, content, (size_t)r->content_bytes, &have);
    return have == r->content_bytes && spool_checksum(in, have) == r->content_sum;
}

int segment_scan(struct segment_scan *scan, int fd, uint64_t end)
{
    struct scan_window w;
    struct record r;
    uint64_t damaged_from = 0, at = SEGMENT_HEADER_BYTES;
    bool damaged = false;

    scan_window_init(&w, fd, end);
    while (at < end) {
        const char *in = record_at(&w, scan, at, &r);
        if (!in) {
            if (!damaged)
                damaged_from = at;
            damaged = true;
            at += RECORD_ALIGN;
            continue;
        }
        if (damaged)
            scan->damage(scan->arg, damaged_from, at, false);
        damaged = false;
        bool ok = !scan->verify_content || check_content(&w, at, &r);
        size_t have;
        in = scan_window_at(&w, at, RECORD_HEADER_BYTES + r.envelope_bytes, &have);
        scan->record(scan->arg, (uint32_t)at, &r, in, ok);
        at += record_total_bytes(&r);
    }
    if (damaged)
        scan->damage(scan->arg, damaged_from, end, true);
    scan_window_fini(&w);
    return w.error;
}

int journal_scan(const struct journal_scan *scan, int fd, uint64_t end)
{
    struct scan_window w;
    struct event e;
    uint64_t damaged_from = 0, at = JOURNAL_HEADER_BYTES;
    bool damaged = false;

    scan_window_init(&w, fd, end);
    while (at < end) {
        size_t have, bytes;
        const char *in = scan_window_at(&w, at, EVENT_MAX_BYTES, &have);
        if (event_decode(sv(in, have), &e, &bytes) < 0) {
            if (!damaged)
                damaged_from = at;
            damaged = true;
            at += RECORD_ALIGN;
            continue;
        }
        if (damaged)
            scan->damage(scan->arg, damaged_from, at, false);
        damaged = false;
        scan->event(scan->arg, at, &e, sv(in, bytes));
        at += bytes;
    }
    if (damaged)
        scan->damage(scan->arg, damaged_from, end, true);
    scan_window_fini(&w);
    return w.error;
}
