/*
 * Unsubscribe links (RFC 8058): POST puts the address on the suppression list and says 200 when that
 * is durable; GET asks a person whether to, and never does it, because scanners follow links.
 */
#ifndef PMTA_WEB_UNSUBSCRIBE_H
#define PMTA_WEB_UNSUBSCRIBE_H

#include "http.h"
#include "mail/mail_token.h"
#include "suppress/client.h"

#define UNSUBSCRIBE_PATH "/u/"

struct unsubscribe;

struct unsubscribe_counts {
    uint64_t done, asked, forged, expired, failed;
};

/* client: who is told; the caller's. */
struct unsubscribe *unsubscribe_new(uv_loop_t *loop, struct suppress_client *client);
void unsubscribe_set_key(struct unsubscribe *u, const struct mail_token_key *key);
void unsubscribe_configure(struct unsubscribe *u, struct config *cfg);
const struct unsubscribe_counts *unsubscribe_counts(const struct unsubscribe *u);
size_t unsubscribe_waiting(const struct unsubscribe *u);

/* http_route.handle of UNSUBSCRIBE_PATH. */
void unsubscribe_handle(struct unsubscribe *u, struct http_request *r);

#endif
