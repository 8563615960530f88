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

bool dsn_address_matches(struct strview pattern, struct strview address)
{
    ptrdiff_t at = sv_find(pattern, '@'), star = sv_find(pattern, '*');
    struct strview domain = address_domain(address);

    if (at < 0 || !domain.len || address.ptr[address.len - 1] == '.')
        return false;
    size_t local_len = address.len - domain.len - 1;
    if (!sv_eq_nocase(sv(pattern.ptr + at + 1, pattern.len - (size_t)at - 1), domain))
        return false;
    struct strview want = sv(pattern.ptr, (size_t)at), local = sv(address.ptr, local_len);
    if (!want.len)
        return true;
    if (star < 0 || star + 1 != at)
        return sv_eq_nocase(want, local);
    return sv_starts_nocase(local, sv(want.ptr, want.len - 1));
}

bool dsn_is_inbound(const struct config *cfg, struct strview address)
{
    const char *name;

    for (size_t i = 0; (name = config_section_name(cfg, KIND_BOUNCE_PROCESSOR, i)); i++)
        for (const struct config_value *v =
                 config_section_get(cfg, KIND_BOUNCE_PROCESSOR, sv_of(name), DIR_INBOUND_ADDRESS);
             v && v->text; v = v->next)
            if (dsn_address_matches(sv_of(v->text), address))
                return true;
    return false;
}

int64_t dsn_delays_between(int64_t received_ms, int64_t every_ms, int64_t from_ms, int64_t to_ms)
{
    if (every_ms <= 0 || to_ms < received_ms)
        return 0;
    return (to_ms - received_ms) / every_ms - MAX_OF(from_ms - received_ms, (int64_t)0) / every_ms;
}
