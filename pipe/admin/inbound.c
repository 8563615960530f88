/*
 * show inbound: what the bounce and feedback processors of this pipe did with mail to addresses of
 * our own.
 */
#include "admin/verbs.h"

static void put(json_t *o, const char *name, uint64_t n)
{
    json_object_set_new(o, name, json_integer((json_int_t)n));
}

void show_inbound(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct inbound_stats s;

    inbound_stats(p->inbound, &s);
    json_t *o = json_pack("{s:s}", "pipe", p->name);
    put(o, "since_ms", (uint64_t)s.since_ms);
    put(o, "reports", s.reports);
    put(o, "unmatched", s.unmatched);
    put(o, "errors", s.errors);
    put(o, "records", s.records);
    put(o, "suppressed", s.suppressed);
    put(o, "forwarded", s.forwarded);
    for (size_t i = 0; inbound_kind_counter(i); i++)
        put(o, inbound_kind_counter(i), s.kinds[i]);
    put(o, "unsubscriptions", s.unsubscriptions);
    put(o, "queued", s.queued);
    put(o, "under_way", s.under_way);
    put(o, "waiting", s.waiting);
    admin_send(a, o);
    admin_end(a);
}
