/*
 * Listening to connections: the lines of the SMTP dialogue and what happens in between, for traces
 * and for debugging of single queues (pipe/trace). Costs a look at a pointer when nobody listens.
 */
#ifndef PMTA_PIPE_DELIVERY_DIALOGUE_H
#define PMTA_PIPE_DELIVERY_DIALOGUE_H

#include "base/str.h"

struct delivery;
struct delivery_conn;

/* DIALOGUE(ID, "name", sign) */
#define DIALOGUE_KINDS(KIND)                                          \
    KIND(SENT, "sent", ">")         /* a command, without its CRLF */ \
    KIND(RECEIVED, "received", "<") /* one line of a reply */         \
    KIND(EVENT, "event", "*")       /* a sentence of ours */

enum dialogue_kind {
#define DIALOGUE_ENUM(id, name, sign) DIALOGUE_##id,
    DIALOGUE_KINDS(DIALOGUE_ENUM)
#undef DIALOGUE_ENUM
};

/* Who listens to one connection. Callbacks must not call back into delivery, but for
 * delivery_listen. Credentials are taken out of text, content is not in it. */
struct dialogue {
    void (*line)(void *arg, enum dialogue_kind kind, struct strview text);
    /* A message that was begun while listening is over, or the connection ended before any was. */
    void (*attempt_over)(void *arg);
    /* The connection is gone, and with it the listening; after attempt_over. */
    void (*closed)(void *arg);
    void *arg;
};

/* Who decides which connections are listened to; one per process. */
struct delivery_watcher {
    /* The dialogue of this queue's connections goes to the debug log. */
    bool (*debugs)(void *owner, const char *queue);
    /* Asked when a connection is about to be opened, or to begin a message, that nobody listens to
     * yet: NULL, or who listens from now on; that stays valid until closed or delivery_listen. */
    const struct dialogue *(*listens)(void *owner, struct delivery_conn *c, const char *queue);
    void *owner;
};

/* NULL: nobody watches. The watcher stays the caller's. Call again when what `debugs` says has
 * changed: all open connections are asked about anew. */
void delivery_watch(struct delivery *d, const struct delivery_watcher *watcher);
/* Another listener, or none. */
void delivery_listen(struct delivery_conn *c, const struct dialogue *to);

#endif
