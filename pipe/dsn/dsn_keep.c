/*
 * What of delivery notices survives a restart: up to when delays were told (file dsn-delays), and what
 * dsn-max-rate counted (dsn-limits). Called by main.c at start and end, and by dsn.c and dsn_delay.c
 * when something changed; written a moment later in the thread pool. A crash forgets what the last
 * seconds changed: a few notices more than dsn-max-rate, or of delay once again.
 */
#include "dsn/dsn_int.h"

#include "base/clock.h"

#include <stdio.h>

enum { DELAYS_SAVE_MS = 1000, LIMITS_SAVE_MS = 5000 };

static void write_told(void *arg, struct buf *out)
{
    const struct dsn *d = arg;
    buf_printf(out, "told %lld\n", (long long)d->told_ms);
}

static void write_limits(void *arg, struct buf *out)
{
    const struct dsn *d = arg;
    dsn_limit_write(d->limit, clock_wall_ms(), out);
}

void dsn_keep_delays(struct dsn *d)
{
    saver_touch(&d->delays);
}

void dsn_keep_limits(struct dsn *d)
{
    saver_touch(&d->limits);
}

int dsn_open(struct dsn *d, int dirfd, struct err *e)
{
    struct buf told = {0}, limits = {0};
    long long ms;
    int status = saver_open(&d->delays, d->loop, dirfd, "dsn-delays", DELAYS_SAVE_MS, write_told, d,
                            &told, e);

    if (status == 0 && sscanf(buf_data(&told), "told %lld", &ms) == 1)
        d->told_ms = MIN_OF((int64_t)ms, clock_wall_ms()); /* a clock may have been set back */
    if (status == 0)
        status = saver_open(&d->limits, d->loop, dirfd, "dsn-limits", LIMITS_SAVE_MS, write_limits,
                            d, &limits, e);
    if (status == 0)
        dsn_limit_read(d->limit, buf_view(&limits));
    buf_free(&told);
    buf_free(&limits);
    return status; /* an error ends the process: what is open goes with it */
}

static void on_limits_closed(void *arg)
{
    struct dsn *d = arg;
    d->closed(d->closed_arg);
}

static void on_delays_closed(void *arg)
{
    struct dsn *d = arg;
    saver_close(&d->limits, on_limits_closed, d);
}

void dsn_close(struct dsn *d, void (*closed)(void *arg), void *arg)
{
    d->closed = closed;
    d->closed_arg = arg;
    saver_close(&d->delays, on_delays_closed, d);
}
