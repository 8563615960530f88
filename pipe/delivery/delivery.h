/*
 * Outgoing SMTP connections of one pipe. The queue opens a connection for itself with a list of
 * addresses to try in order; the connection pulls messages from the queue through delivery_ops and
 * tells the outcome of every recipient exactly once. It keeps no mail of its own.
 */
#ifndef PMTA_PIPE_DELIVERY_H
#define PMTA_PIPE_DELIVERY_H

#include "base/buf.h"
#include "base/err.h"
#include "mail/envelope.h"
#include "mail/outcome.h"
#include "net/tls_files.h"
#include "pipe/delivery/tls_need.h"

#include <netinet/in.h>
#include <uv.h>

/* Per process: loop, TLS client context, memory of hosts whose TLS is broken. */
struct delivery;

/* files: root and client certificates by the names that delivery_params use; the caller's, and its to
 * fill anew at any time. */
int delivery_new(struct delivery **ret, uv_loop_t *loop, struct tls_files *files, struct err *e);
void delivery_free(struct delivery *d); /* all connections are closed before */

/* One address to try. */
struct delivery_host {
    const char *name; /* MX host name, for EHLO checks, SNI and the log */
    struct sockaddr_storage addr;
    const struct tls_need *tls; /* NULL: encrypted when it can be, unchecked (RFC 7435) */
};

struct delivery_params {
    const char *queue; /* "example.com/mta1", for the log */
    const char *helo_name;
    const struct sockaddr *source; /* NULL: the system chooses */
    const struct delivery_host *hosts;
    size_t host_count;
    uint32_t max_messages; /* per connection; 0: no limit */
    uint32_t max_rcpts;    /* per transaction, for the queue to honour in next() */
    int64_t connect_timeout_ms;
    int64_t greeting_timeout_ms;
    int64_t command_timeout_ms;
    int64_t data_timeout_ms;
    int64_t idle_timeout_ms;
    bool use_starttls;
    bool requiretls; /* only hosts that are proven and offer REQUIRETLS are any good */
    bool use_pipelining;
    enum tls_version tls_min_version;
    int64_t tls_broken_ms;       /* a host whose TLS is broken is sent to in clear for so long */
    const char *tls_ca_file;     /* names in the files of delivery_new, or NULL */
    const char *tls_certificate; /* shown to servers that ask for one */
    const char *tls_key;
};

/* A message to send in one transaction, filled in by the queue; everything stays valid until
 * job_done. */
struct delivery_job {
    const struct envelope *env; /* sender, envid, ret, flags, sizes */
    const uint32_t *rcpts;      /* indices into env->rcpts */
    uint32_t rcpt_count;
    struct strview reverse_path; /* goes out instead of env->sender; empty: that does */
    struct strview prefix; /* header fields put before the content (signatures), wire form */
    struct strview
        content;    /* header and body in wire form without the final dot line; or empty and: */
    int content_fd; /* content_bytes from content_offset here; -1 when in memory */
    uint64_t content_offset;
    uint64_t content_bytes;
    const char *id; /* for the log */
    void *cookie;   /* the queue's */
};

enum delivery_next {
    DELIVERY_JOB,  /* *ret was filled */
    DELIVERY_WAIT, /* a message is being loaded: delivery_wakeup will be called */
    DELIVERY_IDLE, /* nothing to send now: idle timeout runs, delivery_wakeup may be called */
    DELIVERY_QUIT, /* close after what is under way */
};

struct delivery_conn;

struct delivery_ops {
    /* The connection can take another message. May be called while others are under way
     * (pipelining); called from the loop, never inside delivery_open or delivery_wakeup. */
    enum delivery_next (*next)(void *owner, struct delivery_conn *c, struct delivery_job *ret);
    /* A host is about to be tried; false: it has no room for us now, go on to the next. May be
     * NULL. */
    bool (*may_use)(void *owner, struct delivery_conn *c, const struct delivery_host *host);
    /* One recipient (position in job->rcpts) ended: exactly once each, before job_done. */
    void (*rcpt_done)(void *owner, struct delivery_conn *c, const struct delivery_job *job,
                      uint32_t position, const struct outcome *outcome);
    /* All recipients were told; the connection does not touch the job's memory any more. */
    void (*job_done)(void *owner, struct delivery_conn *c, const struct delivery_job *job);
    /* EHLO (and TLS) succeeded on this host. */
    void (*established)(void *owner, struct delivery_conn *c, const struct delivery_host *host);
    /* One address could not be used (connect failed, 4xx/5xx greeting, TLS broken …); the next is
     * tried. For the log and host memory. */
    void (*host_failed)(void *owner, struct delivery_conn *c, const struct delivery_host *host,
                        const struct outcome *outcome);
    /* How TLS to this host went, once per host that got as far as EHLO: VERIFIED when the session is
     * encrypted and the check, if there was one, succeeded (tls is its name); NO_STARTTLS when the
     * server does not offer it; else what was wrong. May be NULL. */
    void (*tls_done)(void *owner, struct delivery_conn *c, const struct delivery_host *host,
                     enum tls_result result, const char *tls, const char *text);
    /* The connection ended; last callback, c is freed after it. outcome is NULL when it ended in
     * order; otherwise why: before `established`, no address worked and nothing was sent (BOUNCED:
     * with requiretls, and every one of them answered that it will never do); after it, the peer
     * went away (recipients under way were told with rcpt_done). */
    void (*closed)(void *owner, struct delivery_conn *c, const struct outcome *outcome);
};

/* Copies params, hosts and their needs. Callbacks fire from the loop only. Never NULL. */
struct delivery_conn *delivery_open(struct delivery *d, const struct delivery_params *params,
                                    const struct delivery_ops *ops, void *owner);
/* There may be work: next() will be called when there is room. */
void delivery_wakeup(struct delivery_conn *c);
/* Ends the connection after what is under way (QUIT), or at once: recipients under way are told as
 * deferred. closed() still fires. */
void delivery_close(struct delivery_conn *c);
void delivery_abort(struct delivery_conn *c);

/* For `show connections`. Views are valid until the next callback. */
struct delivery_info {
    const char *queue;
    const char *host;
    struct strview peer_ip;
    struct strview source_ip;
    const char *phase;      /* what it does now */
    const char *tls;        /* "TLSv1.3/CIPHER" or "" */
    const char *tls_verify; /* as in struct outcome */
    uint64_t messages;      /* sent on it */
    int64_t opened_ms;      /* wall clock */
};
void delivery_info(const struct delivery_conn *c, struct delivery_info *ret);
/* Appends what the server offered in its last EHLO and we know, a line each: "SIZE 1000". */
void delivery_keywords(const struct delivery_conn *c, struct buf *out);

#endif
