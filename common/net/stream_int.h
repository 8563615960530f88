/*
 * What stream.c and stream_tls.c share; nobody else includes this.
 *
 * Plain:  socket -> input -> owner -> queue -> socket
 * TLS:    socket -> raw -> SSL -> input -> owner -> queue -> SSL -> wire -> socket
 */
#ifndef PMTA_NET_STREAM_INT_H
#define PMTA_NET_STREAM_INT_H

#include "net/stream.h"
#include "net/stream_turn.h"

/* One stretch of output. data NULL: the next len bytes of `copied`. */
struct stream_seg {
    const char *data;
    size_t len;
    void (*release)(void *arg);
    void *arg;
};

struct stream_release {
    void (*release)(void *arg);
    void *arg;
};

enum stream_state {
    STREAM_CONNECTING,
    STREAM_OPEN,
    STREAM_BROKEN,  /* never opened, or refused; the owner was or will be told */
    STREAM_LINGER,  /* stream_close: pending output still goes out */
    STREAM_CLOSING, /* handles are closing */
};

enum stream_tls_phase {
    TLS_NONE,
    TLS_HANDSHAKE,
    TLS_OPEN,
    TLS_FAILED,
};

/* What is to be told or done at the end of the current callback, or in the next turn. */
enum stream_due {
    DUE_CONNECTED = 1 << 0,
    DUE_TLS = 1 << 1,
    DUE_INPUT = 1 << 2, /* TLS may hold input that needs no new event of the socket */
    DUE_ENDED = 1 << 3,
    DUE_DRAINED = 1 << 4,
    DUE_RELEASE = 1 << 5,
    DUE_READ = 1 << 6, /* reading was started with input there */
};

/* What a TLS implementation does for a stream. None of them calls back into the owner. */
struct stream_tls_ops {
    /* Takes what it can from raw: handshake, or plain text into input up to the limit. Returns 0,
     * UV_EOF after the peer's close_notify, or ERR_TLS. */
    int (*take)(struct stream *s);
    /* Encrypts queued output into wire until wire holds STREAM_WIRE_BYTES or the queue is empty;
     * then, when the stream lingers, says close_notify once. 0 or ERR_TLS. */
    int (*give)(struct stream *s);
    /* The handshake cannot be finished any more; sets the trouble text. */
    void (*cut)(struct stream *s, int status);
    const char *(*version)(const struct stream *s);
    const char *(*cipher)(const struct stream *s);
    const char *(*trouble)(const struct stream *s);
    void (*free)(struct stream *s);
};

enum { STREAM_WIRE_BYTES = 64 << 10 };

struct stream {
    uv_poll_t poll;
    uv_idle_t turn;             /* runs `due` when no callback of ours is on the stack */
    uv_prepare_t room;          /* while the input limit holds reading: was something consumed? */
    uv_timer_t deadline;        /* bounds STREAM_LINGER */
    struct stream_turn *shares; /* or NULL: every event is served at once */
    struct list late;           /* in shares->late, with: */
    unsigned late_events;       /* UV_READABLE | UV_WRITABLE */
    uv_loop_t *loop;
    const struct stream_ops *ops;
    void *owner;
    struct stream_limits limits;

    int fd;
    enum stream_state state;
    unsigned armed; /* UV_READABLE | UV_WRITABLE that poll waits for */
    unsigned due;   /* DUE_x */
    int handles;    /* not yet closed */
    int status;     /* for DUE_CONNECTED */
    int end_status; /* for DUE_ENDED */
    int out_error;  /* output broke; nothing is queued any more */
    bool polled;    /* poll is initialised */
    bool busy;      /* a callback of ours is on the stack */
    bool reading;   /* the owner wants input */
    bool full;      /* room is active */
    bool blocked;   /* the socket takes no output just now */
    bool congested; /* stream_congested was true, drained is owed */
    bool ended;     /* ended() fired or is due; nothing is read any more */

    struct buf input;
    size_t read_size; /* grows while reads fill the room they are given */

    struct stream_seg *segs; /* ring; seg_cap is a power of two */
    size_t seg_first, seg_count, seg_cap;
    struct buf copied;
    size_t queued; /* bytes in segs */

    struct stream_release *releases;
    size_t release_count, release_cap;

    const struct stream_tls_ops *tls_ops;
    void *tls; /* of tls_ops */
    enum stream_tls_phase tls_phase;
    int tls_status;
    struct buf raw;
    struct buf wire;
};

/* Marks work for the end of the current callback, or the next turn. */
void stream_due(struct stream *s, unsigned due);
/* First stretch of the queue, at most one segment; false when it is empty. */
bool stream_queue_head(const struct stream *s, struct strview *ret);
/* Drops len bytes from the front of the queue; releases become due. */
void stream_queue_consume(struct stream *s, size_t len);
/* One event of the socket, now. */
void stream_serve(struct stream *s, unsigned events);
/* stream_turn.c: the turn has room for one more event: taken; and what becomes of one that it has
 * no room for. */
bool stream_turn_take(struct stream_turn *t);
void stream_turn_put_off(struct stream_turn *t, struct stream *s, unsigned events);
/* Room left under the input limit. */
size_t stream_input_room(const struct stream *s);

#endif
