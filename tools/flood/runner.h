/*
 * runner: the sockets and timers of pmta-flood on one libuv loop, one client per connection.
 */
#ifndef PMTA_FLOOD_RUNNER_H
#define PMTA_FLOOD_RUNNER_H

#include "base/list.h"
#include "flood/client.h"

#include <uv.h>

struct runner;

struct connection {
    struct runner *runner;
    struct list idle; /* in runner->idle while nothing is due for it */
    uv_tcp_t tcp;
    uv_timer_t backoff;
    uv_connect_t connecting;
    uv_write_t writing;
    size_t writing_bytes; /* what the write request holds; 0: none */
    bool open;            /* tcp is a live handle */
    bool connected;
    bool reading;
    bool settled;      /* was ready or failed once */
    unsigned failures; /* since it was ready last */
    int64_t waiting_since_us;
    struct client client;
};

struct runner {
    struct flood *flood;
    uv_loop_t loop;
    struct connection *connections;
    struct list idle;
    unsigned settled;
    unsigned open;
    uv_signal_t signals[2];
    uv_timer_t tick;   /* time-outs, progress, the record */
    uv_timer_t wake;   /* due at once: work for idle connections, or the end */
    uv_poll_t due;     /* a timerfd: the next message of an open loop */
    int due_fd;        /* -1: no open loop */
    int64_t first_us;  /* when the first connection was ready; 0: none yet */
    int64_t usable_us; /* when a connection was usable last */
    int64_t progress_us;
    uint64_t progress_accepted;
    unsigned interrupts;
    bool terminal;
    bool stopping;
    char read_buffer[64 << 10];
};

/* 0, or the error of what could not be made. */
int runner_open(struct runner *r, struct flood *flood, struct err *e);
/* Runs until everything is settled, a second signal, or the end of patience; frees all. */
void runner_run(struct runner *r);

/* For connection.c: something is due for idle connections, or the end may have come. */
void runner_wake(struct runner *r);
/* A connection became usable, or failed for the first time. */
void runner_settled(struct runner *r, struct connection *c, bool ready);

void connection_init(struct connection *c, struct runner *r);
void connection_fini(struct connection *c);
/* Starts to connect. */
void connection_open(struct connection *c);
/* Lets the client work; writes what it has to say. */
void connection_step(struct connection *c);
/* Nothing is due for it, and work has come up or the run is over. */
void connection_poke(struct connection *c);
/* From the tick: ends what took too long. */
void connection_check(struct connection *c, int64_t now_us);
/* At the end of the run: no way back. */
void connection_stop(struct connection *c);

static inline int64_t runner_now_us(void)
{
    return (int64_t)(uv_hrtime() / 1000);
}

#endif
