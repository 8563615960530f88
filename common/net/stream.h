/*
 * stream: one TCP connection with TLS inside. Above it nobody sees whether bytes were encrypted.
 * Input gathers in a buf, output is queued with marks; close is asynchronous and idempotent.
 *
 * No callback fires inside a call of this interface, but for stream_ops.read during the delivery of
 * one read event. After stream_close only `closed` fires, once, and the stream's memory is gone
 * after it. A stream may be closed from any callback.
 *
 * TLS lives in stream_tls.c (library pmta_tls, BoringSSL) behind struct stream_tls_ops, so that a
 * process that must not link it can still use plain streams.
 */
#ifndef PMTA_NET_STREAM_H
#define PMTA_NET_STREAM_H

#include "base/buf.h"
#include "base/err.h"

#include <netinet/in.h>
#include <uv.h>

struct stream;

struct stream_ops {
    /* stream_connect succeeded (0) or failed (negative); after failure the owner closes. */
    void (*connected)(void *owner, struct stream *s, int status);
    /* More bytes in stream_input(s). Consume what you can with buf_consume. */
    void (*read)(void *owner, struct stream *s);
    /* The peer ended its side, or the connection broke: 0 is a clean end, negative an error. Fires
     * once; nothing can be read any more, the owner closes. */
    void (*ended)(void *owner, struct stream *s, int status);
    /* A handshake that was started has finished: 0 or ERR_TLS (text: stream_tls_trouble). */
    void (*tls)(void *owner, struct stream *s, int status);
    /* Output fell to the low-water mark (a quarter of high) after stream_congested was true. */
    void (*drained)(void *owner, struct stream *s);
    /* Everything is released; s is freed after the call. */
    void (*closed)(void *owner, struct stream *s);
};

/* Limits of one stream, in bytes. input_max: reading pauses while stream_input holds that much, and
 * resumes by itself when it is consumed. output_high: see stream_congested. */
struct stream_limits {
    size_t input_max;
    size_t output_high;
};

/* For a connection that uv_accept or accept4 gave: takes fd. */
struct stream *stream_from_fd(uv_loop_t *loop, int fd, const struct stream_limits *limits,
                              const struct stream_ops *ops, void *owner);
/* Connects; source may be NULL, or an address to bind first (port 0). connected() tells. A bind
 * error (EADDRNOTAVAIL) is told through connected() too. */
struct stream *stream_connect(uv_loop_t *loop, const struct sockaddr *source,
                              const struct sockaddr *to, const struct stream_limits *limits,
                              const struct stream_ops *ops, void *owner);

/* Begins to deliver input. A stream starts paused. */
void stream_read_start(struct stream *s);
void stream_read_stop(struct stream *s);

/* Unconsumed input. The owner consumes; the stream appends. */
struct buf *stream_input(struct stream *s);

/* Queues bytes. stream_write copies; stream_write_ref does not: release(arg) is called exactly
 * once, when the bytes are no longer needed (also when the stream closes), never inside the call.
 * Nothing is put on the wire before stream_flush or the end of the current read callback, so that
 * several small writes become one writev. */
void stream_write(struct stream *s, const void *data, size_t len);
void stream_write_ref(struct stream *s, const void *data, size_t len, void (*release)(void *arg),
                      void *arg);
/* Puts on the wire now what was queued; what the socket does not take waits for it. */
void stream_flush(struct stream *s);

/* Bytes queued and not yet taken by the kernel. */
size_t stream_pending(const struct stream *s);
/* More than output_high is pending. */
bool stream_congested(const struct stream *s);

/* Closes after pending output is written, or at once (abort: RST is not forced, bytes are dropped).
 * Idempotent; a later abort overrides a graceful close that is under way. NULL is fine. */
void stream_close(struct stream *s);
void stream_abort(struct stream *s);

/* Addresses of the two ends; zeroed family when unknown. */
void stream_peer(const struct stream *s, struct sockaddr_storage *ret);
void stream_local(const struct stream *s, struct sockaddr_storage *ret);

/* --- TLS (library pmta_tls) --- */

/* A certificate chain with its key, or what a client needs: refcounted, opaque. */
struct tls_context;

/* From PEM files; the descriptors stay the caller's and are read from offset 0. TLS 1.2 and 1.3.
 * NULL with *e filled when chain or key cannot be used or do not match. */
struct tls_context *tls_context_server(int cert_fd, int key_fd, struct err *e);
/* For outgoing connections, without certificate verification (opportunistic, RFC 7435). */
struct tls_context *tls_context_client(struct err *e);
struct tls_context *tls_context_ref(struct tls_context *t);
void tls_context_unref(struct tls_context *t);

/* Starts the handshake; tls() tells the end. Input that is buffered unread is discarded first when
 * it is plain text received before the handshake (RFC 3207 section 4.2: no injected commands); the
 * return value is how many bytes that were. Output queued before is sent in clear first. */
size_t stream_tls_accept(struct stream *s, struct tls_context *ctx);
size_t stream_tls_connect(struct stream *s, struct tls_context *ctx, const char *sni_host);

bool stream_is_tls(const struct stream *s);
/* "TLSv1.3", "TLS_AES_128_GCM_SHA256"; "" without TLS. Valid while the stream is. */
const char *stream_tls_version(const struct stream *s);
const char *stream_tls_cipher(const struct stream *s);
/* Why the handshake failed; "" when it did not. */
const char *stream_tls_trouble(const struct stream *s);

#endif
