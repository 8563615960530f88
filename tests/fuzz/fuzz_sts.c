/*
 * Any bytes as an MTA-STS record, as a policy file, as a policy kept on disk, and as the policy that
 * comes with a route.
 */
#include "mail/tls_policy.h"
#include "sts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_kept(struct strview bytes)
{
    static struct lookups lookups;
    struct sts s;

    sts_init(&s, &lookups, &STS_LIMITS_DEFAULT);
    sts_restore(&s, "example.test", bytes);
    sts_fini(&s);
}

/* What was decoded encodes to something that decodes to as much. */
static void try_wire(struct strview bytes)
{
    struct arena a = {0};
    struct tls_policy one, two;
    struct buf again = {0};

    if (tls_policy_decode(bytes, &a, &one) == 0) {
        tls_policy_encode(&again, &one);
        BUG_ON(tls_policy_decode(buf_view(&again), &a, &two) < 0);
        BUG_ON(one.dane_count != two.dane_count || one.mx_secure != two.mx_secure);
    }
    buf_free(&again);
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct strview bytes = sv((const char *)data, size), id;
    struct arena a = {0};
    struct sts_policy p;
    struct err e = {0};

    if (sts_record_parse(bytes, &id) > 0)
        BUG_ON(!id.len || id.len >= STS_ID_SIZE);
    if (sts_policy_parse(bytes, &a, &p, &e) == 0) {
        BUG_ON(p.mx_count > STS_MAX_MX);
        sts_policy_matches(&p, SV("mx.example.test"));
    }
    arena_free(&a);
    try_kept(bytes);
    try_wire(bytes);
    return 0;
}
