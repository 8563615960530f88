/*
 * Levels in a state file; see limit_keeper.h.
 *
 * Called by: main.c. Nothing runs until a level that is to be kept moves; then a timer starts, the
 * text is made on the loop in slices of a fraction of a millisecond, with a millisecond for other
 * work after each, and written in the thread pool, one write at a time. What can go wrong:
 * a full disk; it is logged and tried again. A crash loses at most what was taken in the second
 * before.
 */
#include "limit/limit_keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include "limit/limit.h"
#include "state/state_file.h"

enum {
    FIRST_MS = 50, /* after a rest: what comes together is written together */
    APART_MS = 1000,
    RETRY_MS = 10000,
    SHARE = 100, /* of the loop's time: one in so many */
    SLICE_LEVELS = 1000,
    SLICES_APART_MS = 1,
};

struct limit_keeper {
    struct limits *limits;
    struct state_file file;
    uv_timer_t timer;
    int64_t not_before_ms; /* monotonic */
    struct buf text;       /* being made */
    size_t bytes;          /* of the last one */
    int64_t took_us;       /* to make it so far */
    bool making;
    bool writing;
    bool failed; /* the last write did: what it had is still to be written */
    bool closing;
    void (*done)(void *arg);
    void *done_arg;
};

static void on_timer(uv_timer_t *timer);

static void schedule(struct limit_keeper *k)
{
    int64_t wait_ms = MAX_OF(k->not_before_ms - clock_mono_ms(), (int64_t)FIRST_MS);

    if (!k->making && !k->writing && !k->closing)
        uv_timer_start(&k->timer, on_timer, (uint64_t)wait_ms, 0);
}

static void on_changed(void *arg)
{
    schedule(arg);
}

static void finish(struct limit_keeper *k)
{
    state_file_close(&k->file);
    k->done(k->done_arg);
}

static void save(struct limit_keeper *k);

static void on_saved(void *arg, int status)
{
    struct limit_keeper *k = arg;

    k->writing = false;
    k->failed = status < 0;
    if (status < 0) {
        log_warn(LOG_MAIN, "levels of limits cannot be saved, trying again in %d s reason='%s'",
                 RETRY_MS / 1000, err_name(status));
        k->not_before_ms = clock_mono_ms() + RETRY_MS;
    }
    if (k->closing && limits_changed(k->limits) && !k->failed)
        save(k);
    else if (k->closing)
        finish(k);
    else if (limits_changed(k->limits) || k->failed)
        schedule(k);
}

/* Makes a slice of the text, all of it when the pipe ends. True when the text is whole. */
static bool make(struct limit_keeper *k)
{
    int64_t now_us = clock_wall_us();

    if (!k->making) {
        buf_reserve(&k->text, k->bytes + k->bytes / 8);
        k->took_us = 0;
    }
    k->making =
        !limits_write_some(k->limits, now_us, &k->text, k->closing ? SIZE_MAX : SLICE_LEVELS);
    k->took_us += clock_wall_us() - now_us;
    return !k->making;
}

static void save(struct limit_keeper *k)
{
    if (!make(k)) {
        uv_timer_start(&k->timer, on_timer, SLICES_APART_MS, 0);
        return;
    }
    k->not_before_ms = clock_mono_ms() + MAX_OF((int64_t)APART_MS, k->took_us / 1000 * SHARE);
    k->writing = true;
    k->bytes = buf_len(&k->text);
    state_file_write_own(&k->file, &k->text, on_saved, k);
}

static void on_timer(uv_timer_t *timer)
{
    save(timer->data);
}

int limit_keeper_new(struct limit_keeper **ret, uv_loop_t *loop, int dirfd, struct limits *limits,
                     struct err *e)
{
    struct limit_keeper *k = xcalloc(1, sizeof(*k));
    struct buf text = {0};

    k->limits = limits;
    if (state_file_open(&k->file, loop, dirfd, "limits", e) < 0 ||
        state_file_read(&k->file, &text, e) < 0) {
        state_file_close(&k->file);
        free(k);
        buf_free(&text);
        return e->code;
    }
    uv_timer_init(loop, &k->timer);
    k->timer.data = k;
    limits_on_changed(limits, on_changed, k);
    limits_read(limits, buf_view(&text));
    limit_table_brought(limits_table(limits));
    buf_free(&text);
    *ret = k;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct limit_keeper *k = handle->data;

    if (k->writing)
        return; /* on_saved goes on */
    if (k->making || limits_changed(k->limits) || k->failed)
        save(k);
    else
        finish(k);
}

void limit_keeper_close(struct limit_keeper *k, void (*done)(void *arg), void *arg)
{
    k->closing = true;
    k->done = done;
    k->done_arg = arg;
    limits_on_changed(k->limits, NULL, NULL);
    uv_close((uv_handle_t *)&k->timer, on_closed);
}

void limit_keeper_free(struct limit_keeper *k)
{
    if (!k || k->writing) /* the process ends: the thread that writes may still look at it */
        return;
    state_file_close(&k->file);
    buf_free(&k->text);
    free(k);
}
