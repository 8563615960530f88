/*
 * Who gets a delivery notice about what; see dsn_decide.h. Called by dsn.c for each recipient that
 * ends and each that waits. Bounces of campaigns are in accounting; a notice is sent unless somebody
 * said no, because RFC 5321 section 6.1 lets nobody lose mail silently.
 */
#include "dsn/dsn_decide.h"

const char *dsn_kind_name(enum dsn_kind k)
{
    static const char *const names[] = {[DSN_NONE] = "none",
                                        [DSN_FAILED] = "failed",
                                        [DSN_DELAYED] = "delayed",
                                        [DSN_RELAYED] = "relayed"};
    return names[k];
}

static enum dsn_kind none(const char **ret_why, const char *why)
{
    if (ret_why)
        *ret_why = why;
    return DSN_NONE;
}

static enum dsn_kind by_notify(const struct dsn_facts *f, const char **ret_why)
{
    switch (f->class_) {
    case OUTCOME_DELIVERED:
        if (!(f->notify & NOTIFY_SUCCESS))
            return none(ret_why, "the sender did not ask for notices of success");
        return f->peer_has_dsn ? none(ret_why, "the host that took it gives notice itself")
                               : DSN_RELAYED;
    case OUTCOME_DEFERRED:
        return f->notify & NOTIFY_DELAY
                   ? DSN_DELAYED
                   : none(ret_why, "the sender did not ask for notices of delay");
    case OUTCOME_BOUNCED:
    case OUTCOME_EXPIRED:
        return !f->notify || (f->notify & NOTIFY_FAILURE)
                   ? DSN_FAILED
                   : none(ret_why, "the sender did not ask for notices of failure");
    default:
        return none(ret_why, "an operator deleted it");
    }
}

enum dsn_kind dsn_decide(const struct dsn_facts *f, const char **ret_why)
{
    if (!f->sender.len)
        return none(ret_why, "the sender is null");
    if (f->notify & NOTIFY_NEVER)
        return none(ret_why, "the sender said NOTIFY=NEVER");
    if (f->suppressed)
        return none(ret_why, "suppress-local-dsn");
    if (f->to_ourselves)
        return none(ret_why, "the sender's bounces come back to this installation");
    return by_notify(f, ret_why);
}

int64_t dsn_delays_between(int64_t received_ms, int64_t every_ms, int64_t from_ms, int64_t to_ms)
{
    if (every_ms <= 0 || to_ms < received_ms)
        return 0;
    return (to_ms - received_ms) / every_ms - MAX_OF(from_ms - received_ms, (int64_t)0) / every_ms;
}
