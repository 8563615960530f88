/*
 * The edge to pmta-suppress, for a pipe, a receiver or the web process. The list comes over it as a
 * table (receiver, pipe); entries go out (pipe, web), and are told when they are durable. While the
 * process is down they wait here, up to SUPPRESS_CLIENT_MAX; they are sent again over the next edge.
 * Adding is idempotent there, so one whose answer was lost does no harm.
 */
#ifndef PMTA_SUPPRESS_CLIENT_H
#define PMTA_SUPPRESS_CLIENT_H

#include "suppress/suppress.h"
#include "net/ipc.h"

#include <uv.h>

enum { SUPPRESS_CLIENT_MAX = 10000 };

struct suppress_client;

/* A frame suppress_table is handed to table(arg, fd, bytes), which owns fd; NULL: not wanted. */
struct suppress_client *suppress_client_new(uv_loop_t *loop, enum role own,
                                            void (*table)(void *arg, int fd, uint64_t bytes),
                                            void *arg);
/* Callbacks that have not fired will not. NULL is fine. */
void suppress_client_free(struct suppress_client *c);
/* Takes fd; an older edge is closed. */
void suppress_client_edge(struct suppress_client *c, int fd);
/* An edge was given, and no table has come over any: the process is still reading its list, and
 * nobody knows yet who may be written to. */
bool suppress_client_is_loading(const struct suppress_client *c);

/* Everything is copied. done(arg, code) fires later, never inside: 0 when the entry is durable (also
 * when it was there before), or negative. done may be NULL. 0; ERR_LIMIT when too many wait, ERR_SYNTAX
 * when the address is none (then done does not fire). */
int suppress_client_add(struct suppress_client *c, const struct suppress_entry *e,
                        void (*done)(void *arg, int code), void *arg);
size_t suppress_client_waiting(const struct suppress_client *c);

#endif
