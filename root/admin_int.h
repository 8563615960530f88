/*
 * Inside the admin socket: clients (admin_client.c: socket, lines in, bytes out) and their requests
 * (admin.c: verbs, targets, answers of children).
 */
#ifndef PMTA_ROOT_ADMIN_INT_H
#define PMTA_ROOT_ADMIN_INT_H

#include "monitor.h"

/* One process that has still to answer. */
struct part {
    struct kid *kid;
    struct buf partial; /* begun line */
};

struct client {
    struct list node; /* admin.clients */
    struct admin *admin;
    uv_pipe_t pipe;
    uv_timer_t idle, answer;
    char chunk[4096];
    struct buf in;
    enum admin_level level;
    uid_t uid;

    bool busy; /* a request is under way */
    bool waits_for_reload;
    uint64_t token;
    struct part *parts;
    size_t part_count, waiting;
    bool ok;

    bool ended; /* the peer sends no more: closed when everything is written */
    bool closing;
    unsigned handles_open;
};

struct admin {
    struct root *root;
    char *path;
    uv_pipe_t pipe;
    bool pipe_open;
    bool closing;
    struct list clients;
    unsigned client_count;
    uint64_t last_token;
    gid_t group;
    bool has_group;
};

/* --- admin_client.c --- */

/* Tells a child that nobody waits for its answer any more. */
void client_cancel_part(struct client *c, struct part *p);
/* Forgets what a request gathered. */
void client_request_clear(struct client *c);
/* Idempotent; the memory goes when libuv has closed its handles. */
void client_close(struct client *c);
/* Takes the bytes out of *text and sends them. */
void client_say(struct client *c, struct buf *text);
/* Takes the next line when no request is under way. */
void client_step(struct client *c);

/* --- admin.c --- */

/* One line of a client. */
void request_line(struct client *c, struct strview line);
/* Refuses a line with an error. */
void request_refuse(struct client *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
