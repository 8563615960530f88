/*
 * server: the sockets of pmta-sink on one libuv loop, one session per connection.
 */
#ifndef PMTA_SINK_SERVER_H
#define PMTA_SINK_SERVER_H

#include "base/list.h"
#include "sink/sink.h"

#include <uv.h>

struct server {
    struct sink *sink;
    uv_loop_t loop;
    uv_tcp_t listeners[SINK_LISTENERS_MAX];
    unsigned listener_count;
    uv_signal_t signals[3]; /* SIGINT, SIGTERM, SIGUSR1 */
    uv_timer_t tick;        /* flushes the record, ends idle connections */
    uv_timer_t deadline;    /* --for, or the moment of grace after --expect */
    struct list connections;
    uint64_t open;
    uint64_t numbers;
    bool satisfied;
    bool stopping;
    char read_buffer[256 << 10];
};

/* Binds and listens on all addresses. 0, or the error of the first that fails. */
int server_open(struct server *s, struct sink *sink, struct err *e);
/* Runs until a signal, --for or --expect; all connections are closed then. */
void server_run(struct server *s);

#endif
