/*
 * TLS needs; see tls_need.h. Called by the connection for each host it tries.
 */
#include "pipe/delivery/tls_need.h"

#include "base/hash.h"

struct tls_need *tls_need_copy(const struct tls_need *n, struct arena *a)
{
    struct tls_need *to = arena_alloc(a, sizeof(*to));
    struct tls_tlsa *records = arena_alloc(a, n->record_count * sizeof(records[0]) + 1);

    *to = *n;
    for (size_t i = 0; i < n->name_count; i++)
        to->names[i] = arena_strdup(a, n->names[i]);
    for (size_t i = 0; i < n->record_count; i++) {
        uint8_t *data = arena_alloc(a, n->records[i].len + 1);
        memcpy(data, n->records[i].data, n->records[i].len);
        records[i] = n->records[i];
        records[i].data = data;
    }
    to->records = records;
    to->policy = arena_strdup(a, n->policy ? n->policy : "");
    to->sni = n->sni ? arena_strdup(a, n->sni) : NULL;
    to->known_text = arena_strdup(a, n->known_text ? n->known_text : "");
    return to;
}

enum tls_result tls_need_check(const struct tls_need *n, const struct stream *s,
                               const struct tls_roots *roots, char *ret_text, size_t size)
{
    ret_text[0] = '\0';
    if (!n || n->check == TLS_CHECK_NONE)
        return TLS_RESULT_VERIFIED;
    if (n->check == TLS_CHECK_DANE)
        return stream_tls_verify_dane(s, n->records, n->record_count, n->names, n->name_count,
                                      ret_text, size);
    return stream_tls_verify_roots(s, roots, n->names, n->name_count, ret_text, size);
}

const char *tls_need_word(const struct tls_need *n, enum tls_result r)
{
    if (r != TLS_RESULT_VERIFIED)
        return tls_result_text(r);
    if (!n || n->check == TLS_CHECK_NONE)
        return "unchecked";
    if (n->check == TLS_CHECK_DANE)
        return "dane";
    return strncmp(n->policy, "sts", 3) == 0 ? "sts" : "trusted";
}

static uint64_t mix(uint64_t h, const void *bytes, size_t len)
{
    return (h << 7 | h >> 57) ^ hash_bytes(bytes, len);
}

uint64_t tls_need_scope(const struct tls_need *n)
{
    uint64_t h;

    if (!n || n->check == TLS_CHECK_NONE)
        return 0;
    h = mix(n->check, n->policy, strlen(n->policy));
    for (size_t i = 0; i < n->name_count; i++)
        h = mix(h, n->names[i], strlen(n->names[i]));
    for (size_t i = 0; i < n->record_count; i++) {
        const struct tls_tlsa *t = &n->records[i];
        h = mix(h ^ (uint64_t)(t->usage ^ t->selector << 8 ^ t->matching << 16), t->data, t->len);
    }
    return h ? h : 1;
}
