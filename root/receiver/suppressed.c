/*
 * The suppression list in a receiver: the table comes over the edge to pmta-suppress, and recipients
 * are looked up in it at RCPT, as far as is known by then for whom an entry may hold. What is known
 * only at the end of the message (X-Pipe, X-Job, From) is looked at by the pipe. Called by main.c and
 * session.c. When the table is missing nobody is refused here: the pipe knows better.
 */
#include "receiver.h"

#include "base/clock.h"
#include "base/log.h"

#include <unistd.h>

static void take_table(void *arg, int fd, uint64_t bytes)
{
    struct receiver *r = arg;
    struct suppress_table *t;
    struct err e = {0};

    if (suppress_table_map(&t, fd, bytes, &e) < 0) {
        log_error(LOG_SMTP_IN, "the suppression list is looked at by the pipes alone: %s", e.text);
    } else {
        suppress_table_unmap(r->suppress_table);
        r->suppress_table = t;
    }
    close(fd);
}

void receiver_suppress_edge(struct receiver *r, int fd)
{
    if (!r->suppress)
        r->suppress = suppress_client_new(child_loop(r->child), ROLE_RECEIVER, take_table, r);
    suppress_client_edge(r->suppress, fd);
}

bool receiver_is_suppressed(const struct receiver *r, struct strview pipe, struct strview sender,
                            struct strview rcpt, const char **ret_reason)
{
    const struct suppress_table *t = r->suppress_table;
    struct suppress_scopes scopes = {0};
    struct suppress_hit hit;

    suppress_scopes_add(&scopes, t, SUPPRESS_GLOBAL, sv("", 0));
    suppress_scopes_add(&scopes, t, SUPPRESS_PIPE, pipe);
    suppress_scopes_add(&scopes, t, SUPPRESS_DOMAIN, address_domain(sender));
    if (!scopes.count || !suppress_table_find(t, &scopes, rcpt, clock_wall_ms(), &hit))
        return false;
    *ret_reason = suppress_reason_name(hit.reason);
    return true;
}
