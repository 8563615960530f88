/*
 * session: the SMTP server side of one connection of the sink, without I/O: bytes in, bytes in
 * `out`, and what to do next. RFC 5321, 1870, 2034, 2920, 3030, 3461, 6152, 6531.
 */
#ifndef PMTA_SINK_SESSION_H
#define PMTA_SINK_SESSION_H

#include "sink/content.h"
#include "sink/sink.h"

enum session_next {
    SESSION_READ,  /* send out, read on */
    SESSION_WAIT,  /* send session_sendable bytes, call session_resume after wait_ms */
    SESSION_CLOSE, /* send out, close */
};

enum session_state {
    SESSION_START,   /* before the greeting */
    SESSION_COMMAND, /* a command line is next */
    SESSION_DATA,    /* content up to CRLF.CRLF */
    SESSION_CHUNK,   /* content of a BDAT */
    SESSION_HUNG,    /* fault: everything is ignored */
    SESSION_ENDED,
};

struct session {
    struct sink *sink;
    struct peer *peer; /* set by the server */
    enum session_state state;
    enum session_next next;
    int64_t wait_ms;
    size_t sendable; /* while waiting: this much of out may go already */
    struct buf out;
    struct buf pending; /* input that could not be used yet */
    struct rng rng;
    bool refusing;     /* the greeting was a refusal */
    bool greeting_due; /* the greeting is late on purpose */
    bool greeted;      /* HELO or EHLO was accepted */
    bool in_mail;      /* MAIL was accepted */
    bool chunking;     /* BDAT was used in this transaction */
    bool chunk_last;
    uint64_t chunk_left;
    uint64_t messages;
    unsigned recipient_count;
    struct buf sender;
    struct buf recipients;            /* each with its NUL */
    const struct policy *personality; /* of the first recipient */
    struct content content;
    struct buf saved;
};

/* number: counts connections, picks the random stream. */
void session_init(struct session *s, struct sink *sink, uint64_t number);
void session_fini(struct session *s);

/* Greets. */
void session_start(struct session *s);
/* Input has come before the greeting went out; call it after session_start, or before the
 * session_resume that ends greeting_due. */
void session_early(struct session *s);
void session_feed(struct session *s, const char *data, size_t len);
/* The wait is over. */
void session_resume(struct session *s);
/* The peer went away. */
void session_eof(struct session *s);

/* Replies that may be sent now. */
size_t session_sendable(const struct session *s);

#endif
