/*
 * Saves what pace has learnt; see pace_file.h. The text is made in slices of a millisecond or less
 * between other work and written in the thread pool, one text at a time; after it comes a pause of a
 * second, longer when the text is. A crash loses what was learnt since (the day's count is not in
 * here but with the limits). A write that fails is tried again at the next turn and said once.
 */
#include "pace/pace_file.h"

#include "base/log.h"

#include <limits.h>

enum {
    PAUSE_MS = 1000,
    SLICE_PAIRS = 250,
    BYTES_PER_MS = 1000, /* so much per ms of pause: a megabyte per second is written at most */
};

struct pace_file {
    struct pace *pace;
    struct state_file file;
    uv_timer_t timer;
    struct buf text; /* being made */
    size_t bytes;    /* of the last one */
    bool making, writing, failed, closing;
    void (*done)(void *arg);
    void *arg;
};

static void on_closed(uv_handle_t *h)
{
    struct pace_file *f = h->data;

    state_file_close(&f->file);
    buf_free(&f->text);
    f->done(f->arg);
    free(f);
}

static void on_timer(uv_timer_t *t);
static void save(struct pace_file *f);

static void on_saved(void *arg, int status)
{
    struct pace_file *f = arg;
    bool failed = status < 0;

    f->writing = false;
    if (failed && !f->failed)
        log_error(LOG_LIMIT, "the rates and warm-up progress cannot be saved reason='%s'",
                  uv_strerror(status));
    f->failed = failed;
    if (f->closing)
        save(f);
}

static uint64_t pause_ms(const struct pace_file *f)
{
    return MAX_OF((uint64_t)PAUSE_MS, (uint64_t)f->bytes / BYTES_PER_MS);
}

/* Makes a slice of the text, all of it when the pipe ends. True when the text is whole. */
static bool make(struct pace_file *f)
{
    if (!f->making) {
        buf_reset(&f->text);
        buf_reserve(&f->text, f->bytes + f->bytes / 8); /* growing is what takes longest */
    }
    f->making = !pace_write_some(f->pace, &f->text, f->closing ? UINT_MAX : SLICE_PAIRS);
    return !f->making;
}

static void save(struct pace_file *f)
{
    if (f->writing)
        return; /* on_saved, or the timer, goes on */
    bool wanted = f->making || pace_changed(f->pace) || (f->failed && !f->closing);
    if (wanted && make(f)) {
        f->writing = true;
        f->bytes = buf_len(&f->text);
        state_file_write_own(&f->file, &f->text, on_saved, f);
        return;
    }
    if (f->closing)
        uv_close((uv_handle_t *)&f->timer, on_closed);
}

static void on_timer(uv_timer_t *t)
{
    struct pace_file *f = t->data;

    save(f);
    uv_timer_start(t, on_timer, f->making ? 1 : pause_ms(f), 0);
}

int pace_file_open(struct pace_file **ret, struct pace *pace, uv_loop_t *loop, int dirfd,
                   struct err *e)
{
    struct pace_file *f = xcalloc(1, sizeof(*f));
    struct buf text = {0};
    int status = state_file_open(&f->file, loop, dirfd, "pace", e);

    if (status == 0)
        status = state_file_read(&f->file, &text, e);
    if (status < 0) {
        state_file_close(&f->file);
        buf_free(&text);
        free(f);
        return status;
    }
    f->pace = pace;
    f->timer.data = f;
    pace_read(pace, buf_view(&text));
    buf_free(&text);
    uv_timer_init(loop, &f->timer);
    uv_timer_start(&f->timer, on_timer, PAUSE_MS, 0);
    *ret = f;
    return 0;
}

void pace_file_close(struct pace_file *f, void (*done)(void *arg), void *arg)
{
    if (!f) {
        done(arg);
        return;
    }
    f->done = done;
    f->arg = arg;
    f->closing = true;
    uv_timer_stop(&f->timer);
    save(f);
}
