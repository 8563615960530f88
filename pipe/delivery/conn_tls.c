/*
 * TLS of an outgoing connection, for connection.c: the roots and the identity of the whole
 * connection, and `tls_result`, `tls_text` and `tls_verify` of the host that is talked to.
 *
 * Happy path: conn_tls_have_roots before the first host, conn_tls_start when the client wants TLS,
 * conn_tls_done when the handshake is over, conn_tls_tell when EHLO succeeded behind it. What goes
 * wrong: a handshake fails (conn_tls_broke); whether the host is then tried in clear is decided in
 * connection.c, and delivery.c remembers it. A peer that is not who it has to be ends the session.
 * Roots and identity are references, given back in conn_tls_fini.
 */
#include "pipe/delivery/conn_tls.h"

#include "base/hash.h"
#include "pipe/delivery/conn_hear.h"

#include <stdio.h>

static void on_roots(struct tls_files_waiter *w)
{
    conn_schedule(container_of(w, struct delivery_conn, roots_waiter));
}

void conn_tls_init(struct delivery_conn *c, const struct delivery_params *p)
{
    struct tls_identity *identity = tls_files_identity(c->d->files, p->tls_certificate, p->tls_key);

    for (size_t i = 0; i < p->host_count; i++)
        if (p->hosts[i].tls && p->hosts[i].tls->check == TLS_CHECK_ROOTS)
            c->needs_roots = true;
    c->identity = identity ? tls_identity_ref(identity) : NULL;
    c->params.tls_ca_file = p->tls_ca_file ? arena_strdup(&c->arena, p->tls_ca_file) : NULL;
    c->params.tls_certificate =
        p->tls_certificate ? arena_strdup(&c->arena, p->tls_certificate) : NULL;
    c->params.tls_key = NULL;
    list_init(&c->roots_waiter.link);
    c->roots_waiter.ready = on_roots;
}

void conn_tls_fini(struct delivery_conn *c)
{
    tls_roots_unref(c->roots);
    tls_identity_unref(c->identity);
}

bool conn_tls_have_roots(struct delivery_conn *c)
{
    list_remove(&c->roots_waiter.link);
    if (!c->needs_roots)
        return true;
    if (!tls_files_load_roots(c->d->files, c->d->loop, c->params.tls_ca_file, &c->roots_waiter))
        return false;
    struct tls_roots *roots = tls_files_roots(c->d->files, c->params.tls_ca_file);
    c->roots = roots ? tls_roots_ref(roots) : NULL;
    c->needs_roots = false;
    return true;
}

void conn_tls_begin_host(struct delivery_conn *c, bool in_clear)
{
    c->tls_failed = false;
    c->tls_result = TLS_RESULT_NO_STARTTLS;
    c->tls_text[0] = c->tls_verify[0] = '\0';
    c->in_clear = in_clear;
}

bool conn_tls_avoided(struct delivery_conn *c)
{
    const struct delivery_host *h = &c->hosts[c->host];

    if ((h->tls && h->tls->required) || !(c->in_clear || delivery_tls_is_broken(c->d, &h->addr)))
        return false;
    c->tls_result = TLS_RESULT_FAILURE;
    snprintf(c->tls_text, sizeof(c->tls_text), "the TLS handshake failed lately");
    return true;
}

void conn_tls_broke(struct delivery_conn *c, const char *why)
{
    c->tls_failed = true;
    c->tls_result = TLS_RESULT_FAILURE;
    snprintf(c->tls_text, sizeof(c->tls_text), "TLS handshake failed: %s", why);
}

/* The peer is who it has to be, or nothing depends on it. */
static bool check_peer(struct delivery_conn *c)
{
    const struct tls_need *need = c->hosts[c->host].tls;
    char why[160];

    c->tls_result = tls_need_check(need, c->stream, c->roots, why, sizeof(why));
    c->client.params.proven = tls_need_proves(need, c->tls_result);
    if (c->tls_result == TLS_RESULT_VERIFIED)
        c->tls_text[0] = '\0';
    else
        snprintf(c->tls_text, sizeof(c->tls_text), "%s (%s)", why, need->policy);
    snprintf(c->tls_verify, sizeof(c->tls_verify), "%s", tls_need_word(need, c->tls_result));
    return c->tls_result == TLS_RESULT_VERIFIED || !need->enforced;
}

void conn_tls_done(void *conn, struct stream *s, int status)
{
    struct delivery_conn *c = conn;
    char name[80];

    if (c->state != CONN_TALKING)
        return;
    if (status < 0) {
        conn_tls_broke(c, stream_tls_trouble(s));
        CONN_NOTE(c, "%s", c->tls_text);
        smtp_client_tls(&c->client, false, c->tls_text);
    } else if (check_peer(c)) {
        snprintf(name, sizeof(name), "%s/%s", stream_tls_version(s), stream_tls_cipher(s));
        CONN_NOTE(c, "TLS is up: %s, peer %s%s%s", name,
                  *c->tls_verify ? c->tls_verify : "unchecked", *c->tls_text ? ": " : "",
                  c->tls_text);
        smtp_client_tls(&c->client, true, name);
    } else {
        CONN_NOTE(c, "TLS is up, and the peer is not who it has to be: %s", c->tls_text);
        smtp_client_tls(&c->client, false, c->tls_text);
    }
    conn_settle(c);
}

/* Whatever the peer has to prove, and what we show it. */
static uint64_t session_scope(const struct delivery_conn *c)
{
    const char *ca = c->params.tls_ca_file, *cert = c->params.tls_certificate;
    uint64_t scope = tls_need_scope(c->hosts[c->host].tls);

    if (scope && ca)
        scope ^= hash_bytes(ca, strlen(ca));
    if (c->identity)
        scope = (scope << 1 | scope >> 63) ^ hash_bytes(cert, strlen(cert));
    return scope ^ (uint64_t)c->params.tls_min_version << 60;
}

void conn_tls_start(void *conn)
{
    struct delivery_conn *c = conn;
    const struct delivery_host *h = &c->hosts[c->host];
    const char *name = h->tls && h->tls->sni ? h->tls->sni : h->name;

    CONN_NOTE(c, "TLS handshake begins%s%s", name && name[0] != '[' ? ", for " : "",
              name && name[0] != '[' ? name : "");
    stream_tls_connect_as(c->stream, c->d->tls,
                          &(struct tls_connect){
                              .sni_host = name && name[0] != '[' ? name : NULL,
                              .min_version = c->params.tls_min_version,
                              .identity = c->identity,
                              .scope = session_scope(c),
                          });
}

void conn_tls_tell(struct delivery_conn *c)
{
    const struct delivery_host *h = &c->hosts[c->host];
    const struct tls_need *need = h->tls;
    bool known = need && need->known != TLS_RESULT_VERIFIED && c->tls_result == TLS_RESULT_VERIFIED;

    if (c->ops->tls_done)
        c->ops->tls_done(c->owner, c, h, known ? need->known : c->tls_result, c->client.tls,
                         known ? need->known_text : c->tls_text);
}
