/*
 * Delivery notices (RFC 3461, 3464, 6522, 6533): what becomes of a message is told to its sender.
 *
 * A recipient that ends and owes a notice is taken over from the engine: the notice is written, made
 * durable in this pipe's spool as a message of its own, and only then the recipient's end is
 * journalled. A crash in between repeats the last attempt and the notice, and loses neither. Notices
 * of success are made durable before the delivery is journalled, but nobody waits for them.
 *
 * What ends of one message in the same moment goes into one notice.
 *
 * Notices have a null sender; nothing that becomes of them makes another one.
 */
#ifndef PMTA_PIPE_DSN_H
#define PMTA_PIPE_DSN_H

#include "dsn/dsn_decide.h"
#include "queue/engine.h"

struct dsn;

/* Hooks itself into the engine. */
struct dsn *dsn_new(uv_loop_t *loop, struct engine *engine);
/* After the engine was drained. NULL is fine. */
void dsn_free(struct dsn *d);

void dsn_configure(struct dsn *d, struct config *cfg);
/* Reads up to when delays were told and what dsn-max-rate counted, before recovery; dirfd is that of
 * the spool. */
int dsn_open(struct dsn *d, int dirfd, struct err *e);
/* Saves these and closes; closed(arg) from the loop. */
void dsn_close(struct dsn *d, void (*closed)(void *arg), void *arg);

/* What timers do; tests call it after they moved the clock. */
void dsn_tick(struct dsn *d);

struct dsn_stats {
    uint64_t sent[DSN_KIND_COUNT]; /* durable, by kind */
    uint64_t held;                 /* by dsn-max-rate */
    uint64_t lost;                 /* notices of success or delay that could not be stored */
    uint32_t under_way;            /* being written or stored */
    uint64_t watched;              /* messages whose delay would be told */
};
void dsn_stats(const struct dsn *d, struct dsn_stats *ret);

/* --- notices that go through another pipe (dsn-pipe) --- */

struct ipc_edge;
struct ipc_submit_reply;

/* The edge to that pipe is there (borrowed) or has gone (NULL). */
void dsn_peer(struct dsn *d, const char *pipe, struct ipc_edge *edge);
void dsn_peer_reply(struct dsn *d, const char *pipe, const struct ipc_submit_reply *r);
bool dsn_peer_is_there(const struct dsn *d, const char *pipe);

#endif
