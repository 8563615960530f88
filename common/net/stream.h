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

/* VERSION(NAME, "as the configuration says it", number on the wire) */
#define TLS_VERSIONS(VERSION)       \
    VERSION(1_0, "TLSv1", 0x0301)   \
    VERSION(1_1, "TLSv1.1", 0x0302) \
    VERSION(1_2, "TLSv1.2", 0x0303) \
    VERSION(1_3, "TLSv1.3", 0x0304)

enum tls_version {
#define TLS_VERSION_ENUM(name, text, wire) TLS_VERSION_##name,
    TLS_VERSIONS(TLS_VERSION_ENUM)
#undef TLS_VERSION_ENUM
};

/* Certificates that others are checked against; refcounted. */
struct tls_roots;

/* A PEM bundle, read from offset 0; the descriptor stays the caller's. NULL with *e filled when there
 * is no certificate in it or one of them cannot be read. */
struct tls_roots *tls_roots_read(int fd, struct err *e);
struct tls_roots *tls_roots_ref(struct tls_roots *r);
void tls_roots_unref(struct tls_roots *r); /* NULL is fine */

/* A certificate chain with its key, to show to a server; refcounted. */
struct tls_identity;

/* From PEM files, as tls_context_server. */
struct tls_identity *tls_identity_read(int cert_fd, int key_fd, struct err *e);
struct tls_identity *tls_identity_ref(struct tls_identity *i);
void tls_identity_unref(struct tls_identity *i); /* NULL is fine */

/* From PEM files; the descriptors stay the caller's and are read from offset 0. TLS 1.2 and 1.3.
 * NULL with *e filled when chain or key cannot be used or do not match. */
struct tls_context *tls_context_server(int cert_fd, int key_fd, struct err *e);
/* A further certificate of a server, shown to clients that ask for this name (SNI, RFC 6066 section
 * 3): "mail.example.com", or "*.example.com" for one label. 0, or the error with *e. */
int tls_context_add(struct tls_context *t, const char *name, int cert_fd, int key_fd,
                    struct err *e);
void tls_context_set_min_version(struct tls_context *t, enum tls_version v);
/* Asks clients for a certificate, which they may leave out; takes a reference. Whether it is any
 * good says stream_tls_client_certificate. */
void tls_context_set_client_roots(struct tls_context *t, struct tls_roots *roots);
/* For outgoing connections, without certificate verification (opportunistic, RFC 7435). */
struct tls_context *tls_context_client(struct err *e);
struct tls_context *tls_context_ref(struct tls_context *t);
void tls_context_unref(struct tls_context *t);

/* Starts the handshake; tls() tells the end. Input that is buffered unread is discarded first when
 * it is plain text received before the handshake (RFC 3207 section 4.2: no injected commands); the
 * return value is how many bytes that were. Output queued before is sent in clear first. */
size_t stream_tls_accept(struct stream *s, struct tls_context *ctx);
size_t stream_tls_connect(struct stream *s, struct tls_context *ctx, const char *sni_host);

/* How a client connects. */
struct tls_connect {
    const char *sni_host; /* NULL or an address: none is sent, and sessions are not resumed */
    enum tls_version min_version;
    struct tls_identity *identity; /* NULL: none is shown. The call takes a reference. */
    /* Sessions are resumed among connections to the same host with the same scope only: what one
     * connection was not asked to prove, another one cannot inherit. */
    uint64_t scope;
};
size_t stream_tls_connect_as(struct stream *s, struct tls_context *ctx,
                             const struct tls_connect *how);

bool stream_is_tls(const struct stream *s);
/* "TLSv1.3", "TLS_AES_128_GCM_SHA256"; "" without TLS. Valid while the stream is. */
const char *stream_tls_version(const struct stream *s);
const char *stream_tls_cipher(const struct stream *s);
/* The session was resumed: there was no new proof of who the peer is. */
bool stream_tls_is_resumed(const struct stream *s);
/* Why the handshake failed; "" when it did not. */
const char *stream_tls_trouble(const struct stream *s);

#endif
