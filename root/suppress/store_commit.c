/*
 * Batches to the disk; see store_int.h. Called through store_kick by everything that appended a
 * change. One batch at a time: write, fdatasync, in the thread pool; what comes meanwhile gathers in
 * the next. Happy path: the requests of the batch are told, the next one begins.
 *
 * What can go wrong: the disk is full or broken. Then the file is cut back to where it was, the batch
 * and all behind it are undone in the table, newest change first, and their requests get the error. The
 * next change tries again. A file that cannot even be cut back is left alone: what comes goes into a
 * new segment, and the load passes over the torn part.
 */
#include "store_int.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { AFTER_FAILURE_MS = 10000 };

struct commit {
    uv_work_t work;
    struct store *store;
    struct batch *batch;
    uint32_t tag;
    int fd;        /* in: of the segment, or -1; out: the same or the new one */
    int status;    /* out */
    bool cut_back; /* out: the file is as before */
};

/* --- in the thread pool --- */

static int write_all(int fd, struct strview s, uint64_t offset)
{
    while (s.len) {
        ssize_t n = pwrite(fd, s.ptr, s.len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        s = sv(s.ptr + n, s.len - (size_t)n);
        offset += (uint64_t)n;
    }
    return 0;
}

static int write_header(int fd, const struct commit *c)
{
    char header[FORMAT_HEADER_BYTES];
    struct segment_header h = {
        .number = c->batch->segment,
        .tag = c->tag,
        .key_id = c->store->key_id,
        .made_ms = clock_wall_ms(),
    };
    segment_header_encode(&h, header);
    return write_all(fd, sv(header, sizeof(header)), 0);
}

/* The file of the batch's segment, made when the segment is new. */
static int open_file(struct commit *c)
{
    char name[SEGMENT_NAME_SIZE];
    int flags = O_WRONLY | O_CLOEXEC | O_NOFOLLOW | (c->batch->rotate ? O_CREAT | O_TRUNC : 0);

    if (c->fd >= 0)
        return 0;
    c->fd = openat(c->store->dirfd, segment_file_name(c->batch->segment, name), flags, 0600);
    if (c->fd < 0)
        return -errno;
    if (!c->batch->rotate)
        return 0;
    int code = write_header(c->fd, c);
    if (code == 0 && fsync(c->store->dirfd) < 0)
        code = -errno;
    return code;
}

static void undo_file(struct commit *c)
{
    char name[SEGMENT_NAME_SIZE];

    if (c->batch->rotate)
        c->cut_back = unlinkat(c->store->dirfd, segment_file_name(c->batch->segment, name), 0) == 0;
    else
        c->cut_back =
            c->fd >= 0 && ftruncate(c->fd, (off_t)c->batch->offset) == 0 && fdatasync(c->fd) == 0;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static void write_batch(uv_work_t *w)
{
    struct commit *c = container_of(w, struct commit, work);

    c->status = open_file(c);
    if (c->status == 0)
        c->status = write_all(c->fd, buf_view(&c->batch->bytes), c->batch->offset);
    if (c->status == 0 && fdatasync(c->fd) < 0)
        c->status = -errno;
    if (c->status < 0)
        undo_file(c);
}

/* --- failure --- */

static void undo_op(struct store *s, const struct op *op)
{
    struct table_value gone;
    bool was;
    int code = 0;

    switch (op->kind) {
    case OP_PUT:
        if (op->was)
            code = table_put(&s->table, op->h, &op->old, &was, &gone);
        else
            table_remove(&s->table, op->h, &gone);
        store_account(s, &op->now, op->was ? &op->old : NULL);
        break;
    case OP_REMOVE:
        code = table_put(&s->table, op->h, &op->old, &was, &gone);
        store_account(s, NULL, &op->old);
        break;
    case OP_MOVE:
        table_move(&s->table, op->h, op->now.meta, op->old.meta);
        store_account(s, &op->now, &op->old);
        break;
    case OP_NOTHING:
        return;
    }
    if (code < 0)
        log_error(LOG_SPOOL, "an entry of the suppression list is missing until the next start: %s",
                  err_name(code));
    struct segment *g = store_segment(s, op->segment);
    if (g) {
        g->records--;
        g->clear -= op->clear;
    }
}

static void finish_op(const struct op *op, int status)
{
    struct store_request *r = op->request;

    if (!r)
        return;
    if (status < 0)
        r->status = status;
    if (--r->left == 0 && r->ended)
        r->done(r, r->status);
}

/* Requests may append more while they are told, but not to this batch. */
static void tell_batch(struct batch *b, int status)
{
    list_remove(&b->link);
    for (size_t i = 0; i < b->count; i++)
        finish_op(&b->ops[i], status);
    buf_free(&b->bytes);
    free(b->ops);
    free(b);
}

static void undo_segment(struct store *s, const struct batch *b)
{
    struct segment *g = &s->segments[s->segment_count - 1];

    if (b->rotate && g->number == b->segment)
        s->segment_count--;
    else if (buf_len(&b->bytes) && g->number == b->segment)
        g->bytes = b->offset;
}

static void undo_all(struct store *s, int status, bool cut_back)
{
    struct list failed;

    list_init(&failed);
    list_splice_back(&failed, &s->batches);
    for (struct list *l = failed.prev; l != &failed; l = l->prev) {
        struct batch *b = list_entry(l, struct batch, link);
        for (size_t i = b->count; i-- > 0;)
            undo_op(s, &b->ops[i]);
        undo_segment(s, b);
    }
    if (!cut_back)
        s->rotate = true;
    for (struct list *l; (l = list_first(&failed));)
        tell_batch(list_entry(l, struct batch, link), status);
}

static void note_failure(struct store *s, int status)
{
    if (!s->last_failure_ms || !s->trouble[0])
        log_error(LOG_SPOOL, "the suppression list cannot be written, changes are refused: %s",
                  err_name(status));
    s->last_failure_ms = clock_wall_ms();
    s->compact_after_ms = clock_mono_ms() + AFTER_FAILURE_MS;
    snprintf(s->trouble, sizeof(s->trouble), "%s", err_name(status));
}

/* --- in the loop --- */

static void pump(struct store *s);

static void committed(struct store *s, struct commit *c)
{
    struct batch *b = c->batch;
    int status = c->status;
    bool cut_back = c->cut_back;

    s->commit = NULL;
    s->fd = c->fd;
    s->fd_segment = b->segment;
    free(c);
    if (status < 0) {
        note_failure(s, status);
        undo_all(s, status, cut_back);
    } else {
        if (s->trouble[0])
            log_info(LOG_SPOOL, "the suppression list can be written again");
        s->trouble[0] = '\0';
        s->commits++;
        s->commit_bytes += buf_len(&b->bytes);
        tell_batch(b, 0);
        compact_consider(s);
    }
    pump(s);
}

static void on_committed(uv_work_t *w, int status)
{
    struct commit *c = container_of(w, struct commit, work);
    BUG_ON(status < 0); /* nobody cancels it */
    committed(c->store, c);
}

static void begin_commit(struct store *s, struct batch *b)
{
    struct commit *c = xcalloc(1, sizeof(*c));

    c->store = s;
    c->batch = b;
    c->tag = store_segment(s, b->segment)->tag;
    c->fd = s->fd;
    if (s->fd >= 0 && s->fd_segment != b->segment) {
        close(s->fd);
        c->fd = -1;
    }
    s->fd = -1;
    s->commit = c;
    uv_queue_work(s->loop, &c->work, write_batch, on_committed);
}

static void pump(struct store *s)
{
    while (!s->commit && !list_empty(&s->batches)) {
        struct batch *b = list_entry(list_first(&s->batches), struct batch, link);
        if (buf_len(&b->bytes) || b->rotate)
            begin_commit(s, b);
        else
            tell_batch(b, 0);
    }
    store_check_closed(s);
}

static void on_kick(uv_timer_t *t)
{
    pump(t->data);
}

void store_kick(struct store *s)
{
    if (!uv_is_active((uv_handle_t *)&s->kick) && !uv_is_closing((uv_handle_t *)&s->kick))
        uv_timer_start(&s->kick, on_kick, 0, 0);
}
