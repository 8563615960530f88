/*
 * Keeps the counters of a pipe on disk; see keeper.h. A change starts a saver's timer; the text is
 * made on the loop (a millisecond for some thousand keys) and written in the thread pool.
 */
#include "stats/keeper.h"

#include "base/log.h"
#include "state/saver.h"

#include <stdlib.h>

enum { NOW_DELAY_MS = 30000, PAST_DELAY_MS = 5000 };

struct stats_keeper {
    struct stats *stats;
    struct saver now, past;
    unsigned closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void write_now(void *arg, struct buf *out)
{
    struct stats_keeper *k = arg;
    stats_write(k->stats, out);
}

static void write_past(void *arg, struct buf *out)
{
    const struct stats_keeper *k = arg;
    stats_write_past(k->stats, out);
}

static void on_change(void *arg, bool past)
{
    struct stats_keeper *k = arg;
    saver_touch(past ? &k->past : &k->now);
}

static void on_closed(void *arg)
{
    struct stats_keeper *k = arg;

    if (--k->closing)
        return;
    void (*closed)(void *) = k->closed;
    void *closed_arg = k->closed_arg;
    free(k);
    if (closed)
        closed(closed_arg);
}

static int open_files(struct stats_keeper *k, uv_loop_t *loop, int dirfd, struct buf *now,
                      struct buf *past, struct err *e)
{
    if (saver_open(&k->past, loop, dirfd, "stats-past", PAST_DELAY_MS, write_past, k, past, e) < 0)
        return e->code;
    return saver_open(&k->now, loop, dirfd, "stats", NOW_DELAY_MS, write_now, k, now, e);
}

int stats_keeper_open(struct stats_keeper **ret, struct stats *stats, uv_loop_t *loop, int dirfd,
                      struct err *e)
{
    struct stats_keeper *k = xcalloc(1, sizeof(*k));
    struct buf now = {0}, past = {0};

    k->stats = stats;
    int status = open_files(k, loop, dirfd, &now, &past, e);
    if (status == 0) {
        if (buf_len(&past) && !stats_read_past(stats, buf_view(&past)))
            log_warn(LOG_MAIN, "statistics of the past are damaged, what could be read is kept");
        if (buf_len(&now) && !stats_read(stats, buf_view(&now)))
            log_warn(LOG_MAIN, "statistics are damaged, what could be read is kept");
        stats_on_change(stats, on_change, k);
        *ret = k;
    }
    buf_free(&now);
    buf_free(&past);
    return status; /* an error ends the process: what is open goes with it */
}

void stats_keeper_close(struct stats_keeper *k, void (*closed)(void *arg), void *arg)
{
    stats_on_change(k->stats, NULL, NULL);
    k->closed = closed;
    k->closed_arg = arg;
    k->closing = 2;
    saver_close(&k->now, on_closed, k);
    saver_close(&k->past, on_closed, k);
}
