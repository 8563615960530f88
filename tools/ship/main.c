/*
 * pmta-ship: sends the records of accounting files somewhere else (docs/events.md). As a child of
 * pmtad (--name) see child.c; by hand this thread does everything, and SIGTERM or SIGINT end it after
 * what is on its way was answered.
 */
#include "child.h"
#include "note.h"
#include "options.h"
#include "ship.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <unistd.h>

enum { TURN_MS = 1000, DRAIN_MS = 10000, DRAIN_TURN_MS = 50 };

static volatile sig_atomic_t stopping;
static int wake_fd = -1;

static void on_signal(int number)
{
    uint64_t one = 1;
    int saved = errno;

    (void)number;
    stopping = 1;
    (void)!write(wake_fd, &one, sizeof(one));
    errno = saved;
}

static void catch_signals(void)
{
    struct sigaction a = {.sa_handler = on_signal};

    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGINT, &a, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void drain(struct ship *s)
{
    int64_t until = clock_mono_ms() + DRAIN_MS;
    uint64_t n;
    bool failed;

    ship_drain(s);
    while (!ship_drained(s) && clock_mono_ms() < until) {
        (void)!read(wake_fd, &n, sizeof(n));
        ship_turn(s, DRAIN_TURN_MS, &failed);
    }
}

static void say_totals(const struct ship *s, int64_t since)
{
    const struct ship_totals *t = ship_totals(s);
    double seconds = (double)MAX_OF(clock_mono_ms() - since, (int64_t)1) / 1000;

    fprintf(stderr,
            "sent=%" PRIu64 " retried=%" PRIu64 " dead-letters=%" PRIu64 " broken=%" PRIu64
            " gaps=%" PRIu64 " seconds=%.1f rate=%.0f/s\n",
            t->sent, t->retried, t->dead, t->broken, t->gaps, seconds, (double)t->sent / seconds);
}

static int run(struct options *o)
{
    struct ship_options so = {.state_dirfd = o->state_dirfd, .wake_fd = wake_fd};
    int64_t since = clock_mono_ms();
    struct ship *s;
    struct err e;
    bool failed = false;

    if (ship_open(&o->settings, &so, &s, &e) < 0) {
        fprintf(stderr, "pmta-ship: %s\n", e.text);
        return 1;
    }
    while (!stopping && ship_turn(s, TURN_MS, &failed))
        log_flush();
    if (stopping)
        drain(s);
    if (o->verbose)
        say_totals(s, since);
    ship_close(s);
    log_flush();
    return failed;
}

static int by_hand(int argc, char **argv)
{
    struct options o;
    struct err e = {0};
    int rc = options_parse(argc, argv, &o, &e);

    if (rc != 0) {
        if (rc < 0)
            fprintf(stderr, "pmta-ship: %s\n", e.text);
        return rc < 0 ? 2 : 0;
    }
    if (o.state_dirfd >= 0 && flock(o.state_dirfd, LOCK_EX | LOCK_NB) < 0) {
        fprintf(stderr, "pmta-ship: another pmta-ship uses the directory of --state\n");
        return 1;
    }
    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    log_set_process("ship");
    catch_signals();
    rc = run(&o);
    ship_settings_fini(&o.settings);
    return rc;
}

int main(int argc, char **argv)
{
    /* without --name it is by hand; pmtad asks a program for its version alone */
    return options_are_by_hand(argc, argv) ? by_hand(argc, argv) : ship_child(argc, argv);
}
