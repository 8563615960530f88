/*
 * What a pipe remembers; see memory.h. Called by main.c at the start, in the order of the header, and
 * at the end. What can go wrong is a file that cannot be opened or read: the pipe then does not
 * start, because pauses and budgets would be forgotten silently.
 */
#include "memory.h"

enum {
    ACTIONS_DELAY_MS = 1000,
    CLOCKS_DELAY_MS = 10000,
    COLD_DELAY_MS = 1000,
    ORIGINS_DELAY_MS = 10000, /* one that a crash loses gets its number again with its next mail */
};

static void write_actions(void *arg, struct buf *out)
{
    struct memory *m = arg;
    engine_actions_write(m->engine, out);
}

static void write_clocks(void *arg, struct buf *out)
{
    struct memory *m = arg;
    engine_clocks_write(m->engine, out);
}

static void write_cold(void *arg, struct buf *out)
{
    struct memory *m = arg;
    engine_cold_write(m->engine, out);
}

static void write_origins(void *arg, struct buf *out)
{
    struct memory *m = arg;
    verp_write(m->verp, out);
}

void memory_origins_changed(void *arg)
{
    struct memory *m = arg;
    saver_touch(&m->origins);
}

static void on_cold(void *arg)
{
    struct memory *m = arg;
    saver_touch(&m->cold);
}

static void on_change(void *arg, bool clocks)
{
    struct memory *m = arg;
    saver_touch(clocks ? &m->clocks : &m->actions);
}

void memory_init(struct memory *m, struct engine *engine, struct verp *verp)
{
    *m = (struct memory){.engine = engine, .verp = verp, .pauses = {.dirfd = -1}, .jobs = {.dirfd = -1}};
}

static void forget_texts(struct memory *m)
{
    buf_free(&m->paused);
    buf_free(&m->acted);
    buf_free(&m->clocked);
    buf_free(&m->shared_out);
}

static int open_jobs(struct memory *m, uv_loop_t *loop, int dirfd, struct err *e)
{
    struct buf text = {0};
    int status = state_file_open(&m->jobs, loop, dirfd, "jobs", e);

    if (status == 0)
        status = state_file_read(&m->jobs, &text, e);
    if (status == 0)
        jobs_read(engine_jobs(m->engine), buf_view(&text));
    buf_free(&text);
    return status;
}

static int open_origins(struct memory *m, uv_loop_t *loop, int dirfd, struct err *e)
{
    struct buf text = {0};
    int status = saver_open(&m->origins, loop, dirfd, "origins", ORIGINS_DELAY_MS, write_origins, m,
                            &text, e);

    if (status == 0)
        verp_restore(m->verp, buf_view(&text));
    buf_free(&text);
    return status;
}

int memory_open(struct memory *m, uv_loop_t *loop, int dirfd, struct err *e)
{
    if (state_file_open(&m->pauses, loop, dirfd, "paused", e) < 0 ||
        state_file_read(&m->pauses, &m->paused, e) < 0 || open_jobs(m, loop, dirfd, e) < 0 ||
        saver_open(&m->actions, loop, dirfd, "actions", ACTIONS_DELAY_MS, write_actions, m,
                   &m->acted, e) < 0 ||
        saver_open(&m->clocks, loop, dirfd, "queue-clocks", CLOCKS_DELAY_MS, write_clocks, m,
                   &m->clocked, e) < 0 ||
        saver_open(&m->cold, loop, dirfd, "cold", COLD_DELAY_MS, write_cold, m, &m->shared_out, e) <
            0 ||
        open_origins(m, loop, dirfd, e) < 0 ||
        pace_file_open(&m->pace, engine_pace(m->engine), loop, dirfd, e) < 0 ||
        limit_keeper_new(&m->limits, loop, dirfd, engine_limits(m->engine), e) < 0) {
        forget_texts(m);
        return e->code;
    }
    return 0;
}

void memory_restore(struct memory *m)
{
    engine_pauses_read(m->engine, buf_view(&m->paused));
    engine_actions_read(m->engine, buf_view(&m->acted), buf_view(&m->clocked));
    engine_on_change(m->engine, on_change, m);
    engine_cold_read(m->engine, buf_view(&m->shared_out));
    engine_on_cold(m->engine, on_cold, m);
    forget_texts(m);
}

static void one_closed(void *arg)
{
    struct memory *m = arg;
    if (--m->closing == 0)
        m->closed(m->closed_arg);
}

static void on_pace_closed(void *arg)
{
    struct memory *m = arg;
    m->pace = NULL;
    one_closed(m);
}

void memory_close(struct memory *m, void (*closed)(void *arg), void *arg)
{
    m->closed = closed;
    m->closed_arg = arg;
    m->closing = 6;
    engine_on_change(m->engine, NULL, NULL);
    engine_on_cold(m->engine, NULL, NULL);
    limit_keeper_close(m->limits, one_closed, m);
    saver_close(&m->cold, one_closed, m);
    saver_close(&m->origins, one_closed, m);
    saver_close(&m->actions, one_closed, m);
    saver_close(&m->clocks, one_closed, m);
    pace_file_close(m->pace, on_pace_closed, m);
}

void memory_fini(struct memory *m)
{
    limit_keeper_free(m->limits);
    forget_texts(m);
    state_file_close(&m->pauses);
    state_file_close(&m->jobs);
}
