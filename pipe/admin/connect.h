/*
 * Connects to hosts as a queue would, says EHLO, goes through STARTTLS and the check of the certificate,
 * and quits: `pmtactl resolve --connect`. No mail is sent and nothing is remembered about the hosts.
 */
#ifndef PMTA_PIPE_ADMIN_CONNECT_H
#define PMTA_PIPE_ADMIN_CONNECT_H

#include "pipe.h"
#include "queue/tls_rules.h"

enum { CONNECT_MAX_HOSTS = 24 /* of one request; further ones are not tried */ };

struct connects;

/* cfg and what query points to stay while it lasts. */
struct connects *connects_new(struct pipe *p, const struct config *cfg,
                              const struct config_query *query, const struct vmta_source *source);
/* One address; policy NULL: that of no domain. False: there are enough. */
bool connects_add(struct connects *c, const struct tls_host *host,
                  const struct sockaddr_storage *addr, uint16_t port);
/* done(arg) from the loop when all are through, not inside the call; then take the results, an array
 * with an object for each address in the order of connects_add, and free. */
void connects_start(struct connects *c, void (*done)(void *arg), void *arg);
/* Ends what is under way soon; done is called. */
void connects_abort(struct connects *c);
json_t *connects_result(const struct connects *c, size_t i);
void connects_free(struct connects *c);

/* What has to be on the way to the host, in words; out has TLS_WHY_SIZE + 100 bytes. */
void connects_asks(const struct tls_host *host, char *out, size_t size);

#endif
