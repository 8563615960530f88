/*
 * Traces and debugged queues without connections: delivery's side is played here.
 */
#include "unit.h"

#include "base/clock.h"
#include "trace/tracer.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>

/* --- delivery and engine, as far as the tracer knows them --- */

static const struct delivery_watcher *watcher;
static const struct dialogue *listened;
static unsigned watches;

void delivery_watch(struct delivery *d, const struct delivery_watcher *w)
{
    (void)d;
    watcher = w;
    watches++;
}

void delivery_listen(struct delivery_conn *c, const struct dialogue *to)
{
    (void)c;
    listened = to;
}

bool engine_pattern_matches(struct strview pattern, const char *queue_name);
bool engine_pattern_matches(struct strview pattern, const char *queue_name)
{
    char p[200];
    snprintf(p, sizeof(p), "%.*s", SV_ARG(pattern));
    return fnmatch(p, queue_name, 0) == 0;
}

static bool opens(const char *queue)
{
    static int conn;
    listened =
        watcher ? watcher->listens(watcher->owner, (struct delivery_conn *)&conn, queue) : NULL;
    return listened != NULL;
}

/* --- an operator --- */

struct heard {
    struct buf text;
    unsigned ticks, waits, ended, attempts, left_out;
    char why[100];
};

static void on_step(void *arg, const struct trace_step *s)
{
    struct heard *h = arg;
    buf_printf(&h->text, "%s %lld %.*s\n", s->queue, (long long)s->at_ms, SV_ARG(s->text));
}

static void on_tick(void *arg, bool waits)
{
    struct heard *h = arg;
    h->ticks++;
    h->waits += waits;
}

static void on_ended(void *arg, const char *why, unsigned attempts, unsigned left_out)
{
    struct heard *h = arg;
    h->ended++;
    h->attempts = attempts;
    h->left_out = left_out;
    snprintf(h->why, sizeof(h->why), "%s", why);
}

static const struct trace_ops ops = {on_step, on_tick, on_ended};

struct fixture {
    uv_loop_t loop;
    struct tracer *tracer;
    struct heard heard[TRACES_MAX + 1];
    struct err e;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    clock_fake_set(1795233906789);
    uv_loop_init(&f->loop);
    f->tracer = tracer_new(&f->loop, NULL);
    watcher = NULL;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    tracer_free(f->tracer);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    for (size_t i = 0; i < ARRAY_LEN(f->heard); i++)
        buf_free(&f->heard[i].text);
    free(f);
    return 0;
}

/* The timer is unreferenced: something else keeps the loop for a turn of it. */
static void on_nothing(uv_timer_t *t)
{
    uv_close((uv_handle_t *)t, NULL);
}

static void pass(struct fixture *f, uint64_t ms)
{
    uv_timer_t keeper;
    uv_update_time(&f->loop);
    uv_timer_init(&f->loop, &keeper);
    uv_timer_start(&keeper, on_nothing, ms, 0);
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

static struct trace *start(struct fixture *f, const char *pattern, unsigned count, int64_t ms)
{
    for (size_t i = 0; i < ARRAY_LEN(f->heard); i++)
        if (!f->heard[i].ticks && i == tracer_count(f->tracer))
            return trace_start(f->tracer, sv_of(pattern), count, ms, &ops, &f->heard[i], &f->e);
    return NULL;
}

static void test_one_attempt(void **state)
{
    struct fixture *f = *state;

    assert_null(watcher);
    assert_non_null(start(f, "a.example/*", 1, 60000));
    assert_non_null(watcher);
    assert_false(opens("b.example/m"));
    assert_true(opens("a.example/m"));
    const struct dialogue *d = listened;
    assert_false(opens("a.example/m")); /* one connection at a time */
    d->line(d->arg, DIALOGUE_SENT, SV("EHLO x"));
    clock_fake_advance(1500);
    d->line(d->arg, DIALOGUE_RECEIVED, SV("250 y"));
    assert_string_equal(buf_data(&f->heard[0].text),
                        "a.example/m 0 EHLO x\na.example/m 1500 250 y\n");
    d->attempt_over(d->arg);
    assert_null(listened);
    assert_int_equal(f->heard[0].ended, 0); /* never inside of delivery's call */
    pass(f, 5);
    assert_int_equal(f->heard[0].ended, 1);
    assert_int_equal(f->heard[0].attempts, 1);
    assert_null(watcher); /* nothing is asked any more */
}

static void test_goes_on_with_another_connection(void **state)
{
    struct fixture *f = *state;

    start(f, "*", 2, 60000);
    assert_true(opens("a/m"));
    const struct dialogue *d = listened;
    d->attempt_over(d->arg);
    d->closed(d->arg);
    assert_true(opens("b/m"));
    d->line(d->arg, DIALOGUE_EVENT, SV("here"));
    assert_string_equal(buf_data(&f->heard[0].text), "b/m 0 here\n");
    d->attempt_over(d->arg);
    pass(f, 5);
    assert_int_equal(f->heard[0].attempts, 2);
}

static void test_time_and_ticks(void **state)
{
    struct fixture *f = *state;

    start(f, "a/m", 1, 1500);
    pass(f, 1100);
    assert_int_equal(f->heard[0].ticks, 1);
    assert_int_equal(f->heard[0].waits, 1);
    clock_fake_advance(1500);
    pass(f, 1100);
    assert_int_equal(f->heard[0].ended, 1);
    assert_non_null(strstr(f->heard[0].why, "time is over"));
    assert_null(watcher);
}

static void test_bounds(void **state)
{
    struct fixture *f = *state;
    struct trace *traces[TRACES_MAX];

    for (unsigned i = 0; i < TRACES_MAX; i++)
        assert_non_null(traces[i] =
                            trace_start(f->tracer, SV("x/m"), 1, 60000, &ops, &f->heard[i], &f->e));
    assert_null(trace_start(f->tracer, SV("x/m"), 1, 60000, &ops, &f->heard[0], &f->e));
    for (unsigned i = 1; i < TRACES_MAX; i++)
        trace_cancel(traces[i]);
    assert_int_equal(tracer_count(f->tracer), 1);
    assert_true(opens("x/m"));
    const struct dialogue *d = listened;
    for (unsigned i = 0; i < TRACE_LINES_MAX + 7; i++)
        d->line(d->arg, DIALOGUE_SENT, SV(""));
    d->attempt_over(d->arg);
    pass(f, 5);
    assert_int_equal(f->heard[0].left_out, 7);
    for (unsigned i = 1; i < TRACES_MAX; i++)
        assert_int_equal(f->heard[i].ended, 0);
}

static void test_cancel_while_listening(void **state)
{
    struct fixture *f = *state;
    struct trace *tr = start(f, "x/m", 1, 60000);

    assert_true(opens("x/m"));
    trace_cancel(tr);
    assert_null(listened);
    assert_null(watcher);
}

static void count_pattern(void *arg, const char *pattern, int64_t until_ms)
{
    unsigned *n = arg;
    (void)pattern;
    (void)until_ms;
    ++*n;
}

static unsigned patterns(const struct fixture *f)
{
    unsigned n = 0;
    tracer_debug_each(f->tracer, count_pattern, &n);
    return n;
}

static void test_debugging(void **state)
{
    struct fixture *f = *state;
    bool changed;

    assert_int_equal(tracer_debug(f->tracer, SV("a/m"), true, 0, &changed, &f->e), 0);
    assert_true(changed);
    assert_int_equal(tracer_debug(f->tracer, SV("a/m"), true, 0, &changed, &f->e), 0);
    assert_false(changed);
    assert_int_equal(patterns(f), 1);
    assert_true(watcher->debugs(watcher->owner, "a/m"));
    assert_false(watcher->debugs(watcher->owner, "b/m"));
    assert_int_equal(tracer_debug(f->tracer, SV("b/*"), true, 2000, &changed, &f->e), 0);
    assert_true(watcher->debugs(watcher->owner, "b/m"));
    clock_fake_advance(2000);
    pass(f, 1100);
    assert_int_equal(patterns(f), 1); /* ended by itself */
    assert_false(watcher->debugs(watcher->owner, "b/m"));
    assert_int_equal(tracer_debug(f->tracer, SV("*/*"), false, 0, &changed, &f->e), 0);
    assert_true(changed);
    assert_null(watcher);
    assert_int_equal(tracer_debug(f->tracer, SV("*/*"), false, 0, &changed, &f->e), 0);
    assert_false(changed);
    for (unsigned i = 0; i < TRACE_DEBUG_MAX; i++) {
        char name[32];
        snprintf(name, sizeof(name), "q%u/m", i);
        assert_int_equal(tracer_debug(f->tracer, sv_of(name), true, 0, &changed, &f->e), 0);
    }
    assert_int_equal(tracer_debug(f->tracer, SV("more/m"), true, 0, &changed, &f->e), ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_attempt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_goes_on_with_another_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_time_and_ticks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cancel_while_listening, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_debugging, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
