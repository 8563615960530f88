/*
 * A connection for a thread that waits; see wire.h. target_redis.c uses it. The name is looked up by
 * getaddrinfo, which waits as long as the system's resolver does.
 */
#include "wire.h"

#include "base/clock.h"
#include "base/util.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

struct wire {
    int fd, wake_fd;
    SSL_CTX *context;
    SSL *ssl;
};

static int wait_for(struct wire *w, short events, int64_t deadline_ms, struct err *e)
{
    struct pollfd p[2] = {{.fd = w->fd, .events = events}, {.fd = w->wake_fd, .events = POLLIN}};
    int64_t left = deadline_ms - clock_mono_ms();

    if (left <= 0)
        return err_set(e, ERR_TIMEOUT, "no answer in time");
    int n = poll(p, w->wake_fd >= 0 ? 2 : 1, (int)MIN_OF(left, (int64_t)3600000));
    if (n == 0)
        return err_set(e, ERR_TIMEOUT, "no answer in time");
    if (n < 0 && errno != EINTR)
        return err_set(e, -errno, "cannot wait");
    if (w->wake_fd >= 0 && p[1].revents)
        return err_set(e, ERR_CANCELLED, "stopping");
    return 0;
}

static const char *tls_text(char *out, size_t size)
{
    unsigned long code = ERR_get_error();

    ERR_error_string_n(code, out, size);
    ERR_clear_error();
    return code ? out : "connection closed";
}

/* What an SSL call wants, waited for; or that it failed. */
static int tls_wait(struct wire *w, int result, int64_t deadline_ms, struct err *e)
{
    int want = SSL_get_error(w->ssl, result);
    char text[160];

    if (want == SSL_ERROR_WANT_READ)
        return wait_for(w, POLLIN, deadline_ms, e);
    if (want == SSL_ERROR_WANT_WRITE)
        return wait_for(w, POLLOUT, deadline_ms, e);
    if (want == SSL_ERROR_ZERO_RETURN)
        return err_set(e, ERR_CLOSED, "closed by the other side");
    long verified = SSL_get_verify_result(w->ssl);
    if (verified != X509_V_OK && !SSL_is_init_finished(w->ssl))
        return err_set(e, ERR_TLS, "certificate: %s", X509_verify_cert_error_string(verified));
    return err_set(e, ERR_TLS, "TLS: %s", tls_text(text, sizeof(text)));
}

static bool add_roots(SSL_CTX *c, struct strview pem)
{
    if (!pem.len)
        return SSL_CTX_set_default_verify_paths(c) == 1;
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    X509 *x;
    unsigned n = 0;
    while ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        n += X509_STORE_add_cert(SSL_CTX_get_cert_store(c), x) == 1;
        X509_free(x);
    }
    BIO_free(bio);
    ERR_clear_error();
    return n > 0;
}

static int start_tls(struct wire *w, const struct wire_options *o, int64_t deadline_ms,
                     struct err *e)
{
    int n, rc = 0;

    w->context = SSL_CTX_new(TLS_client_method());
    BUG_ON(!w->context);
    SSL_CTX_set_min_proto_version(w->context, TLS1_2_VERSION);
    if (o->verify && !add_roots(w->context, o->ca))
        return err_set(e, ERR_TLS, "the root certificates cannot be read");
    SSL_CTX_set_verify(w->context, o->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    w->ssl = SSL_new(w->context);
    BUG_ON(!w->ssl);
    X509_VERIFY_PARAM *p = SSL_get0_param(w->ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(p, o->host) != 1) {
        /* SSL_set_tlsext_host_name, whose macro casts const away */
        SSL_ctrl(w->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                 (void *)(uintptr_t)o->host);
        SSL_set1_host(w->ssl, o->host);
    }
    ERR_clear_error();
    SSL_set_fd(w->ssl, w->fd);
    while (rc == 0 && (n = SSL_connect(w->ssl)) != 1)
        rc = tls_wait(w, n, deadline_ms, e);
    return rc;
}

static int connect_one(struct wire *w, const struct addrinfo *a, int64_t deadline_ms, struct err *e)
{
    int one = 1, trouble = 0, rc = 0;
    socklen_t len = sizeof(trouble);

    w->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (w->fd < 0)
        return err_set(e, -errno, "cannot make a socket");
    if (connect(w->fd, a->ai_addr, a->ai_addrlen) < 0) {
        if (errno != EINPROGRESS)
            rc = err_set(e, -errno, "cannot connect");
        else if ((rc = wait_for(w, POLLOUT, deadline_ms, e)) == 0 &&
                 getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &trouble, &len) == 0 && trouble)
            rc = err_set(e, -trouble, "cannot connect");
    }
    if (rc == 0)
        setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (rc < 0) {
        close(w->fd);
        w->fd = -1;
    }
    return rc;
}

int wire_open(const struct wire_options *o, int64_t deadline_ms, struct wire **ret, struct err *e)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list = NULL;
    char port[8];

    snprintf(port, sizeof(port), "%u", o->port);
    int rc = getaddrinfo(o->host, port, &hints, &list);
    if (rc != 0)
        return err_set(e, ERR_NOT_FOUND, "host '%s': %s", o->host, gai_strerror(rc));
    struct wire *w = xcalloc(1, sizeof(*w));
    w->fd = -1;
    w->wake_fd = o->wake_fd;
    rc = err_set(e, ERR_NOT_FOUND, "host '%s' has no address", o->host);
    for (struct addrinfo *a = list; a && rc < 0 && rc != ERR_CANCELLED; a = a->ai_next)
        rc = connect_one(w, a, deadline_ms, e);
    freeaddrinfo(list);
    if (rc == 0 && o->tls)
        rc = start_tls(w, o, deadline_ms, e);
    if (rc < 0)
        wire_close(w);
    else
        *ret = w;
    return rc;
}

void wire_close(struct wire *w)
{
    if (!w)
        return;
    SSL_free(w->ssl);
    SSL_CTX_free(w->context);
    if (w->fd >= 0)
        close(w->fd);
    free(w);
}

int wire_write(struct wire *w, struct strview bytes, int64_t deadline_ms, struct err *e)
{
    int rc = 0;

    while (rc == 0 && bytes.len) {
        ssize_t n = w->ssl ? SSL_write(w->ssl, bytes.ptr, (int)MIN_OF(bytes.len, (size_t)1 << 20))
                           : write(w->fd, bytes.ptr, bytes.len);
        if (n > 0)
            bytes = sv(bytes.ptr + n, bytes.len - (size_t)n);
        else if (w->ssl)
            rc = tls_wait(w, (int)n, deadline_ms, e);
        else if (errno == EAGAIN)
            rc = wait_for(w, POLLOUT, deadline_ms, e);
        else if (errno != EINTR)
            rc = err_set(e, -errno, "cannot write");
    }
    return rc;
}

ssize_t wire_read(struct wire *w, char *room, size_t len, int64_t deadline_ms, struct err *e)
{
    for (;;) {
        ssize_t n = w->ssl ? SSL_read(w->ssl, room, (int)MIN_OF(len, (size_t)1 << 20))
                           : read(w->fd, room, len);
        int rc = 0;
        if (n > 0)
            return n;
        if (w->ssl)
            rc = tls_wait(w, (int)n, deadline_ms, e);
        else if (n == 0)
            return err_set(e, ERR_CLOSED, "closed by the other side");
        else if (errno == EAGAIN)
            rc = wait_for(w, POLLIN, deadline_ms, e);
        else if (errno != EINTR)
            rc = err_set(e, -errno, "cannot read");
        if (rc < 0)
            return rc;
    }
}
