/*
 * A spool as its users see it: opens and closes it, takes appends, and runs what was put off at the
 * end of the loop's turn. See spool.h for the contract and internal.h for who may touch what.
 *
 * Happy path: spool_append queues and wakes the turn handle; at the end of the loop's turn all that
 * wait are taken by one commit job (batch.c, commit.c); when it is back, done() is called for each
 * append and the next batch goes at once. Outcomes and accounting records go by a job of their own.
 * Requests put off like this make sure that no callback fires inside the call that asked for it.
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

static void on_turn(uv_check_t *handle);
static void on_spin(uv_idle_t *handle);

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
    batch_start(s);
    journal_batch_start(s);
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
    spool_free_kept_reads(s);
    while (s->segment_count)
        spool_segment_drop(s, s->segments[s->segment_count - 1]);
    free(s->segments);
    free(s->journals);
    if (s->writer.segment_fd >= 0) {
        if (ftruncate(s->writer.segment_fd, (off_t)s->writer.segment_end) < 0)
            errno = 0; /* preallocated space stays until the segment goes */
        close(s->writer.segment_fd);
    }
    if (s->journal_writer.fd >= 0)
        close(s->journal_writer.fd);
    accounts_free(s);
    buf_free(&s->journal_waiting);
    buf_free(&s->journal_unsynced);
    buf_free(&s->journal_commit.journal);
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
    if (!s->options.settle_ms)
        s->options.settle_ms = 10000;
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
    s->writer.segment_fd = s->journal_writer.fd = -1;
    s->waiting_tail = &s->waiting;
    list_init(&s->reads_done);
    list_init(&s->reads_kept);
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
    if (!s->closing || s->handles_closing || s->commit.running || s->journal_commit.running ||
        s->maintenance || s->reads_in_pool || !list_empty(&s->reads_done))
        return;
    if (s->waiting || !s->last_commit_made || (s->writable && journal_batch_wanted(s))) {
        batch_start(s);
        journal_batch_start(s);
        if (s->commit.running || s->journal_commit.running)
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
        .journal_waiting_bytes =
            buf_len(&s->journal_waiting) + buf_len(&s->journal_unsynced) +
            (s->journal_commit.running ? buf_len(&s->journal_commit.journal) : 0),
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
