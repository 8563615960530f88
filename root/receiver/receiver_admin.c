/*
 * Admin lines for this process: status, show-connections, trace-inbound; see net/admin_verbs.h.
 */
#include "base/clock.h"
#include "net/admin_verbs.h"
#include "receiver.h"
#include "tracer.h"

#include <jansson.h>
#include <stdio.h>

static void append_json(struct buf *out, json_t *o)
{
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    if (text)
        buf_printf(out, "%s\n", text);
    free(text);
    json_decref(o);
}

static void show_status(struct receiver *r, struct buf *out)
{
    char process[64];
    const struct smtp_server_shared *n = &r->shared;

    snprintf(process, sizeof(process), "receiver/%s", child_name(r->child));
    append_json(
        out, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:b, s:I, s:I, s:I, s:I}",
                       "process", process, "sessions", (json_int_t)r->session_count, "accepted",
                       (json_int_t)r->accepted, "messages", (json_int_t)n->messages, "recipients",
                       (json_int_t)n->recipients, "rejected", (json_int_t)n->rejected, "tls",
                       (json_int_t)r->tls_sessions, "buffered_bytes",
                       (json_int_t)n->buffered_bytes, "uptime_s",
                       (double)(clock_mono_ms() - r->started_ms) / 1000.0, "draining",
                       (int)r->draining, "inbound", (json_int_t)r->inbound.recipients,
                       "inbound_forged", (json_int_t)r->inbound.forged, "inbound_expired",
                       (json_int_t)r->inbound.expired, "traces", (json_int_t)r->trace_count));
}

void receiver_admin(struct receiver *r, const struct child_admin_request *req)
{
    struct strview rest = req->line, verb;
    struct buf out = {0};

    if (!sv_split(&rest, ' ', &verb))
        verb = sv("", 0);
    switch (admin_verb_find(verb.ptr, verb.len)) {
    case VERB_STATUS:
        show_status(r, &out);
        break;
    case VERB_SHOW_CONNECTIONS:
        session_show_all(r, &out);
        break;
    case VERB_TRACE_INBOUND:
        tracer_admin(r, req);
        return;
    default:
        append_json(&out, json_pack("{s:s}", "error", "a receiver does not know this verb"));
        break;
    }
    child_admin_reply(r->child, req->token, buf_view(&out), true);
    buf_free(&out);
}
