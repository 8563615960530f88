/*
 * client: one request to the admin socket and its answer, line by line. Blocking, with a limit on
 * silence and on the length of a line.
 */
#ifndef PMTA_CTL_CLIENT_H
#define PMTA_CTL_CLIENT_H

#include "base/buf.h"
#include "base/err.h"

#define CLIENT_LINE_MAX (32u * 1024 * 1024)

struct client {
    int fd;         /* -1: not connected */
    int timeout_ms; /* longest silence; -1: for ever */
    struct buf in;
    size_t scanned; /* bytes of `in` that hold no newline */
    size_t line;    /* bytes of the line handed out last, newline included */
};

/* 0 or a negative number with one line in *e that names the socket and, where it is known, what to
 * do about it. */
int client_connect(struct client *c, const char *path, int timeout_ms, struct err *e);
void client_close(struct client *c);

/* To the socket, and with the patience, that the command line or the environment says. */
struct parsed;
int client_open(struct client *c, const struct parsed *p, struct err *e);

/* Sends text and a newline. */
int client_send(struct client *c, struct strview text, struct err *e);

/* The next line without its newline, valid until the next call. 1, 0 at the end of the stream
 * (a last line without newline is part of nothing and dropped), or negative: ERR_TIMEOUT,
 * ERR_LIMIT, -errno. */
int client_line(struct client *c, struct strview *ret, struct err *e);

#endif
