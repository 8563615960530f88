/*
 * Who listens to the connections of a pipe: traces (the SMTP dialogue of the next attempts of some
 * queues, line by line, to one operator) and queues whose connections are debugged. Loop thread
 * only. Bounded: so many traces and patterns, each trace in attempts, lines and time.
 */
#ifndef PMTA_PIPE_TRACE_TRACER_H
#define PMTA_PIPE_TRACE_TRACER_H

#include "base/err.h"
#include "delivery/delivery.h"
#include "delivery/dialogue.h"

enum {
    TRACES_MAX = 8,
    TRACE_LINES_MAX = 20000, /* of one trace; what comes then is counted */
    TRACE_ATTEMPTS_MAX = 100,
    TRACE_DEBUG_MAX = 64, /* patterns */
};

struct tracer;
struct trace;

struct tracer *tracer_new(uv_loop_t *loop, struct delivery *delivery);
/* Traces end without a word. */
void tracer_free(struct tracer *t);

/* --- traces --- */

struct trace_step {
    const char *queue;
    int64_t wall_ms;
    int64_t at_ms; /* since the trace began to listen to this connection */
    enum dialogue_kind kind;
    struct strview text;
};

/* Fires from the loop, never inside trace_start. */
struct trace_ops {
    void (*step)(void *arg, const struct trace_step *s);
    /* About once a second until the end. waits: nothing is listened to yet. */
    void (*tick)(void *arg, bool waits);
    /* Nothing follows, the trace is gone. why: a sentence; left_out: lines beyond the bound. */
    void (*ended)(void *arg, const char *why, unsigned attempts, unsigned left_out);
};

/* Listens to the next `count` attempts of queues that match the pattern ("domain/vmta" with * and
 * ?), at most timeout_ms. NULL with *e when there are too many. */
struct trace *trace_start(struct tracer *t, struct strview pattern, unsigned count,
                          int64_t timeout_ms, const struct trace_ops *ops, void *arg,
                          struct err *e);
/* Ends it without a word. */
void trace_cancel(struct trace *tr);
unsigned tracer_count(const struct tracer *t);

/* --- debugging of queues --- */

/* Queues that match debug from now on, for_ms 0: until they are switched off. Off ends every pattern
 * that the given one covers; *ret_changed: whether there was one. */
int tracer_debug(struct tracer *t, struct strview pattern, bool on, int64_t for_ms,
                 bool *ret_changed, struct err *e);
void tracer_debug_each(const struct tracer *t,
                       void (*fn)(void *arg, const char *pattern, int64_t until_ms), void *arg);

#endif
