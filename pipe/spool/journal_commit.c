/*
 * A group commit of outcomes, in the thread pool: accounting bytes first, then the journal's events,
 * and both are synced in that order when it is time. journal_batch.c starts it with what it took and
 * reads the results; this file only touches `journal_writer`, `journal_commit` and the files and
 * taken bytes of the accounts. No client waits for it.
 *
 * A journal file whose sync failed is given up: a new one begins with the counters as of the last
 * good sync and repeats every event since. Files appear under their name only when their header is
 * durable. An accounting file whose sync failed has readers, so it is not given up: what was written
 * since its last good sync is written to the same places again.
 */
#include "spool/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"

enum {
    START_BYTES = 256 * 1024,
    CACHED_BYTES = 8 * 1024 * 1024,
    GIVE_BACK_BYTES = 1024 * 1024,
};

/* ---- accounting ---- */

/* Nobody waits for the disk here, and the sync that comes later finds little left to do. Only a hint:
 * what it cannot do, the sync does or says. */
static void start_writing(struct account *a)
{
    off_t end = a->unstarted >= START_BYTES ? lseek(a->fd, 0, SEEK_CUR) : -1;

    if (end < (off_t)a->unstarted)
        return;
    (void)sync_file_range(a->fd, end - (off_t)a->unstarted, (off_t)a->unstarted,
                          SYNC_FILE_RANGE_WRITE);
    a->unstarted = 0;
}

/* One write, in front of its bytes in `unsynced`. */
struct stretch {
    off_t at;
    size_t len;
};

/* Normally these are the records of one sync interval. While syncs fail it is all that came since
 * the last good one: it would wait in memory anyway, as the events do in journal_unsynced. Pipes and
 * the like have no position, and nothing to sync. */
static void keep_unsynced(struct account *a, const char *bytes, size_t len)
{
    off_t end = lseek(a->fd, 0, SEEK_CUR);
    struct stretch w = {end - (off_t)len, len};

    if (end < (off_t)len)
        return;
    buf_append(&a->unsynced, &w, sizeof(w));
    buf_append(&a->unsynced, bytes, len);
}

/* After a failed sync the kernel takes pages for clean that the disk may not have, and the next sync
 * succeeds without them. The same bytes at the same places make them dirty again, and who reads the
 * file sees no difference. With O_APPEND pwrite would put them at the end, whatever its offset. */
static int write_again(struct account *a)
{
    int flags = fcntl(a->fd, F_GETFL), rc = 0;
    struct stretch w;
    struct stat st;

    if (flags < 0 || fstat(a->fd, &st) < 0 || fcntl(a->fd, F_SETFL, flags & ~O_APPEND) < 0)
        return -errno;
    for (size_t i = 0; rc == 0 && i < buf_len(&a->unsynced); i += sizeof(w) + w.len) {
        const char *at = buf_data(&a->unsynced) + i;
        memcpy(&w, at, sizeof(w));
        if (w.at + (off_t)w.len <= st.st_size) /* else somebody cut the file */
            rc = spool_write_at(a->fd, at + sizeof(w), w.len, (uint64_t)w.at);
    }
    if (fcntl(a->fd, F_SETFL, flags) < 0 && rc == 0)
        rc = -errno;
    a->bad = rc < 0;
    return rc;
}

static int write_account(struct account *a)
{
    while (a->taken_done < buf_len(&a->taken)) {
        const char *bytes = buf_data(&a->taken) + a->taken_done;
        ssize_t n = write(a->fd, bytes, buf_len(&a->taken) - a->taken_done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        a->taken_done += (size_t)n;
        a->unstarted += (size_t)n;
        a->dirty = true;
        keep_unsynced(a, bytes, (size_t)n);
    }
    start_writing(a);
    return 0;
}

static int write_accounts(struct spool *s)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->journal_commit.account_count; i++)
        rc = write_account(&s->accounts[i]);
    return rc < 0 ? commit_fail(&s->journal_commit.error, rc, "cannot write accounting records")
                  : 0;
}

/* Who follows a file reads what was written a moment ago; behind that its pages only take memory
 * from the messages, and each new one has to be found. What is synced goes, a megabyte at a time. */
static void give_back_pages(struct account *a)
{
    off_t end = lseek(a->fd, 0, SEEK_CUR) - CACHED_BYTES;

    if (end < a->given_back + GIVE_BACK_BYTES)
        return;
    (void)posix_fadvise(a->fd, a->given_back, end - a->given_back, POSIX_FADV_DONTNEED);
    a->given_back = end;
}

static int sync_accounts(struct spool *s)
{
    for (size_t i = 0; i < s->journal_commit.account_count; i++) {
        struct account *a = &s->accounts[i];
        int again = a->bad ? write_again(a) : 0;
        int rc = again == 0 && a->dirty ? commit_sync(a->fd) : again;
        /* pipes and the like have nothing to sync; EROFS is also what a file system says that an
         * error made read-only */
        bool is_file = buf_len(&a->unsynced) > 0;
        if (again < 0 || (rc < 0 && rc != -EINVAL && (rc != -EROFS || is_file))) {
            a->bad = true;
            return commit_fail(&s->journal_commit.error, rc, "cannot sync accounting records");
        }
        a->dirty = false;
        buf_reset(&a->unsynced);
        a->unstarted = 0;
        give_back_pages(a);
    }
    return 0;
}

/* ---- journal ---- */

/* Where the file ends now. */
static void note_end(struct journal_commit *c, const struct journal_writer *w)
{
    size_t i = 0;
    while (i < c->file_count && c->files[i].number != w->number)
        i++;
    BUG_ON(i == ARRAY_LEN(c->files));
    c->files[i] = (struct journal_file){w->number, w->end};
    c->file_count = MAX_OF(c->file_count, i + 1);
}

/* Says that all accounting records of the events before are durable: recovery.c believes what comes
 * later only while the machine was not down meanwhile. */
static void put_mark(const struct spool *s, struct buf *out)
{
    event_encode(out, &(struct event){.state = STATE_MARK,
                                      .rcpt = RCPT_ALL,
                                      .next_attempt_ms = (int64_t)s->boot});
}

/* A new journal file; `repeat` are events that its predecessor may have lost. */
static int new_journal(struct spool *s, struct strview repeat)
{
    struct journal_commit *c = &s->journal_commit;
    struct journal_writer *w = &s->journal_writer;
    char header[JOURNAL_HEADER_BYTES];
    uint64_t number = w->number + 2; /* the number between is for a collection's result */
    struct journal_header h = {number, w->bad ? c->synced : c->written, c->last_id,
                               clock_wall_ms()};
    struct buf begin = {0};

    h.ledger.received = c->received;
    journal_header_encode(&h, header);
    int fd = spool_dir_new_file(s->dir.journals, number);
    if (fd < 0)
        return fd;
    int rc = spool_write_at(fd, header, sizeof(header), 0);
    buf_append_sv(&begin, repeat);
    put_mark(s, &begin);
    if (rc == 0)
        rc = spool_write_at(fd, buf_data(&begin), buf_len(&begin), sizeof(header));
    if (rc == 0)
        rc = spool_dir_publish(s->dir.journals, fd, number);
    if (rc < 0) {
        buf_free(&begin);
        close(fd);
        spool_dir_abandon(s->dir.journals, number);
        return rc;
    }
    if (w->fd >= 0)
        close(w->fd);
    w->fd = fd;
    w->number = number;
    w->end = sizeof(header) + buf_len(&begin);
    w->marked = true;
    buf_free(&begin);
    if (repeat.len)
        c->repeated_at = journal_place(number, sizeof(header));
    w->bad = false;
    note_end(c, w);
    FAULT(JOURNAL_BEGUN);
    return 0;
}

/* After a failure nothing of it may be found later. */
static int put_bytes(struct spool *s, struct strview bytes)
{
    struct journal_commit *c = &s->journal_commit;
    struct journal_writer *w = &s->journal_writer;
    int rc = spool_write_at(w->fd, bytes.ptr, bytes.len, w->end);
    if (rc < 0) {
        if (ftruncate(w->fd, (off_t)w->end) < 0)
            w->bad = true;
        return commit_fail(&c->error, rc, "cannot write the journal");
    }
    w->end += bytes.len;
    note_end(c, w);
    return 0;
}

static int write_mark(struct spool *s)
{
    struct buf mark = {0};
    put_mark(s, &mark);
    int rc = put_bytes(s, buf_view(&mark));
    s->journal_writer.marked = rc == 0;
    buf_free(&mark);
    return rc;
}

static int sync_journal(struct spool *s)
{
    struct journal_writer *w = &s->journal_writer;
    int rc = sync_accounts(s);
    if (s->journal_commit.journal_written)
        FAULT(ACCOUNTS_SYNCED);
    if (rc == 0 && w->fd >= 0 && !w->bad && !w->marked)
        rc = write_mark(s);
    if (rc == 0 && w->fd >= 0 && !w->bad && (rc = commit_sync(w->fd)) < 0) {
        w->bad = true;
        commit_fail(&s->journal_commit.error, rc, "cannot sync the journal");
    }
    return rc;
}

/* A file to write to: the one there is, or the next. */
static int ready_journal(struct spool *s)
{
    struct journal_commit *c = &s->journal_commit;
    struct journal_writer *w = &s->journal_writer;
    int rc = 0;
    bool next = w->fd < 0 || c->rotate || w->end >= s->options.journal_file_bytes;

    if (next && w->fd >= 0 && !w->bad)
        rc = sync_journal(s);
    if (w->bad) {
        rc = sync_accounts(s); /* what the new file repeats is durable when it has its name */
        if (rc == 0)
            rc = new_journal(s, buf_view(&s->journal_unsynced));
    } else if (rc == 0 && next)
        rc = new_journal(s, sv("", 0));
    return rc < 0 ? commit_fail(&c->error, rc, "cannot begin a journal file") : 0;
}

static int write_events(struct spool *s)
{
    struct journal_commit *c = &s->journal_commit;
    struct journal_writer *w = &s->journal_writer;
    uint64_t at = w->end;
    int rc = put_bytes(s, buf_view(&c->journal));
    if (rc < 0)
        return rc;
    c->journal_at = journal_place(w->number, at);
    c->journal_written = true;
    w->marked = false;
    return 0;
}

static void write_journal(struct spool *s)
{
    struct journal_commit *c = &s->journal_commit;
    if (write_accounts(s) < 0)
        return;
    if (buf_len(&c->journal))
        FAULT(ACCOUNTED);
    if ((buf_len(&c->journal) || c->rotate || s->journal_writer.bad) && ready_journal(s) < 0)
        return;
    if (buf_len(&c->journal) && write_events(s) < 0)
        return;
    if (c->journal_written)
        FAULT(JOURNALLED);
    if (c->sync && sync_journal(s) == 0)
        c->journal_synced = true;
}

void journal_commit_run(struct spool *s)
{
    struct journal_commit *c = &s->journal_commit;
    int rc = c->probe ? commit_probe(s) : 0;

    if (rc < 0)
        commit_fail(&c->error, rc, "the spool still cannot be written");
    write_journal(s);
    if (c->journal_synced)
        FAULT(COMMITTED);
}
