/*
 * What the files of the receiver process share. main.c owns struct receiver; sessions, listeners
 * and pipe edges hang on its lists. Loop thread only.
 */
#ifndef PMTA_RECEIVER_RECEIVER_H
#define PMTA_RECEIVER_RECEIVER_H

#include "admission.h"
#include "base/hash.h"
#include "base/list.h"
#include "inbound.h"
#include "mail/config.h"
#include "mail/signing.h"
#include "net/child.h"
#include "net/stream.h"
#include "net/tls_files.h"
#include "smtp_server.h"
#include "suppress/client.h"
#include "suppress/table.h"

struct auth_check;
struct session;
struct trace;
struct pipe_signing;

struct receiver {
    struct child *child;
    struct config *config;
    struct smtp_server_shared shared;
    struct list listeners;
    struct list openings; /* listeners that wait for their root certificates */
    struct list pipes; /* struct pipe_edge */
    struct list sessions;
    struct list traces; /* struct trace */
    struct admission admission;
    struct inbound inbound;
    struct hash requests; /* struct pipe_request by token */
    struct auth_check *auth;
    struct tls_files *tls_files;
    struct suppress_client *suppress;      /* NULL: no edge yet */
    struct suppress_table *suppress_table; /* NULL: there was none yet */
    struct pipe_signing *signing; /* one per pipe of the configuration, after that of all */
    uv_timer_t timer;             /* once a second */
    uint32_t session_count;
    uint32_t trace_count;
    uint64_t next_token;
    uint64_t next_session;
    uint64_t accepted;
    uint64_t tls_sessions;
    int64_t started_ms;
    char host_name[256]; /* of the system, for when the configuration has none */
    bool draining;
    bool exiting;
    int64_t drain_until_ms;
};

/* --- settings.c --- */

/* Settings of one client, with the snapshot that their texts live in. */
struct client_settings {
    struct config *config;
    struct smtp_server_settings smtp;
};

/* user: empty before authentication. has_tls: the listener has a certificate. source: the one that a
 * client certificate gave, or empty. */
struct client_settings *client_settings_new(struct receiver *r, const char *listener, bool has_tls,
                                            const struct sockaddr *client, struct strview source,
                                            struct strview user);
/* The [source] whose tls-client-name is in the certificate that the client showed; NULL: none. */
const char *client_settings_source(struct receiver *r, const struct stream *s);
void client_settings_free(struct client_settings *c);

/* --- signing.c --- */

/* After a configuration was taken over: what each pipe may sign with. */
void receiver_note_signing(struct receiver *r);
/* ops of the engine; owner is the session's receiver. */
void receiver_signing_needs(const struct receiver *r, struct strview pipe,
                            struct signing_needs *ret);

/* --- suppressed.c --- */

/* The edge to pmta-suppress; takes fd. */
void receiver_suppress_edge(struct receiver *r, int fd);
/* pipe: empty when it is not certain yet. */
bool receiver_is_suppressed(const struct receiver *r, struct strview pipe, struct strview sender,
                            struct strview rcpt, const char **ret_reason);

/* --- listener.c --- */

struct listener {
    struct list link;
    struct receiver *receiver;
    uv_poll_t poll;
    int fd;
    struct tls_context *tls; /* NULL: none */
    char name[128];
};

/* Takes fd; the two others stay the caller's (or -1). Replaces a listener of the same name, at once or,
 * with tls-client-ca, when that was read. */
void listener_open(struct receiver *r, const char *name, int fd, int cert_fd, int key_fd);
void listener_close(struct listener *l);
/* Closes those that the configuration does not have any more. */
void listener_close_removed(struct receiver *r);
/* Also those that were to be opened. */
void listener_close_all(struct receiver *r);
/* Connections can be accepted again after descriptors ran out. */
void listener_resume_all(struct receiver *r);

/* --- session.c --- */

/* Takes fd. */
void session_open(struct receiver *r, struct listener *l, int fd, const struct sockaddr *client);
/* NULL: nobody listens to it any more. */
void session_listen(struct session *s, struct trace *t);
void session_drain_all(struct receiver *r);
/* Time has passed. */
void session_tick_all(struct receiver *r);
/* A session ended: nothing of it is left. In main.c. */
void receiver_session_ended(struct receiver *r);
/* JSON objects, one per line, for show-connections. */
void session_show_all(struct receiver *r, struct buf *out);

/* --- receiver_admin.c --- */

void receiver_admin(struct receiver *r, const struct child_admin_request *req);

#endif
