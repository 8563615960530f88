/*
 * TLS of an outgoing connection: what it needs before the first host, the handshake with a host and
 * the check of who that is, and what is told about it afterwards.
 */
#ifndef PMTA_PIPE_DELIVERY_CONN_TLS_H
#define PMTA_PIPE_DELIVERY_CONN_TLS_H

#include "pipe/delivery/connection.h"

/* Takes over what p says about TLS, but for what the hosts need. */
void conn_tls_init(struct delivery_conn *c, const struct delivery_params *p);
void conn_tls_fini(struct delivery_conn *c);

/* The root certificates that hosts are checked against. False: they are being read; a step is due
 * when they are there. */
bool conn_tls_have_roots(struct delivery_conn *c);

/* The next host begins: nothing is known of it. in_clear: without TLS this time, if it may be. */
void conn_tls_begin_host(struct delivery_conn *c, bool in_clear);
/* The host has to be talked to in clear, as its handshake failed lately; never true when TLS is
 * required. */
bool conn_tls_avoided(struct delivery_conn *c);
/* The handshake did not come to its end. */
void conn_tls_broke(struct delivery_conn *c, const char *why);
/* Tells the owner how TLS to this host went. */
void conn_tls_tell(struct delivery_conn *c);

/* Callbacks: the client wants TLS now; the stream's handshake is over. */
void conn_tls_start(void *conn);
void conn_tls_done(void *conn, struct stream *s, int status);

#endif
