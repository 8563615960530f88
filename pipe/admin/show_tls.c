/*
 * show tls-report: how TLS went today, and on days whose report is not sent yet.
 */
#include "admin/verbs.h"

#include "tlsrpt/tlsrpt.h"

struct showing {
    struct pipe *pipe;
    struct admin *admin;
};

static void show_one(void *arg, json_t *o)
{
    struct showing *s = arg;

    json_object_set_new(o, "pipe", admin_json_text(sv_of(s->pipe->name)));
    admin_send(s->admin, json_incref(o));
}

void show_tls_report(void *owner, struct admin *a)
{
    struct showing s = {owner, a};

    tlsrpt_visit(s.pipe->tlsrpt, show_one, &s);
    admin_end(a);
}
