/*
 * `verp-decode`: what an address of ours says, or that it is forged. For people on duty who have one
 * from a log or a complaint.
 */
#include "admin/verbs.h"

#include "base/clock.h"
#include "verp/verp.h"

static void put(json_t *o, const char *name, struct strview value)
{
    if (value.len)
        json_object_set_new(o, name, admin_json_text(value));
}

static const char *verdict(int code)
{
    switch (code) {
    case 0:
        return "ours";
    case ERR_TIMEOUT:
        return "expired";
    case ERR_AUTH:
        return "forged";
    default:
        return "not-ours";
    }
}

static void put_unsubscription(json_t *o, const struct verp_origin *origin)
{
    struct suppress_entry e;

    /* an address that is not in it stands for any here: scope and name are what counts */
    if (!verp_unsubscribes(origin, origin->rcpt.len ? origin->rcpt : SV("?"), &e))
        return;
    json_object_set_new(o, "scope", json_string(suppress_scope_name(e.scope)));
    put(o, "scope_name", e.scope_name);
}

static void put_origin(json_t *o, const struct pipe *p, const struct verp_origin *origin)
{
    char made[CLOCK_ISO_SIZE];
    const int64_t day_ms = 24 * 3600 * 1000;

    clock_iso(origin->token.day * day_ms, made)[10] = '\0';
    json_object_set_new(o, "use", json_string(origin->token.use == MAIL_TOKEN_BOUNCE
                                                  ? "bounce"
                                                  : "unsubscribe"));
    json_object_set_new(o, "made", json_string(made));
    put(o, "pipe", origin->pipe);
    put(o, "rcpt", origin->rcpt);
    json_object_set_new(o, "own", json_boolean(sv_eq(origin->pipe, sv_of(p->name))));
    json_object_set_new(o, "known", json_boolean(origin->known));
    put(o, "job", origin->job);
    put(o, "vmta", origin->vmta);
    put(o, "sender", origin->sender);
    put_unsubscription(o, origin);
}

void verp_decode(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview address = admin_text(a, "address"), rcpt = admin_text(a, "rcpt");
    struct verp_origin origin;
    struct arena arena = {0};

    if (!address.len) {
        admin_error(a, "'address' is missing");
        return;
    }
    int code = verp_read(p->verp, address, &arena, &origin);
    json_t *o = json_pack("{s:s, s:o}", "verdict", verdict(code), "address",
                          admin_json_text(address));
    if (code == 0 || code == ERR_TIMEOUT)
        put_origin(o, p, &origin);
    if (rcpt.len && (code == 0 || code == ERR_TIMEOUT))
        json_object_set_new(o, "is_rcpt", json_boolean(verp_is_rcpt(p->verp, &origin, rcpt)));
    admin_send(a, o);
    admin_end(a);
    arena_free(&arena);
}
