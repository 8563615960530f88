/*
 * TLS needs; see tls_need.h. Called by the connection for each host it tries.
 */
#include "pipe/delivery/tls_need.h"

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
    return to;
}

enum tls_result tls_need_check(const struct tls_need *n, const struct stream *s, char *ret_text,
                               size_t size)
{
    ret_text[0] = '\0';
    if (!n || n->check == TLS_CHECK_NONE)
        return TLS_RESULT_VERIFIED;
    if (n->check == TLS_CHECK_DANE)
        return stream_tls_verify_dane(s, n->records, n->record_count, n->names, n->name_count,
                                      ret_text, size);
    return stream_tls_verify_roots(s, n->names, n->name_count, ret_text, size);
}
