/*
 * smtp_server: the receiving side of SMTP (RFC 5321) as an engine without I/O. Bytes go in with
 * smtp_server_input, replies gather in a buf, and what only the owner can do (TLS, passwords,
 * files, handing a message over) comes out of smtp_server_next, one thing at a time. The owner
 * calls smtp_server_next until SMTP_WANT_NOTHING after every call that gave the engine something,
 * and then writes out what smtp_server_output holds.
 *
 * Loop thread only. Nothing here calls back but the look-ups in smtp_server_ops.
 */
#ifndef PMTA_RECEIVER_SMTP_SERVER_H
#define PMTA_RECEIVER_SMTP_SERVER_H

#include "base/buf.h"
#include "log_budget.h"
#include "mail/envelope.h"
#include "mail/signing.h"

/* What the configuration says for one client. The owner keeps it alive and unchanged as long as the
 * engine uses it; authentication may bring another one. */
struct smtp_server_settings {
    const char *host_name;
    const char *source; /* name of the [source]; NULL when none matches */
    const char
        *pipe; /* what listener, source and user say, or the default; NULL when there is none */
    const char
        *refuse; /* whole reply ("554 5.7.1 …") that the session begins and ends with, or NULL */
    uint64_t max_message_bytes;
    uint64_t max_inbound_bytes; /* of a message for ourselves, from a client that may not relay */
    uint32_t max_rcpts;
    uint32_t max_header_bytes;
    uint32_t max_line_bytes;
    uint32_t max_commands;
    uint32_t max_errors; /* refused commands in a row */
    int64_t idle_timeout_ms;
    int64_t session_timeout_ms;
    bool allow_relaying;
    bool refuse_suppressed; /* at RCPT, whatever the message will say */
    bool pipe_is_certain;   /* X-Pipe is not honoured */
    bool accept_inbound; /* who may not relay may send to what is for ourselves */
    bool fix_lone_lf;
    bool verp; /* as if MAIL said VERP */
    bool process_x_pipe;
    bool process_x_virtual_mta;
    bool process_x_job;
    bool process_x_envid;
    bool process_x_dkim_options;
    bool process_x_schedule;
    bool process_x_delivery_priority;
    bool process_x_remote_mta_name;
    bool offer_starttls;
    bool offer_auth;
    bool allow_plain_auth; /* AUTH also without TLS */
};

enum { SMTP_DEBUG_PIPES = 63 };

/* Shared by all sessions of a process. */
struct smtp_server_shared {
    struct {
        char pipe[80];
        uint32_t mask; /* as log_set_debug */
    } debug[SMTP_DEBUG_PIPES]; /* pipes whose sessions are debugged */
    unsigned debug_count;
    uint64_t buffered_bytes; /* of unfinished messages, in memory */
    uint64_t max_buffered_bytes;
    uint64_t messages;   /* accepted */
    uint64_t recipients; /* of these */
    uint64_t rejected;   /* commands and messages refused */
    struct log_budget budget; /* of lines about clients that may not relay */
};

/* A recipient that is for ourselves. */
struct smtp_inbound {
    const char *refuse;  /* whole reply, or NULL */
    struct strview pipe; /* that takes it; valid during the call */
};

struct smtp_server_ops {
    bool (*pipe_exists)(void *owner, struct strview name);
    bool (*virtual_mta_exists)(void *owner, struct strview name);
    /* What signatures of mail through that pipe (empty: any pipe) may need of the message. */
    void (*signing_needs)(void *owner, struct strview pipe, struct signing_needs *ret);
    /* The pipe has a key for what X-DKIM-Options asks for. */
    bool (*signing_key_exists)(void *owner, struct strview pipe, const struct signing_options *o);
    /* This recipient of a message from that sender is on the suppression list, as far as is known by
     * now; *ret_reason is a word. May be NULL: nobody is. */
    bool (*is_suppressed)(void *owner, struct strview sender, struct strview rcpt,
                          const char **ret_reason);
    /* Whether the recipient is for ourselves, and then *ret. relays: the client has the right to
     * relay. */
    bool (*inbound)(void *owner, struct strview address, bool relays, struct smtp_inbound *ret);
};

enum smtp_want {
    SMTP_WANT_NOTHING,
    /* The transaction that had a file is over: close it. */
    SMTP_WANT_DROP,
    /* Write the output, then begin TLS; answer with smtp_server_tls_up, or close. */
    SMTP_WANT_TLS,
    /* Check smtp_server_credentials; answer with smtp_server_auth_done. */
    SMTP_WANT_AUTH,
    /* A temporary file of pipe smtp_server_pipe; answer with smtp_server_file_done. */
    SMTP_WANT_FILE,
    /* Write the content so far to the file (smtp_server_content_take), then
       smtp_server_content_done. */
    SMTP_WANT_CONTENT,
    /* Hand smtp_server_envelope and content to smtp_server_pipe; answer with smtp_server_submitted.
     */
    SMTP_WANT_SUBMIT,
    /* Write the output, then close. Comes last. */
    SMTP_WANT_CLOSE,
};

enum smtp_auth_result { SMTP_AUTH_OK, SMTP_AUTH_WRONG, SMTP_AUTH_LATER };

enum {
    SMTP_INLINE_MAX = 64 * 1024,     /* content that goes without a file */
    SMTP_FRAME_ROOM = 159 * 1024,    /* envelope and inline content together */
    SMTP_CONTENT_PIECE = 128 * 1024, /* smallest piece written to a file, but for the last */
    SMTP_CONTENT_HIGH = 256 * 1024,  /* input waits while this much waits for the file */
    SMTP_COMMAND_MAX = 4096,         /* command line, CRLF included */
    SMTP_AUTH_LINE_MAX = 12288,      /* RFC 4954 section 4 */
    SMTP_AUTH_FAILURES_MAX = 3,
    SMTP_MAX_HOPS = 100, /* Received fields */
    SMTP_USER_MAX = 255,
    SMTP_PASSWORD_MAX = 255,
    SMTP_INBOUND_RCPTS_MAX = 100, /* of a message for ourselves */
};

struct smtp_server;

/* id names the session in the log; client is the peer's address as text. Both are copied. settings,
 * shared and ops stay the caller's. */
struct smtp_server *smtp_server_new(const char *id, const char *client,
                                    const struct smtp_server_settings *settings,
                                    struct smtp_server_shared *shared,
                                    const struct smtp_server_ops *ops, void *owner);
/* NULL is fine. Gives the memory it accounted for back to shared. */
void smtp_server_free(struct smtp_server *s);

/* Begins the session with the greeting. tls: the handshake was made already; text as for
 * smtp_server_tls_up, or NULL. */
void smtp_server_open(struct smtp_server *s, const char *tls);

/* Takes what it can from `in`. What stays is to be offered again, with what follows, after the
 * thing that the engine waits for. */
void smtp_server_input(struct smtp_server *s, struct buf *in);

enum smtp_want smtp_server_next(struct smtp_server *s);

/* Replies to be written; the owner consumes. */
struct buf *smtp_server_output(struct smtp_server *s);

/* version and cipher as one text, for Received ("TLSv1.3 TLS_AES_128_GCM_SHA256"); copied. */
void smtp_server_tls_up(struct smtp_server *s, const char *tls);

/* Name of the listener, for the log; stays the caller's. */
void smtp_server_set_listener(struct smtp_server *s, const char *listener);

/* The line "MESSAGE session=... reply='REPLY'", within the budget of lines about strangers.
 * rcpt, user: or empty. */
void smtp_server_log_refused(struct smtp_server *s, const char *message, struct strview user,
                             struct strview rcpt, struct strview reply);

/* Our address that the client connected to, as text, for accounting; copied. */
void smtp_server_set_local(struct smtp_server *s, const char *local);

const char *smtp_server_local(const struct smtp_server *s); /* "" when it was not told */

/* Other settings from now on, because TLS showed who the client is; to be called before
 * smtp_server_open or smtp_server_tls_up, which end the session when they say so (refuse). */
void smtp_server_settings_changed(struct smtp_server *s,
                                  const struct smtp_server_settings *settings);

/* Valid while SMTP_WANT_AUTH is not answered. */
void smtp_server_credentials(const struct smtp_server *s, struct strview *ret_user,
                             struct strview *ret_password);
/* settings: those of the user from now on, when SMTP_AUTH_OK. */
void smtp_server_auth_done(struct smtp_server *s, enum smtp_auth_result result,
                           const struct smtp_server_settings *settings);

struct strview smtp_server_pipe(const struct smtp_server *s);
/* code 0: there is a file. Else the SMTP reply that says why not. */
void smtp_server_file_done(struct smtp_server *s, unsigned code, struct strview text);
/* Moves the waiting content to *ret (empty before), which then belongs to the owner. At most one
 * piece is out at a time. */
void smtp_server_content_take(struct smtp_server *s, struct buf *ret);
/* The piece was written (code 0), or could not be. */
void smtp_server_content_done(struct smtp_server *s, unsigned code, struct strview text);

/* The message to submit: envelope, and the content that did not go to a file. Valid until
 * smtp_server_submitted, content until smtp_server_content_sent. */
const struct envelope *smtp_server_envelope(const struct smtp_server *s);
struct strview smtp_server_content(const struct smtp_server *s);
/* Part of the content is in the file: the rest goes there too, before the message is submitted. */
bool smtp_server_has_file(const struct smtp_server *s);
/* The content was copied or written: its memory may go. */
void smtp_server_content_sent(struct smtp_server *s);
/* The answer of the pipe: reply code and text (with enhanced code). */
void smtp_server_submitted(struct smtp_server *s, unsigned code, struct strview text);

/* When smtp_server_tick has to be called, monotonic ms; INT64_MAX while only we are at work. */
int64_t smtp_server_deadline(const struct smtp_server *s);
/* Ends the session with 421 when its time is over. */
void smtp_server_tick(struct smtp_server *s, int64_t now_ms);

/* No new transaction from now on: 421 4.3.2 at once, or after the one under way. */
void smtp_server_drain(struct smtp_server *s);

/* Listening to a session: fn (owner as in smtp_server_new) gets replies, lines of the client and
 * sentences about what happens, NULL: nobody does. Credentials are taken out of text, content is not
 * in it; at most 2 KiB each, of any bytes. fn must not call back. */
enum smtp_heard { SMTP_HEARD_SENT, SMTP_HEARD_RECEIVED, SMTP_HEARD_EVENT };
typedef void smtp_hear_fn(void *owner, enum smtp_heard kind, struct strview text);
void smtp_server_hear(struct smtp_server *s, smtp_hear_fn *hear);
/* Something that the engine does not see; to the debug log as well. */
void smtp_server_hear_event(const struct smtp_server *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* For show-connections. */
const char *smtp_server_state_name(const struct smtp_server *s);
const char *smtp_server_user(const struct smtp_server *s);
uint64_t smtp_server_messages(const struct smtp_server *s);

#endif
