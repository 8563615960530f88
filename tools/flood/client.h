/*
 * client: the SMTP client side of one connection of the load generator, without I/O: replies in,
 * bytes out, and what to do next. RFC 5321, 2920 (pipelining), 4954 (AUTH PLAIN).
 */
#ifndef PMTA_FLOOD_CLIENT_H
#define PMTA_FLOOD_CLIENT_H

#include "flood/flood.h"
#include "mail/reply.h"

enum client_state {
    CLIENT_GREETING, /* waits for 220 */
    CLIENT_HELLO,    /* waits for the answer to EHLO or HELO */
    CLIENT_AUTH,     /* waits for 235 */
    CLIENT_READY,    /* nothing under way */
    CLIENT_BUSY,     /* slots[0] waits for a reply */
    CLIENT_QUIT,     /* waits for 221 */
    CLIENT_CLOSED,   /* close the connection */
};

/* The reply that a transaction waits for. */
enum client_step { STEP_RSET, STEP_MAIL, STEP_RCPT, STEP_DATA, STEP_END };

/* One transaction. */
struct client_slot {
    struct ticket ticket;
    struct plan_message message; /* its recipients are drawn as they are sent */
    enum client_step step;
    bool mail_ok;
    bool empty;         /* DATA was taken although no recipient was: a lone dot ends it */
    bool written;       /* the end of data has left */
    unsigned code;      /* first refusal, or 0 */
    unsigned answered;  /* recipients */
    unsigned ok;        /* recipients */
    uint64_t size;      /* of the composed message */
    uint64_t end_total; /* bytes written on the connection when the end of data has left */
    int64_t begun_us;
    int64_t body_us;    /* when the end of data left */
    struct buf rcpt_ok; /* a byte per answered recipient, 1: accepted */
};

struct client {
    struct flood *flood;
    enum client_state state;
    bool pipelining;
    bool helo;      /* EHLO was refused */
    bool need_rset; /* the server may still be in a transaction */
    unsigned active;
    struct client_slot slots[2]; /* [0] is the older one */
    uint64_t begun;              /* messages on this connection */
    uint64_t written_total;
    struct reply_parser parser;
    /* Output in this order; the body is a view into the plan. */
    struct buf head;
    struct strview body;
    struct buf tail;
};

void client_init(struct client *c, struct flood *flood);
void client_fini(struct client *c);

/* A new connection is there; the greeting is next. */
void client_open(struct client *c);
/* Bytes of the server. */
void client_feed(struct client *c, const char *data, size_t len, int64_t now_us);
/* A message may be due: begins it when the client is ready. */
void client_poke(struct client *c, int64_t now_us);
/* No more work: says QUIT when it is ready, otherwise it will be asked again. */
void client_quit(struct client *c);
/* The first n bytes of the output have been taken by the kernel. */
void client_wrote(struct client *c, size_t n, int64_t now_us);
/* The connection is gone: settles what was under way and counts the loss. */
void client_lost(struct client *c, enum stats_loss loss, int64_t now_us);

static inline size_t client_output(const struct client *c)
{
    return buf_len(&c->head) + c->body.len + buf_len(&c->tail);
}

/* A reply is awaited. */
static inline bool client_is_waiting(const struct client *c)
{
    return c->state != CLIENT_READY && c->state != CLIENT_CLOSED;
}

#endif
