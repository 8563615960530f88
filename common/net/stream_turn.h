/*
 * How much the streams of one owner do in a turn of the loop. When thousands of sockets are ready at
 * once, libuv calls back for all of them before anything else of the loop comes to its turn; streams
 * that share a stream_turn stop when it is used up, and go on in the next turn in the order in which
 * they became ready.
 */
#ifndef PMTA_NET_STREAM_TURN_H
#define PMTA_NET_STREAM_TURN_H

#include "base/list.h"

#include <uv.h>

struct stream;

/* What ends first ends a turn. */
enum { STREAM_TURN_EVENTS = 256, STREAM_TURN_US = 5000 };

struct stream_turn {
    uv_prepare_t begin;
    uv_idle_t awake;   /* while some are late: the loop must not sleep */
    struct list late;  /* struct stream.late: ready, and not served yet */
    unsigned left;     /* events of this turn */
    uint64_t until_ns; /* as of uv_hrtime; 0: no event yet */
    uint64_t put_off;  /* events, ever */
    unsigned handles;  /* not yet closed */
    void (*closed)(void *arg);
    void *arg;
};

void stream_turn_init(struct stream_turn *t, uv_loop_t *loop);
/* Its streams are closed; closed(arg) from the loop, nothing is touched after it. */
void stream_turn_close(struct stream_turn *t, void (*closed)(void *arg), void *arg);

/* s shares t from now on; t outlives it. */
void stream_share_turn(struct stream *s, struct stream_turn *t);

#endif
