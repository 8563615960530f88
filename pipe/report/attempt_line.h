/*
 * The log line of a delivery attempt: its fields in one table, in the order in which they are
 * written, for text, JSON, the journal and docs/logs.md alike.
 */
#ifndef PMTA_PIPE_REPORT_ATTEMPT_LINE_H
#define PMTA_PIPE_REPORT_ATTEMPT_LINE_H

#include "base/log.h"
#include "mail/outcome.h"

/* FIELD(ID, "name", kind, bytes shown or 0, "help") */
/* clang-format off */
#define ATTEMPT_FIELDS(FIELD)                                                                       \
    FIELD(ID, "id", WORD, 0, "message id and recipient number, as msgId in accounting")             \
    FIELD(RCPT, "rcpt", WORD, 320, "envelope recipient")                                            \
    FIELD(FROM, "from", WORD, 320, "envelope sender; <> when it is null")                           \
    FIELD(QUEUE, "queue", WORD, 0, "queue, as domain/vmta")                                         \
    FIELD(JOB, "job", WORD, 200, "X-Job of the message")                                            \
    FIELD(ATTEMPT, "attempt", NUMBER, 0, "number of the attempt, from 1")                           \
    FIELD(HOST, "host", WORD, 0, "host of the peer")                                                \
    FIELD(IP, "ip", WORD, 0, "its address")                                                         \
    FIELD(SOURCE_IP, "source_ip", WORD, 0, "local address of the connection")                       \
    FIELD(TLS, "tls", WORD, 0, "TLS version and cipher suite; left out without TLS")                \
    FIELD(VERIFY, "verify", WORD, 0, "by what the peer was checked: dane, sts, trusted; unchecked; or what was wrong") \
    FIELD(SIZE, "size", NUMBER, 0, "size of the message in bytes")                                  \
    FIELD(DELAY_MS, "delay_ms", NUMBER, 0, "ms from MAIL of the client that sent the message to this line; the next four together") \
    FIELD(RECEIVE_MS, "receive_ms", NUMBER, 0, "of these, before the queue: from that MAIL until the message was durable; after a restart, until its last byte came") \
    FIELD(QUEUE_MS, "queue_ms", NUMBER, 0, "of these, in the queue")                                \
    FIELD(CONNECT_MS, "connect_ms", NUMBER, 0, "of these, connecting up to EHLO; 0 on a reused connection") \
    FIELD(TRANSMIT_MS, "transmit_ms", NUMBER, 0, "of these, from MAIL to the final reply")          \
    FIELD(STATUS, "status", WORD, 0, "enhanced status code (RFC 3463): of the peer, else the one of its class") \
    FIELD(PHASE, "phase", WORD, 0, "how far the attempt got: dns, connect, rcpt, end-of-data ...")  \
    FIELD(NEXT_S, "next_s", NUMBER, 0, "seconds to the next attempt")                               \
    FIELD(CATEGORY, "category", WORD, 0, "bounce category")                                         \
    FIELD(CATEGORY_RULE, "category_rule", WORD, 0, "file:line of the rule that gave it; left out: by the codes alone") \
    FIELD(REPLY_RULE, "reply_rule", WORD, 0, "file:line of the rule of [smtp-pattern-list] that matched") \
    FIELD(REPLY, "reply", TEXT, 400, "the reply of the peer, or our own reason")
/* clang-format on */

enum attempt_field {
#define ATTEMPT_ENUM(id, ...) ATTEMPT_##id,
    ATTEMPT_FIELDS(ATTEMPT_ENUM)
#undef ATTEMPT_ENUM
        ATTEMPT_FIELD_COUNT
};

/* What is not known is left out of the line. */
struct attempt_line {
    const char *message; /* "delivered", "queue deferred" */
    const char *id;      /* NULL: of no message */
    struct strview rcpt, sender, job;
    const char *queue;
    unsigned attempt; /* 0: none */
    uint64_t size;
    int64_t received_ms;           /* wall; 0: none */
    int64_t receive_ms, commit_ms; /* before that, and behind it until it was durable */
    int64_t next_ms;               /* wall; 0: none */
    const struct outcome *outcome;
    const char *category, *category_file, *reply_file; /* or NULL */
    unsigned category_line, reply_line;
};

void attempt_line_write(const struct attempt_line *a);

#endif
