/*
 * runner: see runner.h. Called by main. The clock of the run starts when every connection has been
 * ready or has failed once, a second after the first one was ready at the latest, so that an open
 * loop does not begin with the cost of connecting. A timerfd wakes idle connections, the one that
 * has been idle longest first, when the next message is due. The run is over when everything is
 * settled; it is given up when no connection could be used for as long as --patience says.
 */
#include "flood/runner.h"

#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define TICK_MS     50u
#define START_US    1000000
#define PROGRESS_US 1000000
#define QUIT_US     1000000

static void runner_stop(struct runner *r)
{
    if (r->stopping)
        return;
    r->stopping = true;
    schedule_stop(&r->flood->schedule);
    for (uint64_t i = 0; i < r->flood->options.connections; i++)
        connection_stop(&r->connections[i]);
    for (size_t i = 0; i < ARRAY_LEN(r->signals); i++)
        uv_close((uv_handle_t *)&r->signals[i], NULL);
    uv_close((uv_handle_t *)&r->tick, NULL);
    uv_close((uv_handle_t *)&r->wake, NULL);
    if (r->due_fd >= 0)
        uv_close((uv_handle_t *)&r->due, NULL);
}

/* Sets the timerfd to the next message, when somebody waits for it. */
static void arm(struct runner *r, int64_t now_us)
{
    int64_t at = schedule_next_us(&r->flood->schedule, now_us);
    if (r->due_fd < 0 || at < 0 || list_empty(&r->idle))
        return;
    struct itimerspec when = {.it_value = {at / 1000000, at % 1000000 * 1000}};
    BUG_ON(timerfd_settime(r->due_fd, TFD_TIMER_ABSTIME, &when, NULL) != 0);
}

/* Gives what is due to those that are idle. */
static void hand_out(struct runner *r)
{
    const struct schedule *s = &r->flood->schedule;
    int64_t now_us = runner_now_us();
    struct list *first;
    while (schedule_is_due(s, now_us) && (first = list_first(&r->idle)))
        connection_poke(list_entry(first, struct connection, idle));
    if (schedule_is_finished(s, now_us)) {
        while ((first = list_first(&r->idle)))
            connection_poke(list_entry(first, struct connection, idle));
        if (r->open == 0)
            runner_stop(r);
    }
    arm(r, now_us);
}

static void on_wake(uv_timer_t *timer)
{
    hand_out(timer->data);
}

void runner_wake(struct runner *r)
{
    if (!r->stopping && !uv_is_active((uv_handle_t *)&r->wake))
        uv_timer_start(&r->wake, on_wake, 0, 0);
}

static void on_due(uv_poll_t *poll, int status, int events)
{
    struct runner *r = poll->data;
    uint64_t expirations;
    (void)status;
    (void)events;
    if (read(r->due_fd, &expirations, sizeof(expirations)) > 0)
        hand_out(r);
}

static void start(struct runner *r, int64_t now_us)
{
    schedule_start(&r->flood->schedule, now_us);
    r->flood->stats.start_us = r->flood->stats.last_us = now_us;
    r->progress_us = now_us;
    runner_wake(r);
}

void runner_settled(struct runner *r, struct connection *c, bool ready)
{
    int64_t now_us = runner_now_us();
    if (ready)
        r->usable_us = now_us;
    if (ready && r->first_us == 0)
        r->first_us = now_us;
    if (c->settled)
        return;
    c->settled = true;
    r->settled++;
    if (r->settled == r->flood->options.connections && r->first_us && !r->flood->schedule.started)
        start(r, now_us);
}

static void print_progress(struct runner *r, int64_t now_us)
{
    const struct stats *s = &r->flood->stats;
    char accepted[TEXT_SIZE], other[TEXT_SIZE];
    double passed = (double)(now_us - r->progress_us) / 1e6;
    double rate = (double)(s->accepted - r->progress_accepted) / passed;
    fprintf(stderr, "\r  %s accepted, %.0f/s, %s refused or lost, %u connections\033[K",
            text_count(s->accepted, accepted), rate,
            text_count(s->refused + s->unanswered + s->given_up, other), r->open);
    r->progress_us = now_us;
    r->progress_accepted = s->accepted;
}

/* A connection that can send, or that is sending. */
static bool is_usable(const struct connection *c)
{
    return c->connected && (c->client.state == CLIENT_READY || c->client.state == CLIENT_BUSY);
}

static void on_tick(uv_timer_t *timer)
{
    struct runner *r = timer->data;
    const struct flood_options *o = &r->flood->options;
    struct schedule *s = &r->flood->schedule;
    int64_t now_us = runner_now_us();
    for (uint64_t i = 0; i < o->connections; i++) {
        connection_check(&r->connections[i], now_us);
        if (is_usable(&r->connections[i]))
            r->usable_us = now_us;
    }
    if (!s->started && r->first_us && now_us - r->first_us > START_US)
        start(r, now_us);
    if (r->terminal && s->started && now_us - r->progress_us >= PROGRESS_US)
        print_progress(r, now_us);
    record_flush(&r->flood->record);
    int64_t patience_us = schedule_is_finished(s, now_us) ? QUIT_US : o->patience_ms * 1000;
    if (now_us - r->usable_us > patience_us)
        runner_stop(r);
    else
        runner_wake(r);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct runner *r = handle->data;
    (void)number;
    schedule_stop(&r->flood->schedule);
    if (r->interrupts++ > 0)
        runner_stop(r);
    else
        runner_wake(r);
}

static int open_due(struct runner *r, struct err *e)
{
    r->due_fd = -1;
    if (r->flood->options.rate.count == 0)
        return 0;
    r->due_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (r->due_fd < 0)
        return err_set(e, -errno, "cannot make a timer");
    r->due.data = r;
    uv_poll_init(&r->loop, &r->due, r->due_fd);
    uv_poll_start(&r->due, UV_READABLE, on_due);
    return 0;
}

static void open_signals(struct runner *r)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uv_signal_init(&r->loop, &r->signals[i]);
        r->signals[i].data = r;
        uv_signal_start(&r->signals[i], on_signal, numbers[i]);
    }
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int runner_open(struct runner *r, struct flood *flood, struct err *e)
{
    int rc = uv_loop_init(&r->loop);
    if (rc < 0)
        return err_set(e, rc, "cannot make an event loop");
    r->flood = flood;
    r->terminal = !flood->options.quiet && !flood->options.json && isatty(2);
    list_init(&r->idle);
    raise_descriptor_limit();
    rc = open_due(r, e);
    if (rc < 0) {
        uv_loop_close(&r->loop);
        return rc;
    }
    open_signals(r);
    uv_timer_init(&r->loop, &r->tick);
    uv_timer_init(&r->loop, &r->wake);
    r->tick.data = r->wake.data = r;
    uv_timer_start(&r->tick, on_tick, TICK_MS, TICK_MS);
    r->usable_us = runner_now_us();
    flood->wall_offset_us = clock_wall_us() - runner_now_us();
    r->connections = xcalloc(flood->options.connections, sizeof(*r->connections));
    for (uint64_t i = 0; i < flood->options.connections; i++) {
        connection_init(&r->connections[i], r);
        connection_open(&r->connections[i]);
    }
    return 0;
}

void runner_run(struct runner *r)
{
    uv_run(&r->loop, UV_RUN_DEFAULT);
    BUG_ON(uv_loop_close(&r->loop) != 0);
    if (r->due_fd >= 0)
        close(r->due_fd);
    if (r->terminal)
        fputs("\r\033[K", stderr);
    for (uint64_t i = 0; i < r->flood->options.connections; i++)
        connection_fini(&r->connections[i]);
    free(r->connections);
}
