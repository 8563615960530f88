/*
 * What the files of the SMTP server engine share; see smtp_server.h. One verb, one function:
 * smtp_server_VERB(s, args), called by the dispatcher in smtp_server.c in the states its row
 * allows.
 */
#ifndef PMTA_RECEIVER_SMTP_SERVER_INTERNAL_H
#define PMTA_RECEIVER_SMTP_SERVER_INTERNAL_H

#include "body_hash.h"
#include "data_scan.h"
#include "mail/header_scan.h"
#include "mail/smtp_command.h"
#include "smtp_server.h"

/* STATE(NAME, "name as shown") */
#define SMTP_STATES(STATE)                                                                        \
    STATE(START, "start")         /* greeting not sent yet */                                     \
    STATE(CONNECTED, "connected") /* no EHLO yet */                                               \
    STATE(READY, "ready")         /* no transaction */                                            \
    STATE(MAIL, "mail")           /* MAIL, no recipient yet */                                    \
    STATE(RCPT, "rcpt")           /* at least one recipient */                                    \
    STATE(DATA, "data")           /* between 354 and the final dot */                             \
    STATE(CHUNK, "bdat")          /* in a BDAT chunk */                                           \
    STATE(CHUNKS, "chunks")       /* between two BDAT chunks of a message */                      \
    STATE(FLUSH, "flush")         /* message complete, a piece is still on its way to the file */ \
    STATE(SUBMIT, "submit")       /* with the pipe */                                             \
    STATE(AUTH_INPUT, "auth")     /* the next line belongs to AUTH */                             \
    STATE(AUTH_VERIFY, "auth-check")                                                              \
    STATE(TLS, "starttls")                                                                        \
    STATE(CLOSED, "closed")

enum smtp_state {
#define STATE_ENUM(name, text) STATE_##name,
    SMTP_STATES(STATE_ENUM)
#undef STATE_ENUM
        STATE_COUNT
};

/* Why something was refused; each is logged once per session. */
enum smtp_trouble {
    TROUBLE_SYNTAX,
    TROUBLE_SEQUENCE,
    TROUBLE_LINE,
    TROUBLE_RELAY,
    TROUBLE_INBOUND,
    TROUBLE_RCPTS,
    TROUBLE_SUPPRESSED,
    TROUBLE_SIZE,
    TROUBLE_MEMORY,
    TROUBLE_CONTENT,
    TROUBLE_ROUTE,
    TROUBLE_PIPE,
    TROUBLE_AUTH,
    TROUBLE_LIMIT,
    TROUBLE_COUNT
};

/* Which line AUTH waits for. */
enum smtp_auth_step { AUTH_PLAIN, AUTH_LOGIN_USER, AUTH_LOGIN_PASSWORD };

enum { SMTP_REPLY_MAX = 512 };

/* One mail transaction. Texts are in the arena. */
struct smtp_transaction {
    struct arena arena;
    struct envelope envelope;
    uint32_t rcpt_room;
    size_t envelope_bytes; /* estimate of the encoded size */
    struct data_scan scan;
    struct header_scan header;
    struct body_hash *hash; /* in the arena; NULL: nothing will sign the message */
    uint64_t hashed_bytes;  /* of the content, header block included */
    struct buf content;     /* not in the file yet */
    size_t accounted;     /* bytes of it, and of the piece that is out, in shared->buffered_bytes */
    uint64_t filed_bytes; /* taken out to the file */
    uint64_t received_bytes; /* raw input, for limits */
    uint32_t trace_bytes;    /* our Received field */
    uint64_t chunk_left;     /* of the BDAT chunk */
    bool chunk_last;
    bool chunk_refused; /* swallow the chunk: refused before it began */
    bool begun;         /* content was begun */
    bool routed;        /* pipe is set, header fields were honoured */
    bool file_asked;    /* and not answered */
    bool file_open;
    bool piece_out; /* a piece is to be written, and not done */
    bool inbound;          /* for ourselves: pipe is set, nothing of the message is believed */
    uint64_t said_bytes;   /* SIZE of MAIL */
    int64_t began_ms;      /* MAIL came, monotonic */
    struct strview pipe;
    size_t piece_bytes; /* of the piece that is out */
    enum smtp_trouble refusal_trouble;
    char refusal[SMTP_REPLY_MAX]; /* sticky: the message gets this at its end; "": none */
};

struct smtp_server {
    enum smtp_state state;
    const struct smtp_server_settings *settings;
    struct smtp_server_shared *shared;
    const struct smtp_server_ops *ops;
    void *owner;
    struct buf out;
    unsigned wants; /* bit per enum smtp_want */
    char id[32];
    char client[64];
    const char *listener; /* the owner's, or NULL */
    char local[64]; /* our address that it connected to, or "" */
    char helo[256];
    char tls[96];
    bool esmtp;
    bool draining;
    bool skip_line; /* an over-long line: swallow to its end */
    int64_t opened_ms, active_ms;
    uint32_t commands;
    uint32_t errors; /* in a row */
    uint32_t auth_failures;
    uint32_t logged; /* bit per enum smtp_trouble */
    struct strview rcpt; /* that RCPT is about, while it is looked at */
    uint64_t messages;
    enum smtp_auth_step auth_step;
    smtp_hear_fn *hear; /* NULL: nobody listens */
    bool auth_seen;    /* what is no command may be a part of credentials */
    bool content_seen; /* what looks like a command may be a part of a message */
    char user[SMTP_USER_MAX + 1]; /* authenticated, or "" */
    char auth_user[SMTP_USER_MAX + 1];
    char auth_password[SMTP_PASSWORD_MAX + 1];
    struct smtp_transaction tx;
};

/* Moves to a state; a move that the table does not have is a bug. */
void smtp_server_enter(struct smtp_server *s, enum smtp_state to);
void smtp_server_want(struct smtp_server *s, enum smtp_want w);

/* Queues a reply line (without CRLF). The second counts it as refused, logs it once per session and
 * kind, and ends the session after too many in a row. */
void smtp_server_reply(struct smtp_server *s, const char *text);
void smtp_server_refuse(struct smtp_server *s, enum smtp_trouble why, const char *text);
/* The log's part of it. */
void smtp_server_note(struct smtp_server *s, enum smtp_trouble why, const char *text);
/* Last reply, then close. */
void smtp_server_close(struct smtp_server *s, enum smtp_trouble why, const char *text);
/* Back to READY (or CONNECTED before EHLO) without a transaction; closes when draining. */
void smtp_server_end_transaction(struct smtp_server *s);

/* For the debug log and a trace, before the reply is queued, the line is obeyed. */
void smtp_server_hear_reply(const struct smtp_server *s, const char *text);
void smtp_server_hear_replies(const struct smtp_server *s, struct strview lines); /* with CRLF */
void smtp_server_hear_line(const struct smtp_server *s, struct strview line);

void smtp_server_ehlo(struct smtp_server *s, struct strview args);
void smtp_server_helo(struct smtp_server *s, struct strview args);
void smtp_server_mail(struct smtp_server *s, struct strview args);
void smtp_server_rcpt(struct smtp_server *s, struct strview args);
void smtp_server_data(struct smtp_server *s, struct strview args);
void smtp_server_bdat(struct smtp_server *s, struct strview args);
void smtp_server_rset(struct smtp_server *s, struct strview args);
void smtp_server_noop(struct smtp_server *s, struct strview args);
void smtp_server_quit(struct smtp_server *s, struct strview args);
void smtp_server_vrfy(struct smtp_server *s, struct strview args);
void smtp_server_help(struct smtp_server *s, struct strview args);
void smtp_server_starttls(struct smtp_server *s, struct strview args);
void smtp_server_auth(struct smtp_server *s, struct strview args);

/* A line in AUTH_INPUT. */
void smtp_server_auth_line(struct smtp_server *s, struct strview line);
/* AUTH may be used now (RFC 4954; not in clear unless allowed). */
bool smtp_server_auth_offered(const struct smtp_server *s);

/* Takes message bytes in DATA and CHUNK. Returns how many. */
size_t smtp_server_take_content(struct smtp_server *s, const char *in, size_t len);
/* Largest message of this transaction. */
uint64_t smtp_server_max_bytes(const struct smtp_server *s);
/* Too much waits for the file: no more input now. */
bool smtp_server_content_full(const struct smtp_server *s);
/* The owner was asked for the file, or has a piece of content to write. */
bool smtp_server_file_busy(const struct smtp_server *s);
/* First refusal of a message counts; the content so far is dropped. */
void smtp_server_refuse_message(struct smtp_server *s, enum smtp_trouble why, const char *text);
/* Brings shared->buffered_bytes up to date. */
void smtp_server_account(struct smtp_server *s);

/* What has come of the body since the last call goes into its hashes. */
void smtp_server_hash(struct smtp_server *s);
/* The header block is complete: honours X-… and chooses the pipe. */
void smtp_server_route(struct smtp_server *s);
/* The message is complete, and so is its header. */
void smtp_server_submit(struct smtp_server *s);

#endif
