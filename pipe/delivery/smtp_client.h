/*
 * The SMTP client engine (RFC 5321, 2920 pipelining, 3207 STARTTLS, 1870 SIZE, 6152 8BITMIME, 6531
 * SMTPUTF8, 3461 DSN): bytes and events in, bytes, content references and outcomes out. It does no
 * I/O and knows no clock but clock_mono_ms, so that it can be played without a loop.
 *
 * Two cursors walk one state table: `sent`, what goes out next, and `answered`, whose reply comes
 * next. Pipelining is nothing but the distance between them. The transaction that follows is begun
 * as soon as a body is queued, so that its MAIL, RCPT and DATA travel in the same write as that
 * body and their replies in the same packet as the final one.
 *
 * Functions of this interface call the ops; ops must not call back into it.
 */
#ifndef PMTA_PIPE_DELIVERY_SMTP_CLIENT_H
#define PMTA_PIPE_DELIVERY_SMTP_CLIENT_H

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "mail/reply.h"
#include "pipe/delivery/delivery.h"
#include "pipe/delivery/dialogue.h"

/* STATE(NAME, log name, command, outcome phase, timeout, lock-step) */
#define SMTP_STATES(STATE)                                                     \
    STATE(greeting, GREETING, "greeting", "", GREETING, GREETING, true)        \
    STATE(ehlo, EHLO, "ehlo", "EHLO", HELO, COMMAND, true)                     \
    STATE(helo, HELO, "helo", "HELO", HELO, COMMAND, true)                     \
    STATE(starttls, STARTTLS, "starttls", "STARTTLS", STARTTLS, COMMAND, true) \
    STATE(tls, TLS, "tls-handshake", "", STARTTLS, COMMAND, true)              \
    STATE(ready, READY, "ready", "", MAIL, COMMAND, false)                     \
    STATE(rset, RSET, "rset", "RSET", MAIL, COMMAND, false)                    \
    STATE(mail, MAIL, "mail", "MAIL", MAIL, COMMAND, false)                    \
    STATE(rcpt, RCPT, "rcpt", "RCPT", RCPT, COMMAND, false)                    \
    STATE(data, DATA, "data", "DATA", DATA, COMMAND, false)                    \
    STATE(body, BODY, "end-of-data", ".", END_OF_DATA, DATA, false)            \
    STATE(quit, QUIT, "quit", "QUIT", QUIT, COMMAND, false)                    \
    STATE(ended, ENDED, "ended", "", QUIT, COMMAND, true)

enum smtp_state {
#define SMTP_ENUM(fn, name, ...) SMTP_##name,
    SMTP_STATES(SMTP_ENUM)
#undef SMTP_ENUM
};

enum smtp_timeout {
    SMTP_WAIT_NONE,
    SMTP_WAIT_GREETING,
    SMTP_WAIT_COMMAND,
    SMTP_WAIT_DATA,
    SMTP_WAIT_IDLE,
    SMTP_WAIT_COUNT,
};

enum smtp_extension {
    SMTP_EXT_PIPELINING = 1,
    SMTP_EXT_SIZE = 2,
    SMTP_EXT_8BITMIME = 4,
    SMTP_EXT_SMTPUTF8 = 8,
    SMTP_EXT_DSN = 16,
    SMTP_EXT_STARTTLS = 32,
    SMTP_EXT_REQUIRETLS = 64,
};

struct smtp_client;

/* One message under way; lives in the engine. */
struct smtp_job {
    struct delivery_job job;
    struct smtp_client *client;
    struct list node;     /* in client->jobs while replies are due */
    uint8_t *rcpt_states; /* enum rcpt_state per position; memory kept between messages */
    uint32_t rcpt_cap;
    uint32_t rcpts_told;
    uint32_t rcpts_accepted; /* by the peer, and not told yet */
    uint32_t holds;          /* who still reads the content */
    bool active;
    bool over; /* no reply is due any more; free when holds is 0 */
    bool rset_first;
    bool mail_sent;
    bool mail_accepted;
    bool go_ahead; /* 354 came */
    bool dot_sent;
    int64_t connect_ms;
    int64_t mail_sent_ms; /* monotonic */
};

/* Who hears the conversation; the caller may change it at any time. */
struct smtp_hearing {
    const struct dialogue *to; /* or NULL */
    bool debugged;             /* into the debug log */
    const char *queue, *peer_ip;
};

/* Strings stay the caller's and valid until smtp_client_fini. */
struct smtp_client_params {
    const struct smtp_hearing *hearing; /* NULL: nobody but debugging of everything */
    const char *queue; /* for the log */
    const char *helo_name;
    const char *peer_host;
    const char *peer_ip;
    const char *local_ip;     /* may be NULL */
    int64_t connect_start_ms; /* monotonic */
    int64_t greeting_timeout_ms;
    int64_t command_timeout_ms;
    int64_t data_timeout_ms;
    int64_t idle_timeout_ms;
    uint32_t max_messages;
    const char *tls_verify; /* read when an outcome is made: see struct outcome; NULL: "" */
    bool use_starttls;
    bool proven; /* the peer is who it should be: set when TLS is up (RFC 8689 section 4.2.1) */
    bool require_tls; /* end rather than send a message in clear */
    bool requiretls;  /* and unless the session is proven and the server offers REQUIRETLS */
    bool use_pipelining;
};

struct smtp_client_ops {
    void (*write)(void *owner, const void *data, size_t len);
    /* Queue prefix and content of the job behind what was written. True: all of it is queued (only
     * for content in memory); false: smtp_client_content_done or _failed will be called, later. */
    bool (*content)(void *owner, struct smtp_job *job);
    /* Begin the handshake; smtp_client_tls tells the end. */
    void (*start_tls)(void *owner);
    enum delivery_next (*next)(void *owner, struct delivery_job *ret);
    void (*rcpt_done)(void *owner, const struct delivery_job *job, uint32_t position,
                      const struct outcome *outcome);
    void (*job_done)(void *owner, const struct delivery_job *job);
    void (*established)(void *owner);
    /* The conversation is over: close the connection, after what was written has gone out when
     * `polite`. All recipients were told; jobs that are held end later. outcome NULL: in order. */
    void (*ended)(void *owner, const struct outcome *outcome, bool polite);
};

/* In flight: one waiting for its final reply, one begun behind it, one whose content is held. */
enum { SMTP_CLIENT_JOBS = 4, SMTP_CLIENT_LOCAL_PER_STEP = 16 };

/* Retry hint when nothing speaks against trying again at once, on another connection. */
enum { SMTP_CLIENT_SOON_MS = 1000 };

struct smtp_cursor {
    enum smtp_state state;
    struct smtp_job *job; /* in MAIL to BODY */
    uint32_t rcpt;
};

struct smtp_client {
    struct smtp_client_params params;
    const struct smtp_client_ops *ops;
    void *owner;
    struct smtp_cursor sent;
    struct smtp_cursor answered;
    size_t unanswered; /* commands between the cursors */
    struct smtp_job slots[SMTP_CLIENT_JOBS];
    struct list jobs; /* whose replies are due, oldest first */
    struct reply_parser parser;
    struct buf out;
    struct buf text; /* of the outcome that is being told */
    char tls[80];
    uint32_t extensions;
    uint64_t size_limit; /* 0: none */
    char esmtp[256];     /* keywords of the last EHLO: "PIPELINING,SIZE" */
    uint32_t messages;   /* begun on this connection */
    uint32_t messages_ended;
    uint32_t local_this_step; /* messages taken since the step began */
    int64_t established_ms;   /* since connect_start_ms; -1 before */
    int64_t deadline_ms;
    enum smtp_timeout waiting_for;
    bool progress; /* since the deadline was set */
    bool established;
    bool may_ask;   /* next() has not said WAIT or IDLE since it was woken */
    bool idle;      /* it said IDLE */
    bool quitting;  /* no further message */
    bool need_rset; /* the peer has a transaction open that we gave up */
    bool replying;  /* the state that `answered` is at looks at its reply */
    bool handshaking;
    bool streaming; /* content is on its way, its last byte not queued */
    bool again;     /* smtp_client_step has more to do */
};

void smtp_client_init(struct smtp_client *c, const struct smtp_client_params *params,
                      const struct smtp_client_ops *ops, void *owner);
void smtp_client_fini(struct smtp_client *c);

/* Bytes of the peer; all are taken. Counts as a step. */
void smtp_client_input(struct smtp_client *c, const char *data, size_t len);
/* The peer closed its side (0) or the connection broke (negative). */
void smtp_client_eof(struct smtp_client *c, int status);
/* The handshake ended; name is "TLSv1.3/CIPHER", or a sentence that says why the host cannot be
 * used. */
void smtp_client_tls(struct smtp_client *c, bool ok, const char *name);
/* The content of a job was queued to its last byte, or cannot be read. */
void smtp_client_content_done(struct smtp_client *c, bool ends_with_crlf);
void smtp_client_content_failed(struct smtp_client *c, int status);
/* There may be work for next(). */
void smtp_client_wakeup(struct smtp_client *c);
/* QUIT after what is under way. */
void smtp_client_quit(struct smtp_client *c);
/* Ends at once; recipients under way are deferred with this text. */
void smtp_client_fail(struct smtp_client *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same because TLS is not what it has to be: 4.7.5 (RFC 5248). */
void smtp_client_fail_tls(struct smtp_client *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The deadline has passed. */
void smtp_client_timeout(struct smtp_client *c);
/* Output is moving: what waits for it may wait on. */
void smtp_client_touch(struct smtp_client *c);
/* Sends what can be sent. Needed after init never, after others only while `again` is set. */
void smtp_client_step(struct smtp_client *c);

/* Monotonic time at which smtp_client_timeout is to be called; INT64_MAX: never. May move. */
static inline int64_t smtp_client_deadline(const struct smtp_client *c)
{
    return c->deadline_ms;
}

/* Keywords of the last EHLO that are known here, a line each. */
void smtp_client_keywords(const struct smtp_client *c, struct buf *out);

/* For `show connections`. */
const char *smtp_client_phase(const struct smtp_client *c);

/* Keeps the job's memory in use. The last unhold after its end calls job_done; never from ops. */
void smtp_job_hold(struct smtp_job *j);
void smtp_job_unhold(struct smtp_job *j);

/* dialogue.c: only called when smtp_is_heard. */
static inline bool smtp_is_heard(const struct smtp_hearing *h)
{
    return h && (h->to || h->debugged || log_is_debug(LOG_DELIVERY));
}
void smtp_hear_sent(const struct smtp_hearing *h, struct strview line);
void smtp_hear_reply(const struct smtp_hearing *h, const struct reply *r);
void smtp_hear_event(const struct smtp_hearing *h, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
