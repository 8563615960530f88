/*
 * Traces of sessions; see tracer.h. Called by receiver_admin.c (start, cancel), session.c (a session
 * opens, is heard, is gone) and main.c (time).
 *
 * A trace waits for a session that fits, listens to it until it is gone, and goes on with another
 * one when some are left. The operator's end: the answer to one admin request, an object per line,
 * an empty line once a second, which also finds out that nobody reads it any more. Memory: a trace
 * is freed when it ends or is cancelled; the session that it listens to is told.
 */
#include "tracer.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "mail/host_list.h"
#include "net/admin.h"
#include "receiver.h"

#include <jansson.h>
#include <stdio.h>

enum {
    BACKLOG_MAX = 1024 * 1024, /* root does not take what we say: lines are left out */
    TIMEOUT_MS = 5 * 60 * 1000,
    TIMEOUT_MAX_MS = 24 * 60 * 60 * 1000,
};

struct network {
    int family; /* 0: any address */
    unsigned bits;
    uint8_t bytes[16];
};

struct trace {
    struct list link; /* receiver->traces */
    struct receiver *receiver;
    struct admin admin;
    char process[64];
    char listener[128]; /* "": any */
    struct network from;
    struct session *session;      /* that it listens to, or NULL */
    const char *id, *client, *at; /* of that */
    int64_t began_ms, until_ms;   /* monotonic */
    unsigned left, sessions, lines, left_out;
};

/* --- which sessions --- */

static const uint8_t *address_bytes(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET6)
        return ((const struct sockaddr_in6 *)(const void *)a)->sin6_addr.s6_addr;
    return (const uint8_t *)&((const struct sockaddr_in *)(const void *)a)->sin_addr;
}

/* "192.0.2.1", "192.0.2.0/24", "2001:db8::/32" */
static bool network_parse(struct strview text, struct network *ret)
{
    struct sockaddr_storage a = {0};
    struct strview bits;
    uint64_t n;

    struct strview rest = text;
    if (!sv_split(&rest, '/', &text) || ip_address_parse(text, 0, &a) < 0)
        return false;
    ret->family = a.ss_family;
    ret->bits = a.ss_family == AF_INET6 ? 128 : 32;
    memcpy(ret->bytes, address_bytes((struct sockaddr *)&a), ret->bits / 8);
    if (!sv_split(&rest, '/', &bits))
        return true;
    if (rest.ptr || !sv_to_u64(bits, &n) || n > ret->bits)
        return false;
    ret->bits = (unsigned)n;
    return true;
}

static bool network_has(const struct network *n, const struct sockaddr *addr)
{
    const uint8_t *bytes = address_bytes(addr);
    unsigned whole = n->bits / 8, more = n->bits % 8;

    if (!n->family)
        return true;
    if (n->family != addr->sa_family || memcmp(n->bytes, bytes, whole) != 0)
        return false;
    return !more || (n->bytes[whole] ^ bytes[whole]) >> (8 - more) == 0;
}

/* --- what is said --- */

static void say(struct trace *t, const char *kind, struct strview text, json_t *more)
{
    if (child_backlog(t->receiver->child) > BACKLOG_MAX) {
        t->left_out++;
        json_decref(more);
        return;
    }
    json_t *o = json_pack("{s:I, s:s}", "time_ms", (json_int_t)clock_wall_ms(), "kind", kind);
    json_object_set_new(o, "text", admin_json_text(text));
    if (t->session) {
        json_object_set_new(o, "at_ms", json_integer(clock_mono_ms() - t->began_ms));
        json_object_set_new(o, "session", admin_json_text(sv_of(t->id)));
        json_object_set_new(o, "client", admin_json_text(sv_of(t->client)));
        json_object_set_new(o, "listener", admin_json_text(sv_of(t->at)));
    }
    if (more) {
        json_object_update(o, more);
        json_decref(more);
    }
    admin_send(&t->admin, o);
}

void trace_hear(struct trace *t, enum smtp_heard kind, struct strview text)
{
    static const char *const names[] = {[SMTP_HEARD_SENT] = "sent",
                                        [SMTP_HEARD_RECEIVED] = "received",
                                        [SMTP_HEARD_EVENT] = "event"};

    if (t->lines >= TRACE_LINES_MAX) {
        t->left_out++;
        return;
    }
    t->lines++;
    say(t, names[kind], text, NULL);
}

static void trace_free(struct trace *t)
{
    if (t->session)
        session_listen(t->session, NULL);
    list_remove(&t->link);
    t->receiver->trace_count--;
    free(t);
}

static void end(struct trace *t, const char *why)
{
    struct admin admin = t->admin;
    char process[sizeof(t->process)];
    json_t *o = json_pack("{s:s, s:s, s:i, s:i}", "kind", "end", "text", why, "sessions",
                          (int)t->sessions, "left_out", (int)t->left_out);

    memcpy(process, t->process, sizeof(process));
    admin.process = process;
    trace_free(t);
    admin_send(&admin, o);
    admin_end(&admin);
}

/* --- sessions --- */

struct trace *tracer_take(struct receiver *r, struct session *s, const char *id, const char *client,
                          const char *listener, const struct sockaddr *addr)
{
    list_for_each (n, &r->traces) {
        struct trace *t = list_entry(n, struct trace, link);
        if (t->session || (t->listener[0] && strcmp(t->listener, listener) != 0) ||
            !network_has(&t->from, addr))
            continue;
        t->session = s;
        t->id = id;
        t->client = client;
        t->at = listener;
        t->began_ms = clock_mono_ms();
        return t;
    }
    return NULL;
}

void trace_session_over(struct trace *t)
{
    say(t, "event", SV("the session is over"), json_pack("{s:b}", "over", 1));
    t->session = NULL;
    t->sessions++;
    if (--t->left == 0)
        end(t, "the sessions are over");
}

/* --- time, and the end of the process --- */

void tracer_tick(struct receiver *r)
{
    int64_t now = clock_mono_ms();

    list_for_each_safe (n, &r->traces) {
        struct trace *t = list_entry(n, struct trace, link);
        if (now < t->until_ms)
            child_admin_reply(r->child, t->admin.token, SV("\n"), false);
        else
            end(t, t->session    ? "the time is over, in the middle of a session"
                   : t->sessions ? "the time is over"
                                 : "the time is over, there was no session");
    }
}

void tracer_end_all(struct receiver *r)
{
    list_for_each_safe (n, &r->traces)
        end(list_entry(n, struct trace, link), "the receiver is stopped");
}

void tracer_cancel(struct receiver *r, uint64_t token)
{
    list_for_each_safe (n, &r->traces) {
        struct trace *t = list_entry(n, struct trace, link);
        if (t->admin.token == token)
            trace_free(t);
    }
}

/* --- the verb --- */

/* False: it was refused already. */
static bool take_arguments(struct receiver *r, struct admin *a, struct trace *t)
{
    struct strview timeout = admin_text(a, "timeout"), listener = admin_text(a, "listener"),
                   from = admin_text(a, "from");
    int64_t count = admin_number(a, "count", 1), timeout_ms = TIMEOUT_MS;

    if (timeout.len && (units_parse_interval(timeout, &timeout_ms) < 0 || timeout_ms <= 0)) {
        admin_error(a, "'timeout' is no time (expected 90s, 10m, 2h)");
        return false;
    }
    if (count < 1 || count > TRACE_SESSIONS_MAX) {
        admin_error(a, "'count' is not valid (expected 1 to %d)", TRACE_SESSIONS_MAX);
        return false;
    }
    if (listener.len && (listener.len >= sizeof(t->listener) ||
                         !config_has_section(r->config, KIND_LISTENER, listener))) {
        admin_error(a, "there is no [listener %.*s]", (int)MIN_OF(listener.len, (size_t)100),
                    listener.ptr);
        return false;
    }
    if (from.len && !network_parse(from, &t->from)) {
        admin_error(a, "'from' is no address (expected 192.0.2.1 or 192.0.2.0/24)");
        return false;
    }
    if (r->draining) {
        admin_error(a, "the receiver is stopped");
        return false;
    }
    if (r->trace_count >= TRACES_MAX) {
        admin_error(a, "%d traces of this receiver are under way already", TRACES_MAX);
        return false;
    }
    snprintf(t->listener, sizeof(t->listener), "%.*s", SV_ARG(listener));
    t->left = (unsigned)count;
    t->until_ms = clock_mono_ms() + MIN_OF(timeout_ms, (int64_t)TIMEOUT_MAX_MS);
    return true;
}

static void start(void *owner, struct admin *a)
{
    struct receiver *r = owner;
    struct trace *t = xcalloc(1, sizeof(*t));
    struct strview from = admin_text(a, "from");
    char text[400];

    if (!take_arguments(r, a, t)) {
        free(t);
        return;
    }
    t->receiver = r;
    t->admin = *a;
    t->admin.args = NULL;
    snprintf(t->process, sizeof(t->process), "%s", a->process);
    t->admin.process = t->process;
    list_push_back(&r->traces, &t->link);
    r->trace_count++;
    log_info(LOG_ADMIN, "trace of sessions by an operator listener='%s' from='%.*s' sessions=%u",
             t->listener, SV_ARG(from), t->left);
    snprintf(text, sizeof(text), "waiting for a session%s%s%s%.*s", t->listener[0] ? " at " : "",
             t->listener, from.len ? " from " : "", SV_ARG(from));
    say(t, "event", sv_of(text), NULL);
}

void tracer_admin(struct receiver *r, const struct child_admin_request *req)
{
    static const struct admin_handler handlers[] = {{VERB_TRACE_INBOUND, start}};
    char process[64];

    snprintf(process, sizeof(process), "receiver/%s", child_name(r->child));
    admin_dispatch(r->child, process, req, handlers, ARRAY_LEN(handlers), r);
}
