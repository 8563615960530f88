/*
 * What operators ask of the suppression list: status, for now. Called by child_main through
 * child_ops.admin.
 */
#include "process.h"

#include "net/admin.h"

static void show_status(void *owner, struct admin *a)
{
    struct process *p = owner;
    struct store_stats s = {0};

    if (p->loaded && !p->closing)
        store_stats(p->store, &s);
    uint64_t entries = 0;
    for (unsigned i = 0; i < SUPPRESS_SCOPE_COUNT; i++)
        entries += s.counts[i];
    admin_send(a, json_pack("{s:b, s:I, s:I, s:I, s:I, s:I}", "loaded", p->loaded, "entries",
                            (json_int_t)entries, "adds", (json_int_t)p->adds, "refused",
                            (json_int_t)p->refused, "table_bytes", (json_int_t)s.table_bytes,
                            "log_bytes", (json_int_t)s.log_bytes));
    admin_end(a);
}

static const struct admin_handler handlers[] = {
    {VERB_STATUS, show_status},
};

void process_admin(void *owner, const struct child_admin_request *req)
{
    struct process *p = owner;
    admin_dispatch(p->child, "suppress", req, handlers, ARRAY_LEN(handlers), p);
}
