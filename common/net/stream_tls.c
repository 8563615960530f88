/*
 * TLS inside a stream, by BoringSSL; see stream.h and struct stream_tls_ops in stream_int.h.
 *
 * The SSL object never sees the socket. Its BIO reads from s->raw and appends to s->wire, both
 * filled and emptied by stream.c; it therefore never blocks but for want of input, and `take` and
 * `give` are the only two movements there are, for the handshake as for data.
 *
 * Happy path: stream_tls_accept -> take (handshake) -> DUE_TLS -> take (SSL_read into input) and
 * give (SSL_write from the queue) until the stream lingers, then close_notify.
 *
 * What can go wrong: the peer. A handshake that fails tells tls(ERR_TLS) with a text; a broken
 * record later tells ended(ERR_TLS); an end without close_notify is -ECONNRESET, made by stream.c.
 * Alerts go to wire and out like other bytes. Library errors never abort.
 *
 * Memory: struct tls hangs on the stream and dies with it; it holds a reference to the context. Key
 * material read from a descriptor is wiped before its memory is given back.
 */
#include "net/stream_int.h"

#include "net/stream_tls_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/pem.h>

enum {
    PEM_BYTES_MAX = 1 << 20,
    SESSIONS_MAX = 1024, /* per client context, least recently added goes first */
    READ_PIECE = 16 << 10,
};

/* A session that a server gave us, by the name that we asked it for. */
struct session {
    struct hash_node node;
    struct list by_age;
    SSL_SESSION *ssl;
    uint64_t scope;
    char host[];
};

struct session_key {
    const char *host;
    uint64_t scope;
};

/* --- errors --- */

/* First error of the library's queue, which is the cause, as words; empties the queue. */
static const char *library_reason(char *out, size_t size)
{
    uint32_t code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;

    ERR_clear_error();
    snprintf(out, size, "%s", reason ? reason : "unknown reason");
    for (char *p = out; *p; p++)
        *p = *p == '_' ? ' ' : ascii_lower(*p);
    return out;
}

static int library_err(struct err *e, const char *what)
{
    char reason[128];
    return err_set(e, ERR_TLS, "%s: %s", what, library_reason(reason, sizeof(reason)));
}

/* --- sessions of a client context --- */

static bool session_match(const struct hash_node *node, const void *key)
{
    const struct session *one = container_of(node, const struct session, node);
    const struct session_key *k = key;
    return one->scope == k->scope && strcmp(one->host, k->host) == 0;
}

static void session_free(struct tls_context *t, struct session *one)
{
    hash_remove(&t->sessions, &one->node);
    list_remove(&one->by_age);
    SSL_SESSION_free(one->ssl);
    free(one);
}

static uint64_t session_hash(const struct session_key *k)
{
    return hash_bytes(k->host, strlen(k->host)) ^ k->scope;
}

static struct session *session_find(struct tls_context *t, const struct session_key *k)
{
    struct hash_node *n = hash_find(&t->sessions, session_hash(k), k);
    return n ? container_of(n, struct session, node) : NULL;
}

static void session_keep(struct tls_context *t, const struct session_key *k, SSL_SESSION *ssl)
{
    struct session *old = session_find(t, k);
    if (old)
        session_free(t, old);
    else if (t->sessions.count >= SESSIONS_MAX)
        session_free(t, list_entry(list_first(&t->by_age), struct session, by_age));

    size_t len = strlen(k->host);
    struct session *one = xmalloc(sizeof(*one) + len + 1);
    memcpy(one->host, k->host, len + 1);
    one->scope = k->scope;
    one->ssl = ssl;
    list_init(&one->by_age);
    list_push_back(&t->by_age, &one->by_age);
    hash_insert(&t->sessions, &one->node, session_hash(k));
}

/* The library hands over a reference when this returns 1. */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    const struct tls *tls = SSL_get_app_data(ssl);
    if (!tls || !tls->host)
        return 0;
    session_keep(tls->ctx, &(struct session_key){tls->host, tls->scope}, session);
    return 1;
}

/* A TLS 1.3 ticket is used once (RFC 8446 appendix C.4), an older session again and again. */
static void session_offer(struct tls *tls)
{
    struct session *one = session_find(tls->ctx, &(struct session_key){tls->host, tls->scope});
    if (!one)
        return;
    SSL_set_session(tls->ssl, one->ssl);
    if (SSL_SESSION_should_be_single_use(one->ssl))
        session_free(tls->ctx, one);
}

/* --- contexts --- */

static SSL_CTX *library_context(struct err *e)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());

    if (ctx && SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) &&
        SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION))
        return ctx;
    library_err(e, "cannot set up TLS");
    SSL_CTX_free(ctx);
    return NULL;
}

static struct tls_context *context_new(struct err *e)
{
    struct tls_context *t = xcalloc(1, sizeof(*t));

    t->refs = 1;
    hash_init(&t->sessions, session_match);
    list_init(&t->by_age);
    list_init(&t->more);
    t->ctx = library_context(e);
    if (!t->ctx) {
        tls_context_unref(t);
        return NULL;
    }
    return t;
}

struct tls_context *tls_context_ref(struct tls_context *t)
{
    t->refs++;
    return t;
}

void tls_context_unref(struct tls_context *t)
{
    if (!t || --t->refs)
        return;
    while (!list_empty(&t->by_age))
        session_free(t, list_entry(list_first(&t->by_age), struct session, by_age));
    hash_fini(&t->sessions);
    for (struct list *n; (n = list_pop_front(&t->more));) {
        struct tls_sni *one = list_entry(n, struct tls_sni, link);
        SSL_CTX_free(one->ctx);
        free(one);
    }
    tls_roots_unref(t->client_roots);
    SSL_CTX_free(t->ctx);
    free(t);
}

/* The whole file, from offset 0, whatever the descriptor's position. The BIO is NULL on failure;
 * wipe and free *ret_mem in any case. */
static BIO *pem_open(int fd, char **ret_mem, const char *what, struct err *e)
{
    size_t len = 0;
    ssize_t n;

    *ret_mem = xmalloc(PEM_BYTES_MAX);
    while ((n = pread(fd, *ret_mem + len, PEM_BYTES_MAX - len, (off_t)len)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            err_set(e, -errno, "cannot read the %s", what);
            return NULL;
        }
        len += (size_t)n;
        if (len == PEM_BYTES_MAX) {
            err_set(e, ERR_LIMIT, "the %s is larger than 1 MiB", what);
            return NULL;
        }
    }
    return BIO_new_mem_buf(*ret_mem, (ssize_t)len);
}

static void pem_close(BIO *bio, char *mem)
{
    BIO_free(bio);
    OPENSSL_cleanse(mem, PEM_BYTES_MAX);
    free(mem);
}

/* Keys with a passphrase are refused: there is nobody to ask. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)arg;
    return 0;
}

/* Leaf first, then what leads to the root. */
static int load_chain(SSL_CTX *ctx, int fd, struct err *e)
{
    char *mem;
    BIO *bio = pem_open(fd, &mem, "certificate", e);
    int status = bio ? 0 : e->code;
    int count = 0;
    X509 *x;

    while (!status && (x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL))) {
        int ok = count++ ? SSL_CTX_add1_chain_cert(ctx, x) : SSL_CTX_use_certificate(ctx, x);
        X509_free(x);
        if (!ok)
            status = library_err(e, "cannot use the certificate");
    }
    uint32_t last = ERR_peek_last_error();
    bool at_end = ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
    if (!status && !count && at_end)
        status = err_set(e, ERR_TLS, "there is no PEM certificate in the file");
    else if (!status && !at_end)
        status = library_err(e, "cannot read the certificate");
    ERR_clear_error();
    pem_close(bio, mem);
    return status;
}

static int load_key(SSL_CTX *ctx, int fd, struct err *e)
{
    char *mem;
    BIO *bio = pem_open(fd, &mem, "private key", e);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    int status = bio ? 0 : e->code;

    if (bio && !key)
        status = library_err(e, "cannot read the private key");
    else if (key && (!SSL_CTX_use_PrivateKey(ctx, key) || !SSL_CTX_check_private_key(ctx)))
        status = library_err(e, "the private key does not belong to the certificate");
    EVP_PKEY_free(key);
    pem_close(bio, mem);
    return status;
}

/* Chain and key from the two files. */
static int load_pair(SSL_CTX *ctx, int cert_fd, int key_fd, struct err *e)
{
    int status = load_chain(ctx, cert_fd, e);
    return status ? status : load_key(ctx, key_fd, e);
}

/* "*.example.com" stands for one label (RFC 6125 section 6.4.3). */
static bool sni_matches(const char *name, const char *asked)
{
    if (name[0] == '*' && name[1] == '.') {
        asked = strchr(asked, '.');
        name++;
    }
    return asked && strcasecmp(name, asked) == 0;
}

static int choose_certificate(SSL *ssl, int *alert, void *arg)
{
    struct tls_context *t = arg;
    const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert;
    list_for_each (n, &t->more) {
        struct tls_sni *one = list_entry(n, struct tls_sni, link);
        if (!asked || !sni_matches(one->name, asked))
            continue;
        SSL_set_SSL_CTX(ssl, one->ctx);
        break;
    }
    return SSL_TLSEXT_ERR_OK; /* an unknown name gets the listener's own certificate */
}

struct tls_context *tls_context_server(int cert_fd, int key_fd, struct err *e)
{
    struct err own;
    struct tls_context *t = context_new(e ? e : &own);

    if (!t)
        return NULL;
    if (load_pair(t->ctx, cert_fd, key_fd, e ? e : &own)) {
        tls_context_unref(t);
        return NULL;
    }
    SSL_CTX_set_options(t->ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_tlsext_servername_callback(t->ctx, choose_certificate);
    SSL_CTX_set_tlsext_servername_arg(t->ctx, t);
    return t;
}

int tls_context_add(struct tls_context *t, const char *name, int cert_fd, int key_fd, struct err *e)
{
    struct err own;
    SSL_CTX *ctx = library_context(e ? e : &own);
    int status = ctx ? load_pair(ctx, cert_fd, key_fd, e ? e : &own) : ERR_TLS;

    if (status) {
        SSL_CTX_free(ctx);
        return status;
    }
    struct tls_sni *one = xmalloc(sizeof(*one) + strlen(name) + 1);
    memcpy(one->name, name, strlen(name) + 1);
    one->ctx = ctx;
    list_init(&one->link);
    list_push_back(&t->more, &one->link);
    return 0;
}

static const uint16_t wire_versions[] = {
#define VERSION_WIRE(name, text, wire) (wire),
    TLS_VERSIONS(VERSION_WIRE)
#undef VERSION_WIRE
};

void tls_context_set_min_version(struct tls_context *t, enum tls_version v)
{
    BUG_ON(!SSL_CTX_set_min_proto_version(t->ctx, wire_versions[v]));
}

/* The handshake goes on whatever the certificate is: who it names is asked for afterwards. */
static int accept_any(X509_STORE_CTX *ctx, void *arg)
{
    (void)ctx;
    (void)arg;
    return 1;
}

void tls_context_set_client_roots(struct tls_context *t, struct tls_roots *roots)
{
    static const uint8_t id[] = "pmta";

    tls_roots_unref(t->client_roots);
    t->client_roots = tls_roots_ref(roots);
    SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(t->ctx, accept_any, NULL);
    SSL_CTX_set_session_id_context(t->ctx, id, sizeof(id) - 1);
    SSL_CTX_set_client_CA_list(t->ctx, SSL_dup_CA_list(roots->names));
    list_for_each (n, &t->more) {
        struct tls_sni *one = list_entry(n, struct tls_sni, link);
        SSL_CTX_set_cert_verify_callback(one->ctx, accept_any, NULL);
        SSL_CTX_set_session_id_context(one->ctx, id, sizeof(id) - 1);
        SSL_CTX_set_client_CA_list(one->ctx, SSL_dup_CA_list(roots->names));
    }
}

/* --- roots and identities --- */

/* Each certificate of the bundle, and its subject. */
static int read_roots(struct tls_roots *r, BIO *bio, struct err *e)
{
    size_t count = 0;

    for (X509 *x; (x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)); count++) {
        X509_NAME *name = X509_NAME_dup(X509_get_subject_name(x));
        BUG_ON(!name || !sk_X509_NAME_push(r->names, name));
        X509_STORE_add_cert(r->store, x); /* one that is there already is no trouble */
        X509_free(x);
    }
    uint32_t last = ERR_peek_last_error();
    bool at_end = ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
    if (!at_end)
        return library_err(e, "cannot read a root certificate");
    ERR_clear_error();
    return count ? 0 : err_set(e, ERR_TLS, "there is no PEM certificate in the file");
}

struct tls_roots *tls_roots_read(int fd, struct err *e)
{
    struct err own;
    char *mem;
    struct tls_roots *r = xcalloc(1, sizeof(*r));
    BIO *bio = pem_open(fd, &mem, "root certificates", e ? e : &own);

    r->refs = 1;
    r->store = X509_STORE_new();
    r->names = sk_X509_NAME_new_null();
    BUG_ON(!r->store || !r->names);
    if (!bio || read_roots(r, bio, e ? e : &own)) {
        tls_roots_unref(r);
        r = NULL;
    }
    pem_close(bio, mem);
    return r;
}

struct tls_roots *tls_roots_ref(struct tls_roots *r)
{
    r->refs++;
    return r;
}

void tls_roots_unref(struct tls_roots *r)
{
    if (!r || --r->refs)
        return;
    X509_STORE_free(r->store);
    sk_X509_NAME_pop_free(r->names, X509_NAME_free);
    free(r);
}

struct tls_identity *tls_identity_read(int cert_fd, int key_fd, struct err *e)
{
    struct err own;
    struct tls_identity *i = xcalloc(1, sizeof(*i));

    i->refs = 1;
    i->ctx = library_context(e ? e : &own);
    if (!i->ctx || load_pair(i->ctx, cert_fd, key_fd, e ? e : &own)) {
        tls_identity_unref(i);
        return NULL;
    }
    return i;
}

struct tls_identity *tls_identity_ref(struct tls_identity *i)
{
    i->refs++;
    return i;
}

void tls_identity_unref(struct tls_identity *i)
{
    if (!i || --i->refs)
        return;
    SSL_CTX_free(i->ctx);
    free(i);
}

struct tls_context *tls_context_client(struct err *e)
{
    struct tls_context *t = context_new(e);

    if (!t)
        return NULL;
    SSL_CTX_set_verify(t->ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(t->ctx, on_new_session);
    return t;
}

/* --- the BIO between SSL and the bufs --- */

static int bio_read(BIO *bio, char *out, int len)
{
    struct stream *s = BIO_get_data(bio);
    size_t n = MIN_OF((size_t)len, buf_len(&s->raw));

    BIO_clear_retry_flags(bio);
    if (!n) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(out, buf_data(&s->raw), n);
    buf_consume(&s->raw, n);
    return (int)n;
}

static int bio_write(BIO *bio, const char *data, int len)
{
    struct stream *s = BIO_get_data(bio);
    buf_append(&s->wire, data, (size_t)len);
    return len;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH;
}

/* One method for the whole process, made at first use. */
static const BIO_METHOD *bio_method(void)
{
    static BIO_METHOD *method;

    if (!method) {
        method = BIO_meth_new(0, "stream");
        BUG_ON(!method || !BIO_meth_set_read(method, bio_read) ||
               !BIO_meth_set_write(method, bio_write) || !BIO_meth_set_ctrl(method, bio_ctrl));
    }
    return method;
}

/* --- movements --- */

static void handshake_failed(struct stream *s)
{
    s->tls_phase = TLS_FAILED;
    s->tls_status = ERR_TLS;
    s->ended = true;
    stream_queue_consume(s, s->queued);
    stream_due(s, DUE_TLS);
}

static void tls_cut(struct stream *s, int status)
{
    struct tls *tls = s->tls;

    if (!tls->trouble[0])
        snprintf(tls->trouble, sizeof(tls->trouble), "%s",
                 status ? err_name(status) : "peer closed the connection during the handshake");
    handshake_failed(s);
}

/* 0 to go on (or to wait for input), ERR_TLS when the library gave up. */
static int ssl_result(struct tls *tls, int ret)
{
    int error = SSL_get_error(tls->ssl, ret);

    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return 0;
    if (error == SSL_ERROR_ZERO_RETURN)
        return UV_EOF;
    library_reason(tls->trouble, sizeof(tls->trouble));
    return ERR_TLS;
}

static int shake(struct stream *s)
{
    struct tls *tls = s->tls;
    int ret = SSL_do_handshake(tls->ssl);

    if (ret != 1) {
        int status = ssl_result(tls, ret);
        return status == UV_EOF ? ERR_TLS : status;
    }
    s->tls_phase = TLS_OPEN;
    s->tls_status = 0;
    stream_due(s, DUE_TLS | DUE_INPUT); /* tls() before the first read() */
    return 0;
}

static int tls_take(struct stream *s)
{
    struct tls *tls = s->tls;

    ERR_clear_error();
    if (s->tls_phase == TLS_HANDSHAKE)
        return shake(s);
    while (s->tls_phase == TLS_OPEN && s->reading && stream_input_room(s)) {
        size_t room = MIN_OF(stream_input_room(s), (size_t)READ_PIECE);
        char *to = buf_reserve(&s->input, room);
        int n = SSL_read(tls->ssl, to, (int)room);
        if (n <= 0)
            return ssl_result(tls, n);
        buf_advance(&s->input, (size_t)n);
    }
    return 0;
}

static int tls_give(struct stream *s)
{
    struct tls *tls = s->tls;
    struct strview head;

    if (s->tls_phase != TLS_OPEN)
        return 0;
    ERR_clear_error();
    while (buf_len(&s->wire) < STREAM_WIRE_BYTES && stream_queue_head(s, &head)) {
        int n = SSL_write(tls->ssl, head.ptr, (int)MIN_OF(head.len, (size_t)STREAM_WIRE_BYTES));
        if (n <= 0)
            return ssl_result(tls, n) ? ERR_TLS : 0;
        stream_queue_consume(s, (size_t)n);
    }
    if (s->state == STREAM_LINGER && !tls->said_bye && !s->queued) {
        tls->said_bye = true;
        SSL_shutdown(tls->ssl);
        ERR_clear_error();
    }
    return 0;
}

static const char *tls_version(const struct stream *s)
{
    return SSL_get_version(((const struct tls *)s->tls)->ssl);
}

static const char *tls_cipher(const struct stream *s)
{
    const SSL_CIPHER *c = SSL_get_current_cipher(((const struct tls *)s->tls)->ssl);
    return c ? SSL_CIPHER_standard_name(c) : "";
}

static const char *tls_trouble(const struct stream *s)
{
    return ((const struct tls *)s->tls)->trouble;
}

static void tls_free(struct stream *s)
{
    struct tls *tls = s->tls;

    SSL_free(tls->ssl);
    tls_context_unref(tls->ctx);
    free(tls->host);
    free(tls);
    s->tls = NULL;
}

static const struct stream_tls_ops tls_ops = {tls_take,   tls_give,    tls_cut, tls_version,
                                              tls_cipher, tls_trouble, tls_free};

/* --- starting --- */

static struct tls *tls_new(struct stream *s, struct tls_context *ctx)
{
    struct tls *tls = xcalloc(1, sizeof(*tls));
    BIO *bio = BIO_new(bio_method());

    tls->ctx = tls_context_ref(ctx);
    tls->ssl = SSL_new(ctx->ctx);
    BUG_ON(!tls->ssl || !bio); /* out of memory */
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_app_data(tls->ssl, tls);
    return tls;
}

/* What was queued in clear goes out in clear, before the first record. */
static void queue_to_wire(struct stream *s)
{
    struct strview head;

    while (stream_queue_head(s, &head)) {
        buf_append_sv(&s->wire, head);
        stream_queue_consume(s, head.len);
    }
}

/* Returns the bytes discarded. On a stream that is closing, broken or encrypted already this
 * changes nothing: its owner is told of that in another way. */
static size_t start(struct stream *s, struct tls_context *ctx, const char *host, bool is_server)
{
    size_t discarded = buf_len(&s->input);

    BUG_ON(s->tls_ops != NULL);
    if (s->state != STREAM_OPEN || s->ended)
        return 0;
    buf_reset(&s->input);
    queue_to_wire(s);
    struct tls *tls = tls_new(s, ctx);
    s->tls = tls;
    s->tls_ops = &tls_ops;
    s->tls_phase = TLS_HANDSHAKE;
    if (is_server) {
        SSL_set_accept_state(tls->ssl);
    } else {
        SSL_set_connect_state(tls->ssl);
        tls->host = host && host[0] ? xstrdup(host) : NULL;
    }
    return discarded;
}

/* Lets the handshake say what it can; a failure is told later. */
static void begin(struct stream *s)
{
    if (s->tls_phase != TLS_HANDSHAKE)
        return;
    if (tls_take(s))
        tls_cut(s, ERR_TLS);
    stream_flush(s);
    stream_due(s, 0);
}

size_t stream_tls_accept(struct stream *s, struct tls_context *ctx)
{
    size_t discarded = start(s, ctx, NULL, true);
    begin(s);
    return discarded;
}

static bool is_ip_literal(const char *host)
{
    unsigned char addr[16];
    return inet_pton(AF_INET, host, addr) == 1 || inet_pton(AF_INET6, host, addr) == 1;
}

/* RFC 6066 section 3: a DNS name without the final dot, never an address. */
static void set_sni(struct tls *tls)
{
    size_t len = strlen(tls->host);

    if (len && tls->host[len - 1] == '.')
        tls->host[len - 1] = '\0';
    str_lower(tls->host, strlen(tls->host));
    if (tls->host[0] && !is_ip_literal(tls->host) && !SSL_set_tlsext_host_name(tls->ssl, tls->host))
        ERR_clear_error(); /* not a name that can be sent: go on without */
}

/* A server that asks for a certificate gets this one. */
static void show_identity(struct tls *tls, const struct tls_identity *i)
{
    STACK_OF(X509) *more = NULL;

    SSL_CTX_get0_chain_certs(i->ctx, &more);
    BUG_ON(!SSL_use_certificate(tls->ssl, SSL_CTX_get0_certificate(i->ctx)) ||
           !SSL_use_PrivateKey(tls->ssl, SSL_CTX_get0_privatekey(i->ctx)) ||
           (more && !SSL_set1_chain(tls->ssl, more)));
}

size_t stream_tls_connect_as(struct stream *s, struct tls_context *ctx,
                             const struct tls_connect *how)
{
    size_t discarded = start(s, ctx, how->sni_host, false);
    struct tls *tls = s->tls;

    if (tls) {
        BUG_ON(!SSL_set_min_proto_version(tls->ssl, wire_versions[how->min_version]));
        if (how->identity)
            show_identity(tls, how->identity);
        tls->scope = how->scope;
        if (tls->host) {
            set_sni(tls);
            session_offer(tls);
        }
    }
    begin(s);
    return discarded;
}

size_t stream_tls_connect(struct stream *s, struct tls_context *ctx, const char *sni_host)
{
    return stream_tls_connect_as(
        s, ctx, &(struct tls_connect){.sni_host = sni_host, .min_version = TLS_VERSION_1_2});
}

bool stream_tls_is_resumed(const struct stream *s)
{
    const struct tls *tls = s->tls;
    return tls && SSL_session_reused(tls->ssl);
}
