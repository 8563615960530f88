/*
 * Takes away segments without an unfinished message. The order matters: the final events must be
 * durable before the file goes, or a power cut would lose the message's end; and the directory must
 * be synced before collection may drop those events, or the file could come back without them.
 */
#include "spool/internal.h"

#include "base/fault.h"

#include <errno.h>
#include <unistd.h>

struct remove_job {
    uv_work_t work;
    struct spool *s;
    uint32_t *numbers;
    size_t count;
    int status;
};

static bool removable(const struct spool *s, const struct segment *g)
{
    return !g->live_messages && !g->active && !g->victim && g->removable_after <= s->journal_synced;
}

static void on_remove_work(uv_work_t *work)
{
    struct remove_job *j = container_of(work, struct remove_job, work);
    char name[SPOOL_NAME_SIZE];
    for (size_t i = 0; i < j->count; i++) {
        if (unlinkat(j->s->dir.segments, spool_dir_name(j->numbers[i], name), 0) < 0 &&
            errno != ENOENT)
            j->status = -errno;
        FAULT(SEGMENT_REMOVED);
    }
    if (fsync(j->s->dir.segments) < 0)
        j->status = -errno;
}

static void remove_finish(struct remove_job *j)
{
    struct spool *s = j->s;
    for (size_t i = 0; j->status == 0 && i < j->count; i++)
        spool_segment_drop(s, spool_segment(s, j->numbers[i]));
    if (j->status < 0)
        log_warn(LOG_SPOOL, "cannot remove finished segments, trying again later error=\"%s\"",
                 err_name(j->status));
    int status = j->status;
    free(j->numbers);
    free(j);
    s->remove = NULL;
    maintain_finished(s, status);
}

static void on_remove_done(uv_work_t *work, int status)
{
    (void)status; /* never cancelled */
    remove_finish(container_of(work, struct remove_job, work));
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
    for (size_t i = 0; i < s->segment_count; i++)
        if (removable(s, s->segments[i]))
            j->numbers[j->count++] = s->segments[i]->number;
    BUG_ON(uv_queue_work(s->loop, &j->work, on_remove_work, on_remove_done) < 0);
    return true;
}
