/*
 * Who the peer is: handshakes over a socket pair with certificates made here, and what the checks say
 * about them; names that are asked for, client certificates, versions, and who inherits a session.
 */
#include "unit.h"

#include "net/tls_verify.h"
#include "tls_certs.h"

#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <sys/socket.h>

struct end {
    struct stream *s;
    int tls, status, closed, reads;
};

static uv_loop_t loop;
static uv_timer_t watchdog;
static const struct stream_limits limits = {65536, 65536};

static struct test_cert root, inter, other_root;

static void on_any(void *owner, struct stream *s)
{
    struct end *e = owner;
    struct buf *in = stream_input(s);
    e->reads++;
    buf_consume(in, buf_len(in));
}

static void on_nothing(void *owner, struct stream *s)
{
    (void)owner, (void)s;
}

static void on_status(void *owner, struct stream *s, int status)
{
    (void)owner, (void)s, (void)status;
}

static void on_tls(void *owner, struct stream *s, int status)
{
    struct end *e = owner;
    (void)s;
    e->tls++;
    e->status = status;
}

static void on_closed(void *owner, struct stream *s)
{
    struct end *e = owner;
    (void)s;
    e->closed++;
}

static const struct stream_ops ops = {on_status, on_any, on_status, on_tls, on_nothing, on_closed};

static void on_watchdog(uv_timer_t *t)
{
    (void)t;
    fprintf(stderr, "what the test waits for does not happen\n");
    abort();
}

#define RUN_UNTIL(cond)                                   \
    do {                                                  \
        uv_timer_start(&watchdog, on_watchdog, 20000, 0); \
        while (!(cond))                                   \
            uv_run(&loop, UV_RUN_ONCE);                   \
        uv_timer_stop(&watchdog);                         \
    } while (0)

static struct tls_context *server_of(const struct test_cert *leaf, const struct test_cert *more)
{
    int cert = test_cert_fd(leaf, more), key = test_key_fd(leaf);
    struct err e = {0};
    struct tls_context *t = tls_context_server(cert, key, &e);
    assert_non_null(t);
    close(cert);
    close(key);
    return t;
}

static struct tls_roots *roots_of(const struct test_cert *a, const struct test_cert *b)
{
    int fd = test_cert_fd(a, b);
    struct err e = {0};
    struct tls_roots *r = tls_roots_read(fd, &e);
    assert_non_null(r);
    close(fd);
    return r;
}

static void shake_as(struct end *a, struct end *b, struct tls_context *client,
                     struct tls_context *server, const struct tls_connect *how)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    *a = *b = (struct end){0};
    a->s = stream_from_fd(&loop, pair[0], &limits, &ops, a);
    b->s = stream_from_fd(&loop, pair[1], &limits, &ops, b);
    stream_read_start(a->s);
    stream_read_start(b->s);
    stream_tls_connect_as(a->s, client, how);
    stream_tls_accept(b->s, server);
    RUN_UNTIL(a->tls && b->tls);
    stream_write(b->s, "x", 1); /* tickets go out with the first data */
    stream_flush(b->s);
    RUN_UNTIL(a->reads || a->status || b->status);
}

static void hang_up(struct end *a, struct end *b)
{
    stream_abort(a->s);
    stream_abort(b->s);
    RUN_UNTIL(a->closed && b->closed);
}

static const struct tls_connect plain = {.sni_host = "mx.example.com",
                                         .min_version = TLS_VERSION_1_2};

/* --- roots --- */

static enum tls_result verify(struct tls_context *server, struct tls_roots *roots,
                              const char *const *names, size_t count, char *text)
{
    struct tls_context *client = tls_context_client(NULL);
    struct end a, b;

    shake_as(&a, &b, client, server, &plain);
    assert_int_equal(a.status, 0);
    enum tls_result r = stream_tls_verify_roots(a.s, roots, names, count, text, 200);
    assert_true((r == TLS_RESULT_VERIFIED) == !text[0]);
    hang_up(&a, &b);
    tls_context_unref(client);
    return r;
}

static void by_roots(void **state)
{
    static const struct {
        const char *cn, *alt, *name;
        int from, to;
        const char *usage;
        int issuer; /* 0 root, 1 intermediate with it in the chain, 2 the same without, 3 other, 4 self */
        enum tls_result expect;
        const char *text;
    } rows[] = {
        {"x", "DNS:mx.example.com", "mx.example.com", 0, 0, NULL, 0, TLS_RESULT_VERIFIED, ""},
        {"x", "DNS:MX.Example.COM", "mx.example.com.", 0, 0, NULL, 0, TLS_RESULT_VERIFIED, ""},
        {"x", "DNS:mx.example.com", "mx.example.com", 0, 0, NULL, 1, TLS_RESULT_VERIFIED, ""},
        {"x", "DNS:mx.example.com", "mx.example.com", 0, 0, NULL, 2, TLS_RESULT_NOT_TRUSTED,
         "issuer"},
        {"x", "DNS:mx.example.com", "mx.example.com", 0, 0, NULL, 3, TLS_RESULT_NOT_TRUSTED,
         "issuer"},
        {"x", "DNS:mx.example.com", "mx.example.com", 0, 0, NULL, 4, TLS_RESULT_NOT_TRUSTED,
         "self"},
        {"x", "DNS:mx.example.com", "mx.example.com", -9, -1, NULL, 0, TLS_RESULT_EXPIRED,
         "expired"},
        {"x", "DNS:mx.example.com", "mx.example.com", 2, 9, NULL, 0, TLS_RESULT_EXPIRED, "not yet"},
        {"x", "DNS:mx.example.com", "mx.example.com", 0, 0, "clientAuth", 0, TLS_RESULT_FAILURE,
         "purpose"},
        {"x", "DNS:mx.example.com", "mail.example.com", 0, 0, NULL, 0, TLS_RESULT_HOST_MISMATCH,
         "mail.example.com"},
        {"x", "DNS:*.example.com", "mx.example.com", 0, 0, NULL, 0, TLS_RESULT_VERIFIED, ""},
        {"x", "DNS:*.example.com", "a.mx.example.com", 0, 0, NULL, 0, TLS_RESULT_HOST_MISMATCH, ""},
        {"x", "DNS:*.example.com", "example.com", 0, 0, NULL, 0, TLS_RESULT_HOST_MISMATCH, ""},
        {"x", "DNS:m*.example.com", "mx.example.com", 0, 0, NULL, 0, TLS_RESULT_HOST_MISMATCH, ""},
        {"mx.example.com", NULL, "mx.example.com", 0, 0, NULL, 0, TLS_RESULT_VERIFIED, ""},
        {"mx.example.com", "DNS:other.example", "mx.example.com", 0, 0, NULL, 0,
         TLS_RESULT_HOST_MISMATCH, ""},
        {"x", "IP:127.0.0.1", "127.0.0.1", 0, 0, NULL, 0, TLS_RESULT_VERIFIED, ""},
        {"x", "IP:127.0.0.1", "[127.0.0.1]", 0, 0, NULL, 0, TLS_RESULT_VERIFIED, ""},
        {"x", "IP:127.0.0.1", "[127.0.0.2]", 0, 0, NULL, 0, TLS_RESULT_HOST_MISMATCH, ""},
        {"x", "DNS:127.0.0.1", "127.0.0.1", 0, 0, NULL, 0, TLS_RESULT_HOST_MISMATCH, ""},
        {"x", "IP:::1", "[::1]", 0, 0, NULL, 0, TLS_RESULT_VERIFIED, ""},
    };
    const struct test_cert *issuers[] = {&root, &inter, &inter, &other_root, NULL};
    struct tls_roots *roots = roots_of(&root, NULL);
    char text[200];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_cert leaf =
            test_cert_make(&(struct test_cert_form){.cn = rows[i].cn,
                                                    .alt = rows[i].alt,
                                                    .issuer = issuers[rows[i].issuer],
                                                    .days_from = rows[i].from,
                                                    .days_to = rows[i].to,
                                                    .usage = rows[i].usage});
        struct tls_context *server = server_of(&leaf, rows[i].issuer == 1 ? &inter : NULL);
        enum tls_result r = verify(server, roots, &rows[i].name, 1, text);
        if (r != rows[i].expect || !strstr(text, rows[i].text))
            fail_msg("row %zu: %s '%s'", i, tls_result_text(r), text);
        tls_context_unref(server);
        test_cert_free(&leaf);
    }
    tls_roots_unref(roots);
}

static void names_and_roots(void **state)
{
    static const char *const names[] = {"a.example", "b.example"};
    struct test_cert leaf = test_cert_make(
        &(struct test_cert_form){.cn = "x", .alt = "DNS:b.example", .issuer = &root});
    struct tls_context *server = server_of(&leaf, NULL);
    struct tls_roots *two = roots_of(&other_root, &root);
    char text[200];
    struct err e = {0};
    (void)state;

    assert_int_equal(verify(server, two, names, 2, text), TLS_RESULT_VERIFIED);
    assert_int_equal(verify(server, two, names, 1, text), TLS_RESULT_HOST_MISMATCH);
    assert_int_equal(verify(server, two, names, 0, text), TLS_RESULT_HOST_MISMATCH);
    assert_int_equal(verify(server, NULL, names, 2, text), TLS_RESULT_NOT_TRUSTED);
    int empty = memfd_create("x", 0);
    assert_null(tls_roots_read(empty, &e));
    assert_int_equal(
        write(empty, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 60), 60);
    assert_null(tls_roots_read(empty, &e));
    close(empty);
    tls_roots_unref(two);
    tls_context_unref(server);
    test_cert_free(&leaf);
}

/* --- DANE --- */

static struct buf tlsa_data(const struct test_cert *c, int selector, int matching)
{
    struct buf out = {0};
    uint8_t *der = NULL, digest[64];
    int n = selector ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(c->x), &der) : i2d_X509(c->x, &der);

    assert_true(n > 0);
    if (matching == 0)
        buf_append(&out, der, (size_t)n);
    else if (matching == 1)
        buf_append(&out, SHA256(der, (size_t)n, digest), 32);
    else
        buf_append(&out, SHA512(der, (size_t)n, digest), 64);
    OPENSSL_free(der);
    return out;
}

static void by_tlsa(void **state)
{
    struct test_cert good = test_cert_make(
        &(struct test_cert_form){.cn = "x", .alt = "DNS:mx.example.com", .issuer = &inter});
    struct test_cert old = test_cert_make(&(struct test_cert_form){
        .cn = "x", .alt = "DNS:mx.example.com", .issuer = &inter, .days_from = -9, .days_to = -1});
    const struct {
        const struct test_cert *leaf;
        const char *name;
        int usage, selector, matching;
        const struct test_cert *of;
        bool chain; /* the server sends the intermediate certificate */
        enum tls_result expect;
    } rows[] = {
        /* DANE-EE: neither name nor dates matter */
        {&good, "mx.example.com", 3, 0, 0, &good, true, TLS_RESULT_VERIFIED},
        {&good, "mx.example.com", 3, 0, 1, &good, true, TLS_RESULT_VERIFIED},
        {&good, "mx.example.com", 3, 0, 2, &good, true, TLS_RESULT_VERIFIED},
        {&good, "mx.example.com", 3, 1, 0, &good, true, TLS_RESULT_VERIFIED},
        {&good, "mx.example.com", 3, 1, 1, &good, true, TLS_RESULT_VERIFIED},
        {&good, "mx.example.com", 3, 1, 2, &good, true, TLS_RESULT_VERIFIED},
        {&good, "other.example", 3, 1, 1, &good, true, TLS_RESULT_VERIFIED},
        {&old, "mx.example.com", 3, 1, 1, &old, false, TLS_RESULT_VERIFIED},
        {&good, "mx.example.com", 3, 1, 1, &old, true, TLS_RESULT_FAILURE},
        {&good, "mx.example.com", 3, 1, 1, &inter, true, TLS_RESULT_FAILURE},
        /* DANE-TA: a chain to it, dates and name */
        {&good, "mx.example.com", 2, 0, 1, &inter, true, TLS_RESULT_VERIFIED},
        {&good, "mx.example.com", 2, 1, 2, &inter, true, TLS_RESULT_VERIFIED},
        {&good, "mx.example.com", 2, 0, 0, &inter, false, TLS_RESULT_VERIFIED}, /* in the record */
        {&good, "mx.example.com", 2, 0, 1, &inter, false, TLS_RESULT_FAILURE},
        {&good, "mx.example.com", 2, 1, 1, &other_root, true, TLS_RESULT_FAILURE},
        {&good, "other.example", 2, 1, 1, &inter, true, TLS_RESULT_HOST_MISMATCH},
        {&old, "mx.example.com", 2, 1, 1, &inter, true, TLS_RESULT_EXPIRED},
        /* not for SMTP */
        {&good, "mx.example.com", 1, 1, 1, &good, true, TLS_RESULT_FAILURE},
        {&good, "mx.example.com", 0, 0, 1, &inter, true, TLS_RESULT_FAILURE},
    };
    char text[200];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_context *client = tls_context_client(NULL);
        struct tls_context *server = server_of(rows[i].leaf, rows[i].chain ? &inter : NULL);
        struct buf data = tlsa_data(rows[i].of, rows[i].selector, rows[i].matching);
        static const uint8_t junk[32];
        struct tls_tlsa records[] = {
            {3, 1, 1, junk, sizeof(junk)}, /* one that does not match never matters */
            {(uint8_t)rows[i].usage, (uint8_t)rows[i].selector, (uint8_t)rows[i].matching,
             (const uint8_t *)buf_data(&data), buf_len(&data)},
        };
        struct end a, b;
        shake_as(&a, &b, client, server, &plain);
        enum tls_result r =
            stream_tls_verify_dane(a.s, records, 2, &rows[i].name, 1, text, sizeof(text));
        if (r != rows[i].expect)
            fail_msg("row %zu: %s '%s'", i, tls_result_text(r), text);
        hang_up(&a, &b);
        buf_free(&data);
        tls_context_unref(server);
        tls_context_unref(client);
    }
    test_cert_free(&good);
    test_cert_free(&old);
}

static void usable_records(void **state)
{
    static const uint8_t data[64];
    static const struct {
        struct tls_tlsa t;
        bool usable;
    } rows[] = {
        {{3, 1, 1, data, 32}, true},  {{2, 0, 2, data, 64}, true},    {{3, 0, 0, data, 5}, true},
        {{1, 1, 1, data, 32}, false}, {{0, 0, 1, data, 32}, false},   {{3, 2, 1, data, 32}, false},
        {{3, 1, 3, data, 32}, false}, {{3, 1, 1, data, 31}, false},   {{3, 1, 2, data, 32}, false},
        {{3, 0, 0, data, 0}, false},  {{255, 1, 1, data, 32}, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(tls_tlsa_is_usable(&rows[i].t), rows[i].usable);
}

/* --- sessions --- */

/* Connects once; true: the session of an earlier connection went on. */
static bool resumes(struct tls_context *client, struct tls_context *server, const char *host,
                    uint64_t scope)
{
    struct end a, b;

    shake_as(
        &a, &b, client, server,
        &(struct tls_connect){.sni_host = host, .min_version = TLS_VERSION_1_2, .scope = scope});
    assert_int_equal(a.status, 0);
    bool was = stream_tls_is_resumed(a.s);
    hang_up(&a, &b);
    return was;
}

static void sessions_stay_in_their_scope(void **state)
{
    static const char *const names[] = {"mx.example.com"};
    struct test_cert leaf = test_cert_make(
        &(struct test_cert_form){.cn = "x", .alt = "DNS:mx.example.com", .issuer = &root});
    struct tls_context *client = tls_context_client(NULL), *server = server_of(&leaf, NULL);
    struct tls_roots *roots = roots_of(&root, NULL);
    struct end a, b;
    char text[200];
    (void)state;

    assert_false(resumes(client, server, "mx.example.com", 0));
    assert_true(resumes(client, server, "mx.example.com", 0));
    assert_false(resumes(client, server, "mx.example.com", 7)); /* made under a weaker need */
    assert_true(resumes(client, server, "mx.example.com", 7));
    assert_false(resumes(client, server, "mx2.example.com", 7));
    assert_true(resumes(client, server, "mx.example.com", 0));
    /* one that goes on is checked like a new one */
    shake_as(&a, &b, client, server,
             &(struct tls_connect){"mx.example.com", TLS_VERSION_1_2, NULL, 7});
    assert_true(stream_tls_is_resumed(a.s));
    assert_int_equal(stream_tls_verify_roots(a.s, roots, names, 1, text, sizeof(text)),
                     TLS_RESULT_VERIFIED);
    hang_up(&a, &b);
    tls_roots_unref(roots);
    tls_context_unref(server);
    tls_context_unref(client);
    test_cert_free(&leaf);
}

/* --- versions --- */

static void versions(void **state)
{
    static const struct {
        enum tls_version client, server;
        bool works;
    } rows[] = {
        {TLS_VERSION_1_2, TLS_VERSION_1_2, true},
        {TLS_VERSION_1_3, TLS_VERSION_1_3, true},
        {TLS_VERSION_1_0, TLS_VERSION_1_0, true},
    };
    struct test_cert leaf = test_cert_make(&(struct test_cert_form){.cn = "x", .issuer = &root});
    struct tls_context *client = tls_context_client(NULL);
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_context *server = server_of(&leaf, NULL);
        struct end a, b;
        tls_context_set_min_version(server, rows[i].server);
        shake_as(&a, &b, client, server, &(struct tls_connect){NULL, rows[i].client, NULL, 0});
        assert_int_equal(a.status == 0, rows[i].works);
        assert_string_equal(stream_tls_version(a.s), "TLSv1.3"); /* the best that both know */
        hang_up(&a, &b);
        tls_context_unref(server);
    }
    tls_context_unref(client);
    test_cert_free(&leaf);
}

/* --- servers: names asked for, client certificates --- */

static void certificate_by_name(void **state)
{
    static const struct {
        const char *asked, *shown;
    } rows[] = {{"one.example", "one.example"},
                {"ONE.example", "one.example"},
                {"x.wild.example", "wild.example"},
                {"x.y.wild.example", "main.example"},
                {"wild.example", "main.example"},
                {"nobody.example", "main.example"},
                {NULL, "main.example"}};
    static const struct {
        const char *cn, *name;
    } more[] = {{"one.example", "one.example"}, {"wild.example", "*.wild.example"}};
    struct test_cert leaf =
        test_cert_make(&(struct test_cert_form){.cn = "main.example", .issuer = &root});
    struct tls_context *client = tls_context_client(NULL), *server = server_of(&leaf, NULL);
    struct tls_roots *roots = roots_of(&root, NULL);
    struct err e = {0};
    char text[200];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        struct test_cert c =
            test_cert_make(&(struct test_cert_form){.cn = more[i].cn, .issuer = &root});
        int cert = test_cert_fd(&c, NULL), key = test_key_fd(&c), wrong = test_key_fd(&leaf);
        assert_int_equal(tls_context_add(server, more[i].name, cert, key, &e), 0);
        assert_true(tls_context_add(server, "bad.example", cert, wrong, &e) < 0);
        close(cert);
        close(key);
        close(wrong);
        test_cert_free(&c);
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct end a, b;
        shake_as(&a, &b, client, server,
                 &(struct tls_connect){rows[i].asked, TLS_VERSION_1_2, NULL, i});
        assert_int_equal(stream_tls_verify_roots(a.s, roots, &rows[i].shown, 1, text, sizeof(text)),
                         TLS_RESULT_VERIFIED);
        hang_up(&a, &b);
    }
    tls_roots_unref(roots);
    tls_context_unref(server);
    tls_context_unref(client);
    test_cert_free(&leaf);
}

static void client_certificates(void **state)
{
    static const struct {
        const char *alt, *usage, *is, *is_not;
        bool other;
        int days_to;
        enum tls_client expect;
    } rows[] = {
        {"DNS:app.example", "clientAuth", "app.example", "x", false, 0, TLS_CLIENT_VALID},
        {"email:app@x.example", "clientAuth", "app@x.example", "app", false, 0, TLS_CLIENT_VALID},
        {NULL, "clientAuth", "x", "app.example", false, 0, TLS_CLIENT_VALID},
        {"DNS:*.example", "clientAuth", "*.example", "app.example", false, 0, TLS_CLIENT_VALID},
        {"DNS:app.example", "serverAuth", "app.example", "", false, 0, TLS_CLIENT_BAD},
        {"DNS:app.example", "clientAuth", "app.example", "", true, 0, TLS_CLIENT_BAD},
        {"DNS:app.example", "clientAuth", "app.example", "", false, -1, TLS_CLIENT_BAD},
    };
    struct test_cert leaf = test_cert_make(&(struct test_cert_form){.cn = "main", .issuer = &root});
    struct tls_roots *roots = roots_of(&root, NULL);
    char text[200];
    struct end a, b;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_context *client = tls_context_client(NULL), *server = server_of(&leaf, NULL);
        struct test_cert c =
            test_cert_make(&(struct test_cert_form){.cn = "x",
                                                    .alt = rows[i].alt,
                                                    .usage = rows[i].usage,
                                                    .issuer = rows[i].other ? &other_root : &root,
                                                    .days_from = rows[i].days_to ? -9 : 0,
                                                    .days_to = rows[i].days_to});
        int cert = test_cert_fd(&c, NULL), key = test_key_fd(&c);
        struct tls_identity *me = tls_identity_read(cert, key, NULL);
        assert_non_null(me);
        tls_context_set_client_roots(server, roots);
        for (int round = 0; round < 2; round++) { /* the second goes on with the session */
            shake_as(&a, &b, client, server,
                     &(struct tls_connect){"h.example", TLS_VERSION_1_2, me, 3});
            assert_int_equal(b.status, 0);
            assert_int_equal(stream_tls_is_resumed(b.s), round);
            assert_int_equal(stream_tls_client_certificate(b.s, text, sizeof(text)),
                             rows[i].expect);
            assert_true(stream_tls_client_is(b.s, rows[i].is));
            assert_false(stream_tls_client_is(b.s, rows[i].is_not));
            hang_up(&a, &b);
        }
        shake_as(&a, &b, client, server,
                 &(struct tls_connect){"h.example", TLS_VERSION_1_2, NULL, 4});
        assert_int_equal(b.status, 0);
        assert_int_equal(stream_tls_client_certificate(b.s, text, sizeof(text)), TLS_CLIENT_NONE);
        assert_false(stream_tls_client_is(b.s, "x"));
        hang_up(&a, &b);
        close(cert);
        close(key);
        tls_identity_unref(me);
        tls_context_unref(server);
        tls_context_unref(client);
        test_cert_free(&c);
    }
    tls_roots_unref(roots);
    test_cert_free(&leaf);
}

static int set_up(void **state)
{
    (void)state;
    uv_loop_init(&loop);
    uv_timer_init(&loop, &watchdog);
    root = test_cert_make(&(struct test_cert_form){.cn = "Root", .is_ca = true});
    other_root = test_cert_make(&(struct test_cert_form){.cn = "Other", .is_ca = true});
    inter = test_cert_make(&(struct test_cert_form){.cn = "Inter", .is_ca = true, .issuer = &root});
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    uv_close((uv_handle_t *)&watchdog, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    test_cert_free(&root);
    test_cert_free(&other_root);
    test_cert_free(&inter);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_roots),
        cmocka_unit_test(names_and_roots),
        cmocka_unit_test(by_tlsa),
        cmocka_unit_test(usable_records),
        cmocka_unit_test(sessions_stay_in_their_scope),
        cmocka_unit_test(versions),
        cmocka_unit_test(certificate_by_name),
        cmocka_unit_test(client_certificates),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
