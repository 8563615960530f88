/*
 * Saves what pace has learnt; see pace_file.h. One write at a time, at most one in SAVE_MS; a crash
 * loses that much. A write that fails is tried again at the next turn and said once.
 */
#include "pace/pace_file.h"

#include "base/log.h"

enum { SAVE_MS = 5000 };

struct pace_file {
    struct pace *pace;
    struct state_file file;
    uv_timer_t timer;
    bool writing, failed, closing;
    void (*done)(void *arg);
    void *arg;
};

static void on_closed(uv_handle_t *h)
{
    struct pace_file *f = h->data;

    state_file_close(&f->file);
    f->done(f->arg);
    free(f);
}

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

/* What changed while the last write was under way is written by the next. */
static void save(struct pace_file *f)
{
    struct buf text = {0};
    bool changed = !f->writing && (pace_write(f->pace, &text) || (f->failed && !f->closing));

    if (changed) {
        f->writing = true;
        state_file_write(&f->file, buf_view(&text), on_saved, f);
    } else if (f->closing && !f->writing) {
        uv_close((uv_handle_t *)&f->timer, on_closed);
    }
    buf_free(&text);
}

static void on_timer(uv_timer_t *t)
{
    save(t->data);
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
    uv_timer_start(&f->timer, on_timer, SAVE_MS, SAVE_MS);
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
