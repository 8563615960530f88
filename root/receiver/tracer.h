/*
 * Traces of sessions that come in: the dialogue of the next ones that are accepted, line by line, to
 * one operator. Loop thread only. Nothing is kept: a line goes out as it is heard, or is counted as
 * left out when the operator does not read. Bounded in traces, sessions, lines and time; without any
 * a session costs a look at a list.
 */
#ifndef PMTA_RECEIVER_TRACER_H
#define PMTA_RECEIVER_TRACER_H

#include "net/child.h"
#include "smtp_server.h"

#include <sys/socket.h>

enum {
    TRACES_MAX = 8,
    TRACE_SESSIONS_MAX = 100,
    TRACE_LINES_MAX = 20000, /* of one trace; what comes then is counted */
};

struct receiver;
struct session;
struct trace;

/* The verb trace-inbound: begins one, or answers with an error. */
void tracer_admin(struct receiver *r, const struct child_admin_request *req);
/* The operator is gone: ends it without a word. */
void tracer_cancel(struct receiver *r, uint64_t token);
/* Once a second: keeps the answers alive, ends what is over. */
void tracer_tick(struct receiver *r);
/* This process takes no sessions any more: ends all, and says so. */
void tracer_end_all(struct receiver *r);

/* Who listens to this session, which was accepted just now; NULL: nobody. Texts stay valid until
 * trace_session_over. */
struct trace *tracer_take(struct receiver *r, struct session *s, const char *id, const char *client,
                          const char *listener, const struct sockaddr *addr);
void trace_hear(struct trace *t, enum smtp_heard kind, struct strview text);
/* The session is gone, and with it the listening. t may be freed by this. */
void trace_session_over(struct trace *t);

#endif
