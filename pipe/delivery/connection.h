/*
 * The inside of an outgoing connection, for connection.c (hosts, time, what the owner asks for) and
 * its parts: conn_content.c, conn_hear.c, conn_tls.c. Nobody else includes this.
 */
#ifndef PMTA_PIPE_DELIVERY_CONNECTION_H
#define PMTA_PIPE_DELIVERY_CONNECTION_H

#include "pipe/delivery/delivery_impl.h"

#include <arpa/inet.h>

enum conn_state { CONN_START, CONN_CONNECTING, CONN_TALKING, CONN_CLOSING, CONN_DONE };
enum conn_next { NEXT_HOST, NEXT_CLEAR, NEXT_END };

struct delivery_conn {
    struct delivery *d;
    struct list run; /* in d->runnable */
    const struct delivery_ops *ops;
    void *owner;
    struct delivery_params params;
    struct delivery_host *hosts; /* copies, names too */
    struct sockaddr_storage source;
    char *queue;
    char *helo;
    enum conn_state state;
    enum conn_next next_step;
    size_t host;
    struct stream *stream;
    struct smtp_client client;
    struct content_reader *content;
    size_t readers; /* content readers not released */
    uv_timer_t timer;
    int64_t armed_ms;      /* when the timer fires, monotonic; INT64_MAX: not armed */
    int64_t wait_until_ms; /* of CONNECTING and CLOSING */
    int64_t connect_start_ms;
    int64_t opened_ms;
    uint64_t queued_bytes; /* handed to the stream */
    uint64_t taken_bytes;  /* by the kernel, when last looked at */
    uint64_t messages;
    bool client_open; /* client is initialised */
    bool established;
    bool want_wakeup, want_close, want_abort;
    struct list among_all; /* d->all */
    struct smtp_hearing hearing;
    unsigned heard_jobs; /* slots whose message was begun while somebody listens */
    bool heard_one;      /* there was such a message */
    bool needs_roots;    /* before the first host is tried */
    struct tls_files_waiter roots_waiter;
    struct tls_roots *roots; /* references, or NULL */
    struct tls_identity *identity;
    bool in_clear;              /* TLS failed on this host a moment ago */
    bool tls_failed;            /* the handshake: in clear it may work */
    enum tls_result tls_result; /* of this host */
    char tls_text[200];
    struct arena arena; /* needs of the hosts */
    bool has_outcome;
    bool some_may_do;       /* a host was passed over, or did not say no for good */
    struct outcome outcome; /* of the last host, or of the end */
    struct buf text;
    char tls[80];
    char tls_verify[40]; /* of this host */
    char peer_ip[INET6_ADDRSTRLEN];
    char source_ip[INET6_ADDRSTRLEN];
};

/* A step of c is due in the next turn of the loop. */
static inline void conn_schedule(struct delivery_conn *c)
{
    if (c->state != CONN_DONE)
        delivery_schedule(c->d, &c->run);
}

/* After every event outside of a read callback: what was written goes out, the timer follows. */
void conn_settle(struct delivery_conn *c);
/* The timer alone. */
void conn_rearm(struct delivery_conn *c);
/* A content reader is gone: goes on with a close that waited for it. */
void conn_after_close(struct delivery_conn *c);
/* The address without its port, INET6_ADDRSTRLEN bytes; empty when it has no family. */
void conn_address_text(const struct sockaddr_storage *a, char *out);

#endif
