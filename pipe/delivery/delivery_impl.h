/*
 * What delivery.c, connection.c with its parts, and content.c share; nobody else includes this.
 */
#ifndef PMTA_PIPE_DELIVERY_IMPL_H
#define PMTA_PIPE_DELIVERY_IMPL_H

#include "net/stream.h"
#include "net/stream_turn.h"
#include "net/tls_verify.h"
#include "pipe/delivery/smtp_client.h"

enum {
    TLS_BROKEN_ROWS = 1024, /* a power of two */
    CONTENT_CHUNK_BYTES = 128 * 1024,
    OUTPUT_HIGH_BYTES = 256 * 1024,
    INPUT_MAX_BYTES = 64 * 1024,
    CLOSE_WAIT_MS = 5000,
    RUNS_PER_TURN = 256, /* connections whose step is due, */
    RUNS_NS = 2000000,   /* or as many as this allows */
    RUNS_PER_LOOK = 4,   /* at the clock */
};

/* Direct-mapped: a collision forgets the older host, which costs one failed handshake. */
struct tls_broken {
    uint64_t hash;
    int64_t until_ms;
};

struct delivery {
    uv_loop_t *loop;
    uv_idle_t runner;
    struct stream_turn turn; /* of all connections */
    struct list runnable; /* connections whose step is due in the next turn */
    struct tls_context *tls;
    struct tls_files *files;
    size_t connections;
    struct list all; /* connections */
    const struct delivery_watcher *watcher; /* or NULL */
    struct tls_broken broken[TLS_BROKEN_ROWS];
};

void delivery_schedule(struct delivery *d, struct list *node);
void delivery_tls_broken(struct delivery *d, const struct sockaddr_storage *addr, int64_t for_ms);
bool delivery_tls_is_broken(const struct delivery *d, const struct sockaddr_storage *addr);
/* connection.c */
void delivery_conn_run(struct list *node);

/* Streams the content of one job from its file; one at a time per connection. */
struct content_reader;
struct content_ops {
    /* A chunk was read: queue it with content_chunk_release as release. */
    void (*chunk)(void *owner, void *chunk, const char *data, size_t len);
    void (*done)(void *owner, bool ends_with_crlf);
    void (*failed)(void *owner, int status);
    /* The reader touches neither the job nor its owner any more. */
    void (*released)(void *owner, struct smtp_job *job);
};
struct content_reader *content_open(uv_loop_t *loop, struct smtp_job *job,
                                    const struct content_ops *ops, void *owner);
/* Reads the next chunk; call again after `chunk` when there is room. */
void content_read(struct content_reader *r);
/* Nothing but `released` is called after this. */
void content_close(struct content_reader *r);
void content_chunk_release(void *chunk);

#endif
