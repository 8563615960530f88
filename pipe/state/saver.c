/*
 * Delayed writes of a state file; see saver.h. touch -> timer -> write in the thread pool -> done;
 * what is touched meanwhile makes the file dirty again and starts the timer after it. A write that
 * fails is logged once in a row and tried again with the next change.
 */
#include "state/saver.h"

#include "base/log.h"

struct saver_waiter {
    struct saver_waiter *next;
    void (*done)(void *arg, int status);
    void *arg;
};

static void start_write(struct saver *s);

static void on_timer(uv_timer_t *t)
{
    struct saver *s = t->data;
    if (!s->writing)
        start_write(s);
}

static void arm(struct saver *s, int64_t after_ms)
{
    uv_update_time(s->timer.loop);
    uv_timer_start(&s->timer, on_timer, (uint64_t)after_ms, 0);
}

static void on_timer_closed(uv_handle_t *h)
{
    struct saver *s = h->data;
    state_file_close(&s->file);
    s->closed(s->closed_arg);
}

static void finish(struct saver *s)
{
    s->open = false;
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

static void serve(struct saver *s, int status)
{
    struct saver_waiter *w = s->served;

    s->served = NULL;
    for (struct saver_waiter *next; w; w = next) {
        next = w->next;
        w->done(w->arg, status);
        free(w);
    }
}

static void on_written(void *arg, int status)
{
    struct saver *s = arg;

    s->writing = false;
    if (status < 0)
        log_warn(LOG_QUEUE,
                 "state cannot be saved, trying again with the next change file=%s reason='%s'",
                 s->file.name, err_name(status));
    serve(s, status);
    if (s->waiters || (s->closing && s->dirty))
        start_write(s);
    else if (s->closing)
        finish(s);
    else if (s->dirty)
        arm(s, s->delay_ms);
}

static void start_write(struct saver *s)
{
    struct buf text = {0};

    uv_timer_stop(&s->timer);
    s->write(s->arg, &text);
    s->dirty = false;
    s->writing = true;
    s->served = s->waiters;
    s->waiters = NULL;
    state_file_write(&s->file, buf_view(&text), on_written, s);
    buf_free(&text);
}

int saver_open(struct saver *s, uv_loop_t *loop, int dirfd, const char *name, int64_t delay_ms,
               void (*write)(void *arg, struct buf *out), void *arg, struct buf *ret, struct err *e)
{
    *s = (struct saver){.delay_ms = delay_ms, .write = write, .arg = arg};
    if (state_file_open(&s->file, loop, dirfd, name, e) < 0)
        return e->code;
    if (state_file_read(&s->file, ret, e) < 0) {
        state_file_close(&s->file);
        return e->code;
    }
    uv_timer_init(loop, &s->timer);
    s->timer.data = s;
    s->open = true;
    return 0;
}

void saver_touch(struct saver *s)
{
    if (!s->open || s->closing || s->dirty)
        return;
    s->dirty = true;
    if (!s->writing)
        arm(s, s->delay_ms);
}

void saver_flush(struct saver *s, void (*done)(void *arg, int status), void *arg)
{
    struct saver_waiter *w = xcalloc(1, sizeof(*w));

    BUG_ON(!s->open || s->closing);
    *w = (struct saver_waiter){s->waiters, done, arg};
    s->waiters = w;
    if (!s->writing)
        start_write(s);
}

void saver_close(struct saver *s, void (*closed)(void *arg), void *arg)
{
    BUG_ON(!s->open || s->closing);
    s->closing = true;
    s->closed = closed;
    s->closed_arg = arg;
    if (s->writing)
        return;
    if (s->dirty)
        start_write(s);
    else
        finish(s);
}
