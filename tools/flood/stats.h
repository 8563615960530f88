/*
 * stats: everything pmta-flood counts, and the report as a table or JSON.
 */
#ifndef PMTA_FLOOD_STATS_H
#define PMTA_FLOOD_STATS_H

#include "kit/hist.h"
#include "kit/text.h"
#include "kit/weights.h"

/* COUNTER(name, "label"): also the JSON names */
#define STATS_COUNTERS(COUNTER)                            \
    COUNTER(sent, "messages sent")                         \
    COUNTER(accepted, "  accepted")                        \
    COUNTER(refused, "  refused")                          \
    COUNTER(unanswered, "  unanswered")                    \
    COUNTER(given_up, "given up")                          \
    COUNTER(not_sent, "not sent")                          \
    COUNTER(requeued, "queued again")                      \
    COUNTER(recipients_accepted, "recipients accepted")    \
    COUNTER(recipients_refused, "  refused by RCPT")       \
    COUNTER(bytes, "bytes accepted")                       \
    COUNTER(connections, "connections")                    \
    COUNTER(connection_errors, "connection errors")        \
    COUNTER(connect_failed, "  could not connect")         \
    COUNTER(connect_refused, "  refused by greeting etc.") \
    COUNTER(connections_421, "  closed by 421")            \
    COUNTER(connections_lost, "  lost")                    \
    COUNTER(timeouts, "  timed out")                       \
    COUNTER(protocol_errors, "  no valid reply")           \
    COUNTER(closed_idle, "closed while idle")

struct stats {
#define STATS_MEMBER(name, label) uint64_t name;
    STATS_COUNTERS(STATS_MEMBER)
#undef STATS_MEMBER
    struct text_codes refused_codes;    /* per message */
    struct text_codes recipient_codes;  /* per recipient */
    struct text_codes connection_codes; /* greeting, EHLO, AUTH, and 421 */
    struct hist end_of_data;            /* from the last byte written to the reply */
    struct hist transaction;            /* from the intended time to the reply */
    struct hist service;                /* from the first command to the reply */
    struct hist *by_pipe;               /* transaction, one per pipe, or NULL */
    const struct weights *pipes;
    bool open_loop;
    uint64_t seed;
    int64_t start_us;
    int64_t last_us; /* of the last answer */
};

/* pipes must outlive *s. */
void stats_init(struct stats *s, const struct weights *pipes);
void stats_fini(struct stats *s);

struct stats_times {
    int64_t intended_us, begun_us, body_us, now_us;
};

/* One message was accepted. */
void stats_accepted(struct stats *s, const struct stats_times *t, size_t pipe);

/* Why a connection ended before its work was done. */
enum stats_loss { LOSS_CONNECT, LOSS_REFUSED, LOSS_421, LOSS_LOST, LOSS_TIMEOUT, LOSS_PROTOCOL };
void stats_loss(struct stats *s, enum stats_loss loss);

/* Every message that was asked for was accepted, for all its recipients. */
bool stats_is_perfect(const struct stats *s);

double stats_rate(const struct stats *s);
void stats_table(const struct stats *s, struct buf *out);
void stats_json(const struct stats *s, struct buf *out);

#endif
