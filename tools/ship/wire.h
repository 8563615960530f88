/*
 * A TCP connection, perhaps with TLS, for a thread that waits: each call ends by a deadline, or when
 * the thread is woken.
 */
#ifndef PMTA_SHIP_WIRE_H
#define PMTA_SHIP_WIRE_H

#include "base/err.h"
#include "base/str.h"

#include <sys/types.h>

struct wire;

struct wire_options {
    const char *host;
    uint16_t port;
    bool tls, verify;
    struct strview ca; /* PEM; empty: the system's */
    int wake_fd;       /* readable: give up with ERR_CANCELLED; -1: never */
};

/* deadline_ms is mono. 0, or negative with *e. */
int wire_open(const struct wire_options *o, int64_t deadline_ms, struct wire **ret, struct err *e);
void wire_close(struct wire *w); /* NULL is fine */

int wire_write(struct wire *w, struct strview bytes, int64_t deadline_ms, struct err *e);
/* At least one byte; ERR_CLOSED at the end. */
ssize_t wire_read(struct wire *w, char *room, size_t len, int64_t deadline_ms, struct err *e);

#endif
