/*
 * stream over real loopback sockets, on a loop of the test's own. Nothing sleeps: the loop runs
 * until what is waited for has happened, and a watchdog timer fails the test when it does not.
 */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/stream.h"

#include <openssl/bio.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/mman.h>

enum { WATCHDOG_MS = 20000 };

/* One end of a connection, with everything that happened to it. */
struct end {
    struct stream *s;
    struct end *echo_to; /* what is read goes there by copy */
    int connected, connected_status;
    int reads;
    int ended, ended_status;
    int tls, tls_status;
    int drained;
    int closed;
    int released;
    size_t got;       /* consumed so far */
    size_t max_input; /* most that was ever in the input */
    uint64_t sum;     /* of what was consumed, order counts */
    bool keep;        /* do not consume in read */
    bool abort_in_read, close_in_read, close_in_ended, close_in_connected, close_in_drained;
    bool in_call; /* a stream function is on the stack: no callback may fire */
    char first[64];
};

static uv_loop_t loop;
static uv_timer_t watchdog;
static const struct stream_limits wide = {256 << 10, 256 << 10};

static uint64_t sum_more(uint64_t sum, const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum = sum * 1099511628211u + (unsigned char)p[i];
    return sum;
}

static void end_consume(struct end *e)
{
    struct buf *in = stream_input(e->s);
    size_t len = buf_len(in);

    if (e->got < sizeof(e->first) - 1)
        memcpy(e->first + e->got, buf_data(in), MIN_OF(len, sizeof(e->first) - 1 - e->got));
    e->sum = sum_more(e->sum, buf_data(in), len);
    e->got += len;
    if (e->echo_to)
        stream_write(e->echo_to->s, buf_data(in), len);
    buf_consume(in, len);
}

static void on_connected(void *owner, struct stream *s, int status)
{
    struct end *e = owner;
    assert_false(e->in_call);
    assert_ptr_equal(e->s, s);
    e->connected++;
    e->connected_status = status;
    if (e->close_in_connected || status)
        stream_close(s);
}

static void on_read(void *owner, struct stream *s)
{
    struct end *e = owner;
    assert_false(e->in_call);
    assert_int_equal(e->ended, 0);
    e->reads++;
    e->max_input = MAX_OF(e->max_input, buf_len(stream_input(s)));
    if (!e->keep)
        end_consume(e);
    if (e->close_in_read)
        stream_close(s);
    if (e->abort_in_read)
        stream_abort(s);
}

static void on_ended(void *owner, struct stream *s, int status)
{
    struct end *e = owner;
    assert_false(e->in_call);
    e->ended++;
    e->ended_status = status;
    if (e->close_in_ended)
        stream_close(s);
}

static void on_tls(void *owner, struct stream *s, int status)
{
    struct end *e = owner;
    (void)s;
    assert_false(e->in_call);
    e->tls++;
    e->tls_status = status;
}

static void on_drained(void *owner, struct stream *s)
{
    struct end *e = owner;
    assert_false(e->in_call);
    e->drained++;
    if (e->close_in_drained)
        stream_close(s);
}

static void on_closed(void *owner, struct stream *s)
{
    struct end *e = owner;
    assert_false(e->in_call);
    assert_ptr_equal(e->s, s);
    e->closed++;
    e->s = NULL;
}

static void on_release(void *arg)
{
    struct end *e = arg;
    assert_false(e->in_call);
    assert_int_equal(e->closed, 0);
    e->released++;
}

static const struct stream_ops ops = {on_connected, on_read,    on_ended,
                                      on_tls,       on_drained, on_closed};

static void on_watchdog(uv_timer_t *t)
{
    (void)t;
    fprintf(stderr, "what the test waits for does not happen\n");
    abort();
}

#define RUN_UNTIL(cond)                                         \
    do {                                                        \
        uv_timer_start(&watchdog, on_watchdog, WATCHDOG_MS, 0); \
        while (!(cond))                                         \
            uv_run(&loop, UV_RUN_ONCE);                         \
        uv_timer_stop(&watchdog);                               \
    } while (0)

/* Everything that can happen without new events has happened after this. */
static void run_idle(void)
{
    for (int i = 0; i < 20; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

#define CALL(e, expr)         \
    do {                      \
        (e)->in_call = true;  \
        expr;                 \
        (e)->in_call = false; \
    } while (0)

static int listen_on_loopback(struct sockaddr_in *ret)
{
    socklen_t len = sizeof(*ret);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)ret, sizeof(*ret)), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret, &len), 0);
    return fd;
}

static void sock_small(int fd)
{
    int size = 4096;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

/* Two raw descriptors of one TCP connection; small: with small kernel buffers. */
static void tcp_pair(int *ret_a, int *ret_b, bool small)
{
    struct sockaddr_in addr;
    int listener = listen_on_loopback(&addr);

    if (small)
        sock_small(listener);
    *ret_a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (small)
        sock_small(*ret_a);
    assert_int_equal(connect(*ret_a, (struct sockaddr *)&addr, sizeof(addr)), 0);
    *ret_b = accept(listener, NULL, NULL);
    assert_true(*ret_b >= 0);
    close(listener);
}

static void pair_open(struct end *a, struct end *b, const struct stream_limits *limits, bool small)
{
    int fd_a, fd_b;
    tcp_pair(&fd_a, &fd_b, small);
    *a = *b = (struct end){0};
    a->s = stream_from_fd(&loop, fd_a, limits, &ops, a);
    b->s = stream_from_fd(&loop, fd_b, limits, &ops, b);
}

static void pair_close(struct end *a, struct end *b)
{
    if (a->s)
        CALL(a, stream_abort(a->s));
    if (b->s)
        CALL(b, stream_abort(b->s));
    RUN_UNTIL((a->closed || !a->s) && (b->closed || !b->s));
    assert_true(a->closed <= 1 && b->closed <= 1);
}

static char *pattern(size_t len)
{
    char *p = xmalloc(len);
    uint32_t x = 12345;
    for (size_t i = 0; i < len; i++) {
        x = x * 1664525 + 1013904223;
        p[i] = (char)(x >> 24);
    }
    return p;
}

/* Large data there and back through small kernel buffers, copied and referenced in turn. */
static void echo_large(void **state)
{
    size_t len = 3 << 20;
    char *data = pattern(len);
    struct end a, b;
    int refs = 0;
    (void)state;

    pair_open(&a, &b, &wide, true);
    b.echo_to = &b;
    stream_read_start(a.s);
    stream_read_start(b.s);
    for (size_t at = 0, piece = 1; at < len; at += piece) {
        piece = MIN_OF((at * 7) % 30011 + 1, len - at);
        if (at % 2) {
            CALL(&a, stream_write(a.s, data + at, piece));
        } else {
            CALL(&a, stream_write_ref(a.s, data + at, piece, on_release, &a));
            refs++;
        }
    }
    assert_int_equal(stream_pending(a.s), len);
    CALL(&a, stream_flush(a.s));
    assert_true(stream_pending(a.s) > 0);
    RUN_UNTIL(a.got == len);
    assert_true(a.sum == sum_more(0, data, len));
    assert_int_equal(a.released, refs);
    assert_int_equal(stream_pending(a.s), 0);
    pair_close(&a, &b);
    free(data);
}

/* Reading pauses at the limit to the byte, and goes on when the owner has consumed. */
static void input_limit(void **state)
{
    static const struct stream_limits narrow = {1000, 1 << 20};
    size_t len = 100000;
    char *data = pattern(len);
    struct end a, b;
    (void)state;

    pair_open(&a, &b, &narrow, false);
    b.keep = true;
    stream_read_start(b.s);
    stream_write(a.s, data, len);
    CALL(&a, stream_flush(a.s));
    RUN_UNTIL(b.max_input == 1000);
    run_idle();
    assert_int_equal(buf_len(stream_input(b.s)), 1000);
    int rounds = 0;
    while (b.got < len) {
        end_consume(&b);
        if (b.got < len)
            RUN_UNTIL(buf_len(stream_input(b.s)) > 0);
        rounds++;
    }
    assert_true(rounds >= 100);
    assert_int_equal(b.max_input, 1000);
    assert_true(b.sum == sum_more(0, data, len));
    pair_close(&a, &b);
    free(data);
}

static void congestion(void **state)
{
    static const struct stream_limits limits = {64 << 10, 100000};
    size_t len = 4 << 20;
    char *data = pattern(len);
    struct end a, b;
    (void)state;

    pair_open(&a, &b, &limits, true);
    stream_write(a.s, data, 100000);
    assert_false(stream_congested(a.s));
    stream_write(a.s, data, 1);
    assert_true(stream_congested(a.s));
    stream_write_ref(a.s, data, len, on_release, &a);
    CALL(&a, stream_flush(a.s));
    run_idle();
    assert_true(stream_congested(a.s));
    assert_int_equal(a.drained, 0);
    stream_read_start(b.s);
    RUN_UNTIL(a.drained == 1);
    assert_true(stream_pending(a.s) <= 25000);
    RUN_UNTIL(b.got == len + 100001);
    assert_int_equal(a.drained, 1);
    assert_int_equal(a.released, 1);
    pair_close(&a, &b);
    free(data);
}

/* Writes stay in the queue until the flush; the flush may release, but never inside the call. */
static void flush_and_release(void **state)
{
    struct end a, b;
    (void)state;

    pair_open(&a, &b, &wide, false);
    stream_read_start(b.s);
    CALL(&a, stream_write(a.s, "one ", 4));
    CALL(&a, stream_write_ref(a.s, "two ", 4, on_release, &a));
    CALL(&a, stream_write(a.s, "three", 5));
    CALL(&a, stream_write_ref(a.s, "", 0, on_release, &a));
    run_idle();
    CALL(&a, stream_flush(a.s));
    assert_int_equal(stream_pending(a.s), 0);
    RUN_UNTIL(b.got == 13 && a.released == 2);
    assert_string_equal(b.first, "one two three");
    assert_int_equal(b.reads, 1);
    pair_close(&a, &b);
}

/* A pause holds bytes back; what is unread at a restart is told again. */
static void pause_and_resume(void **state)
{
    struct end a, b;
    (void)state;

    pair_open(&a, &b, &wide, false);
    stream_write(a.s, "x", 1);
    stream_flush(a.s);
    run_idle();
    assert_int_equal(b.reads, 0);
    b.keep = true;
    CALL(&b, stream_read_start(b.s));
    RUN_UNTIL(b.reads == 1);
    CALL(&b, stream_read_stop(b.s));
    stream_write(a.s, "y", 1);
    stream_flush(a.s);
    run_idle();
    assert_int_equal(b.reads, 1);
    CALL(&b, stream_read_start(b.s));
    RUN_UNTIL(buf_len(stream_input(b.s)) == 2);
    assert_true(b.reads >= 2);
    pair_close(&a, &b);
}

static void client_to(struct end *e, const struct sockaddr *source, const struct sockaddr_in *to)
{
    *e = (struct end){0};
    e->in_call = true;
    e->s = stream_connect(&loop, source, (const struct sockaddr *)to, &wide, &ops, e);
    e->in_call = false;
}

static void connect_works(void **state)
{
    struct sockaddr_in addr, source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002)};
    struct sockaddr_storage ss;
    int listener = listen_on_loopback(&addr);
    struct end a, b = {0};
    (void)state;

    client_to(&a, (struct sockaddr *)&source, &addr);
    stream_write(a.s, "early", 5);
    RUN_UNTIL(a.connected);
    assert_int_equal(a.connected_status, 0);
    b.s = stream_from_fd(&loop, accept(listener, NULL, NULL), &wide, &ops, &b);
    stream_read_start(b.s);
    RUN_UNTIL(b.got == 5);
    stream_peer(b.s, &ss);
    assert_int_equal(((struct sockaddr_in *)(void *)&ss)->sin_addr.s_addr, source.sin_addr.s_addr);
    stream_peer(a.s, &ss);
    assert_int_equal(((struct sockaddr_in *)(void *)&ss)->sin_port, addr.sin_port);
    stream_local(b.s, &ss);
    assert_int_equal(((struct sockaddr_in *)(void *)&ss)->sin_port, addr.sin_port);
    pair_close(&a, &b);
    close(listener);
}

static void connect_fails(void **state)
{
    struct sockaddr_in addr,
        foreign = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201)};
    int listener = listen_on_loopback(&addr);
    struct end a;
    (void)state;

    client_to(&a, (struct sockaddr *)&foreign, &addr);
    stream_write_ref(a.s, "x", 1, on_release, &a);
    RUN_UNTIL(a.closed);
    assert_int_equal(a.connected_status, -EADDRNOTAVAIL);
    assert_int_equal(a.released, 1);

    close(listener); /* nobody listens there now */
    client_to(&a, NULL, &addr);
    stream_read_start(a.s);
    stream_write_ref(a.s, "x", 1, on_release, &a);
    RUN_UNTIL(a.closed);
    assert_int_equal(a.connected, 1);
    assert_int_equal(a.connected_status, -ECONNREFUSED);
    assert_int_equal(a.released, 1);
    assert_int_equal(a.ended, 0);
}

static void bad_descriptor(void **state)
{
    struct end a = {.close_in_ended = true};
    (void)state;

    a.s = stream_from_fd(&loop, dup(fileno(tmpfile())), &wide, &ops, &a);
    stream_read_start(a.s);
    RUN_UNTIL(a.closed);
    assert_int_equal(a.ended, 1);
    assert_true(a.ended_status < 0);
}

static void send_reset(int fd)
{
    struct linger hard = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(fd);
}

static void peer_reset(void **state)
{
    struct end a;
    (void)state;

    for (int writing = 0; writing < 2; writing++) {
        char *data = pattern(8 << 20);
        int raw, fd;
        tcp_pair(&fd, &raw, true);
        a = (struct end){0};
        a.s = stream_from_fd(&loop, fd, &wide, &ops, &a);
        stream_read_start(a.s);
        if (writing) {
            stream_write_ref(a.s, data, 8 << 20, on_release, &a);
            stream_flush(a.s);
            run_idle();
            assert_true(stream_pending(a.s) > 0);
        }
        send_reset(raw);
        RUN_UNTIL(a.ended);
        assert_int_equal(a.ended_status, -ECONNRESET);
        CALL(&a, stream_write_ref(a.s, data, 10, on_release, &a));
        CALL(&a, stream_flush(a.s));
        CALL(&a, stream_close(a.s));
        RUN_UNTIL(a.closed);
        assert_int_equal(a.ended, 1);
        assert_int_equal(a.released, writing + 1);
        free(data);
    }
}

/* What the peer said before it went is read, even when a write found out first that it is gone. */
static void last_words(void **state)
{
    struct end a = {0};
    char got[8];
    int raw, fd;
    (void)state;

    tcp_pair(&fd, &raw, false);
    a.s = stream_from_fd(&loop, fd, &wide, &ops, &a);
    stream_read_start(a.s);
    stream_write(a.s, "hello", 5);
    stream_flush(a.s);
    assert_int_equal(write(raw, "421 bye", 7), 7);
    assert_int_equal(recv(raw, got, 2, 0), 2);
    close(raw); /* unread bytes: this is a reset after the words */
    stream_write(a.s, "x", 1);
    CALL(&a, stream_flush(a.s));
    stream_write(a.s, "y", 1);
    CALL(&a, stream_flush(a.s));
    RUN_UNTIL(a.ended);
    assert_string_equal(a.first, "421 bye");
    assert_true(a.ended_status < 0);
    stream_close(a.s);
    RUN_UNTIL(a.closed);
}

/* The peer sends its end and still takes what we say. */
static void half_close(void **state)
{
    char got[4096];
    struct end a = {0};
    int raw, fd;
    (void)state;

    tcp_pair(&fd, &raw, false);
    a.s = stream_from_fd(&loop, fd, &wide, &ops, &a);
    stream_read_start(a.s);
    assert_int_equal(write(raw, "QUIT", 4), 4);
    shutdown(raw, SHUT_WR);
    RUN_UNTIL(a.ended);
    assert_int_equal(a.ended_status, 0);
    assert_string_equal(a.first, "QUIT");
    stream_write(a.s, "221 bye", 7);
    CALL(&a, stream_close(a.s));
    RUN_UNTIL(a.closed);
    assert_int_equal(recv(raw, got, sizeof(got), 0), 7);
    assert_int_equal(recv(raw, got, sizeof(got), 0), 0);
    close(raw);
}

/* A graceful close delivers everything that was queued, whatever the size of the window. */
static void graceful_close(void **state)
{
    size_t len = 2 << 20;
    char *data = pattern(len);
    struct end a, b;
    (void)state;

    pair_open(&a, &b, &wide, true);
    stream_write_ref(a.s, data, len, on_release, &a);
    CALL(&a, stream_close(a.s));
    CALL(&a, stream_close(a.s));
    CALL(&a, stream_write_ref(a.s, "late", 4, on_release, &a));
    run_idle();
    assert_int_equal(a.closed, 0);
    stream_read_start(b.s);
    RUN_UNTIL(a.closed && b.ended);
    assert_int_equal(b.got, len);
    assert_true(b.sum == sum_more(0, data, len));
    assert_int_equal(b.ended_status, 0);
    assert_int_equal(a.released, 2);
    pair_close(&a, &b);

    pair_open(&a, &b, &wide, true); /* and an abort overrides it */
    stream_write_ref(a.s, data, len, on_release, &a);
    CALL(&a, stream_close(a.s));
    run_idle();
    assert_int_equal(a.closed, 0);
    CALL(&a, stream_abort(a.s));
    CALL(&a, stream_abort(a.s));
    RUN_UNTIL(a.closed);
    assert_int_equal(a.released, 1);
    pair_close(&a, &b);
    free(data);
}

static void close_in_callbacks(void **state)
{
    static const struct stream_limits limits = {64 << 10, 1000};
    char *data = pattern(1 << 20);
    struct sockaddr_in addr;
    struct end a, b;
    (void)state;

    for (int how = 0; how < 4; how++) {
        pair_open(&a, &b, &limits, true);
        a.close_in_read = how == 0;
        a.abort_in_read = how == 1;
        a.close_in_ended = how == 2;
        a.close_in_drained = how == 3;
        stream_read_start(a.s);
        stream_read_start(b.s);
        if (how < 2) {
            stream_write(b.s, data, 1 << 20);
            stream_flush(b.s);
        } else if (how == 2) {
            stream_close(b.s);
        } else {
            stream_write_ref(a.s, data, 1 << 20, on_release, &a);
            stream_flush(a.s);
        }
        RUN_UNTIL(a.closed);
        assert_int_equal(a.closed, 1);
        assert_int_equal(a.reads, how < 2);
        assert_int_equal(a.released, how == 3);
        assert_int_equal(a.ended, how == 2);
        pair_close(&a, &b);
    }
    int listener = listen_on_loopback(&addr);
    client_to(&a, NULL, &addr);
    a.close_in_connected = true;
    stream_write(a.s, "x", 1);
    RUN_UNTIL(a.closed);
    client_to(&a, NULL, &addr); /* closed before it is connected: nothing is told but that */
    CALL(&a, stream_close(a.s));
    RUN_UNTIL(a.closed);
    assert_int_equal(a.connected, 0);
    close(listener);
    free(data);
    stream_close(NULL);
    stream_abort(NULL);
}

/* --- TLS --- */

static int memfd_of(BIO *bio)
{
    const uint8_t *data;
    size_t len;
    int fd = memfd_create("pem", MFD_CLOEXEC);

    assert_int_equal(BIO_mem_contents(bio, &data, &len), 1);
    assert_int_equal(write(fd, data, len), len);
    BIO_free(bio);
    return fd;
}

/* A self-signed certificate and its key as PEM descriptors. */
static void make_certificate(int *ret_cert, int *ret_key)
{
    EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    EVP_PKEY *key = EVP_PKEY_new();
    X509 *x = X509_new();
    BIO *cert_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());

    assert_true(EC_KEY_generate_key(ec) && EVP_PKEY_assign_EC_KEY(key, ec));
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"mx.example.com", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    assert_true(PEM_write_bio_X509(cert_bio, x));
    assert_true(PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL));
    *ret_cert = memfd_of(cert_bio);
    *ret_key = memfd_of(key_bio);
    X509_free(x);
    EVP_PKEY_free(key);
}

static struct tls_context *server_context(void)
{
    int cert, key;
    struct err e = {0};
    struct tls_context *t;

    make_certificate(&cert, &key);
    t = tls_context_server(cert, key, &e);
    assert_non_null(t);
    close(cert);
    close(key);
    return t;
}

/* Data in both directions inside TLS, through small windows and a narrow input limit. */
static void tls_both_ends(void **state)
{
    static const struct stream_limits narrow = {5000, 100000};
    size_t len = 1 << 20;
    char *data = pattern(len);
    struct tls_context *server = server_context(), *client = tls_context_client(NULL);
    struct end a, b;
    (void)state;

    for (int round = 0; round < 3; round++) {
        pair_open(&a, &b, &narrow, true);
        b.echo_to = &b;
        stream_read_start(a.s);
        stream_read_start(b.s);
        assert_string_equal(stream_tls_version(a.s), "");
        CALL(&a, assert_int_equal(stream_tls_connect(a.s, client, "mx.example.com"), 0));
        CALL(&b, assert_int_equal(stream_tls_accept(b.s, server), 0));
        CALL(&a, stream_write_ref(a.s, data, len, on_release, &a));
        RUN_UNTIL(a.tls && b.tls);
        assert_int_equal(a.tls_status, 0);
        assert_int_equal(b.tls_status, 0);
        assert_true(stream_is_tls(a.s) && stream_is_tls(b.s));
        assert_string_equal(stream_tls_version(b.s), "TLSv1.3");
        assert_true(strncmp(stream_tls_cipher(a.s), "TLS_", 4) == 0);
        assert_string_equal(stream_tls_trouble(a.s), "");
        RUN_UNTIL(a.got == len);
        assert_true(a.sum == sum_more(0, data, len));
        assert_true(a.max_input <= 5000 && b.max_input <= 5000);
        assert_int_equal(a.released, 1);
        assert_int_equal(a.drained, 1);
        CALL(&a, stream_close(a.s));
        RUN_UNTIL(a.closed && b.ended);
        assert_int_equal(b.ended_status, 0);
        pair_close(&a, &b);
    }
    tls_context_unref(server);
    tls_context_unref(client);
    free(data);
}

/* Input that the owner leaves lying at the limit comes on when it is consumed, without new events.
 */
static void tls_input_limit(void **state)
{
    static const struct stream_limits narrow = {1000, 1 << 20};
    size_t len = 50000;
    char *data = pattern(len);
    struct tls_context *server = server_context(), *client = tls_context_client(NULL);
    struct end a, b;
    (void)state;

    pair_open(&a, &b, &narrow, false);
    stream_tls_connect(a.s, client, NULL);
    stream_tls_accept(b.s, server); /* paused: the handshake reads all the same */
    RUN_UNTIL(a.tls && b.tls);
    b.keep = true;
    stream_write(a.s, data, len);
    stream_close(a.s);
    run_idle();
    assert_int_equal(b.reads, 0);
    CALL(&b, stream_read_start(b.s));
    while (b.got < len) {
        RUN_UNTIL(buf_len(stream_input(b.s)) > 0);
        assert_int_equal(b.ended, 0);
        end_consume(&b);
    }
    RUN_UNTIL(b.ended);
    assert_int_equal(b.ended_status, 0);
    assert_int_equal(b.max_input, 1000);
    assert_true(b.sum == sum_more(0, data, len));
    pair_close(&a, &b);
    tls_context_unref(server);
    tls_context_unref(client);
    free(data);
}

/* RFC 3207 section 4.2: what came in clear before the handshake does not count after it; what was
 * answered in clear goes out in clear. */
static void tls_discards_injected(void **state)
{
    struct tls_context *server = server_context(), *client = tls_context_client(NULL);
    struct end a, b;
    (void)state;

    pair_open(&a, &b, &wide, false);
    b.keep = true;
    stream_read_start(a.s);
    stream_read_start(b.s);
    stream_write(a.s, "NOOP injected\r\n", 15);
    stream_flush(a.s);
    RUN_UNTIL(b.reads == 1);
    stream_write_ref(b.s, "220 go", 6, on_release, &b);
    CALL(&b, assert_int_equal(stream_tls_accept(b.s, server), 15));
    assert_int_equal(buf_len(stream_input(b.s)), 0);
    RUN_UNTIL(a.got == 6);
    assert_string_equal(a.first, "220 go");
    stream_tls_connect(a.s, client, "192.0.2.1");
    stream_write(a.s, "EHLO", 4);
    RUN_UNTIL(b.tls && b.reads == 2);
    assert_sv_equal(buf_view(stream_input(b.s)), "EHLO");
    assert_int_equal(b.released, 1);
    pair_close(&a, &b);
    tls_context_unref(server);
    tls_context_unref(client);
}

static void tls_handshake_fails(void **state)
{
    struct tls_context *server = server_context(), *client = tls_context_client(NULL);
    struct end a, b;
    (void)state;

    for (int how = 0; how < 4; how++) {
        pair_open(&a, &b, &wide, false);
        stream_read_start(a.s);
        if (how % 2)
            stream_tls_connect(a.s, client, "x.example");
        else
            stream_tls_accept(a.s, server);
        stream_write_ref(a.s, "secret", 6, on_release, &a);
        if (how < 2) {
            stream_read_start(b.s);
            stream_write(b.s, "220 plain text here, no TLS at all\r\n", 36);
            stream_flush(b.s);
        } else {
            stream_close(b.s);
        }
        RUN_UNTIL(a.tls);
        assert_int_equal(a.tls_status, ERR_TLS);
        assert_false(stream_is_tls(a.s));
        assert_true(stream_tls_trouble(a.s)[0]);
        CALL(&a, stream_close(a.s));
        RUN_UNTIL(a.closed);
        assert_int_equal(a.tls, 1);
        assert_int_equal(a.ended, 0);
        assert_int_equal(a.released, 1);
        if (how < 2)
            RUN_UNTIL(b.ended);
        assert_null(strstr(b.first, "secret"));
        pair_close(&a, &b);
    }
    tls_context_unref(server);
    tls_context_unref(client);
}

/* A TLS client that is not ours, by blocking calls on a thread: version, resumption, truncation. */
struct foreign {
    int fd;
    int version_max;
    bool bye;
    int shaken;
    char got[16];
    uv_thread_t thread;
};

static void foreign_main(void *arg)
{
    struct foreign *f = arg;
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    SSL *ssl = SSL_new(ctx);

    SSL_set_min_proto_version(ssl, TLS1_VERSION);
    SSL_set_max_proto_version(ssl, (uint16_t)f->version_max);
    SSL_set_fd(ssl, f->fd);
    f->shaken = SSL_connect(ssl);
    if (f->shaken == 1) {
        SSL_write(ssl, "ping", 4);
        SSL_read(ssl, f->got, sizeof(f->got) - 1);
        if (f->bye)
            SSL_shutdown(ssl);
    }
    shutdown(f->fd, SHUT_WR);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

static void tls_foreign_client(void **state)
{
    static const struct {
        int version;
        bool bye;
        const char *name; /* NULL: refused */
        int ended;
    } rows[] = {
        {TLS1_2_VERSION, true, "TLSv1.2", 0},
        {TLS1_3_VERSION, true, "TLSv1.3", 0},
        {TLS1_2_VERSION, false, "TLSv1.2", -ECONNRESET},
        {TLS1_3_VERSION, false, "TLSv1.3", -ECONNRESET},
        {TLS1_1_VERSION, false, NULL, 0},
    };
    struct tls_context *server = server_context();
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct foreign f = {.version_max = rows[i].version, .bye = rows[i].bye};
        struct end b = {0};
        int fd;
        tcp_pair(&fd, &f.fd, false);
        b.echo_to = &b;
        b.s = stream_from_fd(&loop, fd, &wide, &ops, &b);
        stream_read_start(b.s);
        stream_tls_accept(b.s, server);
        uv_thread_create(&f.thread, foreign_main, &f);
        if (rows[i].name) {
            RUN_UNTIL(b.ended);
            assert_int_equal(b.tls_status, 0);
            assert_string_equal(stream_tls_version(b.s), rows[i].name);
            assert_int_equal(b.ended_status, rows[i].ended);
            assert_string_equal(b.first, "ping");
        } else {
            RUN_UNTIL(b.tls);
            assert_int_equal(b.tls_status, ERR_TLS);
            assert_string_equal(stream_tls_trouble(b.s), "unsupported protocol");
        }
        stream_close(b.s);
        RUN_UNTIL(b.closed);
        uv_thread_join(&f.thread);
        assert_string_equal(f.got, rows[i].name ? "ping" : "");
        close(f.fd);
    }
    tls_context_unref(server);
}

/* A TLS server that is not ours, to see what our client offers. */
struct foreign_server {
    int fd;
    SSL_CTX *ctx;
    int version;
    bool reused;
    char sni[64];
    uv_thread_t thread;
};

static void foreign_server_main(void *arg)
{
    struct foreign_server *f = arg;
    SSL *ssl = SSL_new(f->ctx);
    char got[8];

    SSL_set_max_proto_version(ssl, (uint16_t)f->version);
    SSL_set_fd(ssl, f->fd);
    if (SSL_accept(ssl) == 1) {
        const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
        snprintf(f->sni, sizeof(f->sni), "%s", name ? name : "");
        f->reused = SSL_session_reused(ssl);
        SSL_write(ssl, "hello", 5);
        SSL_read(ssl, got, sizeof(got));
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    close(f->fd);
}

static SSL_CTX *foreign_server_context(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    int cert, key;

    make_certificate(&cert, &key);
    char path[2][64];
    snprintf(path[0], sizeof(path[0]), "/proc/self/fd/%d", cert);
    snprintf(path[1], sizeof(path[1]), "/proc/self/fd/%d", key);
    assert_int_equal(SSL_CTX_use_certificate_file(ctx, path[0], SSL_FILETYPE_PEM), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, path[1], SSL_FILETYPE_PEM), 1);
    close(cert);
    close(key);
    return ctx;
}

/* Sessions are resumed by name, and only under that name; addresses are no SNI. */
static void tls_client_resumes(void **state)
{
    static const struct {
        int version;
        const char *host, *sni;
        bool reused;
    } rows[] = {
        {TLS1_3_VERSION, "mx.example.com", "mx.example.com", false},
        {TLS1_3_VERSION, "MX.example.com.", "mx.example.com", true},
        {TLS1_3_VERSION, "other.example", "other.example", false},
        {TLS1_2_VERSION, "old.example", "old.example", false},
        {TLS1_2_VERSION, "old.example", "old.example", true},
        {TLS1_2_VERSION, "old.example", "old.example", true},
        {TLS1_3_VERSION, "192.0.2.7", "", false},
        {TLS1_3_VERSION, "2001:db8::1", "", false},
        {TLS1_3_VERSION, NULL, "", false},
        {TLS1_3_VERSION, NULL, "", false},
    };
    struct tls_context *client = tls_context_client(NULL);
    SSL_CTX *server = foreign_server_context();
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct foreign_server f = {.ctx = server, .version = rows[i].version};
        struct end a = {0};
        int fd;
        tcp_pair(&fd, &f.fd, false);
        a.s = stream_from_fd(&loop, fd, &wide, &ops, &a);
        stream_read_start(a.s);
        stream_tls_connect(a.s, client, rows[i].host);
        uv_thread_create(&f.thread, foreign_server_main, &f);
        RUN_UNTIL(a.got == 5);
        stream_write(a.s, "QUIT", 4);
        stream_flush(a.s);
        RUN_UNTIL(a.ended);
        assert_int_equal(a.ended_status, 0);
        stream_close(a.s);
        RUN_UNTIL(a.closed);
        uv_thread_join(&f.thread);
        assert_string_equal(f.sni, rows[i].sni);
        assert_int_equal(f.reused, rows[i].reused);
    }
    SSL_CTX_free(server);
    tls_context_unref(client);
}

static void tls_bad_files(void **state)
{
    int cert, key, other_cert, other_key, empty = memfd_create("empty", MFD_CLOEXEC);
    struct err e;
    (void)state;

    make_certificate(&cert, &key);
    make_certificate(&other_cert, &other_key);
    const struct {
        int cert, key;
        const char *text;
    } rows[] = {
        {cert, other_key, "the private key does not belong to the certificate"},
        {cert, cert, "cannot read the private key"},
        {key, key, "there is no PEM certificate in the file"},
        {empty, key, "there is no PEM certificate in the file"},
        {cert, -1, "cannot read the private key"},
        {-1, key, "cannot read the certificate"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        e = (struct err){0};
        assert_null(tls_context_server(rows[i].cert, rows[i].key, &e));
        assert_true(e.code < 0);
        assert_int_equal(strncmp(e.text, rows[i].text, strlen(rows[i].text)), 0);
        assert_null(tls_context_server(rows[i].cert, rows[i].key, NULL));
    }
    struct tls_context *good = tls_context_server(cert, key, &e); /* offset 0, again and again */
    assert_non_null(good);
    tls_context_unref(tls_context_ref(good));
    tls_context_unref(good);
    tls_context_unref(NULL);
    close(cert);
    close(key);
    close(other_cert);
    close(other_key);
    close(empty);
}

/* Closing and aborting at every stage of a handshake. */
static void tls_close_early(void **state)
{
    struct tls_context *server = server_context(), *client = tls_context_client(NULL);
    struct end a, b;
    (void)state;

    for (int turns = 0; turns < 12; turns++) {
        for (int abort_it = 0; abort_it < 2; abort_it++) {
            pair_open(&a, &b, &wide, false);
            stream_read_start(b.s);
            stream_tls_connect(a.s, client, "mx.example.com.");
            stream_tls_accept(b.s, server);
            stream_write_ref(a.s, "data", 4, on_release, &a);
            for (int i = 0; i < turns; i++)
                uv_run(&loop, UV_RUN_NOWAIT);
            CALL(&a, (abort_it ? stream_abort : stream_close)(a.s));
            RUN_UNTIL(a.closed && (b.ended || b.tls));
            assert_int_equal(a.released, 1);
            pair_close(&a, &b);
        }
    }
    tls_context_unref(server);
    tls_context_unref(client);
}

static int setup(void **state)
{
    (void)state;
    uv_loop_init(&loop);
    uv_timer_init(&loop, &watchdog);
    return 0;
}

/* No handle may be left but the watchdog. */
static int teardown(void **state)
{
    (void)state;
    uv_close((uv_handle_t *)&watchdog, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

#define STREAM_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_TEST(echo_large),          STREAM_TEST(input_limit),
        STREAM_TEST(congestion),          STREAM_TEST(flush_and_release),
        STREAM_TEST(pause_and_resume),    STREAM_TEST(connect_works),
        STREAM_TEST(connect_fails),       STREAM_TEST(bad_descriptor),
        STREAM_TEST(peer_reset),          STREAM_TEST(last_words),
        STREAM_TEST(half_close),          STREAM_TEST(graceful_close),
        STREAM_TEST(close_in_callbacks),  STREAM_TEST(tls_both_ends),
        STREAM_TEST(tls_input_limit),     STREAM_TEST(tls_discards_injected),
        STREAM_TEST(tls_handshake_fails), STREAM_TEST(tls_foreign_client),
        STREAM_TEST(tls_client_resumes),  STREAM_TEST(tls_bad_files),
        STREAM_TEST(tls_close_early),

    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
