/*
 * Takes away segments without an unfinished message. The order matters: the final events must be
 * durable before the file goes, or a power cut would lose the message's end; and the directory must
 * be synced before collection may drop those events, or the file could come back without them.
 *
 * A file system that tells the disk at once of blocks that are free (discard) keeps it busy for
 * 10 ms and more with 64 MiB, and whoever syncs meanwhile waits: other pipes, too. So a file without
 * a name shrinks in slices, in the thread pool, before it is closed.
 */
#include "spool/internal.h"

#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SHRINK_BYTES = 4 * 1024 * 1024,
    PAUSE_MS = 5,
    MAX_SHRINKING = 16, /* of more at once room is wanted soon, and a descriptor is held for each */
};

struct remove_job {
    uv_work_t work;
    struct spool *s;
    uint32_t *numbers;
    size_t count;
    bool unlinked;
    int fds[MAX_SHRINKING]; /* -1: not open */
    size_t shrinking;       /* the first of these that is not done with */
    int status;
};

static bool removable(const struct spool *s, const struct segment *g)
{
    return !g->live_messages && !g->active && !g->victim && g->removable_after <= s->journal_synced;
}

/* ---- thread pool ---- */

static void unlink_all(struct remove_job *j)
{
    char name[SPOOL_NAME_SIZE];

    for (size_t i = 0; i < j->count; i++) {
        spool_dir_name(j->numbers[i], name);
        if (j->count <= MAX_SHRINKING)
            j->fds[i] = openat(j->s->dir.segments, name, O_RDWR | O_CLOEXEC);
        if (unlinkat(j->s->dir.segments, name, 0) < 0 && errno != ENOENT)
            j->status = -errno;
        FAULT(SEGMENT_REMOVED);
    }
    if (fsync(j->s->dir.segments) < 0)
        j->status = -errno;
}

/* True: the file is done with. */
static bool shrink(int fd)
{
    struct stat st;

    if (fd < 0)
        return true;
    bool last = fstat(fd, &st) < 0 || st.st_size <= SHRINK_BYTES ||
                ftruncate(fd, st.st_size - SHRINK_BYTES) < 0;
    if (last)
        close(fd);
    return last;
}

static void on_remove_work(uv_work_t *work)
{
    struct remove_job *j = container_of(work, struct remove_job, work);

    if (!j->unlinked)
        unlink_all(j);
    else if (shrink(j->fds[j->shrinking]))
        j->fds[j->shrinking++] = -1;
}

/* ---- loop ---- */

static void remove_finish(struct remove_job *j)
{
    struct spool *s = j->s;
    int status = j->status;

    if (status < 0)
        log_warn(LOG_SPOOL, "cannot remove finished segments, trying again later error=\"%s\"",
                 err_name(status));
    for (size_t i = 0; i < ARRAY_LEN(j->fds); i++)
        if (j->fds[i] >= 0)
            close(j->fds[i]);
    free(j->numbers);
    free(j);
    s->remove = NULL;
    maintain_finished(s, status);
}

/* Who still reads from one closes it, whole. */
static void drop_all(struct remove_job *j)
{
    for (size_t i = 0; i < j->count; i++) {
        struct segment *g = spool_segment(j->s, j->numbers[i]);
        if (g->refs && j->count <= MAX_SHRINKING && j->fds[i] >= 0) {
            close(j->fds[i]);
            j->fds[i] = -1;
        }
        spool_segment_drop(j->s, g);
    }
}

static void on_remove_done(uv_work_t *work, int status)
{
    struct remove_job *j = container_of(work, struct remove_job, work);
    (void)status; /* never cancelled */

    if (!j->unlinked && j->status == 0)
        drop_all(j);
    j->unlinked = true;
    while (j->shrinking < MAX_SHRINKING && j->fds[j->shrinking] < 0)
        j->shrinking++;
    if (j->status < 0 || j->s->closing || j->shrinking == MAX_SHRINKING)
        remove_finish(j);
    else
        maintain_park(j->s, PAUSE_MS);
}

void remove_resume(struct spool *s)
{
    if (s->closing)
        remove_finish(s->remove);
    else
        BUG_ON(uv_queue_work(s->loop, &s->remove->work, on_remove_work, on_remove_done) < 0);
}

bool remove_start(struct spool *s)
{
    size_t count = 0;
    for (size_t i = 0; i < s->segment_count; i++)
        count += removable(s, s->segments[i]);
    if (!count)
        return false;
    struct remove_job *j = s->remove = xcalloc(1, sizeof(*j));
    j->s = s;
    j->numbers = xcalloc(count, sizeof(*j->numbers));
    for (size_t i = 0; i < MAX_SHRINKING; i++)
        j->fds[i] = -1;
    for (size_t i = 0; i < s->segment_count; i++)
        if (removable(s, s->segments[i]))
            j->numbers[j->count++] = s->segments[i]->number;
    BUG_ON(uv_queue_work(s->loop, &j->work, on_remove_work, on_remove_done) < 0);
    return true;
}
