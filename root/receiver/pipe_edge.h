/*
 * pipe_edge: the way to one pipe process. Requests carry a token; an answer finds its request by
 * it. A pipe that goes away answers every open request with 451 4.3.2.
 */
#ifndef PMTA_RECEIVER_PIPE_EDGE_H
#define PMTA_RECEIVER_PIPE_EDGE_H

#include "receiver.h"

struct pipe_edge;

/* Embedded in the owner, who cancels it before its memory goes. One request at a time. */
struct pipe_request {
    struct hash_node node;
    struct list link; /* in the edge's list of open or waiting requests */
    uint64_t token;
    struct receiver *receiver;
    bool open;
    bool waiting; /* for a submit: the edge is congested, not sent yet */
    bool submit;
    /* code and text as in the message; fd: the file, the owner's, or -1. Not inside a call of this
     * interface. */
    void (*answer)(struct pipe_request *q, unsigned code, struct strview text, int fd);
    /* Encode and send now with pipe_edge_send_submit. */
    void (*send)(struct pipe_request *q, struct pipe_edge *p);
};

/* Takes fd. */
void pipe_edge_open(struct receiver *r, const char *name, int fd);
void pipe_edge_close_all(struct receiver *r);

/* Asks pipe `name` for a file. False when the pipe is down. */
bool pipe_edge_ask_file(struct receiver *r, struct strview name, struct pipe_request *q);
/* Calls q->send now, or when the edge is no longer congested. False when the pipe is down. */
bool pipe_edge_submit(struct receiver *r, struct strview name, struct pipe_request *q);
/* From q->send. fd: the file with the content, or -1 for inline. It stays the caller's. */
void pipe_edge_send_submit(struct pipe_edge *p, struct pipe_request *q, const struct envelope *env,
                           struct strview content, int fd);
/* Nothing happens when it is not open. */
void pipe_request_cancel(struct pipe_request *q);

#endif
